//! What is forwarded, and to where.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mcast_lab::Host;

use crate::network::{Network, address, of_type, refused, relay, sender, stop, texts};
use crate::support::{TIMEOUT, eventually, mcast, recv, send};

const GROUP: &str = "239.1.2.3:5000";
/// 239.1.2.3 as the kernel lists it.
const GROUP_IN_TABLE: &str = "030201EF";

fn has_joined(host: &Host) -> bool {
    host.read_proc_net("igmp").unwrap().contains(GROUP_IN_TABLE)
}

/// Receives until nothing has come for a while; returns the texts.
fn receive_all(running: crate::support::Running) -> Vec<String> {
    texts(&running.end())
}

#[test]
fn a_group_is_joined_upstream_only_while_a_host_downstream_has_joined() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1"]);
    assert!(!has_joined(&r), "nobody wants it");
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "--idle", "1s"]);
    eventually("a join upstream", || has_joined(&r));
    send(&a, &[GROUP, "-i", "eth0", "--ttl", "4", "wanted"]);
    assert_eq!(receive_all(receiver), ["wanted"]);
    // The receiver has left. Other members have two seconds to report.
    let left = Instant::now();
    eventually("the leave upstream", || !has_joined(&r));
    assert!(left.elapsed() < Duration::from_secs(4), "{:?}", left.elapsed());
    let (_, summary) = stop(relay);
    assert_eq!((&summary["rules"][0]["copies"], &summary["unsent"]), (&1.into(), &0.into()));
}

#[test]
fn ten_thousand_identical_datagrams_all_pass() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &["239.1.2.3:5000 between eth0 and eth1 always"]);
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--discard", "--json", "-c", "10000", "-W", "25s"]);
    send(&a, &[GROUP, "-i", "eth0", "--ttl", "4", "-c", "10000", "--rate", "5kpps", "the same"]);
    let received = receiver.end();
    let (events, summary) = stop(relay);
    assert_eq!(received.json()[0]["datagrams"], 10_000, "{received:?} {summary}");
    assert!(of_type(&events, "loop-found").is_empty(), "{events:?}");
    assert_eq!(summary["rules"][0]["copies"], 10_000);
}

#[test]
fn groups_families_and_broadcasts_are_rewritten() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(
        &r,
        &[
            "239.1.2.0/30:5000 from eth0 to eth1 as 239.7.0.0/30:6000 always",
            "239.2.2.2:5000 from eth0 to eth1 as [ff15::1:3]:6001 always",
            "[ff15::7]:5000 from eth0 to eth1 as 239.7.7.7 always",
            "broadcast:5002 from eth0 to eth1 as 239.8.8.8:6002 always",
            "239.3.3.3:5000 from eth0 to eth1 as broadcast:6003 always",
        ],
    );
    relay.stdout.wait_for("6003 always\",\"from\":\"eth0\"");
    let groups = ["239.7.0.3:6000", "[ff15::1:3]:6001", "239.7.7.7:5000", "239.8.8.8:6002"];
    let receiver = recv(&b, &[&groups[..], &["-i", "eth0", "--json", "-c", "4", "-W", "20s"]].concat());
    let broadcasts = b.run(|| UdpSocket::bind("0.0.0.0:6003")).unwrap().unwrap();
    for (group, text) in
        [("239.1.2.3:5000", "range"), ("239.2.2.2:5000", "to IPv6"), ("[ff15::7]:5000", "to IPv4")]
    {
        send(&a, &[group, "-i", "eth0", "--ttl", "4", text]);
    }
    let broadcaster = a.run(|| UdpSocket::bind("10.0.1.1:0")).unwrap().unwrap();
    broadcaster.set_broadcast(true).unwrap();
    broadcaster.set_ttl(4).unwrap();
    broadcaster.send_to(b"from broadcast", "10.0.1.255:5002").unwrap();
    send(&a, &["239.3.3.3:5000", "-i", "eth0", "--ttl", "4", "to broadcast"]);

    let received = receiver.end();
    let mut found: Vec<_> = received
        .json()
        .iter()
        .map(|datagram| (datagram["group"].as_str().unwrap().to_owned(), datagram["text"].to_string()))
        .collect();
    found.sort();
    let expected = [
        ("239.7.0.3", "\"range\""),
        ("239.7.7.7", "\"to IPv4\""),
        ("239.8.8.8", "\"from broadcast\""),
        ("ff15::1:3", "\"to IPv6\""),
    ];
    assert_eq!(found, expected.map(|(group, text)| (group.to_owned(), text.to_owned())), "{received:?}");
    broadcasts.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut buffer = [0; 64];
    let (length, source) = broadcasts.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], source.ip()), (&b"to broadcast"[..], address(2, 9)));
    stop(relay);
}

