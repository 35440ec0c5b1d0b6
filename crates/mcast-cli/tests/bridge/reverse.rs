//! Bridges out of Redis, on real hosts: what subscribers deliver, and take-over.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab};
use serde_json::Value;

use crate::engine::{Engine, Setup};
use crate::redis::Redis;
use crate::support::{Running, eventually, start};

const GROUP: &str = "239.1.2.3%eth0:7000";
const STREAM: &str = "00000000000000ff";
/// When the first record was stored, in milliseconds since 1970: 2026-11-22T09:30:00Z.
const TIME: u64 = 1_795_339_800_000;

struct Network {
    _lab: Lab,
    bridges: [Host; 2],
    subscribers: [Host; 2],
}

impl Network {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("lan").unwrap();
        let host = |name: &str, address: &str| {
            let host = lab.host(name).unwrap();
            host.connect("eth0", &switch, &[address]).unwrap();
            host
        };
        let bridges = [host("b0", "10.0.0.1/24"), host("b1", "10.0.0.2/24")];
        let subscribers = [host("s0", "10.0.0.3/24"), host("s1", "10.0.0.4/24")];
        Self { _lab: lab, bridges, subscribers }
    }

    fn bridge(&self, index: usize, redis: &Redis, options: &[&str]) -> Running {
        let url = redis.url();
        let arguments = ["bridge", &url, "to", GROUP, "--name", "again", "--json"];
        let running = start(&self.bridges[index], &[&arguments, options].concat());
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

/// Runs these commands of Redis.
fn execute(redis: &Redis, commands: &str) {
    let mut command = Command::new("redis-cli");
    let mut child =
        command.arg("-s").arg(redis.socket()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("ERR"),
        "{output:?}"
    );
}

/// Returns the command that stores a message. Messages are 100 ms apart.
fn message(incarnation: u64, number: u64) -> String {
    let (id, time) = (number + 1, TIME + 100 * number);
    format!("XADD prices {incarnation}-{id} s {STREAM} t {time} d \"{incarnation}:{number}\"\n")
}

fn mark(incarnation: u64, number: u64, fields: &str) -> String {
    format!("XADD prices {incarnation}-{} s {STREAM} t {TIME} {fields}\n", number + 1)
}

fn messages(incarnation: u64, numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| message(incarnation, number)).collect()
}

fn expected(incarnation: u64, numbers: std::ops::Range<u64>) -> Vec<(u64, String)> {
    numbers.map(|number| (number, format!("{incarnation}:{number}"))).collect()
}

/// Returns the records that a bridge printed, checked against their schemas, and the summary.
fn records(ended: &crate::support::Ended) -> (Vec<Value>, Value) {
    let mut records = ended.json();
    let summary = records.pop().unwrap();
    crate::schemas::assert_valid("bridge-publish-summary", &summary);
    records.iter().for_each(|record| crate::schemas::assert_valid("bridge-publish-event", record));
    (records, summary)
}

#[test]
fn subscribers_deliver_what_redis_holds() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    let gap = mark(5, 119, "kind gap first 100 end 120 cause joined-late");
    let open = mark(6, 50, "kind gap first 50 cause restart");
    execute(
        &redis,
        &[messages(5, 0..100), gap, messages(5, 120..2_000), mark(5, 2_000, "kind end")].concat(),
    );
    execute(&redis, &[messages(6, 0..50), open, messages(7, 0..10), mark(7, 10, "kind end")].concat());
    let subscription = network.subscribe(0);
    let bridge = network.bridge(0, &redis, &["--wait-for", "1"]);
    let ended = bridge.end();
    assert_eq!(ended.status, Some(1), "there are gaps: {ended:?}");
    let (events, summary) = records(&ended);
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

