//! Groups that carry no stream: every datagram with its arrival, what the system dropped, one bridge at a time, and back.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::audit::{Entry, audit, records};
use crate::engine::{Engine, Setup, SourceEngine, Stored, scenarios};
use crate::network::Network;
use crate::support::{Running, eventually, start};

scenarios! {
    every_datagram_is_stored_with_its_arrival
    what_the_system_dropped_is_a_gap
    a_bridge_that_is_started_again_continues_under_another_incarnation
    one_bridge_at_a_time_keeps_datagrams_in_a_key
    datagrams_are_sent_again_at_the_recorded_speed
    a_circle_is_noticed
    options_of_streams_are_refused_for_datagrams
}

const GROUP: &str = "239.1.2.3%eth0:5000";

/// Starts a bridge of the group, and waits until it is connected to the engine.
fn keep(network: &Network, index: usize, engine: &impl Engine, options: &[&str]) -> Running {
    let url = engine.url();
    let arguments = ["bridge", GROUP, "to", &url, "--datagrams", "--json"];
    let running = start(&network.bridges[index], &[&arguments, options].concat());
    running.stdout.wait_for(r#""event":"connected""#);
    running
}

/// Sends datagrams with these numbers as texts to a group.
fn send(network: &Network, to: &str, numbers: std::ops::Range<u64>) {
    let texts: Vec<String> = numbers.map(|number| format!("datagram {number}")).collect();
    let mut arguments = vec!["send", to];
    arguments.extend(texts.iter().map(String::as_str));
    start(&network.publisher, &arguments).end().succeeded();
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().filter_map(|entry| entry.field("d")).map(str::to_owned).collect()
}

fn expected(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("datagram {number}")).collect()
}

fn every_datagram_is_stored_with_its_arrival<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = keep(&network, 0, &engine, &["-s", "10.0.0.1"]);
    let before = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    // Until the first one arrives, the bridge may not have joined.
    eventually("the first datagram", || {
        send(&network, GROUP, 0..1);
        engine.length() > 0
    });
    let first = engine.length();
    send(&network, GROUP, 1..101);
    eventually("all datagrams", || engine.length() >= first + 100);
    let after = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let entries = engine.entries();
    assert_eq!(texts(&entries[entries.len() - 100..]), expected(1..101));
    let stored = audit(&entries, |_, _| None);
    assert_eq!((stored.messages, stored.gaps.len()), (entries.len() as u64, 0));
    for entry in &entries {
        assert_eq!(entry.field("group"), Some("239.1.2.3:5000"), "{entry:?}");
        assert!(entry.field("source").unwrap().starts_with("10.0.0.1:"), "{entry:?}");
        let known = [entry.field("interface"), entry.field("ttl"), entry.field("dscp")];
        assert_eq!(known, [Some("eth0"), Some("1"), Some("0")], "{entry:?}");
        let kernel: u128 = entry.field("kernel").unwrap().parse().unwrap();
        assert!(kernel >= before && kernel <= after, "{entry:?}");
    }
    let ended = bridge.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let (_, summary) = records(&ended);
    assert_eq!((&summary["messages"], &summary["pending"]), (&entries.len().into(), &0.into()));
}

fn what_the_system_dropped_is_a_gap<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = keep(&network, 0, &engine, &[]);
    eventually("the first datagram", || {
        send(&network, GROUP, 0..1);
        engine.length() > 0
    });
    bridge.child.signal(libc::SIGSTOP).unwrap();
    // More than the socket has room for.
    let text = "x".repeat(1_000);
    let flood = ["send", GROUP, &text, "--count", "40000", "--rate", "20000pps"];
    start(&network.publisher, &flood).end();
    let dropped = drops(&network);
    assert!(dropped > 0, "the socket had room for everything");
    bridge.child.signal(libc::SIGCONT).unwrap();
    eventually("a datagram behind the flood", || {
        send(&network, GROUP, 1..2);
        engine.last_text() == "datagram 1"
    });
    let ended = bridge.signalled(libc::SIGINT);
    let (events, summary) = records(&ended);
    let stored = audit(&engine.entries(), |_, _| None);
    let missing: u64 = stored.gaps.iter().map(|(first, end, _)| end.unwrap() - first).sum();
    assert_eq!(missing, dropped, "the gaps are what the kernel counted: {:?}", stored.gaps);
    assert!(stored.gaps.iter().all(|(_, _, cause)| cause == "receive-buffer-full"), "{:?}", stored.gaps);
    assert_eq!((&summary["messages"], &summary["missing"]), (&stored.messages.into(), &missing.into()));
    assert_eq!(events.iter().filter(|event| event["event"] == "gap").count(), stored.gaps.len());
}

