//! Bridges and routers as machines in the path: the doctor examines a group on the machine that should forward it.

use std::time::{Duration, Instant};

use mcast_doctor::{Id, Options, Report};
use mcast_lab::{Host, Lab, RouteGroup, Router, Switch, SwitchOptions};

use crate::net::{
    Listener, Net, Stream, assert_healthy, assert_only, assert_received, briefly, examine, examine_for,
    examine_host, examine_while, has_programs, listener, nft, run, socket,
};
use crate::switches::last_query;

crate::table::cases! {
    port_that_learns: PortNotForwarding, "the port of the sender is in state learning, examined on the switch", learning_port;
    port_that_is_disabled: PortNotForwarding, "the port of the receiver is disabled, IPv6, examined on the switch", disabled_port_v6;
    port_that_listens: PortNotForwarding, "a port is in state listening, switch examined without a group", listening_port_of_machine;
    isolated_ports: PortIsolated, "the ports of sender and receiver are isolated, examined on the switch", isolated_ports;
    isolated_ports_of_the_machine: PortIsolated, "the same, switch examined without a group", isolated_ports_of_machine;
    locked_port: PortLocked, "the port of the sender is locked, examined on the switch", locked_port;
    firewall_of_a_bridge: FirewallDropsData, "`nft` forward rule of a bridge, examined on the switch", bridge_rule;
    firewall_of_a_bridge_in_ipv6: FirewallDropsData, "the same in IPv6 without a counter", bridge_rule_v6;
    firewall_of_the_receivers_port: FirewallDropsData, "`nft` egress rule of the receiver's port, examined on the switch", egress_rule_of_port;
    firewall_of_the_senders_port: FirewallDropsData, "`nft` ingress rule of the sender's port, examined on the switch", ingress_rule_of_port;
    firewall_drops_igmp_at_a_port: FirewallDropsIgmp, "`nft` rule of a bridge for IGMP, examined on the switch", igmp_dropped_at_port;
    tc_drops_at_a_port: TcDrops, "a `tc` ingress filter of the sender's port, examined on the switch", tc_at_ingress_of_port;
    tc_diverts_at_a_port_v6: TcDrops, "one that redirects to another interface, IPv6", tc_diverts_at_port_v6;
    full_queue_of_a_port: NotForwarded, "a `tc` token bucket of the receiver's port that is too small, examined on the switch", full_queue_of_port;
    filter_of_a_port: TcDrops, "a `tc` filter of the receiver's port, examined on the switch", tc_at_port;
    mtu_of_a_port: MtuTooSmall, "a port with MTU 1000, 1400 bytes sent, examined on the switch", small_port;
    querier_of_the_switch_has_stopped: NoQuerier, "the querier has stopped, switch examined without a group", stopped_querier;
    router_without_a_route: NoMulticastRoute, "a router without a route for the group, examined there", no_route;
    router_without_a_route_in_ipv6: NoMulticastRoute, "the same in IPv6", no_route_v6;
    route_to_nowhere: NoMulticastRoute, "a route without outgoing interfaces, examined on the router", route_to_nowhere;
    no_multicast_routing: NoMulticastRoute, "`ip_forward` 1 and no multicast routing, examined there", no_routing;
    forward_chain: FirewallDropsData, "`nft` forward rule of a router, examined there", forward_rule;
    forward_chain_in_ipv6: FirewallDropsData, "`nft` forward rule of a router without a counter, IPv6", forward_rule_v6;
    mtu_of_an_outgoing_interface: MtuTooSmall, "a router's outgoing interface with MTU 1000, 1400 bytes sent", small_outgoing_interface;
    port_of_sender_down: PortMissing, "the port of the sender is down, examined on the switch", port_of_sender_down;
    port_of_receiver_down_v6: PortMissing, "the port of the receiver is down, IPv6, examined on the switch", port_of_receiver_down_v6;
    port_down_of_machine: PortMissing, "the port of the receiver is down, switch examined without a group", port_down_of_machine;
    port_goes_down: PortMissing, "the port of the receiver goes down while the doctor listens on the switch", port_goes_down;
    sender_taken_out: PortMissing, "the sender's interface is taken out of the bridge, examined on the switch", sender_taken_out;
    sender_taken_out_v6: PortMissing, "the same in IPv6 (taken out of the bridge)", sender_taken_out_v6;
    receiver_taken_out: PortMissing, "the interface of a host that joins is taken out of the bridge, examined on the switch", receiver_taken_out;
    port_group_limit: PortGroupLimit, "`mcast_max_groups` 1 at the port of a host that joins a second group, examined on the switch", port_group_limit;
    port_group_limit_of_machine: PortGroupLimit, "the same, switch examined without a group (`mcast_max_groups`)", port_group_limit_of_machine;
    omitted_leg: NoMulticastRoute, "a route that omits the network of a host that joins, examined on the router", omitted_leg;
    omitted_leg_v6: NoMulticastRoute, "the same in IPv6 (route that omits a network)", omitted_leg_v6;
    sender_taken_out_of_machine: PortMissing, "the sender's interface is taken out of the bridge, switch examined without a group", sender_taken_out_of_machine;
    forward_policy_of_a_bridge: FirewallDropsData, "`nft` forward policy of the IP layer and `bridge-nf-call-iptables`, examined on the switch", forward_policy;
    forward_policy_of_a_bridge_v6: FirewallDropsData, "the same in IPv6 (`bridge-nf-call-ip6tables`)", forward_policy_v6;
}

