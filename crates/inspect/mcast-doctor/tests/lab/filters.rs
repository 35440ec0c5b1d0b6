//! Packet filters at every hook.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_doctor::{AppliedRemedies, Id, Options, Report};
use mcast_lab::{Host, SwitchOptions};
use socket2::{Domain, Socket, Type};

use crate::net::{
    Net, Stream, assert_received, examine, examine_for, examine_host, examine_port, has_programs,
    idle_listener, inject, listener, run, socket,
};

crate::table::cases! {
    firewall_drops_data_before_routing: FirewallDropsData, "`nft` rule in `raw` without a counter", raw_prerouting;
    firewall_drops_data_before_routing_of_ipv6: FirewallDropsData, "the same, IPv6", raw_prerouting_v6;
    firewall_drops_data_of_a_program_before_routing: FirewallDropsData, "the same, program examined", raw_prerouting_of_a_program;
    firewall_drops_data_of_a_set: FirewallDropsData, "`nft` rule for a set of source networks", set_of_sources;
    firewall_drops_data_without_a_route_back: FirewallDropsData, "firewalld's reverse path test, IPv6", reverse_path_by_firewalld;
    firewall_drops_data_of_a_zone: FirewallDropsData, "`nft` map of interfaces to a chain that rejects", rejected_by_a_zone;
    firewall_drops_data_at_a_device: FirewallDropsData, "`nft` ingress rule without a counter", device_ingress;
    firewall_drops_data_of_one_source: FirewallDropsData, "`nft` rule for one of two sources", one_of_two_sources;
    firewall_drops_data_without_experiments: FirewallDropsData, "`nft` input rule, experiments off", input_rule_without_experiments;
    firewall_drops_output: FirewallDropsOutput, "`nft` output rule, the group examined on the sender", output_rule;
    firewall_drops_output_of_ipv6: FirewallDropsOutput, "`nft` rule after routing, IPv6, the same", output_rule_v6;
    firewall_drops_output_at_a_device: FirewallDropsOutput, "`nft` egress rule, the same", egress_rule;
    firewall_drops_output_of_a_program: FirewallDropsOutput, "`nft` output rule, the sending program examined", output_rule_of_a_program;
    firewall_drops_igmp_queries: FirewallDropsIgmp, "`nft` input rule for IGMP, an IGMPv3 querier", igmp_queries;
    firewall_drops_igmp_queries_of_version_2: FirewallDropsIgmp, "`nft` rule in `raw` for IGMP, an IGMPv2 querier", igmp_queries_of_version_2;
    firewall_drops_mld_queries: FirewallDropsIgmp, "`nft` input rule for MLD queries", mld_queries;
    firewall_drops_igmp_after_routing: FirewallDropsIgmp, "`nft` rule after routing for IGMP", igmp_reports_after_routing;
    redirected: Redirected, "`nft` rule with `redirect` for a port", nat_redirect;
    redirected_v6: Redirected, "`nft` rule with `dnat`, IPv6", nat_dnat_v6;
    redirected_to_a_proxy: Redirected, "`nft` rule with `tproxy`", transparent_proxy;
    tc_diverts: TcDrops, "`tc` ingress filter that redirects to another interface", tc_diverts;
    firewall_drops_data_at_a_bridge: FirewallDropsData, "`nft` bridge input rule, joined on the bridge", bridge_input;
    firewall_drops_data_before_a_bridge: FirewallDropsData, "`nft` bridge prerouting rule, IPv6, the same", bridge_prerouting_v6;
    firewall_drops_data_at_a_port: FirewallDropsData, "`nft` ingress rule of a port, the same", port_ingress;
    firewall_drops_data_when_forwarded: FirewallDropsData, "`nft` bridge forward rule, the switch examined", bridge_forward;
    firewall_drops_igmp_at_a_bridge: FirewallDropsIgmp, "`nft` bridge rule for IGMP, a snooping switch examined", reports_at_a_bridge;
    firewall_drops_igmp_of_the_machine: FirewallDropsIgmp, "`nft` output rule for IGMP, machine examined", reports_of_a_machine;
    firewall_drops_data_by_policy_behind_goto: FirewallDropsData, "`nft` input policy behind chains with `goto` and `return`", policy_behind_goto;
    firewall_drops_data_first_of_all: FirewallDropsData, "`nft` ingress rule with the lowest priority, IPv6", first_of_all_v6;
    firewall_drops_data_last_of_all: FirewallDropsData, "`nft` input rule with the highest priority", last_of_all;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// Returns a table with one chain. `place` is its hook and priority.
fn chain(family: &str, place: &str, rules: &str) -> String {
    format!("table {family} own {{\nchain c {{\ntype filter hook {place};\n{rules}\n}}\n}}\n")
}

/// Returns a network whose receiver has these rules.
fn filtered(rules: &str) -> Net {
    let net = Net::new();
    load(&net.receiver, rules);
    net
}

fn load(host: &Host, rules: &str) {
    run(host, &format!("nft -f - <<'END'\n{rules}\nEND"));
}

const RAW: (&str, &str) = ("prerouting priority raw", "udp dport 5000 drop");

/// A rule without a counter before connection tracking.
pub(crate) fn raw_prerouting() -> Report {
    filtered(&chain("ip", RAW.0, RAW.1)).examine(GROUP, MEMBERSHIP)
}

/// The same for IPv6.
pub(crate) fn raw_prerouting_v6() -> Report {
    filtered(&chain("ip6", RAW.0, RAW.1)).examine(GROUP_V6, MEMBERSHIP_V6)
}

/// The same, examining another program.
pub(crate) fn raw_prerouting_of_a_program() -> Report {
    let net = filtered(&chain("ip", RAW.0, RAW.1));
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

const SET: &str = "table inet t {
    set bad {
        type ipv4_addr; flags interval
        elements = { 10.0.0.0/8, 192.0.2.1 }
    }
    chain c {
        type filter hook prerouting priority mangle;
        ip saddr @bad drop
    }
}";

/// A set of sources, some of them as ranges.
pub(crate) fn set_of_sources() -> Report {
    filtered(SET).examine(GROUP, MEMBERSHIP)
}

/// A chain that is jumped to through a map of interfaces, as in firewalld and many hand-written files.
const MAP: &str = "table inet t {
    chain public {
        ct state vmap { established : accept, related : accept, invalid : drop }
        meta l4proto { icmp, icmpv6, igmp } accept
        tcp dport { 22, 80 } accept
        reject
    }
    chain c {
        type filter hook input priority filter; policy accept;
        iifname vmap { lo : accept, eth0 : goto public }
    }
}";

