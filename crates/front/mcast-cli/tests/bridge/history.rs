//! Subscribers that read what a bridge has stored in Redis, and then the live stream.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mcast_lab::{Host, Lab};

use crate::audit::records;
use crate::engine::{Engine, Setup};
use crate::network::{Network, close, text, write};
use crate::redis::Redis;
use crate::support::{MCAST, Running, eventually, mcast, program, start};

const GROUP: &str = "239.1.2.3%eth0:7000";

struct Lan {
    _lab: Lab,
    publisher: Host,
    bridge: Host,
    subscriber: Host,
}

impl Lan {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("lan").unwrap();
        let host = |name: &str, address: &str| {
            let host = lab.host(name).unwrap();
            host.connect("eth0", &switch, &[address]).unwrap();
            host
        };
        let (publisher, bridge) = (host("p", "10.0.0.1/24"), host("b", "10.0.0.2/24"));
        let subscriber = host("s", "10.0.0.3/24");
        Self { _lab: lab, publisher, bridge, subscriber }
    }

    /// Starts a publisher that retains little.
    fn publish(&self, options: &[&str]) -> Running {
        let arguments = ["publish", GROUP, "--name", "prices", "--wait-for", "1", "--history", "64K"];
        program(&self.publisher, MCAST, &[&arguments, options].concat(), true)
    }

    fn keep(&self, redis: &Redis, options: &[&str]) -> Running {
        let url = redis.url();
        let arguments = ["bridge", GROUP, "to", &url, "--name", "prices"];
        let bridge = start(&self.bridge, &[&arguments, options].concat());
        bridge.stderr.wait_for("keeping the stream in");
        bridge
    }

    fn subscribe(&self, options: &[&str]) -> Running {
        let arguments = ["subscribe", GROUP, "--name", "prices"];
        start(&self.subscriber, &[&arguments, options].concat())
    }
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| text(number) + "\n").collect()
}

fn everything_comes_from_the_history_and_then_from_the_stream(options: &[&str]) {
    let lan = Lan::new();
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let bridge = lan.keep(&redis, &[&["--stay", "--serve-history", "0.0.0.0:0"], options].concat());
    let mut publisher = lan.publish(options);
    write(&mut publisher, 0..20_000);
    eventually("20,000 messages", || redis.length() == 20_000);
    bridge.stderr.wait_for("serving the history at");
    let late = |from: &str| lan.subscribe(&[&["--from", from], options].concat());
    let (all, some, hour) = (late("oldest"), late("19990"), late("1h"));
    for each in [&all, &some, &hour] {
        each.stderr.wait_for("subscribed to");
    }
    write(&mut publisher, 20_000..20_500);
    for each in [&all, &some, &hour] {
        each.stdout.wait_for("message 20499 ");
    }
    close(&mut publisher);
    publisher.end().succeeded();
    for (subscriber, first) in [(all, 0), (some, 19_990), (hour, 0)] {
        let ended = subscriber.end().succeeded();
        assert!(ended.text() == lines(first..20_500), "from {first}: {}", ended.stderr);
        if first == 0 {
            assert!(ended.stderr.contains("came from the history"), "{}", ended.stderr);
        }
    }
    bridge.child.kill().unwrap();
}

#[test]
fn late_subscribers_get_everything_from_the_history_and_then_the_live_stream() {
    everything_comes_from_the_history_and_then_from_the_stream(&[]);
}

#[test]
fn the_history_of_a_sealed_stream_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("prices.key");
    let key = key.to_str().unwrap();
    mcast(&Lan::new().publisher, &["keys", "make", key]).succeeded();
    everything_comes_from_the_history_and_then_from_the_stream(&["--key", key]);
}

/// Everything takes 4 s, and the stream ends in the middle of it.
#[test]
fn a_bridge_that_ends_with_the_stream_waits_for_those_that_read_its_history() {
    const LINES: usize = 4_000;
    let lan = Lan::new();
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let bridge = lan.keep(&redis, &["--serve-history", "0.0.0.0:0:8Mbit"]);
    let mut publisher = lan.publish(&["--linger", "1m"]);
    let lines: String = (0..LINES).map(|number| format!("{number} {}\n", "x".repeat(1_000))).collect();
    publisher.child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    eventually("all messages", || redis.length() == LINES as u64);
    bridge.stderr.wait_for("serving the history at");
    let late = lan.subscribe(&["--from", "oldest"]);
    late.stdout.wait_for("0 x");
    close(&mut publisher);
    bridge.stderr.wait_for("waiting for the subscribers that read its history");
    let ended = late.end().succeeded();
    assert!(ended.text() == lines, "{}", ended.stderr);
    publisher.end().succeeded();
    bridge.end().succeeded();
}

#[test]
fn a_subscriber_reads_the_history_of_a_restarted_publisher() {
    let lan = Lan::new();
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let bridge = lan.keep(&redis, &["--stay", "--serve-history", "0.0.0.0:0"]);
    for life in 0..2 {
        let mut publisher = lan.publish(&[]);
        write(&mut publisher, 0..500);
        close(&mut publisher);
        publisher.end().succeeded();
        eventually("the messages and the end", || redis.length() == 501 * (life + 1));
    }
    // There is no publisher any more.
    let ended = lan.subscribe(&["--from", "oldest"]).end().succeeded();
    assert!(ended.text() == lines(0..500) + &lines(0..500), "{}", ended.stderr);
    assert!(ended.stderr.contains("the publisher has restarted"), "{}", ended.stderr);
    bridge.child.kill().unwrap();
}

