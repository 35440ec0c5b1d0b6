//! Combinations of two and three faults in one network, in which a membership, a program or a router is examined.
//!
//! Datagrams pass [`Stage`]s in a fixed order. A fault takes a source of its own, every source, or none, and acts at one
//! stage. What must be found follows from that: a fault that takes every source hides those behind it, which the doctor
//! may find all the same. `MCAST_SEED=7` draws other combinations, `MCAST_COMBINATIONS=all` runs every pair, and
//! `MCAST_FAULTS=router/name,name` runs one combination.

use std::any::Any;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use mcast_doctor::{ArrivalStatus, Id, Report, Severity, Verdict};
use mcast_lab::{RouteGroup, Router};

use crate::net::{
    Injection, Net, Stream, examine, examine_port, has_programs, idle_listener, inject, listener, options,
    rtp, run, socket,
};
use crate::programs::Player;

/// How many pairs and triples are drawn for each [`Subject`].
const DRAWN: [(usize, usize); 3] = [(12, 4), (9, 3), (9, 3)];
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
    /// A router looks for the route.
    Forward,
    /// Another program on the machine receives, or the router sends.
    Program,
}

/// Which datagrams a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Those of a source that only this fault uses.
    OneSource,
    /// Those of every source.
    Everything,
    /// Those that a router would send, not those that it receives.
    Forwarded,
    /// None.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    Both,
    V4,
    V6,
}

/// What is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// A membership of the doctor.
    Membership,
    /// A program that receives the group.
    Program,
    /// A membership on a router that forwards the group.
    Router,
}

impl Subject {
    const ALL: [Self; 3] = [Self::Membership, Self::Program, Self::Router];

    /// Returns the faults that can exist where this is examined.
    fn faults(self) -> Vec<&'static Fault> {
        let exists = |fault: &&Fault| fault.subjects.contains(&self);
        FAULTS.iter().filter(exists).collect()
    }
}

/// Faults of the network and of the machine, which exist whatever is examined.
const ANY: &[Subject] = &[Subject::Membership, Subject::Program, Subject::Router];
/// Faults on the machine of a receiver.
const RECEIVER: &[Subject] = &[Subject::Membership, Subject::Program];
/// Faults of the join, and those beside which the examined program has another socket that receives.
const JOIN: &[Subject] = &[Subject::Membership];
/// Faults of forwarding.
const ROUTER: &[Subject] = &[Subject::Router];

/// A fault that can be combined with others.
struct Fault {
    name: &'static str,
    id: Id,
    subjects: &'static [Subject],
    stage: Stage,
    takes: Takes,
    families: Families,
    inject: fn(&mut Scene),
}

use Families::{Both, V4, V6};
use Stage::{
    Bind, Forward, Group, Header, Ingress, Input, Interface, Port, Program, Route, Routing, Udp, Up, Wire,
    Xdp,
};
use Takes::{Everything, Forwarded, Nothing, OneSource};

macro_rules! faults {
    ($($name:literal: $id:ident, $subjects:expr, $stage:expr, $takes:expr, $families:expr, $inject:expr;)+) => {
        const FAULTS: &[Fault] = &[$(Fault {
            name: $name, id: Id::$id, subjects: $subjects, stage: $stage, takes: $takes, families: $families,
            inject: $inject,
        }),+];
    };
}

