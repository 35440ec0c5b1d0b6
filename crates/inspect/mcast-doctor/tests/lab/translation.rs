//! Rules that write other addresses, ports or hop limits into datagrams.

use mcast_doctor::{ArrivalStatus, Id, Report};
use mcast_lab::Host;

use crate::net::{
    Net, Stream, assert_healthy, assert_received, examine, examine_port, has_programs, nft, run,
    stream_of_program,
};

crate::table::cases! {
    translated_source: Redirected, "`nft` rule with `snat` for groups, the sender examined with its own source", translated_source;
    translated_source_of_program: Redirected, "the same, sending program examined", translated_source_of_program;
    translated_destination: Redirected, "`nft` output rule with `dnat`, the sender examined", translated_destination;
    translated_destination_of_program: Redirected, "the same, sending program examined", translated_destination_of_program;
    destination_rewritten: Redirected, "`nft` rule that writes a unicast address as the destination", destination_rewritten;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";

fn load(host: &Host, chain: &str, rule: &str) {
    run(host, &format!("nft -f - <<'END'\ntable ip own {{\nchain c {{\n{chain};\n{rule}\n}}\n}}\nEND"));
}

/// A rule that writes the receiver's own address into the datagrams.
pub(crate) fn destination_rewritten() -> Report {
    let net = Net::new();
    nft(&net.receiver, "ip", "hook prerouting", "udp dport 5000 ip daddr set 10.9.0.2");
    net.examine(GROUP, MEMBERSHIP)
}

/// The sender's address is translated to that of another machine, and joined with the original one.
pub(crate) fn translated_source() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook postrouting priority 100", "ip daddr 224.0.0.0/4 snat to 10.9.0.99");
    let _stream = Stream::to(&net.sender, GROUP);
    examine(&net.sender, "10.9.0.1@239.1.2.3%eth0:5000")
}

/// The same for a program that sends.
pub(crate) fn translated_source_of_program() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook postrouting priority 100", "udp dport 5000 counter snat to 10.9.0.99");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    examine_port(&net.sender, port)
}

/// A rule for a port that changes the destination on the way out.
pub(crate) fn translated_destination() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook output priority -100", "udp dport 5000 dnat to 239.9.9.9");
    let _stream = Stream::to(&net.sender, GROUP);
    examine(&net.sender, MEMBERSHIP)
}

/// The same for a program that sends.
pub(crate) fn translated_destination_of_program() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook output priority -100", "udp dport 5000 dnat to 239.9.9.9");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    examine_port(&net.sender, port)
}

/// The program sends to the group: a rule makes it unicast.
#[test]
fn program_whose_group_a_rule_makes_unicast_is_not_accused() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    load(&net.sender, "type nat hook output priority -100", "udp dport 5000 dnat to 10.9.0.2");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    let report = examine_port(&net.sender, port);
    let found: Vec<_> = report.findings.iter().map(|finding| finding.id).collect();
    assert_eq!(found, [Id::Redirected], "{report:#?}");
}

#[test]
fn rules_that_change_the_source_or_the_hop_limit_are_sound() {
    if !has_programs() {
        return;
    }
    for change in ["ip saddr set 10.9.0.99", "udp sport set 7", "ip ttl set 64"] {
        let net = Net::new();
        nft(&net.receiver, "ip", "hook prerouting", &format!("udp dport 5000 {change}"));
        let report = net.examine(GROUP, MEMBERSHIP);
        assert_healthy(&report);
        assert_eq!(report.arrival, ArrivalStatus::Arrives, "{change}: {report:#?}");
    }
}

#[test]
fn masquerade_of_another_network() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    load(
        &net.sender,
        "type nat hook postrouting priority 100",
        "ip saddr 172.17.0.0/16 oifname \"eth0\" masquerade",
    );
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    assert_healthy(&examine_port(&net.sender, port));
    assert_received(&examine(&net.sender, MEMBERSHIP));
}

#[test]
fn what_a_router_masquerades_is_not_what_it_sends_itself() {
    if !has_programs() {
        return;
    }
    let net = crate::boxes::Routed::new();
    net.route("239.1.2.3", &["r1"]);
    load(&net.router, "type nat hook postrouting priority 100", "oifname r1 masquerade");
    nft(&net.router, "ip", "hook input", "udp dport 5000 drop");
    let _stream = Stream::to(&net.sender, GROUP);
    crate::net::assert_only(&examine(&net.router, "239.1.2.3%r0:5000"), mcast_doctor::Id::FirewallDropsData);
}
