//! Combinations of two and three faults in one network.
//!
//! Datagrams pass [`Stage`]s in a fixed order. A fault takes a source of its own, every source, or none, and acts at one
//! stage. What must be found follows from that: a fault that takes every source hides those behind it, which the doctor
//! may find all the same. `MCAST_SEED=7` draws other combinations, `MCAST_COMBINATIONS=all` runs every pair, and
//! `MCAST_FAULTS=name,name` runs one combination.

use std::any::Any;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use mcast_doctor::{ArrivalStatus, Id, Report, Severity, Verdict};

use crate::net::{
    Injection, Net, Stream, examine, has_programs, idle_listener, inject, listener, options, rtp, run, socket,
};
use crate::programs::Player;

/// How many pairs and triples are drawn.
const PAIRS: usize = 30;
const TRIPLES: usize = 10;
/// How many networks are examined at a time.
const AT_A_TIME: usize = 4;

/// Where a fault acts, in the order in which the examination and then a datagram pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The routing table chooses the interface.
    Route,
    /// The socket is bound.
    Bind,
    /// The interface is chosen.
    Interface,
    /// The interface is up.
    Up,
    /// The membership is reported.
    Report,
    /// The sender chooses the group.
    Group,
    /// The sender chooses the port.
    Port,
    /// Frames are sent.
    Wire,
    /// The driver runs XDP programs.
    Xdp,
    /// Frames enter: traffic control, then `nft`.
    Ingress,
    /// The IP header is checked, and the rules before routing.
    Header,
    /// The source is checked.
    Routing,
    /// The rules of the input chain.
    Input,
    /// UDP.
    Udp,
    /// Another program on the machine receives.
    Program,
}

/// Which datagrams a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Those of a source that only this fault uses.
    OneSource,
    /// Those of every source.
    Everything,
    /// None.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    Both,
    V4,
    V6,
}

/// A fault that can be combined with others.
struct Fault {
    name: &'static str,
    id: Id,
    stage: Stage,
    takes: Takes,
    families: Families,
    inject: fn(&mut Scene),
}

use Families::{Both, V4, V6};
use Stage::{
    Bind, Group, Header, Ingress, Input, Interface, Port, Program, Route, Routing, Udp, Up, Wire, Xdp,
};
use Takes::{Everything, Nothing, OneSource};

macro_rules! faults {
    ($($name:literal: $id:ident, $stage:expr, $takes:expr, $families:expr, $inject:expr;)+) => {
        const FAULTS: &[Fault] = &[$(Fault {
            name: $name, id: Id::$id, stage: $stage, takes: $takes, families: $families, inject: $inject,
        }),+];
    };
}