const TO: &str = "239.1.2.3:5000";
const TO_V6: &str = "[ff15::1234]:5000";
const ON_BRIDGE: &str = "239.1.2.3%br0:5000";
const ON_BRIDGE_V6: &str = "[ff15::1234%br0]:5000";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A stream that a switch forwards to a member.
pub(crate) struct Switched {
    net: Net,
    pub(crate) switch: Host,
    /// The ports of the sender and of the receiver.
    pub(crate) ports: [String; 2],
    _listener: Listener,
    _stream: Stream,
}

/// Returns the ports of the sender and of the receiver.
pub(crate) fn ports(switch: &Host) -> [String; 2] {
    let list = "ip -o link show master br0 | sed 's/^[0-9]*: //; s/[@:].*//'";
    let output = switch.command("sh").unwrap().args(["-c", list]).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let [sender, receiver] = names.lines().collect::<Vec<_>>()[..] else { panic!("{names}") };
    [sender.to_owned(), receiver.to_owned()]
}

impl Switched {
    pub(crate) fn new(to: &str) -> Self {
        Self::with(to, 64, SwitchOptions::managed())
    }

    pub(crate) fn with(to: &str, size: usize, options: SwitchOptions) -> Self {
        let net = Net::with(options);
        let switch = net.lan.inside();
        let ports = ports(&switch);
        let group = to.parse::<std::net::SocketAddr>().unwrap().ip();
        let bind = if group.is_ipv4() { "0.0.0.0:5000" } else { "[::]:5000" };
        let listener = listener(&net.receiver, bind, &[(&group.to_string(), "eth0")]);
        net.lan.wait_for_member(&net.receiver, "eth0", group, TIMEOUT).unwrap();
        let stream = Stream::sized(&net.sender, to, size, |_| {});
        Self { net, switch, ports, _listener: listener, _stream: stream }
    }

    /// Changes a setting of the sender's or receiver's port.
    fn set(&self, port: usize, setting: &str) {
        run(&self.switch, &format!("bridge link set dev {} {setting}", self.ports[port]));
    }

    fn examine(&self) -> Report {
        examine(&self.switch, ON_BRIDGE)
    }
}

pub(crate) fn learning_port() -> Report {
    let net = Switched::new(TO);
    net.set(0, "state 2");
    net.examine()
}