#[test]
fn a_target_that_cannot_be_reached_does_not_delay_the_others() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let targets =
        ["10.0.2.77:7000", "10.0.2.2:7001", "10.0.2.2:7000"].map(|target| format!("udp://{target}"));
    let target = b.run(|| UdpSocket::bind("10.0.2.2:7000")).unwrap().unwrap();
    target.set_read_timeout(Some(TIMEOUT)).unwrap();
    let relay = relay(&r, &[&format!("239.1.2.3:5000 from eth0 to {}", targets.join(","))]);
    relay.stdout.wait_for("\"to\":\"udp://10.0.2.2:7000\"");
    eventually("a join upstream", || has_joined(&r));
    let socket = sender(&a, address(1, 1));
    let mut buffer = [0; 64];
    for number in 0..200_u32 {
        let sent = Instant::now();
        socket.send_to(&number.to_be_bytes(), GROUP).unwrap();
        let (length, _) = target.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..length], number.to_be_bytes());
        assert!(sent.elapsed() < Duration::from_secs(1), "{number}: {:?}", sent.elapsed());
    }
    // Nobody has that port: the host says so, and the target is left alone for a while.
    eventually("an unreachable target", || {
        socket.send_to(b"more", GROUP).unwrap();
        relay.stdout.text().contains("\"reason\":\"unreachable\"")
    });
    let (_, summary) = stop(relay);
    assert!(refused(&summary, "unreachable") > 0, "{summary}");
}

#[test]
fn a_datagram_with_ttl_1_is_not_forwarded_unless_the_rule_says_so() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(
        &r,
        &["239.1.2.3:5000 from eth0 to eth1 always", "239.1.2.4:5000 from eth0 to eth1 ttl 2 always"],
    );
    relay.stdout.wait_for("ttl 2 always\",\"from\":\"eth0\"");
    let receiver = recv(&b, &[GROUP, "239.1.2.4:5000", "-i", "eth0", "--json", "-c", "1", "-W", "20s"]);
    send(&a, &[GROUP, "-i", "eth0", "one hop"]);
    relay.stdout.wait_for("\"reason\":\"hop-limit\"");
    send(&a, &["239.1.2.4:5000", "-i", "eth0", "one hop, and more"]);
    let received = receiver.end();
    assert_eq!(
        (&received.json()[0]["text"], &received.json()[0]["ttl"]),
        (&"one hop, and more".into(), &2.into())
    );
    let (events, _) = stop(relay);
    let refused = of_type(&events, "not-forwarded");
    assert!(refused[0]["remedy"].as_str().unwrap().contains("ttl N"), "{refused:?}");
}

#[test]
fn doctor_on_the_machine_of_a_relay_states_what_is_not_forwarded() {
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]));
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1 always"]);
    send(&a, &[GROUP, "-i", "eth0", "one hop"]);
    relay.stdout.wait_for("\"reason\":\"hop-limit\"");
    let finding = || {
        let report = mcast(&r, &["doctor", "--json"]).json();
        report.into_iter().find(|record| record["id"] == "not-relayed")
    };
    // The relay updates its counters every second.
    eventually("the counter of the relay", || finding().is_some());
    let finding = finding().unwrap();
    let cause = finding["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("1 datagram of the rule `239.1.2.3:5000 from eth0 to eth1 always` had TTL 1"),
        "{cause}"
    );
    assert!(finding["remedies"][0].to_string().contains("--ttl 2"), "{finding}");
    stop(relay);
    let after = mcast(&r, &["doctor", "--json"]).json();
    assert!(after.iter().all(|record| record["id"] != "not-relayed"), "{after:?}");
}

#[test]
fn what_the_sockets_of_a_relay_lose_is_reported_by_the_relay_and_by_the_doctor() {
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]));
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1 always ttl 4", "--metrics", "127.0.0.1:9479"]);
    let socket = sender(&a, address(1, 1));
    relay.child.signal(libc::SIGSTOP).unwrap();
    // More than its receive buffer takes.
    for number in 0..40_000_u32 {
        let mut payload = [0; 1_200];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        socket.send_to(&payload, GROUP).unwrap();
    }
    relay.child.signal(libc::SIGCONT).unwrap();
    relay.stdout.wait_for(r#""event":"receive-lost""#);
    // The relay updates its counters every second.
    let finding = || {
        let report = mcast(&r, &["doctor", "--json"]).json();
        report.into_iter().find(|record| record["id"] == "not-relayed")
    };
    eventually("a finding of the doctor", || finding().is_some());
    let finding = finding().unwrap();
    let cause = finding["cause"].as_str().unwrap();
    assert!(
        cause.contains("datagrams of the rule `all rules` did not fit into the receive buffer"),
        "{cause}"
    );
    let (events, summary) = stop(relay);
    let (lost, rule) = (summary["lost"].as_u64().unwrap(), &summary["rules"][0]);
    assert!(lost > 0 && lost + rule["arrived"].as_u64().unwrap() <= 40_000, "{summary}");
    let reported: u64 =
        of_type(&events, "receive-lost").iter().filter_map(|event| event["count"].as_u64()).sum();
    assert!((1..=lost).contains(&reported), "{reported} of {lost}");
}
