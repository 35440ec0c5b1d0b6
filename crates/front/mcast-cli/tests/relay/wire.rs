//! Forwarding past the socket (`--wire`).

use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;

use mcast_lab::Host;

use crate::network::{Network, address, member, relay, relay_unready, sender, stop};
use crate::support::{Running, TIMEOUT, eventually, mcast};

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 1, 2, 3), 5000);
const TAKEN: &str = "taken off the interface (AF_XDP)";
const NO_RIGHTS: &str = "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW are needed";

/// Sends numbers to the group, and receives them on the other side: each once and in order.
fn pass(from: &UdpSocket, to: &UdpSocket, numbers: Range<u32>) {
    /// Datagrams that have room in any receive buffer.
    const AT_ONCE: usize = 32;
    let mut buffer = [0; 64];
    let numbers: Vec<u32> = numbers.collect();
    for some in numbers.chunks(AT_ONCE) {
        for number in some {
            from.send_to(&number.to_be_bytes(), GROUP).unwrap();
        }
        for number in some {
            let (length, _) = to.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], number.to_be_bytes(), "{number} was expected");
        }
    }
}

/// Returns a sender on the first segment, and a member on the second one.
fn ends(a: &Host, b: &Host) -> (UdpSocket, UdpSocket) {
    let member = member(b, GROUP, Ipv4Addr::new(10, 0, 2, 2));
    member.set_read_timeout(Some(TIMEOUT)).unwrap();
    (sender(a, address(1, 1)), member)
}

/// Waits until a relay reports how it receives the group on `eth0`; returns whether its frames are taken.
fn reports_way(relay: &Running) -> bool {
    let way = |text: &str| relay.stderr.text().contains(&format!("239.1.2.3:5000 on eth0: {text}"));
    eventually("it reports the way", || way(TAKEN) || way(&format!("received by the socket: {NO_RIGHTS}")));
    way(TAKEN)
}

#[test]
fn a_group_passes_without_loss_or_repeat_when_another_program_begins_to_receive() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let (from, to) = ends(&a, &b);
    // Joined when the member has reported itself, after the relay has dropped its rights.
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1", "--wire", "auto"]);
    let is_taken = reports_way(&relay);
    pass(&from, &to, 0..1_000);

    let other = member(&r, GROUP, Ipv4Addr::new(10, 0, 1, 9));
    let mut sent = 1_000;
    eventually("the relay notices the other program", || {
        pass(&from, &to, sent..sent + 32);
        sent += 32;
        !is_taken || relay.stderr.text().contains("receives on this port, too")
    });
    pass(&from, &to, sent..sent + 1_000);
    drop(other);

    let (_, summary) = stop(relay);
    let rule = &summary["rules"][0];
    assert_eq!((&rule["arrived"], &rule["copies"]), (&(sent + 1_000).into(), &(sent + 1_000).into()));
    assert_eq!(summary["lost"], 0, "{summary}");
    let reason = summary["wire"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(if is_taken { "receives on this port, too" } else { "CAP_BPF" }), "{summary}");
}

