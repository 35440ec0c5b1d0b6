//! Faults at a sender and at a router, of one flow, one or two at once, and what is in order there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use mcast_doctor::{Finding, Id, Report, Severity, Verdict};
use mcast_lab::{Host, RouteGroup};
use mcast_sim::Dice;

use super::scene::{bracketed, group};
use crate::boxes::Routed;
use crate::net::{Net, Stream, describe, examine, examine_port, options, run};

/// The machine that is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Sender,
    Router,
}

/// What a fault changes. Two faults that change the same cannot exist at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Rules,
    LegacyRules,
    TrafficControl,
    Policy,
    HopLimit,
    /// The socket of the sender, or its routes.
    Socket,
    MulticastRoute,
    ReversePath,
    /// Rules of an interface by which it leaves.
    EgressRules,
}

/// A fault at one of the machines.
struct Kind {
    name: &'static str,
    role: Role,
    id: Id,
    part: Part,
    inject: fn(&mut Way),
}

macro_rules! kinds {
    ($($name:literal: $role:ident, $id:ident, $part:ident, $inject:expr;)+) => {
        const KINDS: &[Kind] = &[$(Kind { name: $name, role: Role::$role, id: Id::$id, part: Part::$part, inject: $inject }),+];
    };
}

kinds! {
    "a rule at output": Sender, FirewallDropsOutput, Rules, |way| {
        let own = way.family();
        way.rule(&[
            ("inet", "output"), (own, "output"), ("inet", "postrouting"), (own, "postrouting"), ("netdev", "egress device eth0"),
        ]);
    };
    "a policy at output": Sender, FirewallDropsOutput, Rules, |way| {
        way.nft("inet", "hook output priority 0", "meta l4proto { igmp, icmpv6 } accept");
        way.run("nft 'chain inet t c { policy drop ; }'");
    };
    "a rule of iptables at output": Sender, FirewallDropsOutput, LegacyRules, |way| {
        let place = way.dice.pick(&["-A OUTPUT", "-t mangle -A OUTPUT", "-t mangle -A POSTROUTING", "-t raw -A OUTPUT"]);
        way.iptables(place, "DROP");
    };
    "a filter of traffic control at egress": Sender, TcDrops, TrafficControl, |way| way.tc("eth0 egress", 2);
    "a filter that steals at egress": Sender, TcDrops, TrafficControl, |way| way.tc("eth0 egress", 4);
    "a policy of IPsec for what is sent": Sender, DroppedWhenSending, Policy, |way| {
        let group = way.group;
        let any = if group.is_ipv6() { "::/0" } else { "0.0.0.0/0" };
        way.run(&format!("ip xfrm policy add dir out src {any} dst {group} priority 10 action block"));
    };
    "a hop limit of 0": Sender, TtlTooSmall, HopLimit, |way| way.hops = 0;
    "an address that moved": Sender, NoSuchInterface, Socket, |way| {
        way.use_v4();
        let address = Ipv4Addr::new(10, 9, 0, way.dice.between(20, 200) as u8);
        way.run(&format!("ip address add {address}/24 dev eth0"));
        (way.local, way.later) = (Some(address), format!("ip address del {address}/24 dev eth0"));
    };
    "a chosen address that was renewed": Sender, NoSuchInterface, Socket, |way| {
        way.use_v4();
        let new = way.dice.between(20, 200);
        // Without a route for groups, the socket's choice alone decides.
        way.run("ip route del 224.0.0.0/4");
        way.later = format!("ip address del 10.9.0.1/24 dev eth0 && ip address add 10.9.0.{new}/24 dev eth0");
    };
    "a device that was deleted": Sender, NoSuchInterface, Socket, |way| {
        way.run("ip link add eth7 type veth peer name far7 && ip link set far7 up && ip link set eth7 up");
        (way.device, way.later) = (Some("eth7"), "ip link del eth7".to_owned());
    };
    "no route for groups": Sender, NoRoute, Socket, |way| {
        way.use_v4();
        way.is_chosen = false;
        way.later = "ip route del 224.0.0.0/4".to_owned();
    };
    "a route that rejects the group": Sender, NoRoute, Socket, |way| {
        way.use_v4();
        way.is_chosen = false;
        let (kind, group) = (way.dice.pick(&["unreachable", "prohibit", "blackhole"]), way.group);
        let prefix = way.dice.pick(&[format!("{group}/32"), "239.0.0.0/8".to_owned()]);
        way.run(&format!("ip route add {kind} {prefix}"));
    };

    "a rule at forwarding": Router, FirewallDropsData, Rules, |way| {
        let own = way.family();
        way.rule(&[("inet", "forward"), (own, "forward"), ("inet", "prerouting"), (own, "prerouting")]);
    };
    "a rule behind forwarding": Router, FirewallDropsData, Rules, |way| {
        let (family, condition) = (way.dice.pick(&["inet", way.family()]), way.condition());
        way.nft(family, "hook postrouting priority 0", &format!("{condition} drop"));
    };
    "a rule where it leaves": Router, FirewallDropsData, EgressRules, |way| {
        let condition = way.condition();
        way.nft("netdev", "hook egress device r1 priority 0", &format!("{condition} drop"));
    };
    "a policy at forwarding": Router, FirewallDropsData, Rules, |way| {
        way.nft("inet", "hook forward priority 0", "ct state established accept");
        way.run("nft 'chain inet t c { policy drop ; }'");
    };
    "a rule of iptables at forwarding": Router, FirewallDropsData, LegacyRules, |way| {
        let place = way.dice.pick(&["-A FORWARD", "-t mangle -A FORWARD", "-t mangle -A PREROUTING", "-t raw -A PREROUTING"]);
        way.iptables(place, "DROP");
    };
    "a filter of traffic control at ingress": Router, TcDrops, TrafficControl, |way| way.tc("r0 ingress", 2);
    "a filter that steals at ingress": Router, TcDrops, TrafficControl, |way| way.tc("r0 ingress", 4);
    "a hop limit of 1": Router, TtlTooSmall, HopLimit, |way| way.hops = 1;
    "a threshold": Router, TtlThreshold, MulticastRoute, |way| {
        way.use_v4();
        way.threshold = way.dice.between(9, 200) as u8;
    };
    "no multicast route": Router, NoMulticastRoute, MulticastRoute, |way| way.is_routed = false;
    "another interface is expected": Router, RouterWrongInterface, MulticastRoute, |way| way.is_turned = true;
    "the reverse path of a router": Router, ReversePathFilter, ReversePath, |way| {
        way.use_v4();
        let place = way.dice.pick(&["all", "r0"]);
        way.run(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter=1 && ip route add 10.1.0.1/32 dev r1"));
    };
}

/// Faults that the doctor does not name yet: it must not give the all-clear, nor claim another one. It knows what a socket
/// sends from the wire and from the kernel's reasons for dropping, and these faults leave neither.
const UNNAMED: &[&str] = &["a filter that steals at egress"];

/// Two that leave a router in order: a group that may not pass it needs no route there.
const HARMLESS: [&str; 2] = ["a hop limit of 1", "no multicast route"];

/// Something in order at one of the machines, or at both.
type Orderly = (&'static [Role], fn(&mut Way));

const BOTH: &[Role] = &[Role::Sender, Role::Router];

const ORDERLY: &[Orderly] = &[
    (BOTH, |way| {
        let (hook, ip, other) = (way.hook(), way.family(), way.another_group());
        way.nft("inet", &format!("hook {hook} priority 0"), &format!("{ip} daddr {other} drop"));
    }),
    (BOTH, |way| {
        let (hook, port) = (way.hook(), way.port ^ 1);
        way.nft(way.family(), &format!("hook {hook} priority 0"), &format!("udp dport {port} drop"));
    }),
    (BOTH, |way| {
        let (hook, condition) = (way.hook(), way.condition());
        let verdict = way.dice.pick(&["accept", "counter", "return", "meta mark set 7"]);
        way.nft("inet", &format!("hook {hook} priority 10"), &format!("{condition} {verdict}"));
    }),
    (BOTH, |way| {
        let (hook, port) = (way.hook(), way.port);
        way.nft("inet", &format!("hook {hook} priority 0"), "meta l4proto { igmp, icmpv6 } accept");
        way.run(&format!(
            "nft 'add rule inet t c udp dport {port} accept' && nft 'chain inet t c {{ policy drop ; }}'"
        ));
    }),
    (BOTH, |way| {
        let (hook, ip, others) = (way.hook(), way.family(), [way.another_group(), way.another_group()]);
        let [first, second] = others;
        let rule = format!("{ip} daddr {{ {first}, {second} }} drop");
        way.nft("inet", &format!("hook {hook} priority -5"), &rule);
    }),
    (BOTH, |way| {
        let (hook, interface) = (way.hook(), "eth9");
        way.nft("inet", &format!("hook {hook} priority 0"), &format!("oifname {interface} drop"));
    }),
    (BOTH, |way| {
        let hook = way.hook();
        way.nft("inet", &format!("hook {hook} priority 0"), "udp dport 53 drop");
        way.run("nft 'add rule inet t c tcp dport { 22, 80 } counter drop'");
    }),
    (BOTH, |way| {
        let chain = if way.role == Role::Sender { "-A OUTPUT" } else { "-A FORWARD" };
        way.iptables(chain, "ACCEPT");
    }),
    (BOTH, |way| {
        let chain = if way.role == Role::Sender { "OUTPUT" } else { "FORWARD" };
        let (program, other) = (way.program(), way.another_group());
        way.run(&format!("{program} -A {chain} -p udp -d {other} -j DROP"));
    }),
    (BOTH, |way| {
        let (other, any) = (way.another_group(), if way.group.is_ipv6() { "::/0" } else { "0.0.0.0/0" });
        let direction = if way.role == Role::Sender { "out" } else { "fwd" };
        way.run(&format!(
            "ip xfrm policy add dir {direction} src {any} dst {other} priority 10 action block"
        ));
    }),
    (BOTH, |way| way.run("ip route add default dev lo table 77 && ip rule add fwmark 0x77 lookup 77")),
    (BOTH, |way| way.run("ip rule add from 192.0.2.0/24 prohibit")),
    (BOTH, |way| way.run("ip route add blackhole 198.51.100.0/24")),
    (BOTH, |way| {
        let device = if way.role == Role::Sender { "eth0" } else { "r0" };
        way.run(&format!("tc qdisc add dev {device} clsact && tc filter add dev {device} egress pref 9 bpf da bytecode '1,6 0 0 0'"));
    }),
    (&[Role::Sender], |way| way.hops = way.dice.between(2, 255) as u32),
    (&[Role::Sender], |way| {
        way.use_v4();
        way.is_chosen = false;
    }),
    (&[Role::Sender], |way| {
        way.use_v4();
        way.is_chosen = false;
        let other = way.another_group();
        way.run(&format!("ip route add unreachable {other}/32"));
    }),
    (&[Role::Sender], |way| way.device = Some("eth0")),
    (&[Role::Sender], |way| {
        way.use_v4();
        way.run("ip address add 10.9.0.60/24 dev eth0");
        way.local = Some(Ipv4Addr::new(10, 9, 0, 60));
    }),
    (&[Role::Router], |way| {
        way.use_v4();
        way.threshold = way.dice.between(1, 6) as u8;
    }),
    (&[Role::Router], |way| {
        let place = way.dice.pick(&["all", "r0", "r1"]);
        let value = way.dice.pick(&["1", "2"]);
        way.run(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    }),
    (&[Role::Router], |way| way.run("ip link set r1 mtu 9000")),
    (&[Role::Router], |way| way.nft("inet", "hook output priority 0", "meta l4proto udp drop")),
];

enum Network {
    Sender(Net),
    Router(Routed),
}

/// A flow, and the machine that sends or routes it.
struct Way {
    dice: Dice,
    role: Role,
    network: Network,
    how: String,
    group: IpAddr,
    port: u16,
    hops: u32,
    /// The address that the socket of the sender is bound to.
    local: Option<Ipv4Addr>,
    device: Option<&'static str>,
    /// Whether the socket of the sender has chosen its interface.
    is_chosen: bool,
    /// What is done to the sender once its socket is open.
    later: String,
    is_routed: bool,
    /// Whether the route leads the other way.
    is_turned: bool,
    threshold: u8,
}

/// The port from which the sender sends.
const FROM: u16 = 6000;

impl Way {
    fn new(role: Role, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (is_v6, [.., a, b, c]) = (dice.chance(0.4), dice.next().to_be_bytes());
        let network = match role {
            Role::Sender => Network::Sender(Net::new()),
            Role::Router => Network::Router(Routed::new()),
        };
        let port = dice.between(7_000, 50_000) as u16;
        Self {
            dice,
            role,
            network,
            how: String::new(),
            group: group(is_v6, [a, b, c]),
            port,
            hops: 8,
            local: None,
            device: None,
            is_chosen: true,
            later: String::new(),
            is_routed: true,
            is_turned: false,
            threshold: 1,
        }
    }

    fn use_v4(&mut self) {
        if self.group.is_ipv6() {
            self.group = self.another_of(false);
        }
    }

    fn another_of(&mut self, is_v6: bool) -> IpAddr {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        group(is_v6, [a, b, c])
    }

    fn another_group(&mut self) -> IpAddr {
        self.another_of(self.group.is_ipv6())
    }

    fn machine(&self) -> &Host {
        match &self.network {
            Network::Sender(net) => &net.sender,
            Network::Router(net) => &net.router,
        }
    }

    fn run(&mut self, command: &str) {
        self.how.push_str(command);
        self.how.push_str("; ");
        run(self.machine(), command);
    }

    const fn family(&self) -> &'static str {
        if self.group.is_ipv6() { "ip6" } else { "ip" }
    }

    const fn program(&self) -> &'static str {
        if self.group.is_ipv6() { "ip6tables-legacy" } else { "iptables-legacy" }
    }

    fn hook(&mut self) -> &'static str {
        match self.role {
            Role::Sender => self.dice.pick(&["output", "postrouting"]),
            Role::Router => self.dice.pick(&["forward", "prerouting", "postrouting"]),
        }
    }

    fn nft(&mut self, family: &str, hook: &str, rule: &str) {
        self.run(&format!(
            "nft add table {family} t && nft 'add chain {family} t d' && nft add rule {family} t d drop && \
             nft 'add chain {family} t c {{ type filter {hook} ; }}' && nft 'add rule {family} t c {rule}'"
        ));
    }

    /// Adds a rule that drops the datagrams, of any kind, to a chain of one of these families and hooks.
    fn rule(&mut self, places: &[(&'static str, &'static str)]) {
        let (family, hook) = self.dice.pick(places);
        let (condition, priority) = (self.condition(), self.dice.pick(&["-150", "-5", "0", "10", "300"]));
        let verdict = self.dice.pick(&["drop", "counter drop", "jump d", "goto d"]);
        self.nft(family, &format!("hook {hook} priority {priority}"), &format!("{condition} {verdict}"));
    }

    fn iptables(&mut self, place: &str, verdict: &str) {
        let (program, group, port) = (self.program(), self.group, self.port);
        let condition = self.dice.pick(&[
            format!("-d {group}"),
            format!("-p udp --dport {port}"),
            format!("-p udp -m multiport --dports 53,{port}"),
            format!("-p udp --sport {FROM} -d {group}"),
        ]);
        self.run(&format!("{program} {place} {condition} -j {verdict}"));
    }

    /// Adds a filter that ends with this action for every datagram of UDP.
    fn tc(&mut self, place: &str, action: u32) {
        let device = place.split(' ').next().unwrap();
        // Datagrams of UDP to any port.
        let (offset, kind) = if self.group.is_ipv6() { (20, 0x86dd) } else { (23, 0x0800) };
        self.run(&format!(
            "tc qdisc add dev {device} clsact && tc filter add dev {place} pref 7 bpf da bytecode \
             '6,40 0 0 12,21 0 3 {kind},48 0 0 {offset},21 0 1 17,6 0 0 {action},6 0 0 4294967295'"
        ));
    }

    /// Draws a condition of nftables that holds for the datagrams.
    fn condition(&mut self) -> String {
        let (ip, group, port) = (self.family(), self.group, self.port);
        self.dice.pick(&[
            format!("udp dport {port}"),
            format!("udp dport {}-{}", port - 3, port + 3),
            format!("{ip} daddr {group}"),
            format!("{ip} daddr {{ {group} }} udp dport != 53"),
            format!("th dport {{ {port}, 53 }}"),
            format!("udp sport {FROM} {ip} daddr {group}"),
        ])
    }

    fn stream(&self) -> Stream {
        let sender = match &self.network {
            Network::Sender(net) => &net.sender,
            Network::Router(net) => &net.sender,
        };
        let index = sender.interface_index("eth0").unwrap();
        let (own, is_v6) = (sender.addresses("eth0").unwrap(), self.group.is_ipv6());
        let own = own.iter().find_map(|own| match own.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let any = if is_v6 { "[::]".to_owned() } else { "0.0.0.0".to_owned() };
        let local = self.local.map_or(any, |local| local.to_string());
        let open = || {
            let socket = UdpSocket::bind(format!("{local}:{FROM}")).unwrap();
            let options = options(&socket);
            if is_v6 {
                options.set_multicast_hops_v6(self.hops).unwrap();
            } else {
                options.set_multicast_ttl_v4(self.hops).unwrap();
            }
            if let Some(device) = self.device {
                options.bind_device(Some(device.as_bytes())).unwrap();
            } else if is_v6 {
                options.set_multicast_if_v6(index).unwrap();
            } else if self.is_chosen && self.local.is_none() {
                options.set_multicast_if_v4(&own.unwrap()).unwrap();
            }
            socket
        };
        Stream::by(sender.run(open).unwrap(), SocketAddr::new(self.group, self.port), 64)
    }

    fn examine(&mut self) -> Report {
        if let (Network::Router(net), true) = (&self.network, self.is_routed) {
            let (from, to): (_, &[&str]) = if self.is_turned { ("r1", &["r0"]) } else { ("r0", &["r1"]) };
            let source = if self.group.is_ipv6() { "fd01::1" } else { "10.1.0.1" }.parse().unwrap();
            // A route for any source would follow the interface on which the group arrives.
            let source = self.is_turned.then_some(source);
            let route = RouteGroup { source, group: self.group, from, to, ttl_threshold: self.threshold };
            net.router.route_group(route).unwrap();
        }
        let _stream = self.stream();
        if !self.later.is_empty() {
            let later = std::mem::take(&mut self.later);
            self.run(&later);
        }
        let membership = match self.group {
            IpAddr::V4(group) => format!("{group}%r0:{}", self.port),
            IpAddr::V6(group) => format!("{}:{}", bracketed(group.into()).replace(']', "%r0]"), self.port),
        };
        match self.role {
            Role::Sender => examine_port(self.machine(), FROM),
            Role::Router => examine(self.machine(), &membership),
        }
    }

    /// Returns what was drawn, and what is wrong with the report.
    fn describe(&self, problems: &[String], report: &Report) -> String {
        let (role, group, port, how) = (self.role, self.group, self.port, &self.how);
        let mut lines = vec![format!("{role:?} {group}:{port} ({how}): {}", problems.join("; "))];
        lines.extend(report.findings.iter().map(describe));
        lines.extend(report.open_questions.iter().map(ToString::to_string));
        lines.push(report.summary());
        lines.join("\n    ")
    }

    fn result(&self, problems: &[String], report: &Report) -> Result<(), String> {
        if problems.is_empty() { Ok(()) } else { Err(self.describe(problems, report)) }
    }
}

fn is_harmless(first: &Kind, second: &Kind) -> bool {
    HARMLESS.contains(&first.name) && HARMLESS.contains(&second.name)
}

/// Draws a fault, and in a third of the draws another one that can exist beside it.
fn draw(dice: &mut Dice, role: Role) -> Vec<&'static Kind> {
    let selected = std::env::var("MCAST_KIND").ok();
    let of_role = || KINDS.iter().filter(move |kind| kind.role == role);
    let chosen: Vec<_> =
        of_role().filter(|kind| selected.as_deref().is_none_or(|only| only == kind.name)).collect();
    let first = dice.pick(if chosen.is_empty() { of_role().collect() } else { chosen }.as_slice());
    let others: Vec<_> =
        of_role().filter(|kind| kind.part != first.part && !is_harmless(first, kind)).collect();
    let second = dice.pick(&others);
    if dice.below(3) == 0 { vec![first, second] } else { vec![first] }
}