faults! {
    "port in use": AddressInUse, Bind, Everything, Both, |scene| {
        let any = scene.either("0.0.0.0:5000", "[::]:5000");
        let socket = scene.net.receiver.run(|| std::net::UdpSocket::bind(any).unwrap()).unwrap();
        scene.keep(socket);
    };
    "joined on eth1": JoinedOtherInterface, Interface, Everything, V4, |scene| {
        scene.second_lan();
        scene.interface = "eth1";
    };
    "no route": NoRoute, Route, Everything, V4, |scene| {
        scene.net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
        scene.interface = "default";
    };
    "interface down": InterfaceDown, Up, Everything, Both, |scene| {
        scene.net.receiver.set_down("eth0").unwrap();
    };
    "reports dropped": FirewallDropsIgmp, Stage::Report, Nothing, Both, |scene| {
        let reports = scene.either("meta l4proto igmp", "icmpv6 type { mld-listener-report, mld2-listener-report }");
        scene.rule("inet", "hook output", &format!("{reports} counter drop"));
    };
    "IGMPv2 forced": IgmpVersionForced, Stage::Report, Nothing, V4, |scene| {
        scene.net.receiver.sysctl("net/ipv4/conf/eth0/force_igmp_version", "2").unwrap();
    };
    "other group": SentToAnotherGroup, Group, Everything, Both, |scene| {
        scene.to_group = scene.either("239.1.2.30", "ff05::1234");
    };
    "other port": WrongPort, Port, Everything, Both, |scene| scene.to_port = 5001;
    "alias": MacAlias, Wire, Nothing, V4, |scene| {
        let alias = Stream::to(&scene.net.sender, "239.129.2.3:5000");
        scene.keep(alias);
    };
    "loss of RTP": LostBeforeThisMachine, Wire, Nothing, Both, |scene| {
        let to: std::net::SocketAddr = scene.destination().parse().unwrap();
        let socket = socket(&scene.net.sender, to.ip(), "eth0");
        // The tenth number is always missing.
        scene.keep(Stream::of(socket.into(), to, |number| rtp((number + number / 9) as u16, 7)));
    };
    "VLAN tag": VlanTagged, Ingress, OneSource, Both, |scene| {
        scene.frames_of_own_source(|frame| drop(frame.splice(12..12, [0x81, 0, 0, 42])));
    };
    "XDP program": XdpDrops, Xdp, Everything, Both, |scene| {
        let program = crate::drops::drop_all(&scene.net.receiver);
        scene.keep(program);
    };
    "Ethernet address": FramesToAnotherHost, Header, OneSource, Both, |scene| {
        scene.frames_of_own_source(|frame| frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]));
    };
    "tc drops": TcDrops, Ingress, OneSource, Both, |scene| scene.tc(2);
    "tc steals": TcDrops, Ingress, OneSource, Both, |scene| scene.tc(4);
    "ingress rule": FirewallDropsData, Ingress, OneSource, Both, |scene| {
        let source = scene.source_match();
        scene.rule("netdev", "hook ingress device eth0", &format!("{source} counter drop"));
        scene.frames_of_own_source(|_| {});
    };
    "header checksum": MalformedPackets, Header, OneSource, V4, |scene| {
        scene.frames_of_own_source(|frame| frame[24] ^= 0x41);
    };
    "packet length": MalformedPackets, Header, OneSource, V6, |scene| {
        scene.frames_of_own_source(|frame| frame[19] += 0x40);
    };
    "IP version": MalformedPackets, Header, OneSource, V6, |scene| {
        scene.frames_of_own_source(|frame| frame[14] = 0x50);
    };
    "group as source": InvalidSource, Header, OneSource, Both, |scene| {
        scene.frames_from(scene.either("239.9.9.9", "ff15::9"), |_| {});
    };
    "loopback as source": InvalidSource, Header, OneSource, Both, |scene| {
        scene.frames_from(scene.either("127.0.0.5", "::1"), |_| {});
    };
    "no source": SourceZero, Routing, OneSource, V4, |scene| scene.frames_from("0.0.0.0", |_| {});
    "own source": SourceIsLocal, Routing, OneSource, V4, |scene| scene.frames_from("10.9.0.2", |_| {});
    "reverse path": ReversePathFilter, Routing, OneSource, V4, |scene| {
        scene.net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
        scene.frames_from("192.0.2.1", |_| {});
    };
    "input rule": FirewallDropsData, Input, OneSource, Both, |scene| {
        let source = scene.source_match();
        scene.rule("inet", "hook input", &format!("{source} udp dport 5000-5001 counter drop"));
        scene.frames_of_own_source(|_| {});
    };
    "input rule rejects": FirewallDropsData, Input, OneSource, Both, |scene| {
        let source = scene.source_match();
        scene.rule("inet", "hook input", &format!("{source} counter reject"));
        scene.frames_of_own_source(|_| {});
    };
    "UDP checksum": BadChecksum, Udp, OneSource, Both, |scene| {
        let offset = scene.either_number(14 + 20 + 7, 14 + 40 + 7);
        scene.frames_of_own_source(|frame| frame[offset] ^= 1);
    };
    "no UDP checksum": BadChecksum, Udp, OneSource, V6, |scene| {
        scene.frames_of_own_source(|frame| frame[60..62].fill(0));
    };
    "UDP length": MalformedPackets, Udp, OneSource, V4, |scene| {
        scene.frames_of_own_source(|frame| frame[39] += 0x40);
    };
    "bound to eth1": BoundToOtherInterface, Program, Nothing, V4, |scene| {
        scene.second_lan();
        let listener = listener(&scene.net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
        options(&listener).bind_device(Some(b"eth1")).unwrap();
        scene.keep(listener);
    };
    "stopped program": ProgramStopped, Program, Nothing, Both, |scene| {
        let player = Player::start(
            &scene.net.receiver,
            scene.either("239.1.2.3:5000", "[ff15::1234]:5000"),
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)",
        );
        player.signal("-STOP");
        scene.keep(player);
    };
    "program does not read": NotRead, Program, Nothing, Both, |scene| {
        let (bind, group) = (scene.either("239.1.2.3:5000", "[ff15::1234]:5000"), scene.either("239.1.2.3", "ff15::1234"));
        let socket = idle_listener(&scene.net.receiver, bind, &[(group, "eth0")]);
        options(&socket).set_recv_buffer_size(2048).unwrap();
        scene.keep(socket);
    };
}

