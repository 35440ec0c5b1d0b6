//! Bridges out of an engine, on real hosts: what subscribers deliver, and take-over.

use std::time::{Duration, Instant};

use mcast_lab::Host;
use serde_json::Value;

use crate::engine::{Engine, Setup, SourceEngine, Stored, scenarios};
use crate::network;
use crate::support::{Running, eventually, start};

scenarios! {
    subscribers_deliver_what_the_engine_holds
    a_bridge_starts_at_a_number_a_time_or_an_id_and_follows_new_records
    recorded_times_are_repeated_at_a_speed
    a_standby_takes_over_from_a_bridge_that_is_killed
    a_bridge_that_stands_by_notices_an_engine_that_is_gone
    a_bridge_that_was_stopped_goes_silent_when_it_is_woken
    messages_are_not_written_back_to_where_they_came_from
    a_bridge_reports_that_it_waits_for_subscribers_that_do_not_join
    errors_name_the_cause_and_the_remedy
}

const GROUP: &str = "239.1.2.3%lan:7000";
const STREAM: &str = "00000000000000ff";
/// When the first record was stored, in milliseconds since 1970: 2026-11-22T09:30:00Z.
const TIME: u64 = 1_795_339_800_000;

struct Network {
    engines: network::Network,
    subscribers: [Host; 2],
}

impl Network {
    /// Connects the bridges to a network of subscribers.
    fn new() -> Self {
        let engines = network::Network::new([0.0, 0.0]);
        let lan = engines.lab.switch("lan").unwrap();
        for (index, bridge) in engines.bridges.iter().enumerate() {
            bridge.connect("lan", &lan, &[&format!("10.5.0.{}/24", index + 1)]).unwrap();
        }
        let subscribers = [0, 1].map(|index| {
            let host = engines.lab.host(&format!("s{index}")).unwrap();
            host.connect("lan", &lan, &[&format!("10.5.0.{}/24", index + 3)]).unwrap();
            host
        });
        Self { engines, subscribers }
    }

    fn host(&self, index: usize) -> &Host {
        &self.engines.bridges[index]
    }