/// Returns whether something shows a fault beside another one. A router asks for the route of what gets to routing only: before,
/// it does not know by which interface it leaves, nor what a hop limit of 1 keeps from there. Of what a sender cannot send, the
/// group is not known, so that only what drops everything is certain.
fn is_shown(kind: &Kind, other: &Kind) -> bool {
    match kind.role {
        Role::Router => {
            let needs_route = matches!(kind.part, Part::HopLimit | Part::MulticastRoute | Part::EgressRules);
            !needs_route || !MAY_ACT_BEFORE_ROUTING.contains(&other.part)
        }
        Role::Sender => match (kind.part, other.part) {
            // Only what reaches a filter of traffic control or an IPsec policy shows what it does.
            (Part::TrafficControl | Part::Policy, _) => false,
            (Part::Rules | Part::LegacyRules, Part::Socket | Part::Policy) => {
                kind.name == "a policy at output"
            }
            _ => true,
        },
    }
}

const MAY_ACT_BEFORE_ROUTING: [Part; 5] =
    [Part::Rules, Part::LegacyRules, Part::TrafficControl, Part::ReversePath, Part::MulticastRoute];

/// Returns what is wrong with the report about these faults.
fn judge(report: &Report, kinds: &[&Kind]) -> Vec<String> {
    let least = |least| move |finding: &&Finding| finding.severity >= least;
    let is_named =
        |kind: &Kind| report.findings.iter().filter(least(Severity::Warning)).any(|each| each.id == kind.id);
    let is_shown = |kind: &Kind| {
        let mut others = kinds.iter().filter(|other| other.name != kind.name);
        !UNNAMED.contains(&kind.name) && others.all(|other| is_shown(kind, other))
    };
    let is_expected = |finding: &&Finding| kinds.iter().any(|kind| kind.id == finding.id);
    let faults = report.findings.iter().filter(least(Severity::Fault));
    let others = faults.filter(|finding| !is_expected(finding));
    let mut problems: Vec<_> = others.map(|finding| format!("{} is claimed", finding.id)).collect();
    let missing = kinds.iter().filter(|kind| is_shown(kind) && !is_named(kind));
    problems.extend(missing.map(|kind| format!("{} ({}) is not named", kind.name, kind.id)));
    if report.verdict() == Verdict::Healthy {
        problems.push(format!("all-clear: {:?}", report.arrival));
    }
    problems
}