faults! {
    "port in use": AddressInUse, JOIN, Bind, Everything, Both, |scene| {
        let any = scene.either("0.0.0.0:5000", "[::]:5000");
        let socket = scene.net.receiver.run(|| std::net::UdpSocket::bind(any).unwrap()).unwrap();
        scene.keep(socket);
    };
    "joined on eth1": JoinedOtherInterface, JOIN, Interface, Everything, V4, |scene| {
        scene.second_lan();
        scene.interface = "eth1";
    };
    "no route": NoRoute, JOIN, Route, Everything, V4, |scene| {
        scene.net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
        scene.interface = "default";
    };
    "interface down": InterfaceDown, RECEIVER, Up, Everything, Both, |scene| {
        scene.net.receiver.set_down("eth0").unwrap();
    };
    "reports dropped": FirewallDropsIgmp, JOIN, Stage::Report, Nothing, Both, |scene| {
        let reports = scene.either("meta l4proto igmp", "icmpv6 type { mld-listener-report, mld2-listener-report }");
        scene.rule("inet", "hook output", &format!("{reports} counter drop"));
    };
    "IGMPv2 forced": IgmpVersionForced, RECEIVER, Stage::Report, Nothing, V4, |scene| {
        scene.net.receiver.sysctl("net/ipv4/conf/eth0/force_igmp_version", "2").unwrap();
    };
    "other group": SentToAnotherGroup, RECEIVER, Group, Everything, Both, |scene| {
        scene.to_group = scene.either("239.1.2.30", "ff05::1234");
    };
    "other port": WrongPort, RECEIVER, Port, Everything, Both, |scene| scene.to_port = 5001;
    "alias": MacAlias, ANY, Wire, Nothing, V4, |scene| {
        let alias = Stream::to(&scene.net.sender, "239.129.2.3:5000");
        scene.keep(alias);
    };
    "loss of RTP": LostBeforeThisMachine, ANY, Wire, Nothing, Both, |scene| {
        let to: std::net::SocketAddr = scene.destination().parse().unwrap();
        let socket = socket(&scene.net.sender, to.ip(), "eth0");
        // The tenth number is always missing.
        scene.keep(Stream::of(socket.into(), to, |number| rtp((number + number / 9) as u16, 7)));
    };
    "VLAN tag": VlanTagged, ANY, Ingress, OneSource, Both, |scene| {
        scene.frames_of_own_source(|frame| drop(frame.splice(12..12, [0x81, 0, 0, 42])));
    };
    "XDP program": XdpDrops, ANY, Xdp, Everything, Both, |scene| {
        let program = crate::drops::drop_all(&scene.net.receiver);
        scene.keep(program);
    };
    "Ethernet address": FramesToAnotherHost, ANY, Header, OneSource, Both, |scene| {
        scene.frames_of_own_source(|frame| frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]));
    };
    "tc drops": TcDrops, ANY, Ingress, OneSource, Both, |scene| scene.tc(2);
    "tc steals": TcDrops, ANY, Ingress, OneSource, Both, |scene| scene.tc(4);
    "ingress rule": FirewallDropsData, ANY, Ingress, OneSource, Both, |scene| {
        let source = scene.source_match();
        scene.rule("netdev", "hook ingress device eth0", &format!("{source} counter drop"));
        scene.frames_of_own_source(|_| {});
    };
    "header checksum": MalformedPackets, ANY, Header, OneSource, V4, |scene| {
        scene.frames_of_own_source(|frame| frame[24] ^= 0x41);
    };
    "packet length": MalformedPackets, ANY, Header, OneSource, V6, |scene| {
        scene.frames_of_own_source(|frame| frame[19] += 0x40);
    };
    "IP version": MalformedPackets, ANY, Header, OneSource, V6, |scene| {
        scene.frames_of_own_source(|frame| frame[14] = 0x50);
    };
    "group as source": InvalidSource, ANY, Header, OneSource, Both, |scene| {
        scene.frames_from(scene.either("239.9.9.9", "ff15::9"), |_| {});
    };
    "loopback as source": InvalidSource, ANY, Header, OneSource, Both, |scene| {
        scene.frames_from(scene.either("127.0.0.5", "::1"), |_| {});
    };
    "no source": SourceZero, ANY, Routing, OneSource, V4, |scene| scene.frames_from("0.0.0.0", |_| {});
    "own source": SourceIsLocal, ANY, Routing, OneSource, V4, |scene| scene.frames_from("10.9.0.2", |_| {});
    "reverse path": ReversePathFilter, ANY, Routing, OneSource, V4, |scene| {
        scene.net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
        scene.frames_from("192.0.2.1", |_| {});
    };
    "input rule": FirewallDropsData, ANY, Input, OneSource, Both, |scene| {
        let source = scene.source_match();
        scene.rule("inet", "hook input", &format!("{source} udp dport 5000-5001 counter drop"));
        scene.frames_of_own_source(|_| {});
    };
    "input rule rejects": FirewallDropsData, ANY, Input, OneSource, Both, |scene| {
        let source = scene.source_match();
        scene.rule("inet", "hook input", &format!("{source} counter reject"));
        scene.frames_of_own_source(|_| {});
    };
    "UDP checksum": BadChecksum, ANY, Udp, OneSource, Both, |scene| {
        let offset = scene.either_number(14 + 20 + 7, 14 + 40 + 7);
        scene.frames_of_own_source(|frame| frame[offset] ^= 1);
    };
    "no UDP checksum": BadChecksum, ANY, Udp, OneSource, V6, |scene| {
        scene.frames_of_own_source(|frame| frame[60..62].fill(0));
    };
    "UDP length": MalformedPackets, ANY, Udp, OneSource, V4, |scene| {
        scene.frames_of_own_source(|frame| frame[39] += 0x40);
    };
    "bound to eth1": BoundToOtherInterface, JOIN, Program, Nothing, V4, |scene| {
        scene.second_lan();
        let listener = listener(&scene.net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
        options(&listener).bind_device(Some(b"eth1")).unwrap();
        scene.keep(listener);
    };
    "stopped program": ProgramStopped, RECEIVER, Program, Nothing, Both, |scene| {
        let player = Player::start(
            &scene.net.receiver,
            scene.either("239.1.2.3:5000", "[ff15::1234]:5000"),
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)",
        );
        player.signal("-STOP");
        scene.keep(player);
    };
    "program does not read": NotRead, RECEIVER, Program, Nothing, Both, |scene| {
        let (bind, group) = (scene.either("239.1.2.3:5000", "[ff15::1234]:5000"), scene.either("239.1.2.3", "ff15::1234"));
        let socket = idle_listener(&scene.net.receiver, bind, &[(group, "eth0")]);
        options(&socket).set_recv_buffer_size(2048).unwrap();
        scene.keep(socket);
    };
    "no multicast route": NoMulticastRoute, ROUTER, Forward, Forwarded, Both, |scene| scene.forwards = Forwards::Nothing;
    "threshold": TtlThreshold, ROUTER, Forward, Forwarded, V4, |scene| scene.forwards = Forwards::Above(16);
    "forward rule": FirewallDropsData, ROUTER, Stage::Program, Nothing, Both, |scene| {
        let source = scene.source_match();
        scene.rule("inet", "hook forward", &format!("{source} counter drop"));
        scene.frames_of_own_source(|_| {});
    };
    "hop limit 1": TtlTooSmall, ROUTER, Forward, Nothing, V4, |scene| {
        // The checksum of the header counts the hop limit in the upper half of a word.
        scene.frames_of_own_source(|frame| {
            let sum = u16::from_be_bytes([frame[24], frame[25]]);
            let lost = u16::from(frame[22] - 1) << 8;
            let (sum, carry) = sum.overflowing_add(lost);
            frame[22] = 1;
            frame[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        });
    };
    "small MTU": MtuTooSmall, ROUTER, Stage::Program, Nothing, V4, |scene| {
        scene.net.receiver.set_mtu("eth1", 1000).unwrap();
        let to = scene.destination();
        let large = Stream::sized(&scene.net.sender, &to, 1400, |_| {});
        scene.keep(large);
    };
}

