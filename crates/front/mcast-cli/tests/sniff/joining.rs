//! `--join`: a snooping switch forwards joined groups, and silence is reported.

use std::time::Instant;

use mcast_lab::{Host, Lab};

use crate::sniff;
use crate::support::{TIMEOUT, eventually, send};

/// Two hosts on a switch that snoops and asks.
fn snooping() -> (Lab, Host, Host) {
    let lab = Lab::new().unwrap();
    let switch = lab.switch("lan").unwrap();
    switch.set_snooping(true).unwrap();
    switch.set_querier(true).unwrap();
    let host = |name: &str, number: u8| {
        let host = lab.host(name).unwrap();
        host.connect("eth0", &switch, &[&format!("10.0.0.{number}/24")]).unwrap();
        host.add_route("224.0.0.0/4", "eth0").unwrap();
        host
    };
    let (a, b) = (host("a", 1), host("b", 2));
    (lab, a, b)
}

#[test]
fn a_snooping_switch_forwards_joined_groups() {
    const GROUP: &str = "239.255.1.2";

    let (_lab, a, b) = snooping();
    let member = crate::support::recv(&a, &["239.255.1.2:5000"]);
    let without = sniff(&b, &[GROUP]);
    let with = sniff(&b, &[GROUP, "--join", "-c", "1"]);
    with.stderr.wait_for("joined on eth0");
    // Reports take their time, and so does the switch's querier.
    let deadline = Instant::now() + TIMEOUT;
    while with.stdout.text().is_empty() {
        assert!(Instant::now() < deadline, "the switch held it back");
        send(&a, &["239.255.1.2:5000", "x"]);
    }
    let ended = with.end().succeeded();
    assert!(!ended.stderr.contains("nothing has arrived"), "{}", ended.stderr);
    // Once the membership of the one has opened the port, the other sees it, too: it shares the interface.
    without.signalled(libc::SIGINT);
    member.signalled(libc::SIGINT);
}

#[test]
fn joined_groups_without_traffic_are_reported() {
    let (_lab, a, b) = snooping();
    let sniffer = sniff(&b, &["239.255.1.2:5000", "239.255.1.3:5000", "--join"]);
    eventually("a packet of one of both", || {
        send(&a, &["239.255.1.2:5000", "x"]);
        !sniffer.stdout.text().is_empty()
    });
    let ended = sniffer.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130));
    assert!(
        ended.stderr.contains("239.255.1.3 is joined on eth0, but nothing has arrived for it"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("239.255.1.2 is joined on eth0, but nothing"), "{}", ended.stderr);
    assert!(ended.stderr.contains("mcast doctor"), "{}", ended.stderr);
}

#[test]
fn silence_is_reported_while_it_lasts() {
    let (_lab, _a, b) = snooping();
    let sniffer = sniff(&b, &["239.255.1.2", "--join"]);
    sniffer.stderr.wait_for("239.255.1.2 is joined on eth0, but nothing has arrived for it in ");
    assert_eq!(sniffer.signalled(libc::SIGINT).status, Some(130));
}

#[test]
fn duplicate_joins_are_reported_once() {
    let (_lab, _a, b) = snooping();
    for arguments in
        [&["239.255.1.2", "--join", "239.255.1.2"][..], &["--join=239.255.1.2", "--join=239.255.1.2"]]
    {
        let sniffer = sniff(&b, arguments);
        sniffer.stderr.wait_for("has arrived for it in ");
        let ended = sniffer.signalled(libc::SIGINT);
        assert_eq!(ended.stderr.matches("239.255.1.2: joined on eth0").count(), 1, "{ended:?}");
        // While it lasts, and at the end.
        assert_eq!(
            ended.stderr.matches("239.255.1.2 is joined on eth0, but nothing").count(),
            2,
            "{ended:?}"
        );
    }
}

#[test]
fn traffic_that_is_not_shown_counts_as_arrived() {
    let (_lab, a, b) = snooping();
    let sniffer = sniff(&b, &["239.255.1.2", "--join=239.255.1.3:5000"]);
    sniffer.stderr.wait_for("239.255.1.3: joined on eth0");
    let shown = sniff(&b, &["239.255.1.3"]);
    eventually("a packet that is joined", || {
        send(&a, &["239.255.1.3:5000", "x"]);
        !shown.stdout.text().is_empty()
    });
    shown.signalled(libc::SIGINT);
    let ended = sniffer.signalled(libc::SIGINT);
    assert_eq!(ended.text(), "", "{ended:?}");
    assert!(!ended.stderr.contains("nothing has arrived"), "{ended:?}");
}
