//! Streams to listed hosts and as broadcasts, where the switch drops multicast.

use mcast_lab::Host;

use crate::schemas::assert_valid;
use crate::support::{Lan, Running, mcast, start};

/// A network that drops multicast, but no broadcasts.
fn lan_without_multicast() -> Lan {
    let lan = Lan::new();
    const RULES: &str = "table bridge filter {\n\
        chain forward {\n\
            type filter hook forward priority 0;\n\
            ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 ether daddr != ff:ff:ff:ff:ff:ff drop\n\
        }\n\
    }";
    let applied = lan.switch.inside().command("nft").unwrap().arg(RULES).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    lan
}

fn subscribe(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["subscribe"], arguments].concat());
    running.stderr.wait_for("listening at");
    running
}

#[test]
fn listed_hosts_receive_everything_and_a_dead_one_is_reported() {
    let lan = lan_without_multicast();
    let subscribers = [&lan.b, &lan.c].map(|host| subscribe(host, &["0.0.0.0:7000"]));
    let words: Vec<String> = (0..200).map(|number| format!("message{number}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let arguments = [
        "publish",
        "10.0.0.2:7000",
        "--path",
        "10.0.0.3,10.0.0.77",
        "--wait-for",
        "2",
        "--rate",
        "40pps",
        "--json",
    ];
    let ended = mcast(&lan.a, &[&arguments, &words[..]].concat()).succeeded();
    assert!(ended.stderr.contains("to 10.0.0.2:7000 and 10.0.0.3:7000 and 10.0.0.77:7000\n"), "{ended:?}");
    for report in ["warning: 10.0.0.77:7000 is unreachable: ", "  10.0.0.77:7000  is unreachable: "] {
        assert_eq!(ended.stderr.matches(report).count(), 1, "{ended:?}");
    }
    assert!(ended.stderr.contains("2 of 2 subscribers have everything"), "{ended:?}");
    let report = &ended.json()[0];
    assert_valid("publish-report", report);
    let hosts = report["hosts"].as_array().unwrap();
    let reachable: Vec<_> = hosts.iter().map(|host| host["reachable"].as_bool().unwrap()).collect();
    assert_eq!(reachable, [true, true, false], "{report}");
    assert!(hosts[2]["skipped_datagrams"].as_u64().unwrap() > 0, "{report}");
    for subscriber in subscribers {
        assert_eq!(subscriber.end().succeeded().lines(), words);
    }
}

#[test]
fn several_subscribers_of_a_host_receive_broadcasts() {
    let lan = lan_without_multicast();
    let arguments = ["--broadcast", "7000", "-i", "eth0"];
    let subscribers = [&lan.b, &lan.b, &lan.c].map(|host| subscribe(host, &arguments));
    mcast(&lan.a, &[&["publish"], &arguments[..], &["--wait-for", "3", "a", "b"]].concat()).succeeded();
    for subscriber in subscribers {
        assert_eq!(subscriber.end().succeeded().lines(), ["a", "b"]);
    }
}

#[test]
fn an_announced_stream_is_found_by_its_name() {
    let lan = lan_without_multicast();
    let mut publishing = crate::support::program(
        &lan.a,
        crate::support::MCAST,
        &["publish", "10.0.0.2:7000", "--announce", "prices", "--wait-for", "1"],
        true,
    );
    let subscriber = start(&lan.b, &["subscribe", "prices"]);
    subscriber.stderr.wait_for("listening at 0.0.0.0:7000");
    use std::io::Write;
    publishing.child.stdin.take().unwrap().write_all(b"apples 5\n").unwrap();
    publishing.end().succeeded();
    assert_eq!(subscriber.end().succeeded().lines(), ["apples 5"]);
}

#[test]
fn only_one_subscriber_listens_at_an_address() {
    let lan = Lan::new();
    let _first = subscribe(&lan.b, &["0.0.0.0:7000"]);
    let refused = mcast(&lan.b, &["subscribe", "10.0.0.2:7000", "-W", "1"]);
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("for 10.0.0.2:7000: the address is in use"), "{refused:?}");
}
