//! Queriers of IGMP and MLD, FRR and Linux bridges, of which a snooping bridge elects one of each protocol; multicast routers and members
//! of groups, of which it learns; and senders to groups.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast_lab::{Host, SwitchOptions};
use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use tempfile::TempDir;

use crate::conversation::Conversation;
use crate::drawn::{Facts, Peers, both_list_the_same, found};
use crate::networks::for_networks;
use crate::routers::Frr;
use crate::{PATIENCE, Running, Segment, field, has_modules, has_programs, is_root, output, wait_until};

/// Prints, for each line that it reads, the other queriers that the kernel's bridge has elected. `ip` prints them from version 6.2 on.
const ELECTED: &str = r#"
import socket, struct, sys
def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack("HH", data[:4])
        yield kind & 0x3fff, data[4:length]
        data = data[(length + 3) & ~3:]
index = socket.if_nametoindex("br0")
for line in sys.stdin:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    # RTM_GETLINK of this interface.
    netlink.send(struct.pack("IHHIIBBHiII", 32, 18, 1, 1, 0, 0, 0, 0, index, 0, 0))
    state = netlink.recv(65536)[32:]
    # IFLA_LINKINFO, IFLA_INFO_DATA, IFLA_BR_MCAST_QUERIER_STATE.
    for kind in (18, 2, 47):
        state = dict(attributes(state)).get(kind, b"")
    state, elected = dict(attributes(state)), []
    for family, address, timer in [(socket.AF_INET, 1, 3), (socket.AF_INET6, 5, 7)]:
        if any(state.get(timer, b"")):
            elected.append(socket.inet_ntop(family, state[address]))
    print("|".join(elected), flush=True)
"#;

/// A bridge that is a querier, until it is removed.
const BRIDGE: &str = r#"set -e
ip link add br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_query_use_ifaddr 1 mcast_igmp_version $1 mcast_mld_version $2 \
mcast_query_interval $3 mcast_startup_query_interval $3 mcast_query_response_interval $4 mcast_querier_interval $5
ip link set eth0 master br0
ip link set br0 up
until ip -6 address show dev br0 scope link -tentative | grep -q inet6; do sleep 0.02; done
echo ready
exec sleep infinity"#;

/// A program that sends queries.
#[derive(Clone)]
struct Querier {
    is_bridge: bool,
    /// The time that it gives hosts to respond, in tenths of a second.
    response: u64,
}

/// Queriers with source lists (versions 3 and 2), or without.
struct Queriers<const IS_LATEST: bool> {
    frr: Frr,
    elected: Conversation,
    /// In seconds.
    interval: u64,
}

fn link_local(host: &Host, interface: &str) -> IpAddr {
    let all = host.addresses(interface).unwrap().into_iter().map(|held| held.address);
    all.into_iter().find(|address| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())).unwrap()
}

impl<const IS_LATEST: bool> Queriers<IS_LATEST> {
    const VERSIONS: [u8; 2] = if IS_LATEST { [3, 2] } else { [2, 1] };

    fn line(&self, protocol: &str, address: impl std::fmt::Display, version: u8, response: u64) -> String {
        let announced = if IS_LATEST { format!("{} s, robustness 2", self.interval) } else { String::new() };
        let response = response as f64 / 10.0;
        format!("{address} of {protocol} {version}: {announced}, within {response} s, elected yes")
    }
}