#[test]
fn a_bridge_starts_at_a_number_a_time_or_an_id_and_follows_new_records() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    execute(&redis, &messages(5, 0..1_000));
    let mut subscription = network.subscribe(0);
    // 10 s after the first message; an id of Redis is one more than the number.
    for (from, first) in [("700", 700), ("2026-11-22T09:30:10Z", 100), ("5-301", 300), ("now", 1_000)] {
        let bridge = network.bridge(0, &redis, &["--from", from, "--wait-for", "1"]);
        bridge.stdout.wait_for(r#""event":"began""#);
        eventually("a subscriber", || bridge.stderr.text().contains("joined"));
        if from == "now" {
            execute(&redis, &messages(5, 1_000..1_100));
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

#[test]
fn recorded_times_are_repeated_at_a_speed() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    execute(&redis, &[messages(5, 0..31), mark(5, 31, "kind end")].concat());
    let subscription = network.subscribe(0);
    let bridge = network.bridge(0, &redis, &["--speed", "2", "--wait-for", "1"]);
    subscription.running.stdout.wait_for(r#""event":"message""#);
    let first = Instant::now();
    bridge.end().succeeded();
    let took = first.elapsed();
    assert_eq!(subscription.messages(), expected(5, 0..31));
    // 3 s at twice the speed. A busy machine delays the end.
    assert!(took >= Duration::from_millis(1_400) && took < Duration::from_secs(10), "{took:?}");
    subscription.running.signalled(libc::SIGINT);
}

/// Stores messages at about 2,000 per second, until `until` returns `true`.
fn append(redis: &Redis, next: &mut u64, mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing happened");
        execute(redis, &messages(5, *next..*next + 40));
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
fn time_to_next(redis: &Redis, next: &mut u64, subscription: &Subscription) -> Duration {
    let (began, stored) = (Instant::now(), *next);
    let text = format!(r#""text":"5:{stored}""#);
    append(redis, next, || subscription.running.stdout.text().contains(&text));
    began.elapsed()
}

fn finish(redis: &Redis, next: u64, subscriptions: [Subscription; 2]) {
    execute(redis, &mark(5, next, "kind end"));
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

#[test]
fn a_standby_takes_over_from_a_bridge_that_is_killed() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    let subscriptions = [network.subscribe(0), network.subscribe(1)];
    execute(&redis, &messages(5, 0..1_000));
    let mut bridges = [0, 1].map(|index| network.bridge(index, &redis, &["--stay", "--wait-for", "2"]));
    let (mut next, mut active) = (1_000, active(&bridges));
    for _ in 0..2 {
        let count = subscriptions[0].count();
        append(&redis, &mut next, || subscriptions[0].count() > count + 500);
        bridges[active].child.kill().unwrap();
        let took = time_to_next(&redis, &mut next, &subscriptions[0]);
        eprintln!("took over after {took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        // A new standby, for the next round.
        let standby = network.bridge(active, &redis, &["--stay"]);
        standby.stdout.wait_for(r#""event":"standing-by""#);
        std::mem::replace(&mut bridges[active], standby).end();
        active = 1 - active;
    }
    finish(&redis, next, subscriptions);
    for bridge in bridges {
        bridge.signalled(libc::SIGINT);
    }
}

#[test]
fn a_bridge_that_was_stopped_goes_silent_when_it_is_woken() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    let subscriptions = [network.subscribe(0), network.subscribe(1)];
    execute(&redis, &messages(5, 0..1_000));
    let bridges = [0, 1].map(|index| network.bridge(index, &redis, &["--stay", "--wait-for", "2"]));
    let active = active(&bridges);
    let mut next = 1_000;
    append(&redis, &mut next, || subscriptions[0].count() > 1_500);
    bridges[active].child.signal(libc::SIGSTOP).unwrap();
    let took = time_to_next(&redis, &mut next, &subscriptions[0]);
    assert!(took < Duration::from_secs(3), "{took:?}");
    bridges[active].child.signal(libc::SIGCONT).unwrap();
    bridges[active].stdout.wait_for(r#""event":"standing-by""#);
    let count = subscriptions[0].count();
    append(&redis, &mut next, || subscriptions[0].count() > count + 1_000);
    for subscription in &subscriptions {
        assert_eq!(subscription.events("rival"), Vec::<Value>::new(), "the old one was silent at once");
        assert_eq!(subscription.events("continued").len(), 1);
    }
    assert!(!bridges[active].stdout.text().contains("took-over"), "{}", bridges[active].stdout.text());
    finish(&redis, next, subscriptions);
    for bridge in bridges {
        records(&bridge.signalled(libc::SIGINT));
    }
}

#[test]
fn messages_are_not_written_back_to_where_they_came_from() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    execute(&redis, &messages(5, 0..100));
    let url = redis.url();
    let bridge = network.bridge(0, &redis, &["--stay"]);
    let arguments = ["bridge", GROUP, "to", &url, "--name", "again"];
    let refused = start(&network.subscribers[0], &arguments).end();
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("are not written back"), "{refused:?}");
    assert_eq!(redis.length(), 100);
    // Under another key they are kept, with their positions and where they came from.
    let other = redis.url().replace("key=prices", "key=copy");
    let arguments = ["bridge", GROUP, "to", &other, "--name", "again"];
    let copying = start(&network.subscribers[0], &arguments);
    eventually("the copy", || redis.cli(&["XLEN", "copy"]).trim() == "100");
    let last = redis.cli(&["XREVRANGE", "copy", "+", "-", "COUNT", "1"]);
    let key = redis.cli(&["GET", "prices:engine"]);
    assert!(last.starts_with("5-100\n") && last.contains(&format!("\no\n{}", key.trim())), "{last}");
    copying.signalled(libc::SIGINT);
    bridge.signalled(libc::SIGINT);
}

#[test]
fn errors_name_the_cause_and_the_remedy() {
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let network = Network::new();
    let url = redis.url();
    let run = |arguments: &[&str]| start(&network.bridges[0], arguments).end();
    let ended = run(&["bridge", &url, "to", "232.1.2.3%eth0:7000"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("source-specific group"), "{ended:?}");
    let ended = run(&["bridge", GROUP, "to", &url, "--speed", "2"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--speed applies only out of an engine"), "{ended:?}");
    // The name of the stream that the key holds.
    let stream = mcast_stream::wire::StreamId::named("again");
    execute(&redis, &format!("XADD prices 5-1 s {stream} t 1 d x\n"));
    let ended = run(&["bridge", &url, "to", GROUP, "--name", "again"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("--name NAME"), "{ended:?}");
    // An ordinary publisher has the name.
    execute(&redis, &format!("DEL prices\n{}", message(5, 0)));
    let publisher = crate::support::program(
        &network.bridges[1],
        crate::support::MCAST,
        &["publish", GROUP, "--name", "again"],
        true,
    );
    publisher.stderr.wait_for("stream");
    let ended = run(&["bridge", &url, "to", GROUP, "--name", "again"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("published already, and not by a bridge (at 10.0.0.2:"), "{ended:?}");
    publisher.signalled(libc::SIGINT);
}