/// A default to reject behind a map of interfaces.
pub(crate) fn rejected_by_a_zone() -> Report {
    filtered(MAP).examine(GROUP, MEMBERSHIP)
}

/// What firewalld does by default: drop what has no route back.
pub(crate) fn reverse_path_by_firewalld() -> Report {
    let rules = "icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop";
    let net = filtered(&chain("inet", "prerouting priority filter + 10", rules));
    let frames: Vec<_> = (0..20).map(|number| net.frame("2001:db8::7", GROUP_V6, number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, MEMBERSHIP_V6)
}

/// A rule of the device without a counter.
pub(crate) fn device_ingress() -> Report {
    filtered(&chain("netdev", "ingress device eth0 priority 0", "ip daddr 239.0.0.0/8 drop"))
        .examine(GROUP, MEMBERSHIP)
}

/// Two senders, one of which a rule drops.
pub(crate) fn one_of_two_sources() -> Report {
    let net = filtered(&chain("inet", "input priority 0", "ip saddr 10.9.0.77 drop"));
    let frames: Vec<_> = (0..20).map(|number| net.frame("10.9.0.77", GROUP, number)).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    net.examine(GROUP, MEMBERSHIP)
}

/// Without the temporary rules, counters and the rules themselves show the cause.
pub(crate) fn input_rule_without_experiments() -> Report {
    let net = filtered(&chain("inet", "input priority 0", "udp dport 5000 drop"));
    let _stream = Stream::to(&net.sender, GROUP);
    let options =
        Options::default().listening(crate::net::LISTEN).with(|options| options.experiments = false);
    let report = examine_for(&net.receiver, MEMBERSHIP, &options);
    assert_eq!(experiments_of(&report).next(), None);
    report
}

/// Examines the group on a sender with a rule.
fn on_sender(rules: &str, group: &str, membership: &str) -> Report {
    let net = Net::new();
    load(&net.sender, rules);
    let _stream = Stream::to(&net.sender, group);
    examine(&net.sender, membership)
}

/// A rule without a counter for what the sender sends, the group examined there.
pub(crate) fn output_rule() -> Report {
    on_sender(&chain("inet", "output priority 0", "udp dport 5000 drop"), GROUP, MEMBERSHIP)
}

/// The same for IPv6, after routing.
pub(crate) fn output_rule_v6() -> Report {
    on_sender(&chain("ip6", "postrouting priority 0", "ip6 daddr ff15::/16 drop"), GROUP_V6, MEMBERSHIP_V6)
}

/// A rule of the device.
pub(crate) fn egress_rule() -> Report {
    on_sender(&chain("netdev", "egress device eth0 priority 0", "udp dport 5000 drop"), GROUP, MEMBERSHIP)
}

/// A program that sends, examined by its port.
pub(crate) fn output_rule_of_a_program() -> Report {
    let net = Net::new();
    load(&net.sender, &chain("inet", "output priority 0", "ip daddr 239.0.0.0/8 counter drop"));
    let socket = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let _stream = Stream::by(socket.into(), GROUP.parse().unwrap(), 64);
    examine_port(&net.sender, port)
}

/// Returns a table that translates addresses.
fn nat(family: &str, rule: &str) -> String {
    format!("table {family} own {{\nchain c {{\ntype nat hook prerouting priority -100;\n{rule}\n}}\n}}\n")
}

/// A rule for a port that changes the destination.
pub(crate) fn nat_redirect() -> Report {
    filtered(&nat("ip", "udp dport 5000 redirect to :6000")).examine(GROUP, MEMBERSHIP)
}

/// The same for IPv6, with a counter.
pub(crate) fn nat_dnat_v6() -> Report {
    filtered(&nat("ip6", "udp dport 5000 counter dnat to fd09::9")).examine(GROUP_V6, MEMBERSHIP_V6)
}

const PROXY: (&str, &str) = ("prerouting priority mangle", "udp dport 5000 tproxy to :9000");

pub(crate) fn transparent_proxy() -> Report {
    let net = filtered(&chain("ip", PROXY.0, PROXY.1));
    let _proxy = transparent_socket(&net.receiver, 9000);
    net.examine(GROUP, MEMBERSHIP)
}

/// Opens the socket of a proxy, without which the rule does not match.
fn transparent_socket(host: &Host, port: u16) -> Socket {
    host.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_ip_transparent_v4(true).unwrap();
        let any: SocketAddr = ([0, 0, 0, 0], port).into();
        socket.bind(&any.into()).unwrap();
        socket
    })
    .unwrap()
}