/// The port of the receiver is disabled, in IPv6.
pub(crate) fn disabled_port_v6() -> Report {
    let net = Switched::new(TO_V6);
    net.set(1, "state 0");
    examine(&net.switch, ON_BRIDGE_V6)
}

/// A port that only listens, without a group.
pub(crate) fn listening_port_of_machine() -> Report {
    let net = Switched::new(TO);
    net.set(1, "state 1");
    examine_host(&net.switch)
}

/// The sender and the receiver are isolated from each other.
pub(crate) fn isolated_ports() -> Report {
    let net = Switched::new(TO);
    isolate(&net);
    net.examine()
}

/// The same, without a group.
pub(crate) fn isolated_ports_of_machine() -> Report {
    let net = Switched::new(TO);
    isolate(&net);
    examine_host(&net.switch)
}

pub(crate) fn isolate(net: &Switched) {
    (0..2).for_each(|port| net.set(port, "isolated on"));
}

/// The sender is not admitted at its port.
pub(crate) fn locked_port() -> Report {
    let net = Switched::new(TO);
    lock(&net);
    net.examine()
}

fn lock(net: &Switched) {
    net.set(0, "locked on learning off");
    run(
        &net.switch,
        &format!(
            "bridge fdb flush dev {} 2>/dev/null || ip link set dev {} type bridge_slave fdb_flush",
            net.ports[0], net.ports[0]
        ),
    );
}

/// Takes a port down.
fn take_down(net: &Switched, port: usize) {
    run(&net.switch, &format!("ip link set dev {} down", net.ports[port]));
}

/// Takes an interface out of the bridge.
fn take_out(switch: &Host, port: &str) {
    run(switch, &format!("ip link set dev {port} nomaster"));
}

pub(crate) fn port_of_sender_down() -> Report {
    let net = Switched::new(TO);
    take_down(&net, 0);
    net.examine()
}

/// The port of the receiver is down, in IPv6.
pub(crate) fn port_of_receiver_down_v6() -> Report {
    let net = Switched::new(TO_V6);
    take_down(&net, 1);
    examine(&net.switch, ON_BRIDGE_V6)
}

/// The same, without a group.
pub(crate) fn port_down_of_machine() -> Report {
    let net = Switched::new(TO);
    take_down(&net, 1);
    examine_host(&net.switch)
}

/// The port of the receiver goes down while the doctor listens.
pub(crate) fn port_goes_down() -> Report {
    let net = Switched::new(TO);
    examine_while(&net.switch, ON_BRIDGE, &briefly(), || take_down(&net, 1))
}

/// The interface of the sender is not a port of the bridge any more.
pub(crate) fn sender_taken_out() -> Report {
    let net = Switched::new(TO);
    take_out(&net.switch, &net.ports[0]);
    net.examine()
}

/// The same, without a group.
pub(crate) fn sender_taken_out_of_machine() -> Report {
    let net = Switched::new(TO);
    take_out(&net.switch, &net.ports[0]);
    examine_host(&net.switch)
}

pub(crate) fn sender_taken_out_v6() -> Report {
    let net = Switched::new(TO_V6);
    take_out(&net.switch, &net.ports[0]);
    examine(&net.switch, ON_BRIDGE_V6)
}

/// The interface of a receiver that joins is not a port of the bridge any more.
pub(crate) fn receiver_taken_out() -> Report {
    let net = Net::with(SwitchOptions::managed());
    let switch = net.lan.inside();
    let [_, port] = ports(&switch);
    take_out(&switch, &port);
    let _stream = Stream::to(&net.sender, TO);
    examine_while(&switch, ON_BRIDGE, &briefly(), || join_for_good(&net.receiver))
}

/// Joins the group until the process ends.
pub(crate) fn join_for_good(host: &Host) {
    std::mem::forget(listener(host, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]));
}

