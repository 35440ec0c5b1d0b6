//! Rules for routing that keep groups from leaving, from being accepted and from being forwarded.

use std::net::{SocketAddr, UdpSocket};

use mcast_doctor::{Id, Remedy, Report, Severity, Verdict};
use mcast_lab::RouteGroup;
use socket2::SockRef;

use crate::net::{Net, Stream, assert_only, assert_received, examine, examine_port, has_programs, run};

crate::table::cases! {
    policy_rule: PolicyRule, "`ip rule` that prohibits groups, the sending program examined", groups_prohibited;
    policy_rule_of_a_transparent_proxy: PolicyRule, "`ip rule` for a mark with a local route, `src_valid_mark` 1", transparent_proxy;
    policy_rule_for_a_source: PolicyRule, "`ip -6 rule` before the table `local` that prohibits the source", source_prohibited_v6;
    policy_rule_of_a_router: PolicyRule, "`ip mrule` that leads to a table without the multicast route, examined on the router", other_multicast_table;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";
const PORT: u16 = 6000;

/// Examines a sender that chooses no interface, whose machine has these rules.
fn sender_with(rules: &str) -> Report {
    let net = Net::new();
    run(&net.sender, rules);
    let open = || {
        let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        SockRef::from(&socket).set_multicast_ttl_v4(4).unwrap();
        socket
    };
    let to: SocketAddr = GROUP.parse().unwrap();
    let _stream = Stream::by(net.sender.run(open).unwrap(), to, 100);
    examine_port(&net.sender, PORT)
}

/// A rule at the sender that prohibits groups.
pub(crate) fn groups_prohibited() -> Report {
    sender_with("ip rule add to 239.0.0.0/8 prohibit pref 50")
}

/// A transparent proxy: a rule for a mark, with a route of type local, and `src_valid_mark`.
pub(crate) fn transparent_proxy() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "nft 'table ip m { chain p { type filter hook prerouting priority mangle; udp dport 5000 meta mark set 1; }; }' && \
            ip rule add fwmark 1 lookup 100 pref 90 && ip route add local 0.0.0.0/0 dev lo table 100 && \
            sysctl -qw net.ipv4.conf.all.src_valid_mark=1",
    );
    net.examine(GROUP, MEMBERSHIP)
}

/// A rule before the table local that prohibits the sender, IPv6.
pub(crate) fn source_prohibited_v6() -> Report {
    source_rejected_v6("prohibit")
}

fn source_rejected_v6(kind: &str) -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        &format!(
            "ip -6 rule add pref 100 lookup local && ip -6 rule del pref 0 && ip -6 rule add from fd09::1 {kind} pref 50"
        ),
    );
    net.examine(GROUP_V6, MEMBERSHIP_V6)
}

#[test]
fn rule_that_rejects_the_source_is_named_whatever_its_kind() {
    if !has_programs() {
        return;
    }
    for kind in ["blackhole", "unreachable"] {
        assert_only(&source_rejected_v6(kind), Id::PolicyRule);
    }
}

/// Programs that make the table 100 of multicast routes, which stays (`MRT_TABLE`, `MRT6_TABLE`).
pub(crate) const TABLE_V4: &str = "import socket; socket.socket(2, 3, 2).setsockopt(0, 209, b'd\\0\\0\\0')";
pub(crate) const TABLE_V6: &str =
    "import socket; socket.socket(10, 3, 58).setsockopt(41, 209, b'd\\0\\0\\0')";

/// Examines a router whose rule leads what arrives on `r0` to a table of multicast routes without one.
fn router_with(family: &str, to: &str, group: &str) -> Report {
    let net = crate::boxes::Routed::new();
    let source = if family == "-4" { "10.1.0.1" } else { "fd01::1" };
    let (source, group_address) = (Some(source.parse().unwrap()), group.parse().unwrap());
    let to_r1 = RouteGroup { source, group: group_address, from: "r0", to: &["r1"], ttl_threshold: 1 };
    net.router.route_group(to_r1).unwrap();
    let table = if family == "-4" { TABLE_V4 } else { TABLE_V6 };
    run(&net.router, &format!("python3 -c \"{table}\" && ip {family} mrule add iif r0 lookup 100 pref 10"));
    let _stream = Stream::with(&net.sender, to, |socket| {
        let _ = (socket.set_multicast_ttl_v4(8), socket.set_multicast_hops_v6(8));
    });
    let report = examine(&net.router, &to.replace(group, &format!("{group}%r0")));
    let finding = report.findings.iter().find(|finding| finding.id == Id::PolicyRule);
    let Some(finding) = finding else { panic!("{report:#?}") };
    assert!(finding.cause.contains("10: from all iif r0 lookup 100"), "{finding:#?}");
    report
}

/// The same for IPv4.
pub(crate) fn other_multicast_table() -> Report {
    router_with("-4", GROUP, "239.1.2.3")
}

#[test]
fn rule_of_a_router_is_named_for_ipv6_too() {
    if has_programs() {
        router_with("-6", GROUP_V6, "ff15::1234");
    }
}

#[test]
fn rule_at_a_sender_is_named_with_its_removal_and_no_route() {
    if !has_programs() {
        return;
    }
    let table = |kind: &str| {
        format!("ip rule add to 224.0.0.0/4 lookup 90 pref 90 && ip route add {kind} 224.0.0.0/4 table 90")
    };
    for (rules, rule) in [
        ("ip rule add to 239.0.0.0/8 prohibit pref 50".to_owned(), "50: from all to 239.0.0.0/8 prohibit"),
        ("ip rule add to 239.0.0.0/8 blackhole pref 50".to_owned(), "50: from all to 239.0.0.0/8 blackhole"),
        (table("unreachable"), "90: from all to 224.0.0.0/4 lookup 90"),
        (table("prohibit"), "90: from all to 224.0.0.0/4 lookup 90"),
    ] {
        let report = sender_with(&rules);
        let [finding] = &report.findings[..] else { panic!("{rules}: {report:#?}") };
        assert!(finding.id == Id::PolicyRule && finding.cause.contains(rule), "{finding:#?}");
        assert_eq!((finding.severity, report.verdict()), (Severity::Fault, Verdict::Faults), "{report:#?}");
        let removal = finding.remedies.iter().find_map(Remedy::command).unwrap();
        assert!(removal.starts_with("ip rule del from all to 2"), "{removal}");
        let undo = finding.remedies[0].undo.as_ref().unwrap().text();
        assert_eq!(undo, removal.replace(" del ", " add "), "{finding:#?}");
    }
}

#[test]
fn rules_that_do_not_concern_the_groups_are_not_accused() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(
        &net.receiver,
        "ip rule add to 238.0.0.0/8 prohibit pref 50 && ip rule add fwmark 7 prohibit pref 51 && \
            ip rule add from all lookup 90 pref 52 && ip -6 rule add from fd09::1 prohibit pref 50",
    );
    assert_received(&net.examine(GROUP, MEMBERSHIP));
    // The route for groups is in the table local, which is asked first.
    assert_received(&net.examine(GROUP_V6, MEMBERSHIP_V6));
    run(&net.sender, "ip rule add to 238.0.0.0/8 prohibit pref 50");
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine(&net.sender, MEMBERSHIP);
    assert!(report.findings.iter().all(|finding| finding.id != Id::PolicyRule), "{report:#?}");
}