#[test]
fn remedy_cures_redirected_streams_that_are_running() {
    if !has_programs() {
        return;
    }
    assert_cured(
        &filtered(&nat("ip", "udp dport 5000 redirect to :6000")),
        GROUP,
        MEMBERSHIP,
        Id::Redirected,
    );
    let net = filtered(&nat("ip6", "udp dport 5000 counter dnat to fd09::9"));
    assert_cured(&net, GROUP_V6, MEMBERSHIP_V6, Id::Redirected);
    let net = filtered(&chain("ip", PROXY.0, PROXY.1));
    let _proxy = transparent_socket(&net.receiver, 9000);
    assert_cured(&net, GROUP, MEMBERSHIP, Id::Redirected);
}

/// Adds a filter that drops all frames of a protocol: a program that returns 2 ("shot").
fn tc_drop(host: &Host, side: &str, protocol: &str) {
    let filter = format!("tc filter add dev eth0 {side} pref 7 protocol {protocol}");
    run(host, &format!("tc qdisc add dev eth0 clsact && {filter} bpf bytecode '1,6 0 0 2,' direct-action"));
}

/// A filter that sends the group to another interface, attached to the older discipline.
pub(crate) fn tc_diverts() -> Report {
    let net = Net::new();
    net.second_lan();
    run(
        &net.receiver,
        "tc qdisc add dev eth0 ingress && tc filter add dev eth0 parent ffff: pref 7 protocol ip u32 match ip dst 239.1.2.3/32 action mirred egress redirect dev eth1",
    );
    net.examine(GROUP, MEMBERSHIP)
}

/// A rule without a verdict of its own: two chains return, and the policy drops.
pub(crate) fn policy_behind_goto() -> Report {
    let net = Net::new();
    let rules = "table inet t {
        chain last {
            return
        }
        chain next {
            goto last
        }
        chain input {
            type filter hook input priority 0; policy drop;
            udp dport 5000 jump next
            udp dport 5000 goto last
            accept
        }
    }";
    run(&net.receiver, &format!("nft -f - <<'END'\n{rules}\nEND"));
    net.examine(GROUP, MEMBERSHIP)
}