/// Returns whether the kernel can limit the groups of a port: Linux 6.3 and later do. An earlier one ignores the limit.
fn has_group_limits() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let has_limits = (numbers.next(), numbers.next()) >= (Some(6), Some(3));
    if !has_limits {
        mcast_lab::skip(format_args!("Linux {} has no limits of groups", release.trim()));
    }
    has_limits
}

/// Sets how many groups a port may have, as `bridge link set dev PORT mcast_max_groups` does since iproute2 6.3.
fn limit_groups(switch: &Host, port: &str, limit: u32) {
    const PROGRAM: &str = "import socket, struct, sys
def attribute(kind, value):
    return struct.pack('HH', 4 + len(value), kind) + value
NESTED, PROTOCOL_INFO, MAX_GROUPS, SET_LINK, AF_BRIDGE = 1 << 15, 12, 42, 19, 7
info = attribute(PROTOCOL_INFO | NESTED, attribute(MAX_GROUPS, struct.pack('I', int(sys.argv[2]))))
body = struct.pack('BBHiII', AF_BRIDGE, 0, 0, socket.if_nametoindex(sys.argv[1]), 0, 0) + info
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
s.send(struct.pack('IHHII', 16 + len(body), SET_LINK, 5, 1, 0) + body)
error, = struct.unpack_from('i', s.recv(4096), 16)
assert error == 0, error";
    let arguments = ["-c", PROGRAM, port, &limit.to_string()];
    assert!(switch.command("python3").unwrap().args(arguments).status().unwrap().success());
}

/// Returns a switch whose port of the receiver may have one group, and has it.
fn limited() -> Net {
    let net = Net::with(SwitchOptions::managed());
    let switch = net.lan.inside();
    let [_, port] = ports(&switch);
    let first = "239.7.7.7".parse().unwrap();
    std::mem::forget(listener(&net.receiver, "0.0.0.0:7777", &[("239.7.7.7", "eth0")]));
    net.lan.wait_for_member(&net.receiver, "eth0", first, TIMEOUT).unwrap();
    limit_groups(&switch, &port, 1);
    net
}

/// A host joins a second group behind a port that may have one.
pub(crate) fn port_group_limit() -> Report {
    let net = limited();
    let _stream = Stream::to(&net.sender, TO);
    examine_while(&net.lan.inside(), ON_BRIDGE, &briefly(), || join_for_good(&net.receiver))
}

/// The same, without a group.
pub(crate) fn port_group_limit_of_machine() -> Report {
    examine_host(&limited().lan.inside())
}

/// A rule of the bridge family with a counter.
pub(crate) fn bridge_rule() -> Report {
    let net = Switched::new(TO);
    nft(&net.switch, "bridge", "hook forward", "udp dport 5000 counter drop");
    net.examine()
}

/// A rule of the bridge family without a counter, in IPv6.
pub(crate) fn bridge_rule_v6() -> Report {
    let net = Switched::new(TO_V6);
    nft(&net.switch, "bridge", "hook forward", "ip6 daddr ff15::1234 drop");
    examine(&net.switch, ON_BRIDGE_V6)
}

/// The policy of the IP layer, which frames of a bridge meet where `bridge-nf-call-iptables` is set.
pub(crate) fn forward_policy() -> Report {
    let net = Switched::new(TO);
    drop_forwarded(&net.switch, "ip");
    net.examine()
}

/// The same in IPv6.
pub(crate) fn forward_policy_v6() -> Report {
    let net = Switched::new(TO_V6);
    drop_forwarded(&net.switch, "ip6");
    examine(&net.switch, ON_BRIDGE_V6)
}

fn drop_forwarded(switch: &Host, family: &str) {
    let chain = "{ type filter hook forward priority 0 ; policy drop ; }";
    run(switch, &format!("nft add table {family} filter && nft 'add chain {family} filter FORWARD {chain}'"));
}

