//! Where datagrams stop, if no other cause explains it, and several faults at once.

use std::net::UdpSocket;
use std::ops::ControlFlow;

use mcast_doctor::{
    ArrivalStatus, Depth, Id, Options, ProgramSelector, Report, Severity, Verdict, examine_program,
};

use crate::drops::can_trace;
use crate::net::{
    Net, Stream, briefly, examine, examine_for, examine_port, examine_process, has_programs, inject,
    listener, nft, run, socket,
};
use crate::treatment::{examine_and_treat, on};

crate::table::cases! {
    dropped_in_prerouting: FirewallDropsData, "a `nft` prerouting rule that cannot be evaluated, experiments off", prerouting_drop;
    dropped_in_prerouting_of_ipv6: FirewallDropsData, "the same, IPv6", prerouting_drop_v6;
    dropped_at_ingress: FirewallDropsData, "such a rule at ingress", ingress_drop;
    dropped_at_ingress_for_a_program: FirewallDropsData, "the same, program examined", ingress_drop_for_program;
    dropped_of_one_source: FirewallDropsData, "such a rule at ingress for one of two sources", one_source_dropped;
    firewall_rewrites_port: Redirected, "`nft` rule that changes the port", rewritten_port;
    firewall_rewrites_port_of_a_program: Redirected, "the same, program examined", rewritten_port_for_program;
    firewall_rewrites_port_of_ipv6: Redirected, "`nft` rule that changes the port, IPv6", rewritten_port_v6;
    firewall_rewrites_port_of_one_source: Redirected, "`nft` rule that changes the port of one of two sources", one_source_rewritten;
    silent_port: NothingArrives, "no sender, port of a program examined", silent_port;
    silent_process: NothingArrives, "no sender, process of a program examined", silent_process;
    sent_by_another_interface_than_joined: NothingArrives, "a sender on the machine of a program uses another interface", sent_by_another_interface;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";

/// Adds a rule at the hook of the table `raw`, before routing.
fn raw(net: &Net, rule: &str) {
    nft(&net.receiver, "inet", "hook prerouting", rule);
}

/// A condition that every packet meets, which the doctor cannot evaluate.
const OPAQUE: &str = "meta cpu < 4096";

/// Drops frames at the ingress hook of the device.
fn ingress(net: &Net, rule: &str) {
    nft(&net.receiver, "netdev", "hook ingress device eth0", &format!("'{OPAQUE} {rule}'"));
}

/// Examines without the temporary rules that would show the hook.
fn without_experiments() -> Options {
    briefly().with(|options| options.experiments = false)
}

/// A rule before routing.
pub(crate) fn prerouting_drop() -> Report {
    let net = Net::new();
    raw(&net, &format!("'{OPAQUE} udp dport 5000 drop'"));
    let _stream = Stream::to(&net.sender, GROUP);
    examine_for(&net.receiver, MEMBERSHIP, &without_experiments())
}

/// The same with an IPv6 group.
pub(crate) fn prerouting_drop_v6() -> Report {
    let net = Net::new();
    raw(&net, &format!("'{OPAQUE} udp dport 5000 drop'"));
    let _stream = Stream::to(&net.sender, "[ff15::1234]:5000");
    examine_for(&net.receiver, "[ff15::1234%eth0]:5000", &without_experiments())
}

/// A rule that changes the port, so that UDP finds no socket.
pub(crate) fn rewritten_port() -> Report {
    let net = Net::new();
    raw(&net, "udp dport 5000 udp dport set 5001");
    net.examine(GROUP, MEMBERSHIP)
}

/// The same with another program.
pub(crate) fn rewritten_port_for_program() -> Report {
    let net = Net::new();
    raw(&net, "udp dport 5000 udp dport set 5001");
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// The same with an IPv6 group.
pub(crate) fn rewritten_port_v6() -> Report {
    let net = Net::new();
    raw(&net, "udp dport 5000 udp dport set 5001");
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// A rule that changes the port of one of two sources.
pub(crate) fn one_source_rewritten() -> Report {
    let net = Net::new();
    raw(&net, "ip saddr 10.9.0.7 udp dport set 5001");
    let frames: Vec<_> = (0..20).map(|number| net.frame("10.9.0.7", GROUP, number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    net.examine(GROUP, MEMBERSHIP)
}

/// A filter before the IP layer.
pub(crate) fn ingress_drop() -> Report {
    let net = Net::new();
    ingress(&net, "udp dport 5000 drop");
    let _stream = Stream::to(&net.sender, GROUP);
    examine_for(&net.receiver, MEMBERSHIP, &without_experiments())
}

/// The same with another program.
pub(crate) fn ingress_drop_for_program() -> Report {
    let net = Net::new();
    ingress(&net, "udp dport 5000 drop");
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    let program = ProgramSelector::Port(5000);
    let examine =
        || examine_program(program, &without_experiments(), &mut |_| ControlFlow::Continue(())).unwrap();
    examine_and_treat(&net.receiver, || on(&net.receiver, examine))
}

/// A filter for one of two sources.
pub(crate) fn one_source_dropped() -> Report {
    let net = Net::new();
    ingress(&net, "ip saddr 10.9.0.7 drop");
    let frames: Vec<_> = (0..20).map(|number| net.frame("10.9.0.7", GROUP, number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_for(&net.receiver, MEMBERSHIP, &without_experiments())
}

/// A program that has joined, and no sender.
pub(crate) fn silent_port() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    examine_port(&net.receiver, 5000)
}

/// The same, examined by its process.
pub(crate) fn silent_process() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    examine_process(&net.receiver, std::process::id())
}

/// A program, and a sender on the same machine that uses another interface.
pub(crate) fn sent_by_another_interface() -> Report {
    let net = Net::new();
    net.second_lan();
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let sender = UdpSocket::from(socket(&net.receiver, [239, 1, 2, 3].into(), "eth1"));
    let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
    examine_port(&net.receiver, 5000)
}

fn ids(report: &Report) -> Vec<Id> {
    report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Fault)
        .map(|finding| finding.id)
        .collect()
}

fn sources_of(report: &Report, id: Id) -> Vec<String> {
    let findings = report.findings.iter().filter(|finding| finding.id == id);
    let flows = findings.flat_map(|finding| &finding.flows);
    flows.filter_map(|flow| Some(flow.source?.to_string())).collect()
}

#[test]
fn two_senders_with_two_faults_are_both_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    nft(&net.receiver, "inet", "hook input", "ip saddr 10.9.0.1 udp dport 5000 counter drop");
    let frames: Vec<_> = (0..20).map(|number| net.frame("192.0.2.1", GROUP, number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    let report = net.examine(GROUP, MEMBERSHIP);
    let mut found = ids(&report);
    found.sort();
    assert_eq!(found, [Id::FirewallDropsData, Id::ReversePathFilter], "{report:#?}");
    assert_eq!(sources_of(&report, Id::FirewallDropsData), ["10.9.0.1"], "{report:#?}");
    assert_eq!(sources_of(&report, Id::ReversePathFilter), ["192.0.2.1"], "{report:#?}");
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Nothing, Verdict::Faults));
}

#[test]
fn one_lost_source_of_two_is_not_healthy() {
    if !has_programs() || !can_trace() {
        return;
    }
    let report = one_source_dropped();
    assert_eq!(sources_of(&report, Id::FirewallDropsData), ["10.9.0.7"], "{report:#?}");
    assert_eq!(report.arrival, ArrivalStatus::Incomplete);
    let mut depths: Vec<_> = report.flows.iter().map(|flow| flow.depth).collect();
    depths.sort();
    assert_eq!(depths, [Depth::OnWire, Depth::Arrives], "{report:#?}");
}

/// The first remedy of the page: a rule that accepts the group in front of the one that drops it.
#[test]
fn removed_filter_lets_datagrams_arrive() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    raw(&net, "udp dport 5000 drop");
    let _stream = Stream::to(&net.sender, GROUP);
    assert_eq!(examine(&net.receiver, MEMBERSHIP).arrival, ArrivalStatus::Nothing);
    run(&net.receiver, "nft insert rule inet test c ip daddr 239.1.2.3 accept");
    let report = examine(&net.receiver, MEMBERSHIP);
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

#[test]
fn datagrams_that_a_program_reads_arrive() {
    let net = Net::new();
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine_port(&net.receiver, 5000);
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

/// To a port that no program has open, so that the system counts more packets by unicast than the program reads.
#[test]
fn much_unicast_does_not_hide_what_a_program_reads() {
    let net = Net::new();
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    let _unicast = [9, 10, 11].map(|port| Stream::to(&net.sender, &format!("10.9.0.2:{port}")));
    let report = examine_port(&net.receiver, 5000);
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

#[test]
fn refused_join_is_repeated_with_the_source_on_the_wire() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
    let report = net.examine("232.1.2.3:5000", "232.1.2.3%eth0:5000");
    let mut found = ids(&report);
    found.sort();
    assert_eq!(found, [Id::FirewallDropsData, Id::SsmWithoutSource], "{report:#?}");
}

#[test]
fn wrong_port_and_firewall_are_both_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "meta l4proto udp counter drop");
    let report = net.examine("239.1.2.3:5001", MEMBERSHIP);
    let mut found = ids(&report);
    found.sort();
    assert_eq!(found, [Id::FirewallDropsData, Id::WrongPort], "{report:#?}");
}