impl<const IS_LATEST: bool> Peers for Queriers<IS_LATEST> {
    type Peer = Querier;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Igmp, DiscoveryProtocol::Mld];
    /// A querier queries when it starts. The one that has lost the election then is silent, and lapses after two of the longest intervals
    /// and half of the longest response time.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(5));
    /// Another one is silent for as long until it takes over; FRR waits for one interval more.
    const LAPSES: Option<Duration> = Some(Duration::from_secs(7));
    const ANSWERS: bool = false;
    const ROUTE: bool = false;
    const SOCKETS: bool = false;

    fn switch() -> SwitchOptions {
        SwitchOptions::default().snooping(true)
    }

    fn new(segment: &Segment, dice: &mut Dice) -> Self {
        let interval = dice.pick(&[1, 1, 2]);
        let switch = segment.switch.inside();
        let lifetime = (200 * interval + 50).to_string();
        output(&switch, "ip", &["link", "set", "br0", "type", "bridge", "mcast_querier_interval", &lifetime]);
        let elected = Conversation::start(&switch, "python3", &["-c", ELECTED]);
        Self { frr: Frr::new(), elected, interval }
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> Querier {
        Querier { is_bridge: dice.chance(0.6), response: dice.pick(&[2, 5, 8]) }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Querier) -> Running {
        let (host, [igmp, mld]) = (&segment.hosts[number], Self::VERSIONS);
        let Querier { is_bridge, response } = *peer;
        if is_bridge {
            let times = [100 * self.interval, 10 * response, 200 * self.interval + 5 * response];
            let [interval, response, lifetime] = times.map(|hundredths| hundredths.to_string());
            let [igmp, mld] = [igmp, mld].map(|version| version.to_string());
            let arguments = ["-c", BRIDGE, "sh", &igmp, &mld, &interval, &response, &lifetime];
            return Running::ready(host, "sh", &arguments);
        }
        // The interval must be longer than the time to respond when it is set.
        self.frr.start(
            host,
            &format!(
                "interface eth0\n ip igmp\n ip igmp version {igmp}\n ip igmp query-max-response-time {response}\n \
                 ip igmp query-interval {}\n",
                self.interval
            ),
        )
    }

    fn says_goodbye(_peer: &Querier) -> bool {
        false
    }

    fn tidy(&self, host: &Host) {
        if host.interface_index("br0").is_ok() {
            host.delete_interface("br0").unwrap();
        }
    }

    fn expected(&self, segment: &Segment, peers: &[(usize, &Querier)]) -> Facts {
        let [igmp, mld] = Self::VERSIONS;
        let v4 = peers.iter().min_by_key(|(number, _)| *number);
        let v4 = v4.map(|(number, peer)| {
            self.line("igmp", format_args!("10.0.0.{}", number + 1), igmp, peer.response)
        });
        // This pimd is for IPv4 only.
        let bridges = peers.iter().filter(|(_, peer)| peer.is_bridge);
        let v6 = bridges
            .map(|(number, peer)| (link_local(&segment.hosts[*number], "br0"), peer.response))
            .min()
            .map(|(address, response)| self.line("mld", address, mld, response));
        v4.into_iter().chain(v6).collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        self.elected.ask().split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn shown(fact: &str) -> &str {
        fact.split(' ').next().unwrap_or_default()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let [version, interval, robustness, response, elected] =
            ["version", "interval", "robustness", "maximum response time", "elected"]
                .map(|name| field(entry, name));
        // Queries of older versions do not state when their sender is gone, so that one that was not elected is listed for minutes.
        let is_listed = IS_LATEST || elected == "yes";
        let announced =
            if IS_LATEST { format!("{interval}, robustness {robustness}") } else { String::new() };
        let line = format!(
            "{} of {} {version}: {announced}, within {response}, elected {elected}",
            entry.name, entry.key.protocol
        );
        is_listed.then_some(line).into_iter().collect()
    }
}

fn has_queriers() -> bool {
    is_root("queriers beside FRR and bridges")
        && has_programs(&["/usr/lib/frr/pimd", "vtysh", "ip"])
        && has_modules("python3", &["socket"])
}

#[test]
fn queriers_are_those_that_a_bridge_elects_in_networks_drawn_by_seed() {
    if has_queriers() {
        for_networks(1, both_list_the_same::<Queriers<true>>);
    }
}

/// Queriers of these versions do not state when they are gone, so none leaves.
#[test]
fn queriers_of_older_versions_are_those_that_a_bridge_elects_in_networks_drawn_by_seed() {
    fn each_that_starts_is_elected_by_its_address(seed: u64) {
        type Older = Queriers<false>;
        let mut dice = Dice::new(seed);
        let segment = Segment::on(Older::switch(), 3, 0.0, seed);
        let mut queriers = Older::new(&segment, &mut dice);
        let discovery = segment.discover(false, true);
        let mut running: Vec<(usize, Querier, Running)> = Vec::new();
        while running.len() < 3 {
            let number = dice.below(3) as usize;
            if running.iter().any(|(other, ..)| *other == number) {
                continue;
            }
            let querier = queriers.draw(&mut dice, number);
            let program = queriers.start(&segment, number, &querier);
            running.push((number, querier, program));
            let present: Vec<_> = running.iter().map(|(number, querier, _)| (*number, querier)).collect();
            let expected = queriers.expected(&segment, &present);
            let what = format!("seed {seed}: h{} appears", number + 1);
            wait_until(&what, &discovery, &expected, || found(&queriers, &discovery));
            let elected: Facts = expected.iter().map(|fact| Older::shown(fact).to_owned()).collect();
            let begin = Instant::now();
            loop {
                let shown = queriers.specialist(&segment);
                if shown == elected {
                    break;
                }
                assert!(begin.elapsed() < PATIENCE, "{what}: {elected:?}, the bridge shows {shown:?}");
            }
            wait_until(&what, &discovery, &expected, || found(&queriers, &discovery));
            println!("{what}: {expected:?}");
        }
    }
    if has_queriers() {
        for_networks(2, each_that_starts_is_elected_by_its_address);
    }
}

/// Is a member of groups until it ends, each `GROUP` or `SOURCE@GROUP`.
const MEMBER: &str = r#"
import socket, struct, sys, time
index = socket.if_nametoindex("eth0")
members = []
for membership in sys.argv[1:]:
    source, _, group = membership.rpartition("@")
    is_v6 = ":" in group
    family, level = (socket.AF_INET6, socket.IPPROTO_IPV6) if is_v6 else (socket.AF_INET, socket.IPPROTO_IP)
    def address(text):
        packed = socket.inet_pton(family, text)
        return struct.pack("=HHI16sI", family, 0, 0, packed, 0).ljust(128, b"\0") if is_v6 \
            else struct.pack("=HH4s", family, 0, packed).ljust(128, b"\0")
    member = socket.socket(family, socket.SOCK_DGRAM)
    # MCAST_JOIN_SOURCE_GROUP and MCAST_JOIN_GROUP.
    request = struct.pack("@I4x", index) + address(group) + (address(source) if source else b"")
    member.setsockopt(level, 46 if source else 42, request)
    members.append(member)
print("ready", flush=True)
time.sleep(1e6)
"#;

/// What a host is a member of, and whether it speaks the older versions.
#[derive(Clone)]
pub(crate) struct Member {
    groups: Vec<(Option<&'static str>, String)>,
    is_older: bool,
}

/// Members of groups, of which the switch learns by snooping: the names of the hosts by their addresses.
pub(crate) struct Members(HashMap<IpAddr, String>);

fn is_drawn(group: &str) -> bool {
    group.starts_with("239.") || group.starts_with("ff15:")
}

impl Peers for Members {
    type Peer = Member;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Traffic];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(2));
    /// The system leaves when a program is killed. If the leave is lost, a member is gone after two queries and the time to respond.
    const LAPSES: Option<Duration> = Some(Duration::from_secs(3));
    const ANSWERS: bool = false;
    const SOCKETS: bool = false;

    fn switch() -> SwitchOptions {
        let second = Duration::from_secs(1);
        let switch = SwitchOptions::managed().query_interval(second).membership_interval(3 * second);
        switch.query_response_interval(second / 2).querier_address("10.0.0.250/24".parse().unwrap())
    }

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        // Reports go to routers only, so the watcher is behind a port to one. It is the last that was connected.
        let switch = segment.switch.inside();
        output(&switch, "bridge", &["link", "set", "dev", &ports(&switch)[3], "mcast_router", "2"]);
        let hosts = segment.hosts.iter().flat_map(|host| {
            let held = host.addresses("eth0").unwrap().into_iter();
            held.map(|held| (held.address, host.name().to_owned()))
        });
        Self(hosts.collect())
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> Member {
        let is_older = dice.chance(0.3);
        let mut groups: Vec<_> = (0..1 + dice.below(3))
            .map(|_| {
                let is_v6 = dice.chance(0.4);
                let source =
                    (!is_older && dice.chance(0.3)).then_some(if is_v6 { "fd00::9" } else { "10.0.0.9" });
                let last = 1 + dice.below(3);
                (source, if is_v6 { format!("ff15::{last}") } else { format!("239.1.1.{last}") })
            })
            .collect();
        groups.sort();
        groups.dedup_by(|a, b| a.1 == b.1);
        Member { groups, is_older }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Member) -> Running {
        let host = &segment.hosts[number];
        let [igmp, mld] = if peer.is_older { ["2", "1"] } else { ["0", "0"] };
        host.sysctl("net/ipv4/conf/eth0/force_igmp_version", igmp).unwrap();
        host.sysctl("net/ipv6/conf/eth0/force_mld_version", mld).unwrap();
        let memberships = peer.groups.iter().map(|(source, group)| match source {
            Some(source) => format!("{source}@{group}"),
            None => group.clone(),
        });
        let memberships: Vec<_> = memberships.collect();
        let arguments: Vec<_> =
            ["-c", MEMBER].into_iter().chain(memberships.iter().map(String::as_str)).collect();
        Running::ready(host, "python3", &arguments)
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Member)]) -> Facts {
        let lines = peers.iter().flat_map(|(number, member)| {
            member.groups.iter().map(move |(_, group)| format!("h{} is a member of {group}", number + 1))
        });
        lines.collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        let members = segment.switch.members().unwrap().into_iter();
        // The watcher has joined groups of protocols.
        let others = members.filter(|member| member.host != segment.watcher.name());
        let drawn = others.filter(|member| is_drawn(&member.group.to_string()));
        drawn.map(|member| format!("{} is a member of {}", member.host, member.group)).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let group = entry.name.to_string();
        let members = entry.fields.iter().filter(|field| field.name.as_bytes() == b"member");
        // By IPv6, they report from their address of the link.
        let members = members.filter(|_| is_drawn(&group)).map(|member| member.value.to_string());
        let host = |member: String| &self.0[&member.parse().unwrap()];
        members.map(|member| format!("{} is a member of {group}", host(member))).collect()
    }
}