impl Fault {
    /// Returns whether two faults can exist at once. A program that keeps a port for itself leaves no other program
    /// there, there is one interface to choose, and both must be possible in one family.
    fn fits(&self, other: &Self) -> bool {
        let (first, second) = (self.stage.min(other.stage), self.stage.max(other.stage));
        let same_choice = (first, second) == (Route, Interface);
        let same_port = (first, second) == (Bind, Program);
        let same_route = (first, second) == (Forward, Forward);
        let same_family = self.families == other.families || self.families == Both || other.families == Both;
        self.name != other.name && !same_choice && !same_port && !same_route && same_family
    }

    /// Returns whether one of these faults keeps all datagrams from reaching the stage of this one, or, if this one shows
    /// in what arrives, from being captured. The member that another program is already needs no further report.
    fn is_hidden_by(&self, others: &[&Self]) -> bool {
        let shows_on_wire = self.id == Id::JoinedOtherInterface || (Group..=Wire).contains(&self.stage);
        others.iter().filter(|other| other.name != self.name).any(|other| match other.takes {
            Everything => other.stage < self.stage || (shows_on_wire && (Up..=Xdp).contains(&other.stage)),
            Forwarded => other.stage < self.stage && self.subjects == ROUTER,
            _ => match self.id {
                Id::FirewallDropsIgmp => other.stage == Program,
                // Both sockets are of this process, which takes the group by the other one.
                Id::BoundToOtherInterface => other.id == Id::NotRead,
                _ => false,
            },
        })
    }