impl Fault {
    /// Returns whether two faults can exist at once. A program that keeps a port for itself leaves no other program
    /// there, there is one interface to choose, and both must be possible in one family.
    fn fits(&self, other: &Self) -> bool {
        let (first, second) = (self.stage.min(other.stage), self.stage.max(other.stage));
        let same_choice = (first, second) == (Route, Interface);
        let same_port = (first, second) == (Bind, Program);
        let same_family = self.families == other.families || self.families == Both || other.families == Both;
        self.name != other.name && !same_choice && !same_port && same_family
    }

    /// Returns whether one of these faults keeps all datagrams from reaching the stage of this one, or, if this one shows
    /// in what arrives, from being captured. The member that another program is already needs no further report.
    fn is_hidden_by(&self, others: &[&Self]) -> bool {
        let shows_on_wire = self.id == Id::JoinedOtherInterface || (Group..=Wire).contains(&self.stage);
        others.iter().filter(|other| other.name != self.name).any(|other| match other.takes {
            Everything => other.stage < self.stage || (shows_on_wire && (Up..=Xdp).contains(&other.stage)),
            _ => match self.id {
                Id::FirewallDropsIgmp => other.stage == Program,
                // Both sockets are of this process, which takes the group by the other one.
                Id::BoundToOtherInterface => other.id == Id::NotRead,
                _ => false,
            },
        })
    }

    fn loses(&self) -> bool {
        self.takes != Nothing
    }
}

/// A network into which faults are injected, and the flows in it.
struct Scene {
    net: Net,
    is_v6: bool,
    interface: &'static str,
    to_group: &'static str,
    to_port: u16,
    /// How many own sources are in use.
    sources: u8,
    frames: Vec<Vec<Vec<u8>>>,
    kept: Vec<Box<dyn Any>>,
}

impl Scene {
    fn new(is_v6: bool) -> Self {
        let net = Net::new();
        // Otherwise the firewall hooks of the switch drop damaged packets.
        for family in ["iptables", "ip6tables"] {
            let command =
                format!("f=/proc/sys/net/bridge/bridge-nf-call-{family}; [ ! -e $f ] || echo 0 > $f");
            run(&net.lan.inside(), &command);
        }
        let to_group = if is_v6 { "ff15::1234" } else { "239.1.2.3" };
        let (frames, kept) = (Vec::new(), Vec::new());
        Self { net, is_v6, interface: "eth0", to_group, to_port: 5000, sources: 0, frames, kept }
    }

