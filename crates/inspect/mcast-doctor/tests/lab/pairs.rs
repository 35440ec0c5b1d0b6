//! Pairs of faults that take the same datagrams: both are named, in the order in which they act, and nothing else.
//!
//! In [`combined`](crate::combined), most faults have a source of their own. Here all datagrams come from one source, so that the
//! first fault hides the second, which the doctor has to find by evaluating what a datagram would meet next.
//! `MCAST_PAIRS=all` runs every pair, `MCAST_PAIRS=name,name` one, and `MCAST_PAIRS=name` all whose second fault is this one.
//! Several are separated by semicolons.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use mcast_doctor::{ArrivalStatus, Finding, Id, Report, Severity, Verdict};
use mcast_lab::Host;
use socket2::{Domain, InterfaceIndexOrAddress, SockFilter, Socket, Type};

use crate::net::{Net, describe, examine_port, has_programs, inject, listener, nft, reading, run};

/// How many pairs are drawn.
const DRAWN: usize = 24;
/// How many networks are examined at a time.
const AT_A_TIME: usize = 6;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// What a fault changes. Two faults that change the same cannot exist at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Link,
    Device,
    Frame,
    Header,
    Source,
    TrafficControl,
    Ingress,
    Prerouting,
    Translation,
    Rules,
    LegacyRules,
    SecondTable,
    Policy,
    Port,
    Checksum,
    Numbers,
    Join,
    Bind,
    Filter,
    Reader,
}

/// A fault that takes all datagrams. They are listed in the order in which they act.
struct Fault {
    name: &'static str,
    id: Id,
    part: Part,
    inject: fn(&mut Scene),
}

macro_rules! faults {
    ($($name:literal: $id:ident, $part:ident, $inject:expr;)+) => {
        const FAULTS: &[Fault] = &[$(Fault { name: $name, id: Id::$id, part: Part::$part, inject: $inject }),+];
    };
}