#[test]
fn members_are_those_that_a_bridge_learns_in_networks_drawn_by_seed() {
    if is_root("members beside a bridge") && has_modules("python3", &["socket"]) {
        for_networks(2, both_list_the_same::<Members>);
    }
}

/// Prints, for each line that it reads, which hosts have sent to a group within the last 10 s, as scapy captures it.
const CAPTURED: &str = r#"
import sys, time
from scapy.all import AsyncSniffer, IP, IPv6, UDP
seen = {}
def keep(packet):
    head = packet[IP] if IP in packet else packet[IPv6]
    seen[f"{head.src} to {head.dst} at port {packet[UDP].dport}"] = time.monotonic()
AsyncSniffer(iface="eth0", filter="udp and (dst net 239.1.1.0/24 or dst net ff15::/16)", prn=keep, store=False).start()
for line in sys.stdin:
    now = time.monotonic()
    print("|".join(line for line, latest in list(seen.items()) if now - latest < 10), flush=True)
"#;

/// Hosts that send to groups with socat.
struct Senders(Conversation);

impl Peers for Senders {
    /// The group and the port.
    type Peer = (String, u64);
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Traffic];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    /// A sender without datagrams has ended after 10 s, which is noticed with those of others within a second.
    const LAPSES: Option<Duration> = Some(Duration::from_secs(11));
    const ANSWERS: bool = false;
    const SOCKETS: bool = false;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        Self(Conversation::start(&segment.watcher, "/usr/bin/python3", &["-c", CAPTURED]))
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> (String, u64) {
        let last = 1 + dice.below(2);
        let group = if dice.chance(0.4) { format!("ff15::{last}") } else { format!("239.1.1.{last}") };
        (group, 5_000 + dice.below(2))
    }

    fn start(&self, segment: &Segment, number: usize, (group, port): &(String, u64)) -> Running {
        let destination = match group.contains(':') {
            true => format!("UDP6-DATAGRAM:[{group}]:{port}"),
            false => format!("UDP4-DATAGRAM:{group}:{port}"),
        };
        let script = "while echo data; do sleep 0.3; done | socat -u STDIN \"$1\"";
        Running::start(&segment.hosts[number], "sh", &["-c", script, "sh", &destination])
    }

    fn says_goodbye(_peer: &(String, u64)) -> bool {
        false
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &(String, u64))]) -> Facts {
        let line = |(number, (group, port)): &(usize, &(String, u64))| {
            let network = if group.contains(':') { "fd00::" } else { "10.0.0." };
            format!("{network}{} to {group} at port {port}", number + 1)
        };
        peers.iter().map(line).collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        self.0.ask().split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let group = entry.name.to_string();
        let senders =
            entry.fields.iter().filter(|field| field.name.as_bytes() == b"sender" && is_drawn(&group));
        let line = |sender: String| sender.replace(" to port", &format!(" to {group} at port"));
        senders.map(|sender| line(sender.value.to_string())).collect()
    }
}

