//! Packet filters on the receiving machine.

use std::net::SocketAddr;

use mcast_doctor::{ArrivalStatus, Id, Report, Verdict};

use crate::net::{
    Net, Stream, assert_healthy, assert_only, examine, examine_host, examine_port, has_programs, inject,
    listener, nft, run,
};

crate::table::cases! {
    firewall_drops_data: FirewallDropsData, "`nft` input rule", input_rule;
    firewall_drops_data_by_policy: FirewallDropsData, "`nft` input policy without counters", input_policy;
    unread_queue: FirewallDropsData, "`iptables-legacy` rule with a queue that no program reads", unread_queue;
    unread_queue_v6: FirewallDropsData, "the same in IPv6 (queue)", unread_queue_v6;
    firewall_drops_data_at_ingress: FirewallDropsData, "`nft` ingress rule", ingress_rule;
    firewall_drops_data_of_ipv6: FirewallDropsData, "`nft` input rule, IPv6", input_rule_v6;
    firewall_drops_data_of_a_program: FirewallDropsData, "`nft` input rule, program examined", input_rule_for_program;
    firewall_drops_igmp: FirewallDropsIgmp, "`nft` output rule for IGMP", output_igmp;
    firewall_drops_mld: FirewallDropsIgmp, "`nft` output rule for MLD", output_mld;
    reverse_path_filter: ReversePathFilter, "`rp_filter` 1 and a source on another network", strict_reverse_path;
    reverse_path_filter_of_a_program: ReversePathFilter, "the same for all interfaces, program examined", strict_reverse_path_for_program;
    firewall_drops_untracked: FirewallDropsData, "`nft` rules `notrack` and `ct state untracked drop`", untracked_dropped;
    firewall_drops_every_tenth: FirewallDropsData, "`nft` input rule for every tenth datagram, program examined", every_tenth_for_program;
}

