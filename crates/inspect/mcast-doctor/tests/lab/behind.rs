//! Faults of one flow that hide behind each other: every one is named, with a fault in front of it that keeps the datagrams from
//! getting there.

use mcast_doctor::{Id, Report, Severity};

use crate::net::{Net, examine, examine_port, has_programs, inject, listener, nft, run};

const SOURCE: &str = "192.0.2.1";

/// A network whose receiver checks the route to the source, which is that of the default route by `eth1`.
fn with_strict_filter() -> Net {
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    net
}

fn input_rule(net: &Net) {
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
}

fn drop_by_tc(net: &Net) {
    let source = u32::from(SOURCE.parse::<std::net::Ipv4Addr>().unwrap());
    let program = format!("4,32 0 0 26,21 0 1 {source},6 0 0 2,6 0 0 4294967295,");
    run(
        &net.receiver,
        &format!(
            "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol ip bpf bytecode '{program}' direct-action"
        ),
    );
}

/// Examines a membership while datagrams for this address arrive from the source.
fn examined(net: &Net, to: &str) -> Report {
    let frames: Vec<_> = (0..20).map(|number| net.frame(SOURCE, to, number)).collect();
    let _sender = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

fn faults(report: &Report) -> Vec<Id> {
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    let mut ids: Vec<_> = faults.map(|finding| finding.id).collect();
    ids.dedup();
    ids
}

#[test]
fn rule_behind_the_reverse_path_filter_is_named() {
    if !has_programs() {
        return;
    }
    let net = with_strict_filter();
    input_rule(&net);
    let report = examined(&net, "239.1.2.3:5000");
    assert_eq!(faults(&report), [Id::ReversePathFilter, Id::FirewallDropsData], "{report:#?}");
}

#[test]
fn reverse_path_filter_and_rule_behind_a_filter_of_traffic_control_are_named() {
    if !has_programs() {
        return;
    }
    let net = with_strict_filter();
    drop_by_tc(&net);
    input_rule(&net);
    let report = examined(&net, "239.1.2.3:5000");
    assert_eq!(faults(&report), [Id::TcDrops, Id::ReversePathFilter, Id::FirewallDropsData], "{report:#?}");
}

#[test]
fn reverse_path_filter_in_front_of_the_wrong_port_is_named() {
    let net = with_strict_filter();
    let report = examined(&net, "239.1.2.3:5001");
    assert_eq!(faults(&report), [Id::ReversePathFilter, Id::WrongPort], "{report:#?}");
    let accepted = Net::new();
    accepted.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "0").unwrap();
    assert_eq!(faults(&examined(&accepted, "239.1.2.3:5001")), [Id::WrongPort]);
}

/// The rules with which another doctor counts at the same time.
fn counting_rules(net: &Net) {
    run(
        &net.receiver,
        "nft add table inet mcast-doctor-1-0 \
         && nft add set inet mcast-doctor-1-0 s '{ type ipv4_addr; flags dynamic; }' \
         && nft 'add chain inet mcast-doctor-1-0 c { type filter hook input priority -500 ; }' \
         && nft 'add rule inet mcast-doctor-1-0 c add @s { ip saddr counter }'",
    );
}

#[test]
fn rule_is_named_while_another_doctor_counts() {
    if !has_programs() {
        return;
    }
    let net = with_strict_filter();
    counting_rules(&net);
    input_rule(&net);
    let report = examined(&net, "239.1.2.3:5000");
    assert_eq!(faults(&report), [Id::ReversePathFilter, Id::FirewallDropsData], "{report:#?}");
}

#[test]
fn rule_behind_a_missing_membership_is_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    input_rule(&net);
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[]);
    let _stream = crate::net::Stream::to(&net.sender, "239.1.2.3:5000");
    let report = examine_port(&net.receiver, 5000);
    assert_eq!(faults(&report), [Id::NotJoined, Id::FirewallDropsData], "{report:#?}");
}