    /// Returns whether datagrams do not arrive where they are examined.
    fn loses(&self) -> bool {
        matches!(self.takes, OneSource | Everything)
    }
}

/// What a router forwards of the group.
#[derive(Clone, Copy)]
enum Forwards {
    Nothing,
    /// What has a higher hop limit.
    Above(u8),
}

/// A network into which faults are injected, and the flows in it.
struct Scene {
    net: Net,
    subject: Subject,
    router: Option<Router>,
    /// What a router forwards.
    forwards: Forwards,
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
    fn new(subject: Subject, is_v6: bool) -> Self {
        let (net, router) = match subject {
            Subject::Router => Net::with_router(),
            _ => (Net::new(), None),
        };
        // Otherwise the firewall hooks of the switch drop damaged packets.
        for family in ["iptables", "ip6tables"] {
            let command =
                format!("f=/proc/sys/net/bridge/bridge-nf-call-{family}; [ ! -e $f ] || echo 0 > $f");
            run(&net.lan.inside(), &command);
        }
        let to_group = if is_v6 { "ff15::1234" } else { "239.1.2.3" };
        let (frames, kept) = (Vec::new(), Vec::new());
        let forwards = Forwards::Above(1);
        let mut scene = Self {
            net,
            subject,
            router,
            forwards,
            is_v6,
            interface: "eth0",
            to_group,
            to_port: 5000,
            sources: 0,
            frames,
            kept,
        };
        if subject == Subject::Router {
            scene.second_lan();
        }
        scene
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
        if let Some(router) = &self.router {
            self.route_on(router);
        }
        match self.subject {
            Subject::Membership | Subject::Router => examine(&self.net.receiver, &self.membership()),
            Subject::Program => {
                let bind = self.either("0.0.0.0:5000", "[::]:5000");
                let group = self.either("239.1.2.3", "ff15::1234");
                let _listener = listener(&self.net.receiver, bind, &[(group, self.interface)]);
                examine_port(&self.net.receiver, 5000)
            }
        }
    }

    /// Lets the router forward the group, or another one.
    fn route_on(&self, router: &Router) {
        let (group, ttl_threshold) = match self.forwards {
            Forwards::Nothing => (self.either("239.9.9.9", "ff15::9999"), 1),
            Forwards::Above(hops) => (self.either("239.1.2.3", "ff15::1234"), hops),
        };
        let group = group.parse().unwrap();
        router
            .route_group(RouteGroup { source: None, group, from: "eth0", to: &["eth1"], ttl_threshold })
            .unwrap();
    }
}

/// Faults that exist at once.
struct Combination {
    subject: Subject,
    faults: Vec<&'static Fault>,
}

impl Combination {
    /// Returns its name, such as `router/input rule,small MTU`.
    fn name(&self) -> String {
        let faults: Vec<_> = self.faults.iter().map(|fault| fault.name).collect();
        format!("{:?}/{}", self.subject, faults.join(",")).to_lowercase()
    }