/// Returns what a server responds to these bytes, on a host.
fn response(host: &Host, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    host.run(|| {
        let (mut connection, mut response) = (TcpStream::connect(to).unwrap(), Vec::new());
        connection.write_all(bytes).unwrap();
        // It may reset the connection.
        let _ = connection.read_to_end(&mut response);
        response
    })
    .unwrap()
}

#[test]
fn what_the_history_server_does_is_in_events_metrics_and_the_summary() {
    let lan = Lan::new();
    let Some(redis) = Redis::launch(Setup::Plain) else { return };
    let options = ["--stay", "--serve-history", "10.0.0.2:0", "--json", "--metrics", "10.0.0.2:0"];
    let bridge = lan.keep(&redis, &options);
    let mut publisher = lan.publish(&[]);
    write(&mut publisher, 0..500);
    eventually("500 messages", || redis.length() == 500);
    bridge.stdout.wait_for(r#""event":"serving-history""#);
    let text = bridge.stdout.text();
    let serving = text.lines().find(|line| line.contains("serving-history")).unwrap();
    let serving: serde_json::Value = serde_json::from_str(serving).unwrap();
    let history: SocketAddr = serving["address"].as_str().unwrap().parse().unwrap();
    let subscriber = lan.subscribe(&["--from", "oldest", "--history-server", &history.to_string()]);
    subscriber.stdout.wait_for("message 499 ");

    // A request with an unknown start.
    let mut request = [&[0; 8][..], &28_u32.to_be_bytes(), &[0; 28]].concat();
    request[8 + 4 + 12] = 9;
    let greeting = response(&lan.subscriber, history, &request);
    assert!(greeting.starts_with(b"MCH1") && greeting.len() == 14, "{greeting:?}");
    bridge.stdout.wait_for(r#""event":"history-refused""#);
    bridge.stderr.wait_for("was refused: the request is malformed");

    let note = bridge.stderr.text();
    let metrics = note.split_once("metrics at http://").unwrap().1.split_once('/').unwrap().0;
    let metrics = metrics.parse().unwrap();
    eventually("the metrics", || {
        let page = response(&lan.subscriber, metrics, b"GET /metrics HTTP/1.0\r\n\r\n");
        String::from_utf8(page).unwrap().contains("\nmcast_bridge_history_refused_total 1\n")
    });
    close(&mut publisher);
    publisher.end().succeeded();
    subscriber.end().succeeded();
    let (events, summary) = records(&bridge.signalled(libc::SIGINT));
    let refused = events.iter().find(|event| event["event"] == "history-refused").unwrap();
    assert_eq!((&refused["count"], &refused["reason"]), (&1.into(), &"the request is malformed".into()));
    assert!(refused["address"].as_str().unwrap().starts_with("10.0.0.3:"), "{refused}");
    let served = &summary["history"];
    assert_eq!(served["refused"], 1);
    assert!(served["requests"].as_u64() > Some(0) && served["records"].as_u64() >= Some(500), "{served}");
    assert!(served["bytes"].as_u64() > served["records"].as_u64(), "{served}");
}

#[test]
fn a_gap_that_the_publisher_cannot_repair_is_healed_from_the_history() {
    let network = Network::new([0.0, 0.0]);
    let Some(redis) = Redis::start(&network, Setup::Plain) else { return };
    // The bridge gets everything on its own path.
    let bridge = network.bridge(0, &redis, &["--serve-history", "10.9.0.1:7768"]);
    let arguments = ["subscribe", "239.1.2.4%eth0:7000", "--name", "prices"];
    let heal = ["--heal", "--history-server", "10.9.0.1:7768"];
    let healed = start(&network.bridges[1], &[&arguments[..], &heal].concat());
    let mut publisher = network.publish(&["--wait-for", "2", "--flow", "none", "--history", "128K"]);
    write(&mut publisher, 0..1_000);
    healed.stdout.wait_for("message 999 ");
    network.links[1].cut().unwrap();
    for block in 1..20 {
        // Without flow control, the bridge must keep up.
        write(&mut publisher, 1_000 * block..1_000 * (block + 1));
        eventually("the block", || redis.length() == 1_000 * (block + 1));
    }
    network.links[1].restore().unwrap();
    write(&mut publisher, 20_000..20_100);
    healed.stdout.wait_for("message 20099 ");
    close(&mut publisher);
    publisher.end();
    let ended = healed.end().succeeded();
    assert!(ended.text() == lines(0..20_100), "{}", ended.stderr);
    assert!(ended.stderr.contains("came from the history"), "{}", ended.stderr);
    bridge.end().succeeded();
}

#[test]
fn without_a_history_what_is_missing_is_reported_as_lost() {
    let lan = Lan::new();
    let mut publisher = lan.publish(&[]);
    let first = lan.subscribe(&[]);
    write(&mut publisher, 0..20_000);
    first.stdout.wait_for("message 19999 ");
    let late = lan.subscribe(&["--from", "5", "--history-server", "10.0.0.2:9", "--json"]);
    late.stdout.wait_for("\"history-failed\"");
    late.stdout.wait_for("\"sequence\":19999");
    close(&mut publisher);
    publisher.end();
    first.end().succeeded();
    let ended = late.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let records = ended.json();
    let lost: Vec<_> = records.iter().filter(|record| record["event"] == "lost").collect();
    assert_eq!((lost.len(), &lost[0]["sequence"]), (1, &5.into()), "{lost:?}");
    let messages = records.iter().filter(|record| record["event"] == "message").count() as u64;
    assert_eq!(messages + lost[0]["count"].as_u64().unwrap(), 20_000 - 5);
    assert!(ended.stderr.contains("history server 10.0.0.2:9 cannot be used"), "{}", ended.stderr);
}