faults! {
    "down": InterfaceDown, Link, |scene| scene.is_down = true;
    "other group": SentToAnotherGroup, Port, |scene| scene.to = "239.1.3.2:5000";
    "limit": MembershipLimit, Join, |scene| {
        scene.net.receiver.sysctl("net/ipv4/igmp_max_memberships", "1").unwrap();
        scene.join = Join::AtLimit;
    };
    "numbers": LostBeforeThisMachine, Numbers, |scene| scene.has_gaps = true;
    "xdp": XdpDrops, Device, |scene| scene.kept.push(Box::new(crate::drops::drop_all(&scene.net.receiver)));
    "tc": TcDrops, TrafficControl, |scene| scene.tc(2);
    "tc steals": TcDrops, TrafficControl, |scene| scene.tc(4);
    "ingress rule": FirewallDropsData, Ingress, |scene| {
        nft_named(&scene.net.receiver, "netdev", "i", "hook ingress device eth0", "ip daddr 239.0.0.0/8 drop");
    };
    "tag": VlanTagged, Frame, |scene| scene.change = |frame| drop(frame.splice(12..12, [0x81, 0, 0, 42]));
    "two tags": VlanTagged, Frame, |scene| {
        scene.change = |frame| drop(frame.splice(12..12, [0x88, 0xa8, 0, 7, 0x81, 0, 0, 42]));
    };
    "other host": FramesToAnotherHost, Frame, |scene| scene.change = |frame| frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    "header checksum": MalformedPackets, Header, |scene| scene.damage = |frame| frame[24] ^= 0x41;
    "prerouting rule": FirewallDropsData, Prerouting, |scene| {
        nft_named(&scene.net.receiver, "ip", "p", "hook prerouting", "ip daddr 239.1.2.3 drop");
    };
    "translation": Redirected, Translation, |scene| {
        let rule = "udp dport 5000-5001 redirect to :7000";
        run(&scene.net.receiver, &format!("nft add table ip n && nft 'add chain ip n c {{ type nat hook prerouting priority -100 ; }}' && nft add rule ip n c {rule}"));
    };
    "not joined": NotJoined, Join, |scene| scene.join = Join::No;
    "joined on eth1": JoinedOtherInterface, Join, |scene| scene.join = Join::On(Ipv4Addr::new(10, 8, 0, 2));
    "sources": SourceNotAdmitted, Join, |scene| scene.join = Join::From(Ipv4Addr::new(10, 9, 0, 77));
    "no source": SourceZero, Source, |scene| scene.source = "0.0.0.0";
    "own source": SourceIsLocal, Source, |scene| scene.source = "10.9.0.2";
    "group as source": InvalidSource, Source, |scene| scene.source = "239.9.9.9";
    "loopback as source": InvalidSource, Source, |scene| scene.source = "127.0.0.5";
    "broadcast as source": InvalidSource, Source, |scene| scene.source = "255.255.255.255";
    "reverse path": ReversePathFilter, Source, |scene| {
        scene.net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
        scene.source = "192.0.2.1";
    };
    "other way back": ReversePathFilter, Source, |scene| {
        scene.net.receiver.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
        run(&scene.net.receiver, "ip route add 192.0.2.0/24 dev eth1");
        scene.source = "192.0.2.1";
    };
    "rule": FirewallDropsData, Rules, |scene| nft(&scene.net.receiver, "inet", "hook input", "udp dport 5000-5001 counter drop");
    "reject": FirewallDropsData, Rules, |scene| nft(&scene.net.receiver, "inet", "hook input", "ip daddr 239.1.2.3 reject");
    "set": FirewallDropsData, Rules, |scene| {
        nft(&scene.net.receiver, "inet", "hook input", "udp dport vmap '{ 4000 : accept, 5000 : drop, 5001 : drop }'");
    };
    "policy": FirewallDropsData, Rules, |scene| {
        nft(&scene.net.receiver, "inet", "hook input", "ct state established accept");
        run(&scene.net.receiver, "nft 'add chain inet test c { policy drop ; }'");
    };
    "legacy rule": FirewallDropsData, LegacyRules, |scene| {
        run(&scene.net.receiver, "iptables-legacy -A INPUT -p udp -d 239.1.2.3 -j DROP");
    };
    "second table": FirewallDropsData, SecondTable, |scene| {
        nft_named(&scene.net.receiver, "ip", "s", "hook input", "ip daddr 239.1.2.3 drop");
    };
    "checksum": BadChecksum, Checksum, |scene| scene.flips_checksum = true;
    "port": WrongPort, Port, |scene| scene.to = "239.1.2.3:5001";
    "unicast": BoundToUnicast, Bind, |scene| scene.bind = Ipv4Addr::new(10, 9, 0, 2);
    "bound group": BoundToOtherGroup, Bind, |scene| scene.bind = Ipv4Addr::new(239, 9, 9, 9);
    "connected": ConnectedElsewhere, Bind, |scene| scene.is_connected = true;
    "device": BoundToOtherInterface, Bind, |scene| {
        scene.prepare = |socket| socket.bind_device(Some(b"eth1")).unwrap();
    };
    "own groups": OwnGroupsOnly, Join, |scene| scene.join = Join::ByAnother;
    "ipsec": IpsecPolicy, Policy, |scene| {
        run(&scene.net.receiver, "ip xfrm policy add dir in src 0.0.0.0/0 dst 239.0.0.0/8 action block priority 10");
    };
    "ipsec demands": IpsecPolicy, Policy, |scene| {
        run(&scene.net.receiver, "ip xfrm policy add dir in src 0.0.0.0/0 dst 0.0.0.0/0 priority 10 tmpl proto esp mode transport level required");
    };
    "filter": SocketFilter, Filter, |scene| scene.is_filtered = true;
    "not read": NotRead, Reader, |scene| scene.is_read = false;
}

/// How the program joins.
#[derive(Clone, Copy)]
enum Join {
    No,
    On(Ipv4Addr),
    /// From this source only.
    From(Ipv4Addr),
    /// A socket of the same program joins on another port.
    ByAnother,
    /// After another group, which is as many as the system allows.
    AtLimit,
}