#[test]
fn senders_are_those_that_scapy_captures_in_networks_drawn_by_seed() {
    let has_scapy = || has_modules("/usr/bin/python3", &["scapy"]);
    if is_root("senders beside scapy") && has_programs(&["socat"]) && has_scapy() {
        for_networks(1, both_list_the_same::<Senders>);
    }
}

/// Multicast routers that announce themselves by MRD, with smcroute.
struct Mrd(TempDir);

impl Peers for Mrd {
    /// The interval, in seconds.
    type Peer = u64;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Igmp];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(5));
    /// Three intervals.
    const LAPSES: Option<Duration> = Some(Duration::from_secs(15));
    const ANSWERS: bool = false;
    const SOCKETS: bool = false;

    fn switch() -> SwitchOptions {
        SwitchOptions::default().snooping(true)
    }

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        // How long the bridge takes a port for one to a router, whatever that states.
        let lifetime = ["link", "set", "br0", "type", "bridge", "mcast_querier_interval", "1500"];
        output(&segment.switch.inside(), "ip", &lifetime);
        Self(tempfile::tempdir().unwrap())
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> u64 {
        4 + dice.below(2)
    }

    fn start(&self, segment: &Segment, number: usize, interval: &u64) -> Running {
        let host = &segment.hosts[number];
        let path = |ending| self.0.path().join(format!("{}.{ending}", host.name())).display().to_string();
        let (settings, pid, socket) = (path("conf"), path("pid"), path("sock"));
        fs::write(&settings, "phyint eth0 enable mrdisc\n").unwrap();
        let interval = interval.to_string();
        let arguments = ["-n", "-N", "-m", &interval, "-f", &settings, "-P", &pid, "-u", &socket];
        Running::start(host, "smcrouted", &arguments)
    }

    /// It could, but it does not.
    fn says_goodbye(_interval: &u64) -> bool {
        false
    }

    fn tidy(&self, host: &Host) {
        for ending in ["pid", "sock"] {
            let _gone = fs::remove_file(self.0.path().join(format!("{}.{ending}", host.name())));
        }
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &u64)]) -> Facts {
        let line = |(number, interval): &(usize, &u64)| format!("10.0.0.{} every {interval} s", number + 1);
        peers.iter().map(line).collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        let switch = segment.switch.inside();
        let routers = output(&switch, "bridge", &["-d", "mdb", "show", "dev", "br0"]);
        let routers = routers.lines().find_map(|line| line.strip_prefix("router ports on br0: "));
        let routers: Vec<_> = routers.unwrap_or_default().split_whitespace().collect();
        let hosts = ports(&switch).into_iter().zip(1..).filter(|(port, _)| routers.contains(&port.as_str()));
        hosts.map(|(_, number)| format!("10.0.0.{number}")).collect()
    }

    fn shown(fact: &str) -> &str {
        fact.split(' ').next().unwrap_or_default()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        assert_eq!(entry.service.to_string(), "multicast router");
        vec![format!("{} every {}", entry.name, field(entry, "interval"))]
    }
}

/// Returns the ports of a switch, in the order in which they were connected.
fn ports(switch: &Host) -> Vec<String> {
    let ports = output(switch, "ip", &["-o", "link", "show", "master", "br0"]);
    ports.lines().map(|line| line.split([' ', '@', ':']).nth(2).unwrap().to_owned()).collect()
}

#[test]
fn multicast_routers_are_those_to_which_a_bridge_forwards_in_networks_drawn_by_seed() {
    if is_root("multicast routers beside a bridge") && has_programs(&["smcrouted", "bridge"]) {
        for_networks(1, both_list_the_same::<Mrd>);
    }
}