/// Examines the faults of a seed.
pub(super) fn examine_faults(role: Role, seed: u64) -> Result<(), String> {
    let mut way = Way::new(role, seed);
    let kinds = draw(&mut way.dice, role);
    // What is drawn for a group of IPv6 would not be about one of IPv4.
    if kinds.iter().any(|kind| matches!(kind.part, Part::Socket | Part::ReversePath | Part::MulticastRoute)) {
        way.use_v4();
    }
    kinds.iter().for_each(|kind| (kind.inject)(&mut way));
    let report = way.examine();
    way.result(&judge(&report, &kinds), &report)
}

/// Examines what is in order, of a seed.
pub(super) fn examine_orderly(role: Role, seed: u64) -> Result<(), String> {
    let mut way = Way::new(role, seed);
    let all: Vec<_> = ORDERLY.iter().filter(|(roles, _)| roles.contains(&role)).collect();
    let (_, arrange) = way.dice.pick(&all);
    arrange(&mut way);
    let report = way.examine();
    let claimed = report.findings.iter().filter(|finding| finding.severity >= Severity::Warning);
    let mut problems: Vec<_> = claimed.map(|finding| format!("{} is claimed", finding.id)).collect();
    if report.verdict() != Verdict::Healthy {
        problems.push(format!("no all-clear: {:?}, {:?}", report.arrival, report.verdict()));
    }
    way.result(&problems, &report)
}

/// Returns how many kinds of faults at a machine are named, and how many things in order.
pub(super) fn counts(role: Role) -> [usize; 2] {
    let faults = KINDS.iter().filter(|kind| kind.role == role && !UNNAMED.contains(&kind.name)).count();
    [faults, ORDERLY.iter().filter(|(roles, _)| roles.contains(&role)).count()]
}