/// A rule in the input chain.
pub(crate) fn input_rule() -> Report {
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// A drop policy without counters.
pub(crate) fn input_policy() -> Report {
    let net = Net::new();
    nft(&net.receiver, "ip", "hook input", "ip protocol igmp accept");
    crate::net::run(&net.receiver, "nft 'chain ip test c { policy drop ; }'");
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// A rule before the IP layer.
pub(crate) fn ingress_rule() -> Report {
    let net = Net::new();
    nft(&net.receiver, "netdev", "hook ingress device eth0", "udp dport 5000 counter drop");
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// A rule in the input chain, with an IPv6 group.
pub(crate) fn input_rule_v6() -> Report {
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// A rule in the input chain, examining another program.
pub(crate) fn input_rule_for_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 counter drop");
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// A rule that drops every tenth datagram, examining another program.
pub(crate) fn every_tenth_for_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 numgen inc mod 10 0 drop");
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// A queue that no program reads.
fn queue(iptables: &str) -> Net {
    let net = Net::new();
    run(&net.receiver, &format!("{iptables}-legacy -A INPUT -p udp --dport 5000 -j NFQUEUE --queue-num 5"));
    net
}

/// A rule hands the datagrams to a queue that no program reads.
pub(crate) fn unread_queue() -> Report {
    queue("iptables").examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// The same in IPv6.
pub(crate) fn unread_queue_v6() -> Report {
    queue("ip6tables").examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// Outgoing IGMP is dropped.
pub(crate) fn output_igmp() -> Report {
    let net = Net::new();
    nft(&net.receiver, "inet", "hook output", "meta l4proto igmp counter drop");
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// Outgoing MLD is dropped.
pub(crate) fn output_mld() -> Report {
    let net = Net::new();
    nft(
        &net.receiver,
        "ip6",
        "hook output",
        "icmpv6 type { mld-listener-report, mld2-listener-report } counter drop",
    );
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// A sender to whose network the receiver has no route.
pub(crate) fn strict_reverse_path() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    let frames: Vec<_> = (0..20).map(|number| net.frame("192.0.2.1", "239.1.2.3:5000", number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// The same with another program, and with the setting for all interfaces.
pub(crate) fn strict_reverse_path_for_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    net.receiver.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    let frames: Vec<_> = (0..20).map(|number| net.frame("192.0.2.1", "239.1.2.3:5000", number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine_port(&net.receiver, 5000)
}

#[test]
fn rule_for_another_port_is_not_reported() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "udp dport 5001 counter drop");
    let _other = Stream::to(&net.sender, "239.1.2.3:5001");
    let report = net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000");
    assert!(report.findings.iter().all(|finding| finding.id != Id::FirewallDropsData), "{report:#?}");
}

/// A rule for datagrams that connection tracking does not see, because of another rule.
pub(crate) fn untracked_dropped() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "nft add table inet test && nft 'add chain inet test raw { type filter hook prerouting priority -300 ; }' && nft add rule inet test raw udp dport 5000 notrack && nft 'add chain inet test c { type filter hook input priority 0 ; }' && nft add rule inet test c ct state untracked udp dport 5000 drop",
    );
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

#[test]
fn some_of_a_flow_that_loses_datagrams_arrive() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 numgen random mod 2 0 drop");
    assert_eq!(net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000").arrival, ArrivalStatus::Incomplete);
}

/// An input chain that drops what these rules do not admit.
fn default_drop(net: &Net, rules: &[&str]) {
    let rules: String = rules.iter().map(|rule| format!(" && nft add rule inet f i {rule}")).collect();
    run(
        &net.receiver,
        &format!(
            "nft add table inet f && nft 'add chain inet f i {{ type filter hook input priority 0 ; policy drop ; }}'{rules}"
        ),
    );
}

/// What every firewall of a workstation admits.
const USUAL: [&str; 3] = ["ct state established,related accept", "iif lo accept", "tcp dport 22 accept"];

#[test]
fn machine_whose_rules_drop_what_a_program_has_joined_is_not_in_order() {
    if !has_programs() {
        return;
    }
    for (group, control) in
        [("239.1.2.3", "ip protocol igmp accept"), ("ff15::1234", "meta l4proto icmpv6 accept")]
    {
        let net = Net::new();
        default_drop(&net, &[&USUAL[..], &[control]].concat());
        let to = SocketAddr::new(group.parse().unwrap(), 5000);
        let _listener = listener(&net.receiver, &to.to_string(), &[(group, "eth0")]);
        let report = examine_host(&net.receiver);
        assert_only(&report, Id::FirewallDropsData);
        assert_eq!(report.verdict(), Verdict::Warnings, "{report:#?}");
        assert_eq!(report.findings[0].subject.group(), Some(to.to_string()), "{report:#?}");
    }
}

#[test]
fn machine_whose_rules_drop_queries_for_what_a_program_has_joined_is_not_in_order() {
    if !has_programs() {
        return;
    }
    for group in ["239.1.2.3", "ff15::1234"] {
        let net = Net::new();
        default_drop(&net, &[&USUAL[..], &["udp dport 5000 accept"]].concat());
        let to = SocketAddr::new(group.parse().unwrap(), 5000).to_string();
        let _listener = listener(&net.receiver, &to, &[(group, "eth0")]);
        let report = examine_host(&net.receiver);
        assert_only(&report, Id::FirewallDropsIgmp);
        assert_eq!(report.verdict(), Verdict::Warnings, "{report:#?}");
    }
}

#[test]
fn machine_without_members_whose_rules_admit_nothing_is_warned_of() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    default_drop(&net, &USUAL);
    let report = examine_host(&net.receiver);
    assert_only(&report, Id::FirewallDropsIgmp);
    assert_eq!((report.findings.len(), report.verdict()), (1, Verdict::Warnings), "{report:#?}");
}

#[test]
pub(crate) fn usual_firewalls_that_admit_what_is_used_are_healthy() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    default_drop(&net, &[&USUAL[..], &["ip protocol igmp accept"]].concat());
    assert_healthy(&examine_host(&net.receiver));
    for group in ["239.1.2.3", "ff15::1234"] {
        let net = Net::new();
        let admitted = ["meta l4proto { igmp, icmpv6 } accept", "udp dport 5000 accept"];
        default_drop(&net, &[&USUAL[..], &admitted].concat());
        let to = SocketAddr::new(group.parse().unwrap(), 5000).to_string();
        let _listener = listener(&net.receiver, &to, &[(group, "eth0")]);
        assert_healthy(&examine_host(&net.receiver));
    }
}