/// A rule before those with which the doctor counts.
pub(crate) fn first_of_all_v6() -> Report {
    let net = Net::new();
    rule_with_priority(&net.receiver, "netdev", "ingress device eth0", i32::MIN);
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// A rule behind them.
pub(crate) fn last_of_all() -> Report {
    let net = Net::new();
    rule_with_priority(&net.receiver, "ip", "input", i32::MAX);
    net.examine(GROUP, MEMBERSHIP)
}

fn rule_with_priority(host: &Host, family: &str, hook: &str, priority: i32) {
    run(
        host,
        &format!(
            "nft add table {family} t && nft 'add chain {family} t c {{ type filter hook {hook} priority {priority} ; }}' && nft add rule {family} t c udp dport 5000 drop"
        ),
    );
}

/// Attaches an XDP program of two instructions that drops everything, in generic mode.
fn xdp_drop(host: &Host) {
    const PROGRAM: &str = "import ctypes, platform, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(struct.pack('=BBhiBBhi', 0xb7, 0, 0, 1, 0x95, 0, 0, 0))
license = ctypes.create_string_buffer(b'GPL')
load = struct.pack('=IIQQ', 6, 2, ctypes.addressof(code), ctypes.addressof(license)).ljust(120, bytes(1))
program = libc.syscall(321 if platform.machine() == 'x86_64' else 280, 5, load, len(load))
assert program >= 0, ctypes.get_errno()
attach = struct.pack('=HHiHHI', 8, 1, program, 8, 3, 2)
link = struct.pack('=BBHiIIHH', 0, 0, 0, socket.if_nametoindex('eth0'), 0, 0, 4 + len(attach), 43 | 0x8000) + attach
route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
route.send(struct.pack('=IHHII', 16 + len(link), 19, 5, 1, 0) + link)
error = struct.unpack_from('=i', route.recv(4096), 16)[0]
assert error == 0, error";
    let output = host.command("python3").unwrap().args(["-c", PROGRAM]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn remedy_cures_filters_of_the_device() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    tc_drop(&net.receiver, "ingress", "ip");
    assert_cured(&net, GROUP, MEMBERSHIP, Id::TcDrops);
    let net = Net::new();
    xdp_drop(&net.receiver);
    assert_cured(&net, GROUP, MEMBERSHIP, Id::XdpDrops);
    let net = Net::new();
    tc_drop(&net.sender, "egress", "ip");
    let _stream = Stream::to(&net.sender, GROUP);
    apply(&net.sender, &examine(&net.sender, MEMBERSHIP), Id::TcDrops);
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

/// Examines the group on the bridge of a switch.
fn on_bridge(rules: impl Fn(&str) -> String, group: &str, membership: &str) -> Report {
    let net = Net::new();
    let bridge = net.lan.inside();
    load(&bridge, &rules(&port_of(&bridge)));
    let _stream = Stream::to(&net.sender, group);
    examine(&bridge, membership)
}

/// Returns the name of the port to which the sender is connected, the first one.
fn port_of(bridge: &Host) -> String {
    let list = "ip -o link show master br0 | head -1 | cut -d: -f2 | cut -d@ -f1 | tr -d ' \n'";
    let output = bridge.command("sh").unwrap().args(["-c", list]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A rule of the family `bridge` on a machine that has joined on the bridge.
pub(crate) fn bridge_input() -> Report {
    on_bridge(|_| chain("bridge", "input priority 0", "ip daddr 239.1.2.3 drop"), GROUP, "239.1.2.3%br0:5000")
}

/// The same before the bridge decides, for IPv6.
pub(crate) fn bridge_prerouting_v6() -> Report {
    let rules = |_: &str| chain("bridge", "prerouting priority 0", "udp dport 5000 counter drop");
    on_bridge(rules, GROUP_V6, "[ff15::1234%br0]:5000")
}

/// A rule of the port.
pub(crate) fn port_ingress() -> Report {
    let rules =
        |port: &str| chain("netdev", &format!("ingress device {port} priority 0"), "udp dport 5000 drop");
    on_bridge(rules, GROUP, "239.1.2.3%br0:5000")
}

/// A rule that keeps the bridge from forwarding, examined there.
pub(crate) fn bridge_forward() -> Report {
    on_bridge(
        |_| chain("bridge", "forward priority 0", "ip daddr 239.1.2.3 drop"),
        GROUP,
        "239.1.2.3%br0:5000",
    )
}

/// A rule that drops the reports of hosts at a snooping bridge, which is examined.
pub(crate) fn reports_at_a_bridge() -> Report {
    let net = Net::with(SwitchOptions::managed());
    let bridge = net.lan.inside();
    load(&bridge, &chain("bridge", "prerouting priority 0", "ip protocol igmp drop"));
    examine_host(&bridge)
}

/// A rule that drops the reports of a machine that is examined while a program has joined.
pub(crate) fn reports_of_a_machine() -> Report {
    let net = filtered(&chain("inet", "output priority 0", "meta l4proto igmp drop"));
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    examine_host(&net.receiver)
}

#[test]
fn remedy_cures_bridges() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let bridge = net.lan.inside();
    load(&bridge, &chain("bridge", "prerouting priority 0", "udp dport 5000 drop"));
    let _stream = Stream::to(&net.sender, GROUP);
    apply(&bridge, &examine(&bridge, "239.1.2.3%br0:5000"), Id::FirewallDropsData);
    assert_received(&examine(&bridge, "239.1.2.3%br0:5000"));
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

/// Examines the group behind a switch with a querier, for long enough to see a query.
fn with_querier(version: u8, rules: &str, membership: &str) -> Report {
    let options = SwitchOptions::managed()
        .querier(false)
        .igmp_version(version)
        .query_interval(Duration::from_secs(1))
        .query_response_interval(Duration::from_millis(500));
    let net = Net::with(options);
    load(&net.receiver, rules);
    net.lan.set_querier(true).unwrap();
    let _stream = Stream::to(&net.sender, if membership == MEMBERSHIP { GROUP } else { GROUP_V6 });
    examine_for(&net.receiver, membership, &Options::default().listening(Duration::from_secs(3)))
}

/// Queries are dropped when they arrive.
pub(crate) fn igmp_queries() -> Report {
    with_querier(3, &chain("inet", "input priority 0", "meta l4proto igmp drop"), MEMBERSHIP)
}

/// The same with IGMPv2, the default of Linux bridges.
pub(crate) fn igmp_queries_of_version_2() -> Report {
    with_querier(2, &chain("ip", "prerouting priority raw", "ip protocol igmp drop"), MEMBERSHIP)
}

/// The same with MLD.
pub(crate) fn mld_queries() -> Report {
    with_querier(3, &chain("ip6", "input priority 0", "icmpv6 type mld-listener-query drop"), MEMBERSHIP_V6)
}

/// Reports are dropped after routing, by a rule without a counter.
pub(crate) fn igmp_reports_after_routing() -> Report {
    filtered(&chain("ip", "postrouting priority 0", "ip protocol igmp drop")).examine(GROUP, MEMBERSHIP)
}

#[test]
fn remedy_cures_dropped_reports_and_queries() {
    if !has_programs() {
        return;
    }
    let cases = [
        (Family::V4, "output priority 0", "meta l4proto igmp drop"),
        (Family::V4, "postrouting priority 0", "ip protocol igmp drop"),
        (Family::V6, "output priority 0", "icmpv6 type mld2-listener-report drop"),
    ];
    for (family, place, rule) in cases {
        let net = Net::with(SwitchOptions::managed());
        load(&net.receiver, &chain("inet", place, rule));
        let (group, membership) =
            if family == Family::V4 { (GROUP, MEMBERSHIP) } else { (GROUP_V6, MEMBERSHIP_V6) };
        let report = net.examine(group, membership);
        apply(&net.receiver, &report, Id::FirewallDropsIgmp);
        assert_received(&net.examine(group, membership));
    }
}

#[test]
fn remedy_cures_the_sender() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    load(&net.sender, &chain("inet", "output priority 0", "udp dport 5000 drop"));
    let _stream = Stream::to(&net.sender, GROUP);
    apply(&net.sender, &examine(&net.sender, MEMBERSHIP), Id::FirewallDropsOutput);
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

/// Applies the first remedy of a finding.
fn apply(host: &Host, report: &Report, id: Id) {
    let finding = report.findings.iter().find(|finding| finding.id == id);
    let remedy = finding.and_then(mcast_doctor::Finding::applicable_remedy);
    let remedy = remedy.unwrap_or_else(|| panic!("no remedy: {report:#?}"));
    let mut applied = AppliedRemedies::default();
    host.run(|| applied.apply(remedy, |_| ()).unwrap()).unwrap();
    applied.keep();
}

/// Returns the experiments that a report lists.
fn experiments_of(report: &Report) -> impl Iterator<Item = &str> {
    let experiments = report.observations.iter().filter(|observation| observation.layer == "experiment");
    experiments.map(|observation| observation.message.as_str())
}

/// Applies the first remedy, and asserts that the datagrams arrive then.
fn assert_cured(net: &Net, group: &str, membership: &str, id: Id) {
    let _stream = Stream::to(&net.sender, group);
    apply(&net.receiver, &examine(&net.receiver, membership), id);
    assert_received(&examine(&net.receiver, membership));
}

#[test]
fn remedy_cures_at_every_hook() {
    if !has_programs() {
        return;
    }
    for rules in [
        chain("ip", RAW.0, RAW.1),
        SET.to_owned(),
        MAP.to_owned(),
        chain("netdev", "ingress device eth0 priority 0", "ip daddr 239.0.0.0/8 drop"),
        chain("inet", "input priority 0; policy drop", "meta l4proto igmp accept"),
    ] {
        assert_cured(&filtered(&rules), GROUP, MEMBERSHIP, Id::FirewallDropsData);
    }
    assert_cured(&filtered(&chain("ip6", RAW.0, RAW.1)), GROUP_V6, MEMBERSHIP_V6, Id::FirewallDropsData);
}

#[test]
fn rule_is_named_although_other_rules_have_no_counter_either() {
    if !has_programs() {
        return;
    }
    let rules =
        "udp dport 5001 drop\nip saddr 10.8.0.0/16 drop\ntcp dport 5000 drop\nip daddr 239.1.2.3 drop";
    let report = filtered(&chain("inet", "prerouting priority raw", rules)).examine(GROUP, MEMBERSHIP);
    let finding = &report.findings[0];
    assert!(finding.cause.ends_with("and `nft inet own c handle 5` matches them."), "{}", finding.cause);
}

#[test]
pub(crate) fn rules_that_admit_the_group_are_healthy() {
    if !has_programs() {
        return;
    }
    let rules = "udp dport 5000 ip daddr 239.1.2.3 accept\nmeta l4proto igmp accept\ndrop";
    for place in ["prerouting priority raw", "input priority 0"] {
        assert_received(&filtered(&chain("ip", place, rules)).examine(GROUP, MEMBERSHIP));
    }
}

#[test]
fn temporary_rules_are_gone_afterwards() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let report = net.examine(GROUP, MEMBERSHIP);
    let [experiment] = experiments_of(&report).collect::<Vec<_>>()[..] else { panic!("{report:#?}") };
    assert!(
        experiment.starts_with("count the datagrams to 239.1.2.3:5000 before and behind each"),
        "{experiment}"
    );
    let output = net.receiver.command("nft").unwrap().args(["list", "ruleset"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn another_report_is_an_experiment_that_can_be_switched_off() {
    let net = Net::new();
    // As another program has joined, the doctor sends the report itself.
    let _member = idle_listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let reports = |experiments| {
        let options = Options::default()
            .listening(crate::net::LISTEN)
            .with(|options| options.experiments = experiments);
        let report = examine_for(&net.receiver, MEMBERSHIP, &options);
        let reports = experiments_of(&report).filter(|what| what.contains("another report"));
        reports.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(reports(true), ["send another report for 239.1.2.3:5000 on eth0: nothing arrived"]);
    assert_eq!(reports(false), Vec::<String>::new());
}

/// Set for the process that [`killed_examination_leaves_no_rules`] starts.
const IS_CHILD: &str = "MCAST_TEST_EXAMINES_UNTIL_KILLED";

#[test]
#[ignore = "the process that `killed_examination_leaves_no_rules` starts"]
fn examination_until_killed() {
    assert!(std::env::var_os(IS_CHILD).is_some(), "to be started by another test only");
    let options = Options::default().listening(Duration::from_secs(60));
    let membership = MEMBERSHIP.parse().unwrap();
    let _report =
        mcast_doctor::examine_membership(&membership, &options, &mut |_| ControlFlow::Continue(())).unwrap();
}

#[test]
fn killed_examination_leaves_no_rules() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let has_tables = || {
        let output = net.receiver.command("nft").unwrap().args(["list", "tables"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("mcast-doctor")
    };
    let wait_until = |is_wanted: bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while has_tables() != is_wanted {
            assert!(
                Instant::now() < deadline,
                "the rules are still {}",
                if is_wanted { "missing" } else { "there" }
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut program = net.receiver.command(std::env::current_exe().unwrap()).unwrap();
    program.args(["--exact", "filters::examination_until_killed", "--ignored"]).env(IS_CHILD, "1");
    let mut child = program.spawn().unwrap();
    wait_until(true);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(false);
}
