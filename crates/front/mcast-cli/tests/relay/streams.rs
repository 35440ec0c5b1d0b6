//! Streams of the message layer through a relay, which returns requests to the publisher.

use crate::network::{Network, relay, stop};
use crate::support::start;

const GROUP: &str = "239.1.2.3:7000";

#[test]
fn a_stream_is_repaired_through_a_relay() {
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]));
    let hosts = [network.lossy_host("b", 2, 2, 0.1), network.lossy_host("c", 3, 2, 0.05)];
    let relay = relay(&r, &["239.1.2.3:7000 from eth0 to eth1"]);
    let subscribers = hosts.each_ref().map(|host| {
        let subscriber = start(host, &["subscribe", "-i", "eth0", GROUP]);
        subscriber.stderr.wait_for("joined");
        subscriber
    });

    let words: Vec<String> = (0..400).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let expected: String = words.iter().map(|word| format!("{word}\n")).collect();
    let options = ["publish", "-i", "eth0", GROUP, "--ttl", "4", "--wait-for", "2", "--rate", "2000pps"];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    start(&a, &[&options, &words[..]].concat()).end().succeeded();
    for subscriber in subscribers {
        assert_eq!(subscriber.end().succeeded().text(), expected);
    }
    let (_, summary) = stop(relay);
    assert!(summary["rules"][0]["replies"].as_u64().unwrap() > 0, "{summary}");
}
