//! Faults between a prober and a listener.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mcast::{Outgoing, Sender};
use mcast_doctor::{Error, Report};
use mcast_lab::{Host, Impairment, Lab};
use mcast_measure::wire::SessionId;
use mcast_path::{Listener, PathTest};

use crate::net::{Net, nft, run};
use crate::treatment::{on, timed};

crate::table::cases! {
    path_loss: PathLoss, "`--probe` over a link that loses half of everything", lossy_link;
    path_loss_of_multicast: PathLoss, "`--probe`, and a switch that limits multicast only", limited_multicast;
    replies_lost: RepliesLost, "`--probe`, and the prober's firewall drops the answers", replies_dropped_here;
    replies_lost_on_the_way: RepliesLost, "`--probe`, and the listener's firewall drops its answers", replies_dropped_there;
    unicast_only: UnicastOnly, "`--probe=ADDRESS`, and a switch that drops the group", multicast_blocked;
    unicast_only_in_ipv6: UnicastOnly, "the same in IPv6", multicast_blocked_v6;
    host_unreachable: HostUnreachable, "`--probe=ADDRESS` of an address that nobody has", nobody_there;
    host_without_a_listener: HostUnreachable, "`--probe=ADDRESS` of a machine without a listener", no_listener;
    firewall_of_the_listener: FirewallDropsData, "`--probe`, and the listener's input firewall", firewall_of_the_listener;
}

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
/// Much longer than any of these tests.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Probes a group from one host while another listens.
fn probe(sender: &Host, receiver: &Host, to: &str, peers: &[&str]) -> Report {
    let listen = vec![to.parse().unwrap()];
    let listener = receiver.run(|| Listener::path_tests(listen).unwrap()).unwrap();
    let is_done = &AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            let keep_going = |_| Ok::<_, Error>(!is_done.load(Ordering::Relaxed));
            receiver.run(|| listener.run(Some(TIMEOUT), keep_going, |_| ()))
        });
        let report = timed(|| report_of(sender, to, peers, 10));
        is_done.store(true, Ordering::Relaxed);
        listener.receiver().waker().wake().unwrap();
        report
    });
    assert!(listener.own_findings().is_some() || report.findings.is_empty(), "{report:#?}");
    report
}

/// Probes a group from a host.
fn report_of(sender: &Host, to: &str, peers: &[&str], count: u16) -> Report {
    let peers: Vec<_> = peers.iter().map(|peer| SocketAddr::new(peer.parse().unwrap(), 0)).collect();
    let probe = || {
        let interface = mcast::interface::find(&"eth0".parse().unwrap()).unwrap();
        let test = PathTest::new(to.parse().unwrap(), Some(&interface), 1, SessionId::random());
        let mut test = test.with_peers(peers);
        let target = Outgoing::new(&[]).to(to.parse().unwrap()).by(interface.index);
        test.run(&Sender::builder().build().unwrap(), &[target], count, || true).unwrap();
        test
    };
    let mut report = Report::default();
    report.findings = on(sender, probe).findings(false);
    report
}

/// Two hosts, of which the second is behind a bad link.
fn behind(impairment: Impairment) -> Report {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    sender.connect("eth0", &lan, &["10.9.0.1/24"]).unwrap();
    lab.connect_badly(&receiver, "eth0", &lan, &["10.9.0.2/24"], impairment).unwrap();
    probe(&sender, &receiver, GROUP, &[])
}

pub(crate) fn lossy_link() -> Report {
    behind(Impairment { loss: 0.3, ..Impairment::default() })
}

/// The switch drops every second frame to the group.
pub(crate) fn limited_multicast() -> Report {
    let net = Net::new();
    let rule = "'ether type ip ip daddr 239.1.2.3 numgen inc mod 2 0 drop'";
    nft(&net.lan.inside(), "bridge", "hook forward", rule);
    probe(&net.sender, &net.receiver, GROUP, &[])
}

pub(crate) fn replies_dropped_here() -> Report {
    let net = Net::new();
    nft(&net.sender, "inet", "hook input", "meta l4proto udp drop");
    probe(&net.sender, &net.receiver, GROUP, &[])
}

/// Only the answers by unicast socket leave the listener, and those from the port of the group do not.
pub(crate) fn replies_dropped_there() -> Report {
    let net = Net::new();
    nft(&net.receiver, "inet", "hook output", "udp sport 5000 drop");
    probe(&net.sender, &net.receiver, GROUP, &["10.9.0.2"])
}

pub(crate) fn multicast_blocked() -> Report {
    let net = Net::new();
    nft(&net.lan.inside(), "bridge", "hook forward", "'ether type ip ip daddr 239.1.2.3 drop'");
    probe(&net.sender, &net.receiver, GROUP, &["10.9.0.2"])
}

pub(crate) fn multicast_blocked_v6() -> Report {
    let net = Net::new();
    nft(&net.lan.inside(), "bridge", "hook forward", "'ether type ip6 ip6 daddr ff15::1234 drop'");
    probe(&net.sender, &net.receiver, GROUP_V6, &["fd09::2"])
}

pub(crate) fn nobody_there() -> Report {
    let net = Net::new();
    timed(|| report_of(&net.sender, GROUP, &["10.9.0.77"], 2))
}

pub(crate) fn no_listener() -> Report {
    let net = Net::new();
    timed(|| report_of(&net.sender, GROUP, &["10.9.0.2"], 2))
}

/// The listener captures the probes, and reports its own firewall.
pub(crate) fn firewall_of_the_listener() -> Report {
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "ip daddr 239.1.2.3 drop");
    probe(&net.sender, &net.receiver, GROUP, &[])
}

#[test]
fn unicast_beside_a_healthy_path_is_answered_in_all_sizes() {
    let net = Net::new();
    for to in [GROUP, GROUP_V6] {
        let report = probe(&net.sender, &net.receiver, to, &["10.9.0.2", "fd09::2"]);
        crate::net::assert_healthy(&report);
    }
}

#[test]
fn a_remedy_that_admits_answers_brings_them_back() {
    if !crate::net::has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.sender, "inet", "hook input", "meta l4proto udp drop");
    run(&net.sender, "nft insert rule inet test c meta l4proto udp ip saddr 10.9.0.0/24 accept");
    crate::net::assert_healthy(&probe(&net.sender, &net.receiver, GROUP, &[]));
}