/// A rule at the port of the receiver.
pub(crate) fn egress_rule_of_port() -> Report {
    let net = Switched::new(TO);
    nft(
        &net.switch,
        "netdev",
        &format!("hook egress device {}", net.ports[1]),
        "udp dport 5000 counter drop",
    );
    net.examine()
}

/// A rule at the port of the sender: the bridge itself does not get the group either.
pub(crate) fn ingress_rule_of_port() -> Report {
    let net = Switched::new(TO);
    nft(
        &net.switch,
        "netdev",
        &format!("hook ingress device {}", net.ports[0]),
        "udp dport 5000 counter drop",
    );
    net.examine()
}

/// Reports that do not get past the port of the receiver.
pub(crate) fn igmp_dropped_at_port() -> Report {
    igmp_dropped().examine_for_a_query()
}

struct Unlearnt(Net, Host);

impl Unlearnt {
    fn examine_for_a_query(&self) -> Report {
        let _stream = Stream::to(&self.0.sender, TO);
        let options = Options::default().listening(Duration::from_secs(3));
        examine_for(&self.1, ON_BRIDGE, &options)
    }
}

fn igmp_dropped() -> Unlearnt {
    let net = Net::with(
        SwitchOptions::managed()
            .query_interval(Duration::from_secs(1))
            .query_response_interval(Duration::from_millis(500)),
    );
    let switch = net.lan.inside();
    nft(&switch, "bridge", "hook prerouting", "ip protocol igmp counter drop");
    let listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    // It stays joined until the process ends.
    std::mem::forget(listener);
    Unlearnt(net, switch)
}

/// A traffic control filter at the port of the receiver.
pub(crate) fn tc_at_port() -> Report {
    let net = Switched::new(TO);
    run(
        &net.switch,
        &format!(
            "tc qdisc add dev {0} clsact && tc filter add dev {0} egress pref 7 bpf da bytecode '1,6 0 0 2'",
            net.ports[1]
        ),
    );
    net.examine()
}

/// A traffic control filter at the port of the sender.
pub(crate) fn tc_at_ingress_of_port() -> Report {
    let net = Switched::new(TO);
    filter(&net, "bpf da bytecode '1,6 0 0 2'");
    net.examine()
}

/// One that hands the packets to another interface, in IPv6.
pub(crate) fn tc_diverts_at_port_v6() -> Report {
    let net = Switched::new(TO_V6);
    run(&net.switch, "ip link add waste0 type veth peer name waste1 && ip link set waste0 up");
    filter(&net, "protocol ipv6 u32 match u32 0 0 action mirred egress redirect dev waste0");
    examine(&net.switch, ON_BRIDGE_V6)
}

fn filter(net: &Switched, filter: &str) {
    let add =
        format!("tc qdisc add dev {0} clsact && tc filter add dev {0} ingress pref 7 {filter}", net.ports[0]);
    run(&net.switch, &add);
}

/// A queue at the port of the receiver that is too small.
pub(crate) fn full_queue_of_port() -> Report {
    let net = Switched::new(TO);
    run(
        &net.switch,
        &format!("tc qdisc add dev {} root tbf rate 8kbit burst 200 latency 20ms", net.ports[1]),
    );
    net.examine()
}

/// A port with a smaller MTU than the packets.
pub(crate) fn small_port() -> Report {
    let net = Switched::with(TO, 1400, SwitchOptions::managed());
    run(&net.switch, &format!("ip link set dev {} mtu 1000 && ip link set dev br0 mtu 1500", net.ports[1]));
    net.examine()
}