/// Returns how many datagrams the kernel dropped on the sockets of the first bridge.
fn drops(network: &Network) -> u64 {
    let output = network.bridges[0].command("cat").unwrap().arg("/proc/net/udp").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let of_group = |line: &&str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(":1388"));
    let drops = |line: &str| line.split_whitespace().last().unwrap().parse::<u64>().unwrap();
    text.lines().filter(of_group).map(drops).sum()
}

fn a_bridge_that_is_started_again_continues_under_another_incarnation<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = keep(&network, 0, &engine, &[]);
    eventually("the first datagram", || {
        send(&network, GROUP, 0..1);
        engine.length() > 0
    });
    bridge.child.kill().unwrap();
    bridge.end();
    let before = engine.length();
    // It buffers what arrives until the note of the killed one is too old.
    let bridge = keep(&network, 0, &engine, &[]);
    bridge.stdout.wait_for(r#""event":"other-bridge""#);
    send(&network, GROUP, 1..11);
    assert_eq!(engine.length(), before, "nothing is stored while another bridge may be there");
    eventually("10 datagrams behind a gap", || engine.length() == before + 11);
    let entries = engine.entries();
    assert_eq!(texts(&entries[entries.len() - 10..]), expected(1..11));
    let stored = audit(&entries, |_, _| None);
    assert_eq!(stored.gaps, [(before, None, "joined-late".to_owned())]);
    assert!(entries.last().unwrap().incarnation > entries[0].incarnation);
    bridge.signalled(libc::SIGINT);
}

fn one_bridge_at_a_time_keeps_datagrams_in_a_key<T: Engine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let bridge = keep(&network, 0, &engine, &[]);
    eventually("the first datagram", || {
        send(&network, GROUP, 0..1);
        engine.length() > 0
    });
    let other = keep(&network, 1, &engine, &[]);
    let ended = other.end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(
        ended.stderr.contains("another bridge keeps datagrams there")
            && ended.stderr.contains("one of its own"),
        "{ended:?}"
    );
    let before = engine.length();
    send(&network, GROUP, 1..11);
    eventually("what the first bridge stores", || engine.length() == before + 10);
    // Another group is another stream.
    let url = engine.url();
    let ended =
        start(&network.bridges[1], &["bridge", "239.1.2.4%eth0:5000", "to", &url, "--datagrams"]).end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("belongs to stream"), "{ended:?}");
    bridge.signalled(libc::SIGINT);
}

/// Returns a datagram to store. Datagrams are 100 ms apart.
fn datagram(number: u64, source: &str) -> Stored {
    let time = 1_795_339_800_000 + 100 * number;
    let fields = [
        ("s", "00000000000000ff".to_owned()),
        ("t", time.to_string()),
        ("source", source.to_owned()),
        ("group", "239.1.2.3:5000".to_owned()),
        ("interface", "eth0".to_owned()),
        ("kernel", format!("{time}000000")),
        ("ttl", "1".to_owned()),
        ("d", format!("datagram {number}")),
    ];
    Stored { incarnation: 5, number, fields: fields.into() }
}

fn gap(first: u64, end: u64) -> Stored {
    let fields = [
        ("s", "00000000000000ff".to_owned()),
        ("t", "1795339800000".to_owned()),
        ("kind", "gap".to_owned()),
        ("first", first.to_string()),
        ("end", end.to_string()),
        ("cause", "receive-buffer-full".to_owned()),
    ];
    Stored { incarnation: 5, number: end - 1, fields: fields.into() }
}