    /// Injects the faults into one network, and returns what is wrong with the report.
    fn examine(&self) -> Result<(), String> {
        let is_v6 = self.faults.iter().any(|fault| fault.families == V6);
        let mut scene = Scene::new(self.subject, is_v6);
        let mut ordered = self.faults.clone();
        ordered.sort_by_key(|fault| fault.stage);
        for fault in &ordered {
            (fault.inject)(&mut scene);
        }
        let report = scene.examine();
        let problems = judge(&ordered, &report);
        if problems.is_empty() {
            return Ok(());
        }
        let findings: Vec<_> = report.findings.iter().map(crate::net::describe).collect();
        let observed = report.observations.iter().map(|seen| format!("  {}: {}", seen.layer, seen.message));
        Err(format!(
            "{}\n  found:\n{}\n{}\n  {}",
            problems.join("; "),
            findings.join("\n"),
            observed.collect::<Vec<_>>().join("\n"),
            report.summary()
        ))
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

/// Returns the pairs and the triples for a subject, each in an order that depends on the seed.
fn combinations(subject: Subject, seed: u64) -> (Vec<Combination>, Vec<Combination>) {
    let (mut pairs, mut triples) = (Vec::new(), Vec::new());
    let faults = subject.faults();
    for (index, first) in faults.iter().copied().enumerate() {
        let rest = &faults[index + 1..];
        for (index, second) in rest.iter().copied().enumerate().filter(|(_, second)| first.fits(second)) {
            pairs.push(Combination { subject, faults: vec![first, second] });
            let third = rest[index + 1..].iter().filter(|third| first.fits(third) && second.fits(third));
            triples.extend(third.map(|third| Combination { subject, faults: vec![first, second, third] }));
        }
    }
    let key = |combination: &Combination| {
        let mut hasher = DefaultHasher::new();
        (seed, combination.name()).hash(&mut hasher);
        hasher.finish()
    };
    pairs.sort_by_key(key);
    triples.sort_by_key(key);
    (pairs, triples)
}

fn chosen(seed: u64) -> Vec<Combination> {
    if let Ok(name) = std::env::var("MCAST_FAULTS") {
        return vec![named(&name)];
    }
    let is_all = std::env::var("MCAST_COMBINATIONS").as_deref() == Ok("all");
    let of_subject = |subject| {
        let (mut pairs, mut triples) = combinations(subject, seed);
        let (few_pairs, few_triples) = DRAWN[subject as usize];
        if !is_all {
            pairs.truncate(few_pairs);
        }
        triples.truncate(if is_all { pairs.len() / 4 } else { few_triples });
        pairs.append(&mut triples);
        pairs
    };
    Subject::ALL.into_iter().flat_map(of_subject).collect()
}

fn named(name: &str) -> Combination {
    let (subject, faults) = name.split_once('/').unwrap();
    let is_subject = |each: &Subject| format!("{each:?}").eq_ignore_ascii_case(subject);
    let subject = Subject::ALL.into_iter().find(is_subject).unwrap();
    let find = |name: &str| FAULTS.iter().find(|fault| fault.name.eq_ignore_ascii_case(name)).unwrap();
    Combination { subject, faults: faults.split(',').map(find).collect() }
}

/// Tries combinations, several at a time, prints what is wrong, and returns the names of those that failed.
fn failures(combinations: Vec<Combination>) -> Vec<String> {
    let (queue, failed) = (Mutex::new(combinations), Mutex::new(Vec::new()));
    let work = || {
        while let Some(combination) = { queue.lock().unwrap().pop() } {
            let result = catch_unwind(AssertUnwindSafe(|| combination.examine()));
            let problem = result.unwrap_or_else(|_| Err("the injection panicked".to_owned())).err();
            if let Some(what) = problem {
                // A run of all pairs takes minutes: do not wait for its end.
                println!("{}: {what}", combination.name());
                failed.lock().unwrap().push(combination.name());
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
        "MCAST_SEED={seed}: {} of {count} combinations failed (MCAST_FAULTS=NAME repeats one):\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn every_pair_of_faults_that_can_exist_at_once_is_drawn() {
    for subject in Subject::ALL {
        let (pairs, triples) = combinations(subject, 1);
        let faults = subject.faults();
        assert!(faults.len() >= 20 && triples.len() > pairs.len(), "{subject:?}");
        for fault in &faults {
            let has = |pair: &&Combination| pair.faults.iter().any(|each| each.name == fault.name);
            let others = pairs.iter().filter(has).count();
            let fitting = faults.iter().filter(|other| fault.fits(other)).count();
            assert_eq!(others, fitting, "{subject:?}: {}", fault.name);
        }
    }
}