/// A host that receives with a program, and a sender.
struct Scene {
    net: Net,
    source: &'static str,
    to: &'static str,
    change: fn(&mut Vec<u8>),
    /// Changes a frame before `change`.
    damage: fn(&mut Vec<u8>),
    flips_checksum: bool,
    /// Whether every tenth number is missing.
    has_gaps: bool,
    is_down: bool,
    join: Join,
    bind: Ipv4Addr,
    prepare: fn(&Socket),
    is_connected: bool,
    is_filtered: bool,
    is_read: bool,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Scene {
    fn new() -> Self {
        let net = Net::new();
        for family in ["iptables", "ip6tables"] {
            let command =
                format!("f=/proc/sys/net/bridge/bridge-nf-call-{family}; [ ! -e $f ] || echo 0 > $f");
            run(&net.lan.inside(), &command);
        }
        net.second_lan();
        Self {
            net,
            source: "10.9.0.1",
            to: "239.1.2.3:5000",
            change: |_| {},
            damage: |_| {},
            flips_checksum: false,
            has_gaps: false,
            is_down: false,
            join: Join::On(Ipv4Addr::new(10, 9, 0, 2)),
            bind: Ipv4Addr::UNSPECIFIED,
            prepare: |_| {},
            is_connected: false,
            is_filtered: false,
            is_read: true,
            kept: Vec::new(),
        }
    }

    /// Adds a filter of traffic control that ends with this action for every datagram.
    fn tc(&self, action: u32) {
        run(
            &self.net.receiver,
            &format!(
                "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol ip bpf bytecode '4,48 0 0 23,21 0 1 17,6 0 0 {action},6 0 0 4294967295,' direct-action"
            ),
        );
    }

    fn socket(&self) -> UdpSocket {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            (self.prepare)(&socket);
            socket.bind(&std::net::SocketAddr::from((self.bind, 5000)).into()).unwrap();
            match self.join {
                Join::No => {}
                Join::On(address) => {
                    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Address(address)).unwrap();
                }
                Join::From(source) => {
                    socket.join_ssm_v4(&source, &GROUP, &Ipv4Addr::new(10, 9, 0, 2)).unwrap();
                }
                Join::ByAnother => socket.set_multicast_all_v4(false).unwrap(),
                Join::AtLimit => {
                    let eth0 = InterfaceIndexOrAddress::Address(Ipv4Addr::new(10, 9, 0, 2));
                    socket.join_multicast_v4_n(&Ipv4Addr::new(239, 8, 8, 8), &eth0).unwrap();
                    socket.join_multicast_v4_n(&GROUP, &eth0).unwrap_err();
                }
            }
            if self.is_filtered {
                socket.attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap();
            }
            let socket = UdpSocket::from(socket);
            if self.is_connected {
                socket.connect("10.9.0.99:6000").unwrap();
            }
            socket
        };
        self.net.receiver.run(open).unwrap()
    }

    fn examine(&self) -> Report {
        let frame = |number| {
            let number = if self.has_gaps { number + number / 9 } else { number };
            let mut frame = self.net.frame(self.source, self.to, number);
            if self.flips_checksum {
                frame[14 + 20 + 7] ^= 1;
            }
            (self.damage)(&mut frame);
            (self.change)(&mut frame);
            frame
        };
        let socket = self.socket();
        let (_program, _idle) = match self.is_read {
            true => (Some(reading(socket)), None),
            false => {
                socket2::SockRef::from(&socket).set_recv_buffer_size(2048).unwrap();
                (None, Some(socket))
            }
        };
        let is_by_another = matches!(self.join, Join::ByAnother);
        let _member =
            is_by_another.then(|| listener(&self.net.receiver, "0.0.0.0:6000", &[("239.1.2.3", "eth0")]));
        if self.is_down {
            self.net.receiver.set_down("eth0").unwrap();
        }
        let count = if self.has_gaps { 900 } else { 20 };
        let _sender = inject(&self.net.sender, "eth0", &(0..count).map(frame).collect::<Vec<_>>());
        examine_port(&self.net.receiver, 5000)
    }
}