#[test]
fn groups_in_both_directions_stay_with_the_sockets_and_require_does_not_concern_them() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let (from, to) = ends(&a, &b);
    let only = ["239.1.2.3:5000 between eth0 and eth1 always", "--wire", "require"];
    let relay_both = relay(&r, &only);
    let why = "another leg of this relay receives it, too";
    relay_both.stderr.wait_for(&format!("239.1.2.3:5000 on eth0: received by the socket: {why}"));
    relay_both.stderr.wait_for(&format!("239.1.2.3:5000 on eth1: received by the socket: {why}"));
    relay_both.stderr.wait_for("groups that several legs receive, are received by the sockets");
    pass(&from, &to, 0..100);
    let (_, summary) = stop(relay_both);
    let ways: Vec<_> = summary["wire"].as_array().unwrap().iter().map(|way| &way["reason"]).collect();
    assert_eq!(ways, [why, why], "{summary}");

    // Beside a group that is forwarded one way.
    let both = ["239.1.2.4:5000 between eth0 and eth1 always", "239.1.2.3:5000 from eth0 to eth1 always"];
    let relay_one = relay(&r, &[&both[..], &["--wire", "auto"]].concat());
    let is_taken = reports_way(&relay_one);
    pass(&from, &to, 0..100);
    let (_, summary) = stop(relay_one);
    let ways = summary["wire"].as_array().unwrap();
    let of = |group: &'static str| ways.iter().filter(move |way| way["group"] == group);
    assert!(of("239.1.2.4").all(|way| way["reason"] == why), "{summary}");
    assert_eq!(of("239.1.2.4").count(), 2, "{summary}");
    assert!(of("239.1.2.3").all(|way| way["reason"].is_null() == is_taken), "{summary}");
}

#[test]
fn what_cannot_be_taken_is_refused_with_the_cause() {
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let other = member(&r, GROUP, Ipv4Addr::new(10, 0, 1, 9));
    let refused = mcast(&r, &["relay", "239.1.2.0/30:5000 from eth0 to eth1 always", "--wire", "require"]);
    let why = "cannot take 239.1.2.0:5000 off eth0: relay-";
    match refused.stderr.contains(NO_RIGHTS) {
        true => assert_eq!(refused.status, Some(3), "{refused:?}"),
        false => {
            assert_eq!(refused.status, Some(4), "{refused:?}");
            let named = format!("(process {}) receives on this port, too", std::process::id());
            assert!(refused.stderr.contains(why) && refused.stderr.contains(&named), "{refused:?}");
            assert!(refused.stderr.contains("--wire auto"), "{refused:?}");
        }
    }
    drop(other);
    let refused = mcast(&r, &["relay", "239.1.2.3:5000 from lo to eth1 always", "--wire", "require"]);
    assert!(refused.stderr.contains("off lo: it is not an Ethernet interface"), "{refused:?}");
}

#[test]
fn a_group_that_is_refused_later_is_reported_and_not_joined() {
    let network = Network::new(2);
    let (r, b) = (network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay_unready(&r, &["239.1.2.3:5000 from eth0 to eth1", "--wire", "require"]);
    eventually("it starts, or lacks rights", || {
        relay.stdout.text().contains("\"event\":\"forwarding\"") || relay.stderr.text().contains(NO_RIGHTS)
    });
    if relay.stderr.text().contains(NO_RIGHTS) {
        assert_eq!(relay.end().status, Some(3));
        return;
    }
    let other = member(&r, GROUP, Ipv4Addr::new(10, 0, 1, 9));
    let joined = member(&b, GROUP, Ipv4Addr::new(10, 0, 2, 2));
    relay.stdout.wait_for("receives on this port, too");
    // Only the relay could have joined it now.
    drop(other);
    let table = r.read_proc_net("igmp").unwrap();
    assert!(!table.contains("030201EF"), "{table}");
    drop(joined);
    let (events, _) = stop(relay);
    let problem = crate::network::of_type(&events, "problem");
    assert!(problem[0]["reason"].as_str().unwrap().contains("239.1.2.3:5000"), "{events:?}");
}

#[test]
fn nothing_remains_attached_after_kill_9() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let (from, to) = ends(&a, &b);
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1 always", "--wire", "auto"]);
    if !reports_way(&relay) {
        return;
    }
    pass(&from, &to, 0..32);
    let take = || mcast(&r, &["recv", "239.9.9.9:6000", "-i", "eth0", "-W", "10ms", "--wire", "require"]);
    let refused = take();
    assert!(refused.stderr.contains("another XDP program"), "{refused:?}");
    relay.signalled(libc::SIGKILL);
    eventually("the interface is free", || take().stderr.contains(TAKEN));
}