    fn bridge(&self, index: usize, engine: &impl Engine, options: &[&str]) -> Running {
        let url = engine.url();
        let arguments = ["bridge", &url, "to", GROUP, "--name", "again", "--json"];
        let running = start(self.host(index), &[&arguments, options].concat());
        running.stdout.wait_for(r#""event":"connected""#);
        running
    }

    fn subscribe(&self, index: usize) -> Subscription {
        let arguments = ["subscribe", GROUP, "--name", "again", "--from", "oldest", "--stay", "--json"];
        let running = start(&self.subscribers[index], &arguments);
        running.stderr.wait_for("joined");
        Subscription { running }
    }
}

struct Subscription {
    running: Running,
}

impl Subscription {
    /// Returns the records so far, without an incomplete last line.
    fn records(&self) -> Vec<Value> {
        let text = self.running.stdout.text();
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        text[..end].lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Returns the numbers and texts of the messages so far.
    fn messages(&self) -> Vec<(u64, String)> {
        let messages = self.records();
        let messages = messages.iter().filter(|record| record["event"] == "message");
        messages
            .map(|record| (record["sequence"].as_u64().unwrap(), record["text"].as_str().unwrap().to_owned()))
            .collect()
    }

    fn count(&self) -> usize {
        self.running.stdout.text().matches(r#""event":"message""#).count()
    }

    fn events(&self, name: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["event"] == name).collect()
    }
}

/// Returns a message to store. Messages are 100 ms apart.
fn message(incarnation: u64, number: u64) -> Stored {
    let time = TIME + 100 * number;
    let fields =
        vec![("s", STREAM.to_owned()), ("t", time.to_string()), ("d", format!("{incarnation}:{number}"))];
    Stored { incarnation, number, fields }
}

/// Returns another record to store, with these fields.
fn mark(incarnation: u64, number: u64, fields: &[(&'static str, &str)]) -> Stored {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let head = [("s", STREAM.to_owned()), ("t", TIME.to_string())];
    Stored { incarnation, number, fields: head.into_iter().chain(fields).collect() }
}

const END: &[(&str, &str)] = &[("kind", "end")];

fn messages(incarnation: u64, numbers: std::ops::Range<u64>) -> Vec<Stored> {
    numbers.map(|number| message(incarnation, number)).collect()
}

fn expected(incarnation: u64, numbers: std::ops::Range<u64>) -> Vec<(u64, String)> {
    numbers.map(|number| (number, format!("{incarnation}:{number}"))).collect()
}

/// Returns the records that a bridge printed, checked against their schemas, and the summary.
fn printed(ended: &crate::support::Ended) -> (Vec<Value>, Value) {
    let mut records = ended.json();
    let summary = records.pop().unwrap();
    crate::schemas::assert_valid("bridge-publish-summary", &summary);
    records.iter().for_each(|record| crate::schemas::assert_valid("bridge-publish-event", record));
    (records, summary)
}

fn subscribers_deliver_what_the_engine_holds<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    let gap = [("kind", "gap"), ("first", "100"), ("end", "120"), ("cause", "joined-late")];
    let open = [("kind", "gap"), ("first", "50"), ("cause", "restart")];
    let mut records = messages(5, 0..100);
    records.push(mark(5, 119, &gap));
    records.extend(messages(5, 120..2_000));
    records.push(mark(5, 2_000, END));
    records.extend(messages(6, 0..50));
    records.push(mark(6, 50, &open));
    records.extend(messages(7, 0..10));
    records.push(mark(7, 10, END));
    engine.store(&records);
    let subscription = network.subscribe(0);
    let bridge = network.bridge(0, &engine, &["--wait-for", "1"]);
    let ended = bridge.end();
    assert_eq!(ended.status, Some(1), "there are gaps: {ended:?}");
    let (events, summary) = printed(&ended);
    assert_eq!(
        (&summary["messages"], &summary["gaps"], &summary["missing"]),
        (&2_040.into(), &2.into(), &20.into())
    );
    assert_eq!(summary["complete"], true);
    assert_eq!(events.iter().filter(|event| event["event"] == "began").count(), 3, "{events:?}");
    let all = [expected(5, 0..100), expected(5, 120..2_000), expected(6, 0..50), expected(7, 0..10)].concat();
    eventually("all messages", || subscription.count() == all.len());
    assert_eq!(subscription.messages(), all);
    let lost = subscription.events("lost");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!((&lost[0]["sequence"], &lost[0]["count"]), (&100.into(), &20.into()));
    assert_eq!(subscription.events("lost-unknown").len(), 1, "incarnation 6 has no end");
    eventually("both ends", || subscription.events("ended").len() == 2);
    subscription.running.signalled(libc::SIGINT);
}

fn a_bridge_starts_at_a_number_a_time_or_an_id_and_follows_new_records<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    engine.store(&messages(5, 0..1_000));
    let mut subscription = network.subscribe(0);
    let id = T::id(5, 300);
    // 10 s after the first message.
    for (from, first) in [("700", 700), ("2026-11-22T09:30:10Z", 100), (&id, 300), ("now", 1_000)] {
        let bridge = network.bridge(0, &engine, &["--from", from, "--wait-for", "1"]);
        bridge.stdout.wait_for(r#""event":"began""#);
        eventually("a subscriber", || bridge.stderr.text().contains("joined"));
        if from == "now" {
            engine.store(&messages(5, 1_000..1_100));
        }
        let end = if from == "now" { 1_100 } else { 1_000 };
        eventually(from, || subscription.count() as u64 == end - first);
        assert_eq!(subscription.messages(), expected(5, first..end), "{from}");
        let ended = bridge.signalled(libc::SIGINT);
        assert_eq!(ended.status, Some(130), "{ended:?}");
        subscription.running.signalled(libc::SIGINT);
        subscription = network.subscribe(0);
    }
    subscription.running.signalled(libc::SIGINT);
}

fn recorded_times_are_repeated_at_a_speed<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    engine.store(&messages(5, 0..31));
    engine.store(&[mark(5, 31, END)]);
    let subscription = network.subscribe(0);
    let bridge = network.bridge(0, &engine, &["--speed", "2", "--wait-for", "1"]);
    bridge.stdout.wait_for(r#""event":"began""#);
    let began = Instant::now();
    bridge.end().succeeded();
    let took = began.elapsed();
    assert_eq!(subscription.messages(), expected(5, 0..31));
    // 3 s at twice the speed. A busy machine delays the end.
    assert!(took >= Duration::from_millis(1_400) && took < Duration::from_secs(10), "{took:?}");
    subscription.running.signalled(libc::SIGINT);
}

/// Stores messages at about 2,000 per second, until `until` returns `true`.
fn append(engine: &impl SourceEngine, next: &mut u64, mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing happened");
        engine.store(&messages(5, *next..*next + 40));
        *next += 40;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Which of the bridges publishes.
fn active(bridges: &[Running; 2]) -> usize {
    let is_active = |bridge: &Running| bridge.stdout.text().contains(r#""event":"began""#);
    eventually("a bridge that publishes", || bridges.iter().any(is_active));
    bridges.iter().position(is_active).unwrap()
}

/// Waits until a subscriber delivers what is stored from now on; returns how long that took.
fn time_to_next(engine: &impl SourceEngine, next: &mut u64, subscription: &Subscription) -> Duration {
    let (began, stored) = (Instant::now(), *next);
    let text = format!(r#""text":"5:{stored}""#);
    append(engine, next, || subscription.running.stdout.text().contains(&text));
    began.elapsed()
}

/// The longest that another bridge may take to take over: after 2 s of silence, and at most 0.2 s that are drawn, it asks the
/// engine where to continue, whose responses take as long as the machine is busy.
fn longest_takeover(engine: &impl SourceEngine, next: &mut u64, subscription: &Subscription) -> Duration {
    Duration::from_secs(3) + 10 * time_to_next(engine, next, subscription)
}

fn finish(engine: &impl SourceEngine, next: u64, subscriptions: [Subscription; 2]) {
    engine.store(&[mark(5, next, END)]);
    for subscription in subscriptions {
        eventually("the end", || !subscription.events("ended").is_empty());
        assert_eq!(
            subscription.messages(),
            expected(5, 0..next),
            "nothing is missing and nothing comes twice"
        );
        for event in ["lost", "lost-unknown", "restarted"] {
            assert_eq!(subscription.events(event), Vec::<Value>::new());
        }
        subscription.running.signalled(libc::SIGINT);
    }
}

fn a_standby_takes_over_from_a_bridge_that_is_killed<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    let subscriptions = [network.subscribe(0), network.subscribe(1)];
    engine.store(&messages(5, 0..1_000));
    let mut bridges = [0, 1].map(|index| network.bridge(index, &engine, &["--stay", "--wait-for", "2"]));
    let (mut next, mut active) = (1_000, active(&bridges));
    for _ in 0..2 {
        let count = subscriptions[0].count();
        append(&engine, &mut next, || subscriptions[0].count() > count + 500);
        let longest = longest_takeover(&engine, &mut next, &subscriptions[0]);
        bridges[active].child.kill().unwrap();
        let took = time_to_next(&engine, &mut next, &subscriptions[0]);
        eprintln!("took over after {took:?}, of at most {longest:?}");
        assert!(took < longest, "{took:?} of at most {longest:?}");
        // A new standby, for the next round.
        let standby = network.bridge(active, &engine, &["--stay"]);
        standby.stdout.wait_for(r#""event":"standing-by""#);
        std::mem::replace(&mut bridges[active], standby).end();
        active = 1 - active;
    }
    finish(&engine, next, subscriptions);
    for bridge in bridges {
        bridge.signalled(libc::SIGINT);
    }
}

fn a_bridge_that_stands_by_notices_an_engine_that_is_gone<T: SourceEngine>() {
    let network = Network::new();
    let Some(mut engine) = T::start(&network.engines, Setup::Plain) else { return };
    engine.store(&messages(5, 0..10));
    let bridges = [0, 1].map(|index| network.bridge(index, &engine, &["--stay"]));
    let standby = &bridges[1 - active(&bridges)];
    engine.kill();
    let killed = Instant::now();
    standby.stdout.wait_for(r#""event":"disconnected""#);
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
}

fn a_bridge_that_was_stopped_goes_silent_when_it_is_woken<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    let subscriptions = [network.subscribe(0), network.subscribe(1)];
    engine.store(&messages(5, 0..1_000));
    let bridges = [0, 1].map(|index| network.bridge(index, &engine, &["--stay", "--wait-for", "2"]));
    let active = active(&bridges);
    let mut next = 1_000;
    append(&engine, &mut next, || subscriptions[0].count() > 1_500);
    let longest = longest_takeover(&engine, &mut next, &subscriptions[0]);
    bridges[active].child.signal(libc::SIGSTOP).unwrap();
    let took = time_to_next(&engine, &mut next, &subscriptions[0]);
    assert!(took < longest, "{took:?} of at most {longest:?}");
    bridges[active].child.signal(libc::SIGCONT).unwrap();
    bridges[active].stdout.wait_for(r#""event":"standing-by""#);
    let count = subscriptions[0].count();
    append(&engine, &mut next, || subscriptions[0].count() > count + 1_000);
    for subscription in &subscriptions {
        assert_eq!(subscription.events("rival"), Vec::<Value>::new(), "the old one was silent at once");
        assert_eq!(subscription.events("continued").len(), 1);
    }
    assert!(!bridges[active].stdout.text().contains("took-over"), "{}", bridges[active].stdout.text());
    finish(&engine, next, subscriptions);
    for bridge in bridges {
        printed(&bridge.signalled(libc::SIGINT));
    }
}

fn messages_are_not_written_back_to_where_they_came_from<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    engine.store(&messages(5, 0..100));
    let url = engine.url();
    let bridge = network.bridge(0, &engine, &["--stay"]);
    let arguments = ["bridge", GROUP, "to", &url, "--name", "again"];
    let refused = start(network.host(1), &arguments).end();
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("are not written back"), "{refused:?}");
    assert_eq!(engine.length(), 100);
    // Elsewhere they are kept, with their positions and where they came from.
    let copy = engine.copy_url();
    let arguments = ["bridge", GROUP, "to", &copy, "--name", "again"];
    let copying = start(network.host(1), &arguments);
    eventually("the copy", || engine.copied().len() == 100);
    let last = engine.copied().pop().unwrap();
    let origin = last.field("o").unwrap().to_owned();
    assert_eq!((last.incarnation, last.number, last.field("d")), (5, 99, Some("5:99")));
    assert_eq!((origin.len(), u64::from_str_radix(&origin, 16).is_ok()), (16, true), "{origin}");
    copying.signalled(libc::SIGINT);
    // Nor when they come out of the copy.
    let group = "239.1.2.4%lan:7000";
    let returning = start(network.host(0), &["bridge", &copy, "to", group, "--name", "third"]);
    let refused = start(network.host(1), &["bridge", group, "to", &url, "--name", "third"]).end();
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("are not written back"), "{refused:?}");
    assert_eq!(engine.length(), 100);
    returning.signalled(libc::SIGINT);
    bridge.signalled(libc::SIGINT);
}

fn a_bridge_reports_that_it_waits_for_subscribers_that_do_not_join<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    engine.store(&messages(5, 0..10));
    engine.store(&[mark(5, 10, END)]);
    engine.store(&messages(6, 0..10));
    engine.store(&[mark(6, 10, END)]);
    let ahead = network.subscribe(0);
    network.bridge(0, &engine, &["--from", &T::id(6, 0), "--wait-for", "1"]).end().succeeded();
    eventually("what is last", || ahead.count() == 10);
    let bridge = network.bridge(0, &engine, &["--wait-for", "1"]);
    bridge.stdout.wait_for(r#""event":"waiting-for-subscribers""#);
    bridge.stderr.wait_for("start such a subscriber again");
    assert_eq!(ahead.count(), 10);
    let other = network.subscribe(1);
    let (events, summary) = printed(&bridge.end().succeeded());
    assert_eq!((&summary["messages"], &summary["complete"]), (&20.into(), &true.into()), "{events:?}");
    eventually("all messages", || other.count() == 20);
    assert_eq!(ahead.count(), 10, "what was delivered is not delivered again");
    for subscription in [ahead, other] {
        subscription.running.signalled(libc::SIGINT);
    }
}

fn errors_name_the_cause_and_the_remedy<T: SourceEngine>() {
    let network = Network::new();
    let Some(engine) = T::start(&network.engines, Setup::Plain) else { return };
    let url = engine.url();
    let run = |arguments: &[&str]| start(network.host(0), arguments).end();
    let ended = run(&["bridge", &url, "to", "232.1.2.3%lan:7000"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("source-specific group"), "{ended:?}");
    let ended = run(&["bridge", GROUP, "to", &url, "--speed", "2"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--speed applies only when publishing from a broker"), "{ended:?}");
    // The name of the stream that the key holds.
    let stream = mcast_stream::wire::StreamId::named("again").to_string();
    let fields = vec![("s", stream), ("t", "1".to_owned()), ("d", "x".to_owned())];
    engine.store(&[Stored { incarnation: 5, number: 0, fields }]);
    let ended = run(&["bridge", &url, "to", GROUP, "--name", "again"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("--name NAME"), "{ended:?}");
    // An ordinary publisher has the name.
    engine.delete_stream();
    engine.store(&[message(5, 0)]);
    let publisher = crate::support::program(
        network.host(1),
        crate::support::MCAST,
        &["publish", GROUP, "--name", "again"],
        true,
    );
    publisher.stderr.wait_for("stream");
    let ended = run(&["bridge", &url, "to", GROUP, "--name", "again"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("published already, and not by a bridge (at 10.5.0.2:"), "{ended:?}");
    publisher.signalled(libc::SIGINT);
}