/// Two faults, in the order in which they act.
type Pair = [&'static Fault; 2];

fn name(pair: Pair) -> String {
    pair.map(|fault| fault.name).join(",")
}

/// Pairs of which nothing shows the second, or either.
const UNKNOWN: &[(&str, &[&str])] = &[
    // A program that has joined nothing, and that nothing reaches, shows no interest in the group.
    ("not joined", &["port", "unicast", "bound group", "connected"]),
    ("limit", &["port", "tc steals"]),
    // The checksum of UDP is not examined in a packet with a damaged header.
    ("header checksum", &["checksum"]),
    ("unicast", &["own groups"]),
    // Another stream of the group, with another port and another source or interface, need not be the one that is missing.
    ("joined on eth1", &["port"]),
    ("sources", &["port"]),
    ("port", &["own groups"]),
    // Nor need a stream of another group that something else keeps from this program.
    (
        "other group",
        &["xdp", "tag", "two tags", "not joined", "joined on eth1", "sources", "limit", "tc steals"],
    ),
    // A network that the interface does not belong to need not be the one that is down.
    ("down", &["other group", "numbers", "limit", "not joined", "joined on eth1", "own groups"]),
    // What is handed to another interface leaves no reason, and is counted only for groups that are joined.
    ("tc steals", &["port", "not joined", "own groups"]),
    // A device that runs the program shows no frames.
    ("numbers", &["xdp"]),
    // Connection tracking translates nothing with a wrong checksum.
    ("translation", &["checksum"]),
    // The interface of the VLAN, which does not exist yet, has a reverse-path filter and routes of its own.
    ("tag", &["reverse path", "other way back"]),
    ("two tags", &["reverse path", "other way back"]),
];
/// Faults behind which no datagram is seen, neither its frame nor its source.
const BLIND: [&str; 2] = ["down", "xdp"];

/// Pairs in which the second is another fault, because nobody has joined the group that the socket gets, or none.
const CONTRADICTING: &[(&str, &str)] = &[
    ("bound group", "own groups"),
    ("other group", "own groups"),
    // The filter is for the protocol IP, and the kernel takes tagged frames for those of another one.
    ("tc", "tag"),
    ("tc", "two tags"),
    ("tc steals", "tag"),
    ("tc steals", "two tags"),
];

/// Returns whether both faults show. What a filter of the socket rejects, what the program does not read, and what rules of
/// `iptables-legacy` drop, which cannot be evaluated, shows only when datagrams get there.
fn is_known([first, second]: Pair) -> bool {
    let is_listed = |(name, others): &(&str, &[&str])| *name == first.name && others.contains(&second.name);
    let shows_when_reached = second.part == Part::Reader;
    let is_in_order = first.part == Part::Numbers;
    let is_known_blindly = matches!(
        second.part,
        Part::Ingress
            | Part::Prerouting
            | Part::Translation
            | Part::Rules
            | Part::LegacyRules
            | Part::Policy
            | Part::Bind
    );
    (is_in_order || !shows_when_reached)
        && (!BLIND.contains(&first.name) || is_known_blindly)
        && !UNKNOWN.iter().any(is_listed)
}

/// Adds a rule to a chain of a new table, in addition to that of [`nft`].
pub(crate) fn nft_named(host: &Host, family: &str, table: &str, hook: &str, rule: &str) {
    run(
        host,
        &format!(
            "nft add table {family} {table} && nft 'add chain {family} {table} c {{ type filter {hook} priority 0 ; }}' && nft add rule {family} {table} c {rule}"
        ),
    );
}

/// Returns what is wrong with the report about two faults.
fn judge(pair: Pair, report: &Report) -> Vec<String> {
    let named = |least: Severity| {
        let mut ids: Vec<Id> = report
            .findings
            .iter()
            .filter(|finding| finding.severity >= least)
            .map(|finding| finding.id)
            .collect();
        ids.dedup();
        ids
    };
    let expected = pair.map(|fault| fault.id);
    let is_known = is_known(pair);
    let mut order = named(Severity::Warning);
    order.retain(|id| expected.contains(id));
    let has_both_faults = order.iter().all(|id| named(Severity::Fault).contains(id));
    let mut problems: Vec<_> = match is_known {
        true => {
            expected.iter().filter(|id| !order.contains(id)).map(|id| format!("{id} is not named")).collect()
        }
        false => Vec::new(),
    };
    let of_one_cause =
        |finding: &&Finding| finding.id == expected[0] && finding.severity >= Severity::Warning;
    if is_known && expected[0] == expected[1] && report.findings.iter().filter(of_one_cause).count() < 2 {
        problems.push(format!("{} is named once", expected[0]));
    }
    // Of the group that a program at the limit has joined, nothing arrives.
    let is_silent = !is_known || pair.iter().any(|fault| fault.name == "limit");
    let is_claimed = |id: &&Id| !expected.contains(id) && (!is_silent || **id != Id::NothingArrives);
    problems.extend(named(Severity::Fault).iter().filter(is_claimed).map(|id| format!("{id} is claimed")));
    // A warning follows all faults.
    let is_sorted = order.is_sorted_by_key(|id| expected.iter().position(|each| each == id));
    if problems.is_empty() && has_both_faults && !is_sorted {
        problems.push(format!("the order is {order:?}"));
    }
    if report.arrival == ArrivalStatus::Arrives || report.verdict() == Verdict::Healthy {
        problems.push(format!("{:?}, {:?}", report.arrival, report.verdict()));
    }
    problems
}

fn examine(pair: Pair) -> Result<(), String> {
    let mut scene = Scene::new();
    pair.iter().for_each(|fault| (fault.inject)(&mut scene));
    let report = scene.examine();
    let problems = judge(pair, &report);
    if problems.is_empty() {
        return Ok(());
    }
    let findings: Vec<_> = report.findings.iter().map(describe).collect();
    let gaps: Vec<_> = report.examined.iter().filter(|part| part.gap.is_some()).collect();
    let summary = report.summary();
    Err(format!("{}\n    {}\n    {summary}\n    {gaps:?}", problems.join("; "), findings.join("\n    ")))
}

/// Returns all pairs that can exist, in an order that depends on the seed.
fn pairs(seed: u64) -> Vec<Pair> {
    let with = |(index, first): (usize, &'static Fault)| {
        let is_possible = |second: &&Fault| {
            let contradict = |(name, other): &(&str, &str)| (first.name, second.name) == (*name, *other);
            second.part != first.part && !CONTRADICTING.iter().any(contradict)
        };
        let rest = FAULTS[index + 1..].iter().filter(is_possible);
        rest.map(move |second| [first, second])
    };
    let mut pairs: Vec<_> = FAULTS.iter().enumerate().flat_map(with).collect();
    pairs.sort_by_cached_key(|pair| {
        let mut hasher = DefaultHasher::new();
        (seed, name(*pair)).hash(&mut hasher);
        hasher.finish()
    });
    pairs
}

/// Returns the row of these pairs in the table of goals.
pub(crate) fn row() -> String {
    let all = pairs(1);
    let known = all.iter().filter(|pair| is_known(**pair)).count();
    format!(
        "| both of two faults that take the same datagrams are named, in the order in which they act | in {known} of {} pairs; of the others, nothing shows the second, and none gets the all-clear | a sample by `cargo nextest run -p mcast-doctor -E 'test(pairs::)'`, every pair with `MCAST_PAIRS=all` |",
        all.len()
    )
}

fn chosen(seed: u64) -> Vec<Pair> {
    let pairs = pairs(seed);
    match std::env::var("MCAST_PAIRS").as_deref() {
        Ok("all") => pairs,
        Ok(chosen) => {
            let is_chosen =
                |pair: &Pair| chosen.split(';').any(|each| each == name(*pair) || each == pair[1].name);
            pairs.into_iter().filter(is_chosen).collect()
        }
        Err(_) => pairs.into_iter().take(DRAWN).collect(),
    }
}

#[test]
fn both_faults_of_one_flow_are_named_in_order() {
    if !has_programs() || !crate::drops::can_trace() {
        return;
    }
    let seed = std::env::var("MCAST_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    let chosen = chosen(seed);
    let (count, known) = (chosen.len(), chosen.iter().filter(|pair| is_known(**pair)).count());
    let (queue, failed) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    let work = || {
        while let Some(pair) = { queue.lock().unwrap().pop() } {
            let result = catch_unwind(AssertUnwindSafe(|| examine(pair)));
            if let Err(problem) = result.unwrap_or_else(|_| Err("the injection panicked".to_owned())) {
                println!("{}: {problem}", name(pair));
                failed.lock().unwrap().push(name(pair));
            }
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!(
        "{} of {count} pairs are judged as expected, {known} of them named in order",
        count - failed.len()
    );
    assert!(
        failed.is_empty(),
        "MCAST_SEED={seed}: {} of {count} pairs failed (MCAST_PAIRS=NAME repeats one):\n{}",
        failed.len(),
        failed.join("\n")
    );
}