/// Returns the texts of the datagrams that were received, and when.
fn received(receiver: &Running) -> Vec<(String, String)> {
    let text = receiver.stdout.text();
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    let records = text[..end].lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    records
        .filter(|record| !record["text"].is_null())
        .map(|record| (text(&record["text"]), text(&record["time"])))
        .collect()
}

fn seconds(time: &str) -> f64 {
    time.parse::<jiff::Timestamp>().unwrap().as_nanosecond() as f64 / 1e9
}

fn datagrams_are_sent_again_at_the_recorded_speed<T: SourceEngine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let mut all: Vec<_> = (0..10).map(|number| datagram(number, "10.7.7.7:7")).collect();
    all.push(gap(10, 20));
    all.extend((20..31).map(|number| datagram(number, "10.7.7.7:7")));
    engine.store(&all);
    let receiver = start(&network.publisher, &["recv", "239.9.9.9%eth0:6000", "--json"]);
    receiver.stderr.wait_for("joined");
    let url = engine.url();
    let from = T::id(5, 5);
    let arguments = ["bridge", &url, "to", "239.9.9.9%eth0:6000", "--from", &from, "--speed", "2", "--json"];
    let ended = start(&network.bridges[0], &arguments).end();
    assert_eq!(ended.status, Some(1), "there is a gap: {ended:?}");
    let mut events = ended.json();
    let summary = events.pop().unwrap();
    crate::schemas::assert_valid("bridge-publish-summary", &summary);
    events.iter().for_each(|event| crate::schemas::assert_valid("bridge-publish-event", event));
    assert_eq!(
        (&summary["messages"], &summary["gaps"], &summary["missing"], &summary["stream"]),
        (&16.into(), &1.into(), &10.into(), &Value::Null)
    );
    eventually("all datagrams", || received(&receiver).len() == 16);
    let received = received(&receiver);
    let texts: Vec<String> = received.iter().map(|(text, _)| text.clone()).collect();
    assert_eq!(texts, [expected(5..10), expected(20..31)].concat());
    // 2.5 s at twice the speed. A busy machine delays the end.
    let took = seconds(&received[15].1) - seconds(&received[0].1);
    assert!((1.2..10.0).contains(&took), "{took} s");
    receiver.signalled(libc::SIGINT);
}

fn a_circle_is_noticed<T: SourceEngine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    let keeping = keep(&network, 0, &engine, &[]);
    eventually("the first datagram", || {
        send(&network, GROUP, 0..1);
        engine.length() > 0
    });
    let before = engine.length();
    let url = engine.url();
    let ended = start(&network.bridges[0], &["bridge", &url, "to", GROUP, "--stay", "--speed", "1000"]).end();
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("send them to another group"), "{ended:?}");
    // Each was stored twice, and not again and again.
    assert!(engine.length() <= 2 * before + 64, "{} records of {before}", engine.length());
    keeping.signalled(libc::SIGINT);
}

fn options_of_streams_are_refused_for_datagrams<T: SourceEngine>() {
    let network = Network::new([0.0, 0.0]);
    let Some(engine) = T::start(&network, Setup::Plain) else { return };
    engine.store(&[datagram(0, "10.7.7.7:7")]);
    let url = engine.url();
    let cases: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("--wait-for applies to a stream", vec!["bridge", &url, "to", GROUP, "--wait-for", "1"]),
        ("--name applies to a stream", vec!["bridge", &url, "to", GROUP, "--name", "x"]),
        (
            "--datagrams applies only when storing in a broker",
            vec!["bridge", &url, "to", GROUP, "--datagrams"],
        ),
        ("cannot be used with", vec!["bridge", GROUP, "to", &url, "--datagrams", "--name", "x"]),
        ("add ?key=KEY to the URL\n", vec!["bridge", GROUP, "to", "redis://127.0.0.1:9", "--datagrams"]),
    ]);
    for (expected, arguments) in cases {
        let ended = start(&network.bridges[0], &arguments).end();
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
    }
}