    fn either(&self, v4: &'static str, v6: &'static str) -> &'static str {
        if self.is_v6 { v6 } else { v4 }
    }

    fn either_number(&self, v4: usize, v6: usize) -> usize {
        if self.is_v6 { v6 } else { v4 }
    }

    /// Keeps what must exist during the examination.
    fn keep(&mut self, what: impl Any) {
        self.kept.push(Box::new(what));
    }

    fn second_lan(&mut self) {
        if self.net.receiver.interface_index("eth1").is_err() {
            let lan = self.net.second_lan();
            self.keep(lan);
        }
    }

    /// Where the sender sends.
    fn destination(&self) -> String {
        if self.is_v6 {
            format!("[{}]:{}", self.to_group, self.to_port)
        } else {
            format!("{}:{}", self.to_group, self.to_port)
        }
    }

    fn membership(&self) -> String {
        let interface = self.interface;
        if self.is_v6 {
            format!("[ff15::1234%{interface}]:5000")
        } else {
            format!("239.1.2.3%{interface}:5000")
        }
    }

    /// The last part of the address that [`Self::frames_of_own_source`] uses next.
    fn next_source(&self) -> u8 {
        self.sources + 20
    }

    fn own_source(&self) -> String {
        let last = self.next_source();
        if self.is_v6 { format!("fd09::{last:x}") } else { format!("10.9.0.{last}") }
    }

    fn source_match(&self) -> String {
        format!("{} saddr {}", self.either("ip", "ip6"), self.own_source())
    }

    fn frames_of_own_source(&mut self, change: impl Fn(&mut Vec<u8>)) {
        let source = self.own_source();
        self.sources += 1;
        self.frames_from(&source, change);
    }

    fn frames_from(&mut self, source: &str, change: impl Fn(&mut Vec<u8>)) {
        let frame = |number| {
            let mut frame = self.net.frame(source, &self.destination(), number);
            change(&mut frame);
            frame
        };
        let frames = (0..20).map(frame).collect();
        self.frames.push(frames);
    }

    fn rule(&mut self, family: &str, hook: &str, rule: &str) {
        let chain = self.kept.len();
        self.keep(());
        run(
            &self.net.receiver,
            &format!(
                "nft add table {family} t{chain} && nft 'add chain {family} t{chain} c {{ type filter {hook} priority 0 ; }}' && nft 'add rule {family} t{chain} c {rule}'"
            ),
        );
    }

    /// Adds a filter whose verdict for its own source is `action`.
    fn tc(&mut self, action: u8) {
        let (protocol, offset) = if self.is_v6 { ("ipv6", 34) } else { ("ip", 26) };
        let value = match self.is_v6 {
            true => u32::from(self.next_source()),
            false => u32::from_be_bytes([10, 9, 0, self.next_source()]),
        };
        let program = format!("4,32 0 0 {offset},21 0 1 {value},6 0 0 {action},6 0 0 4294967295,");
        run(
            &self.net.receiver,
            &format!(
                "tc qdisc replace dev eth0 clsact && tc filter add dev eth0 ingress protocol {protocol} bpf bytecode '{program}' direct-action"
            ),
        );
        self.frames_of_own_source(|_| {});
    }

    /// Examines the membership while every flow is sent.
    fn examine(&self) -> Report {
        let longest = self.frames.iter().map(Vec::len).max().unwrap_or_default();
        let of_each = (0..longest).flat_map(|n| self.frames.iter().filter_map(move |frames| frames.get(n)));
        let frames: Vec<_> = of_each.cloned().collect();
        let _injection: Option<Injection> =
            (!frames.is_empty()).then(|| inject(&self.net.sender, "eth0", &frames));
        let _base = Stream::to(&self.net.sender, &self.destination());
        examine(&self.net.receiver, &self.membership())
    }
}

/// Injects faults into one network, and returns what is wrong with the report.
fn try_combination(faults: &[&Fault]) -> Result<(), String> {
    let is_v6 = faults.iter().any(|fault| fault.families == V6);
    let mut scene = Scene::new(is_v6);
    let mut ordered = faults.to_vec();
    ordered.sort_by_key(|fault| fault.stage);
    for fault in &ordered {
        (fault.inject)(&mut scene);
    }
    let report = scene.examine();
    let problems = judge(&ordered, &report);
    match problems.is_empty() {
        true => Ok(()),
        false => {
            let findings: Vec<_> = report.findings.iter().map(crate::net::describe).collect();
            Err(format!("{}\n  found:\n{}\n  {}", problems.join("; "), findings.join("\n"), report.summary()))
        }
    }
}

