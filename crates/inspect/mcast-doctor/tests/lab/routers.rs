//! Routers between sender and receiver, and tunnels.

use mcast_doctor::{Id, Report, Severity};
use mcast_lab::{Host, Lab, RouteGroup, Router};
use socket2::Socket;

use crate::boxes::join_for_good;
use crate::net::{
    Stream, assert_received, briefly, examine, examine_host, examine_while, has_programs, listener, nft, run,
};

crate::table::cases! {
    ttl_too_small: TtlTooSmall, "hop limit 1 at a router", ttl_too_small;
    container_bridge: ContainerBridge, "a host behind a router without multicast routing", container;
    vpn_takes_default: VpnTakesDefault, "route for groups into a `tun` device", tunnel;
    router_wrong_interface: RouterWrongInterface, "a multicast route that expects the group on the other interface", wrong_interface;
    ttl_threshold: TtlThreshold, "a threshold of 16, hop limit 4", ttl_threshold;
    one_routed_interface: NoMulticastRoute, "a daemon that routes groups on one interface only, and a host behind another one that joins, examined on the router", one_routed_interface;
}

/// sender - lan1 - router - lan2
struct Routed {
    _lab: Lab,
    sender: Host,
    router: Router,
    far: Host,
}

fn routed() -> Routed {
    let lab = Lab::new().unwrap();
    let (lan1, lan2) = (lab.switch("lan1").unwrap(), lab.switch("lan2").unwrap());
    let (sender, far) = (lab.host("sender").unwrap(), lab.host("far").unwrap());
    let router = lab.router("router").unwrap();
    router.connect("r0", &lan1, &["10.1.0.254/24"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24"]).unwrap();
    sender.connect("eth0", &lan1, &["10.1.0.1/24"]).unwrap();
    sender.add_route_via("0.0.0.0/0", "10.1.0.254").unwrap();
    far.connect("eth0", &lan2, &["10.2.0.1/24"]).unwrap();
    far.add_route_via("0.0.0.0/0", "10.2.0.254").unwrap();
    Routed { _lab: lab, sender, router, far }
}

fn rule(from: &'static str, to: &'static [&'static str], ttl_threshold: u8) -> RouteGroup<'static> {
    RouteGroup { source: None, group: [239, 1, 2, 3].into(), from, to, ttl_threshold }
}

fn hop_limit(hops: u32) -> impl FnOnce(&Socket) + Send {
    move |socket| socket.set_multicast_ttl_v4(hops).unwrap()
}

/// A hop limit of 1 at a router.
pub(crate) fn ttl_too_small() -> Report {
    let net = routed();
    net.router.route_group(rule("r0", &["r1"], 1)).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(1));
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// The threshold of a router is too high.
pub(crate) fn ttl_threshold() -> Report {
    let net = routed();
    net.router.route_group(rule("r0", &["r1"], 16)).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// Rules of a router that is examined without a group: those that drop every group, and those that drop one that it routes.
#[test]
fn rules_that_keep_groups_from_the_networks_of_a_router_are_named() {
    if !has_programs() {
        return;
    }
    let net = routed();
    net.router.route_group(rule("r0", &["r1"], 1)).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    // The first datagram makes the daemon install the route.
    run(
        &net.router,
        "for i in $(seq 100); do ip mroute show | grep -q 239.1.2.3 && exit 0; sleep 0.05; done; exit 1",
    );
    let named = |rule: &str| {
        let chain = format!("chain c {{ type filter hook forward priority 0; {rule}; }}");
        run(&net.router, &format!("nft 'table ip t {{ {chain}; }}'"));
        let report = examine_host(&net.router);
        run(&net.router, "nft delete table ip t");
        let rules = report.findings.iter().filter(|finding| finding.id == Id::FirewallDropsData);
        rules.map(|finding| finding.subject.group()).collect::<Vec<_>>()
    };
    assert_eq!(named("policy drop"), [None]);
    assert_eq!(named("ip daddr 239.0.0.0/8 drop"), [Some("239.1.2.3".to_owned())]);
    for other in ["accept", "tcp dport 22 drop", "ip daddr 239.9.0.0/16 drop", "ct state established drop"] {
        assert_eq!(named(other), [], "{other}");
    }
}

/// What acts behind a fault before routing: the group has no route yet, and every rule for what is forwarded meets it in any case.
#[test]
fn rules_for_what_is_forwarded_are_named_behind_faults_before_routing() {
    if !has_programs() {
        return;
    }
    let net = routed();
    net.router.route_group(rule("r0", &["r1"], 1)).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    let named = |hook: &str, rule: &str| {
        let chain = format!("chain c {{ type filter hook {hook} priority 0; {rule}; }}");
        run(&net.router, &format!("nft 'table ip behind {{ {chain}; }}'"));
        let report = examine(&net.router, "239.1.2.3%r0:5000");
        run(&net.router, "nft delete table ip behind");
        let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
        faults.map(|finding| finding.id).collect::<Vec<_>>()
    };
    let strict = "sysctl -qw net.ipv4.conf.r0.rp_filter=1 && ip route add 10.1.0.1/32 dev r1";
    run(&net.router, strict);
    for hook in ["forward", "postrouting"] {
        let both = [Id::ReversePathFilter, Id::FirewallDropsData];
        assert_eq!(named(hook, "ip daddr 239.1.2.3 drop"), both, "{hook}");
        for other in ["ip daddr 239.1.2.4 drop", "udp dport 5000 accept", "oifname r9 drop"] {
            assert_eq!(named(hook, other), [Id::ReversePathFilter], "{hook}: {other}");
        }
    }
}

/// A router that expects the group from the other side.
pub(crate) fn wrong_interface() -> Report {
    let net = routed();
    net.router
        .route_group(RouteGroup { source: Some([10, 1, 0, 1].into()), ..rule("r1", &["r0"], 1) })
        .unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// A router whose daemon routes groups on one interface only, while a host behind the other one joins.
pub(crate) fn one_routed_interface() -> Report {
    let net = routed();
    let other = RouteGroup { group: [239, 9, 9, 9].into(), ..rule("r0", &[], 1) };
    net.router.route_group(other).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine_while(&net.router, "239.1.2.3%r0:5000", &briefly(), || join_for_good(&net.far))
}

/// Asserts that a rule of a router is named before its consequence: the daemon has no route for what it does not learn.
fn assert_unlearnt(report: &Report) {
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    let faults: Vec<_> = faults.map(|finding| finding.id).collect();
    assert_eq!(faults, [Id::FirewallDropsIgmp, Id::NoMulticastRoute], "{report:#?}");
    assert_eq!(report.findings[0].subject.interface().as_deref(), Some("r1"));
}

#[test]
fn rule_that_drops_the_reports_of_hosts_behind_a_router_precedes_the_missing_route() {
    let net = crate::boxes::Routed::new();
    nft(&net.router, "ip", "hook prerouting", "iifname r1 ip protocol igmp drop");
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    let join = || join_for_good(&net.receiver);
    assert_unlearnt(&examine_while(&net.router, "239.1.2.3%r0:5000", &briefly(), join));
}

#[test]
fn rule_that_drops_the_reports_of_hosts_behind_a_router_precedes_the_missing_route_v6() {
    let net = crate::boxes::Routed::new();
    nft(&net.router, "ip6", "hook input", "iifname r1 icmpv6 type mld2-listener-report drop");
    let _stream = Stream::to(&net.sender, "[ff15::1234]:5000");
    let join = || std::mem::forget(listener(&net.receiver, "[::]:5000", &[("ff15::1234", "eth0")]));
    assert_unlearnt(&examine_while(&net.router, "[ff15::1234%r0]:5000", &briefly(), join));
}

/// The same rule is a warning where nobody is known to want the group behind it, or where a route leads to the host.
#[test]
fn rule_that_drops_reports_at_a_router_is_a_fault_for_those_whom_it_harms_only() {
    let severities = |report: &Report| {
        let igmp = report.findings.iter().filter(|finding| finding.id == Id::FirewallDropsIgmp);
        igmp.map(|finding| (finding.severity, finding.subject.interface())).collect::<Vec<_>>()
    };
    let on = |name: &str, group: &str, member: bool| {
        let net = crate::boxes::Routed::new();
        let rule = format!("iifname {name} ip protocol igmp drop");
        nft(&net.router, "ip", "hook prerouting", &rule);
        net.route(group, &["r1"]);
        let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
        let join = || {
            if member {
                join_for_good(&net.receiver);
            }
        };
        severities(&examine_while(&net.router, "239.1.2.3%r0:5000", &briefly(), join))
    };
    let warning = vec![(Severity::Warning, Some("r1".to_owned()))];
    assert_eq!(on("r1", "239.9.9.7", false), warning, "nobody wants it");
    assert_eq!(on("r1", "239.1.2.3", true), warning, "it is routed to the host that wants it");
    let at_r0 = on("r0", "239.1.2.3", true);
    assert!(at_r0.iter().all(|(severity, _)| *severity == Severity::Warning), "{at_r0:?}");
    let net = crate::boxes::Routed::new();
    nft(&net.router, "ip", "hook prerouting", "iifname r1 ip protocol igmp drop");
    assert_eq!(severities(&examine_host(&net.router)), warning, "the machine is examined");
}

/// A host behind a router that forwards unicast but not groups, like a container.
pub(crate) fn container() -> Report {
    let net = routed();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine(&net.far, "239.1.2.3%eth0:5000")
}

/// The route for groups leads into a tunnel.
pub(crate) fn tunnel() -> Report {
    let net = routed();
    run(
        &net.far,
        "ip tuntap add mode tun name tun0 && ip address add 10.99.0.1/24 dev tun0 && ip link set tun0 up && ip route add 224.0.0.0/4 dev tun0",
    );
    examine_host(&net.far)
}

#[test]
fn router_that_has_joined_on_both_sides() {
    for (to, group) in [("239.1.2.3:5000", "239.1.2.3"), ("[ff15::1234]:5000", "ff15::1234")] {
        let net = crate::boxes::Routed::new();
        net.route(group, &["r1"]);
        let _stream = Stream::to(&net.sender, to);
        assert_received(&examine(&net.router, to));
    }
}