/// A switch whose querier has stopped, examined on the switch.
pub(crate) fn stopped_querier() -> Report {
    let net = Net::with(SwitchOptions::default().snooping(true).membership_interval(Duration::from_secs(1)));
    last_query(&net);
    let begin = Instant::now();
    loop {
        let report = examine_host(&net.lan.inside());
        if !report.findings.is_empty() || begin.elapsed() > TIMEOUT {
            return report;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// sender - lan1 - router - lan2 - receiver
pub(crate) struct Routed {
    lab: Lab,
    pub(crate) sender: Host,
    pub(crate) router: Router,
    pub(crate) receiver: Host,
}

impl Routed {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let (lan1, lan2) = (lab.switch("lan1").unwrap(), lab.switch("lan2").unwrap());
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        let router = lab.router("router").unwrap();
        router.connect("r0", &lan1, &["10.1.0.254/24", "fd01::fe/64"]).unwrap();
        router.connect("r1", &lan2, &["10.2.0.254/24", "fd02::fe/64"]).unwrap();
        router.add_route("224.0.0.0/4", "r0").unwrap();
        sender.connect("eth0", &lan1, &["10.1.0.1/24", "fd01::1/64"]).unwrap();
        sender.add_route_via("0.0.0.0/0", "10.1.0.254").unwrap();
        receiver.connect("eth0", &lan2, &["10.2.0.1/24", "fd02::1/64"]).unwrap();
        receiver.add_route_via("0.0.0.0/0", "10.2.0.254").unwrap();
        // A router takes part on all its interfaces.
        let other = RouteGroup {
            source: None,
            group: [239, 9, 9, 9].into(),
            from: "r0",
            to: &["r1"],
            ttl_threshold: 1,
        };
        router.route_group(other).unwrap();
        router.route_group(RouteGroup { group: "ff15::9999".parse().unwrap(), ..other }).unwrap();
        Self { lab, sender, router, receiver }
    }

    pub(crate) fn route(&self, group: &str, to: &[&str]) {
        let group = group.parse().unwrap();
        self.router
            .route_group(RouteGroup { source: None, group, from: "r0", to, ttl_threshold: 1 })
            .unwrap();
    }

    /// Connects the router to a third network with `r2`, and a host there.
    fn third_network(&self) -> (Host, Switch) {
        self.third_network_of(self.lab.host("member").unwrap())
    }

    /// The same, with this host.
    fn third_network_of(&self, host: Host) -> (Host, Switch) {
        let lan = self.lab.switch_with("lan3", SwitchOptions::default().snooping(true)).unwrap();
        self.router.connect("r2", &lan, &["10.3.0.254/24", "fd03::fe/64"]).unwrap();
        host.connect("eth0", &lan, &["10.3.0.1/24", "fd03::1/64"]).unwrap();
        host.add_route_via("0.0.0.0/0", "10.3.0.254").unwrap();
        (host, lan)
    }

    fn examine(&self) -> Report {
        let _stream = Stream::to(&self.sender, TO);
        examine(&self.router, "239.1.2.3%r0:5000")
    }

    fn examine_v6(&self) -> Report {
        let _stream = Stream::to(&self.sender, TO_V6);
        examine(&self.router, "[ff15::1234%r0]:5000")
    }
}

/// A router without a route for the group.
pub(crate) fn no_route() -> Report {
    Routed::new().examine()
}

/// The same in IPv6.
pub(crate) fn no_route_v6() -> Report {
    Routed::new().examine_v6()
}

/// A route without outgoing interfaces.
pub(crate) fn route_to_nowhere() -> Report {
    let net = Routed::new();
    net.route("239.1.2.3", &[]);
    net.examine()
}

/// A route that omits the network of a host that joins.
pub(crate) fn omitted_leg() -> Report {
    let net = Routed::new();
    let (member, _lan) = net.third_network();
    net.route("239.1.2.3", &["r1"]);
    let _stream = Stream::to(&net.sender, TO);
    examine_while(&net.router, "239.1.2.3%r0:5000", &briefly(), || join_for_good(&member))
}

/// A member that has joined earlier reports nothing: that is not known, and said.
#[test]
fn member_that_does_not_report_to_a_router_is_an_open_question() {
    let net = Routed::new();
    let member = net.lab.host("member").unwrap();
    // It sends one report, and does not repeat it while the doctor listens. Interfaces take the setting over when they
    // are created.
    member.sysctl("net/ipv4/igmp_qrv", "1").unwrap();
    let (member, lan) = net.third_network_of(member);
    net.route("239.1.2.3", &["r1"]);
    net.router
        .route_group(RouteGroup {
            source: None,
            group: [239, 9, 9, 8].into(),
            from: "r0",
            to: &["r2"],
            ttl_threshold: 1,
        })
        .unwrap();
    let _listener = listener(&member, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    lan.wait_for_member(&member, "eth0", [239, 1, 2, 3].into(), TIMEOUT).unwrap();
    let report = net.examine();
    let questions: Vec<_> = report.open_questions.iter().map(|open| open.question.as_str()).collect();
    assert_eq!(questions, ["whether hosts behind r2 have joined 239.1.2.3, which is not routed there"]);
}

/// The same in IPv6.
pub(crate) fn omitted_leg_v6() -> Report {
    let net = Routed::new();
    let (member, _lan) = net.third_network();
    net.route("ff15::1234", &["r1"]);
    let _stream = Stream::to(&net.sender, TO_V6);
    examine_while(&net.router, "[ff15::1234%r0]:5000", &briefly(), || {
        std::mem::forget(listener(&member, "[::]:5000", &[("ff15::1234", "eth0")]));
    })
}

/// The forward chain of a router.
pub(crate) fn forward_rule() -> Report {
    let net = Routed::new();
    net.route("239.1.2.3", &["r1"]);
    nft(&net.router, "inet", "hook forward", "udp dport 5000 counter drop");
    net.examine()
}

/// The same in IPv6, without a counter.
pub(crate) fn forward_rule_v6() -> Report {
    let net = Routed::new();
    net.route("ff15::1234", &["r1"]);
    nft(&net.router, "ip6", "hook forward", "udp dport 5000 drop");
    net.examine_v6()
}

/// A machine that forwards only unicast.
pub(crate) fn no_routing() -> Report {
    let net = Net::new();
    net.second_lan();
    net.receiver.sysctl("net/ipv4/ip_forward", "1").unwrap();
    net.examine(TO, "239.1.2.3%eth0:5000")
}

/// The outgoing interface of a route takes smaller packets only.
pub(crate) fn small_outgoing_interface() -> Report {
    let net = Routed::new();
    net.route("239.1.2.3", &["r1"]);
    net.router.set_mtu("r1", 1000).unwrap();
    let _stream = Stream::sized(&net.sender, TO, 1400, |_| {});
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// Runs the first command among the remedies of a finding.
fn apply(host: &Host, report: &Report, id: Id) {
    let finding = report.findings.iter().find(|finding| finding.id == id).unwrap();
    let command = finding.remedies.iter().find_map(mcast_doctor::Remedy::command).unwrap();
    run(host, &command);
}

/// Asserts that the first remedy of a fault of a switch lets the group pass.
fn assert_heals(id: Id, inject: impl FnOnce(&Switched)) {
    let net = Switched::new(TO);
    inject(&net);
    let report = net.examine();
    assert_only(&report, id);
    apply(&net.switch, &report, id);
    assert_received(&net.examine());
    assert_received(&examine(&net.net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
fn port_that_begins_to_forward_while_the_doctor_listens_is_named() {
    if !has_programs() {
        return;
    }
    let net = Switched::new(TO);
    net.set(0, "state 2");
    let burst = socket(&net.net.sender, [239, 1, 2, 3].into(), "eth0");
    let report = examine_while(&net.switch, ON_BRIDGE, &briefly(), || {
        let to: std::net::SocketAddr = TO.parse().unwrap();
        (0..100).for_each(|_| assert_eq!(burst.send_to(b"lost", &to.into()).unwrap(), 4));
        net.set(0, "state 3");
    });
    assert_only(&report, Id::PortNotForwarding);
    assert_received(&net.examine());
}

#[test]
fn remedies_at_ports_let_the_group_pass() {
    if has_programs() {
        assert_heals(Id::PortNotForwarding, |net| net.set(0, "state 2"));
        assert_heals(Id::PortIsolated, isolate);
        assert_heals(Id::PortLocked, lock);
    }
}

#[test]
fn remedies_in_the_firewall_of_a_switch_let_the_group_pass() {
    if has_programs() {
        let rule = "udp dport 5000 counter drop";
        assert_heals(Id::FirewallDropsData, |net| nft(&net.switch, "bridge", "hook forward", rule));
        assert_heals(Id::FirewallDropsData, |net| {
            nft(&net.switch, "netdev", &format!("hook ingress device {}", net.ports[0]), rule);
        });
    }
}

#[test]
fn remedy_for_reports_dropped_at_a_port_lets_the_switch_learn_the_member() {
    if !has_programs() {
        return;
    }
    let net = igmp_dropped();
    let report = net.examine_for_a_query();
    apply(&net.1, &report, Id::FirewallDropsIgmp);
    net.0.lan.wait_for_member(&net.0.receiver, "eth0", [239, 1, 2, 3].into(), TIMEOUT).unwrap();
    assert_received(&net.examine_for_a_query());
}

#[test]
fn higher_limit_of_groups_lets_the_group_pass() {
    if !has_programs() || !has_group_limits() {
        return;
    }
    let net = limited();
    let switch = net.lan.inside();
    let report = examine_host(&switch);
    let command = report.findings[0].remedies[0].command().unwrap();
    let [_, port] = ports(&switch);
    let limit = command.strip_prefix(&format!("bridge link set dev {port} mcast_max_groups ")).unwrap();
    limit_groups(&switch, &port, limit.parse().unwrap());
    let _stream = Stream::to(&net.sender, TO);
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

/// `smcroutectl add r0 SOURCE GROUP r1 r2`, in effect.
#[test]
fn route_to_the_omitted_member_lets_the_group_pass() {
    let net = Routed::new();
    let (member, _lan) = net.third_network();
    net.route("239.1.2.3", &["r1", "r2"]);
    let _stream = Stream::to(&net.sender, TO);
    let report = examine_while(&net.router, "239.1.2.3%r0:5000", &briefly(), || join_for_good(&member));
    assert_received(&report);
    assert_received(&examine(&member, "239.1.2.3%eth0:5000"));
}

#[test]
fn remedy_in_the_forward_chain_lets_the_group_pass() {
    if !has_programs() {
        return;
    }
    let net = Routed::new();
    net.route("239.1.2.3", &["r1"]);
    nft(&net.router, "inet", "hook forward", "udp dport 5000 counter drop");
    apply(&net.router, &net.examine(), Id::FirewallDropsData);
    assert_received(&net.examine());
    let _stream = Stream::to(&net.sender, TO);
    assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
pub(crate) fn switches_and_routers_that_forward_are_healthy() {
    if !has_programs() {
        return;
    }
    let net = Switched::new(TO);
    assert_received(&net.examine());
    // One isolated port still exchanges frames with all others.
    net.set(0, "isolated on");
    assert_received(&net.examine());
    let ports = net.examine().observations;
    let count = |direction| {
        ports
            .iter()
            .filter(|line| line.layer.starts_with("port ") && line.message.contains(direction))
            .count()
    };
    assert_eq!((count(" in from 10.9.0.1"), count(" out from 10.9.0.1")), (1, 1), "{ports:#?}");

    let net = Routed::new();
    net.route("239.1.2.3", &["r1"]);
    net.route("ff15::1234", &["r1"]);
    assert_received(&net.examine());
    assert_received(&net.examine_v6());
    assert_healthy(&examine_host(&net.router));
}