fn judge(faults: &[&Fault], report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    for fault in faults.iter().filter(|fault| !fault.is_hidden_by(faults)) {
        if !report.findings.iter().any(|finding| finding.id == fault.id) {
            problems.push(format!("{} ({}) is not named", fault.id, fault.name));
        }
    }
    let injected: BTreeSet<Id> = faults.iter().map(|fault| fault.id).collect();
    let claimed: BTreeSet<Id> = report
        .findings
        .iter()
        .filter_map(|finding| (finding.severity == Severity::Fault).then_some(finding.id))
        .collect();
    // A warning, or a cause that nothing shows, does not explain that nothing arrives.
    let is_explained = !claimed.is_disjoint(&injected);
    for id in claimed.difference(&injected) {
        if is_explained || *id != Id::NothingArrives {
            problems.push(format!("{id} is claimed"));
        }
    }
    let loses = faults.iter().any(|fault| fault.loses());
    if loses && (report.arrival == ArrivalStatus::Arrives || report.verdict() == Verdict::Healthy) {
        problems.push(format!("{:?}, {:?}", report.arrival, report.verdict()));
    }
    problems
}

/// Returns the combinations in an order that depends on the seed.
fn combinations(seed: u64) -> (Vec<Vec<&'static Fault>>, Vec<Vec<&'static Fault>>) {
    let (mut pairs, mut triples) = (Vec::new(), Vec::new());
    for (index, first) in FAULTS.iter().enumerate() {
        let rest = &FAULTS[index + 1..];
        for (index, second) in rest.iter().enumerate().filter(|(_, second)| first.fits(second)) {
            pairs.push(vec![first, second]);
            let third = rest[index + 1..].iter().filter(|third| first.fits(third) && second.fits(third));
            triples.extend(third.map(|third| vec![first, second, third]));
        }
    }
    let key = |faults: &Vec<&Fault>| {
        let mut hasher = DefaultHasher::new();
        (seed, names(faults)).hash(&mut hasher);
        hasher.finish()
    };
    pairs.sort_by_key(key);
    triples.sort_by_key(key);
    (pairs, triples)
}

fn names(faults: &[&Fault]) -> String {
    faults.iter().map(|fault| fault.name).collect::<Vec<_>>().join(",")
}

fn chosen(seed: u64) -> Vec<Vec<&'static Fault>> {
    if let Ok(names) = std::env::var("MCAST_FAULTS") {
        let find = |name| FAULTS.iter().find(|fault| fault.name == name).unwrap();
        return vec![names.split(',').map(find).collect()];
    }
    let (mut pairs, mut triples) = combinations(seed);
    if std::env::var("MCAST_COMBINATIONS").as_deref() != Ok("all") {
        pairs.truncate(PAIRS);
        triples.truncate(TRIPLES);
    } else {
        triples.truncate(pairs.len() / 4);
    }
    pairs.append(&mut triples);
    pairs
}

/// Tries combinations, several at a time, prints what is wrong, and returns the names of those that failed.
fn failures(combinations: Vec<Vec<&'static Fault>>) -> Vec<String> {
    let (queue, failed) = (Mutex::new(combinations), Mutex::new(Vec::new()));
    let work = || {
        while let Some(faults) = { queue.lock().unwrap().pop() } {
            let result = catch_unwind(AssertUnwindSafe(|| try_combination(&faults)));
            let problem = result.unwrap_or_else(|_| Err("the injection panicked".to_owned())).err();
            if let Some(what) = problem {
                // A run of all pairs takes minutes: do not wait for its end.
                println!("{}: {what}", names(&faults));
                failed.lock().unwrap().push(names(&faults));
            }
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    failed.into_inner().unwrap()
}

#[test]
fn every_fault_of_a_combination_is_named() {
    if !has_programs() || !crate::drops::can_trace() {
        return;
    }
    let seed = std::env::var("MCAST_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    let combinations = chosen(seed);
    println!("seed {seed}: MCAST_SEED={seed} draws the same {} combinations", combinations.len());
    let count = combinations.len();
    let failed = failures(combinations);
    assert!(
        failed.is_empty(),
        "MCAST_SEED={seed}: {} of {count} combinations failed (MCAST_FAULTS=NAME,NAME repeats one):\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn every_pair_of_faults_that_can_exist_at_once_is_drawn() {
    let (pairs, triples) = combinations(1);
    assert!(FAULTS.len() >= 25 && triples.len() > pairs.len());
    for fault in FAULTS {
        let others = pairs.iter().filter(|pair| pair.iter().any(|each| each.name == fault.name)).count();
        assert_eq!(others, FAULTS.iter().filter(|other| fault.fits(other)).count(), "{}", fault.name);
    }
}
