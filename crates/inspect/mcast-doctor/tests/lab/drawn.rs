//! Faults drawn by seed: each kind with random addresses, ports, hooks, priorities, matches and verdicts, in IPv4 and IPv6,
//! beside things that are in order. The fault is named, nothing else is claimed, and nothing that is lost gets the all-clear.
//!
//! `MCAST_INJECTIONS=400` draws 400 instead of [`DRAWN`], from `MCAST_FIRST_SEED` on; `MCAST_INJECTION=17` repeats one,
//! and `MCAST_KIND=NAME` draws of one kind only.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mcast_doctor::{Finding, Id, Report, Severity, Verdict};
use mcast_lab::SwitchOptions;
use mcast_sim::{Dice, number};
use socket2::{Domain, InterfaceIndexOrAddress, SockFilter, Socket, Type};

use crate::net::{
    Net, Stream, describe, examine, examine_many, examine_port, examine_port_for_many, has_programs, inject,
    listener, reading, rtp, run, socket,
};

/// How many are drawn.
const DRAWN: u64 = 30;
/// How many networks are examined at a time.
const AT_A_TIME: usize = 6;

/// What is examined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// A membership of the doctor's own.
    Membership,
    Program,
}

/// What the switch does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Switch {
    Plain,
    /// It snoops, and floods without a querier.
    Floods,
    /// It delivers only what is joined, and from the sources that are.
    Snoops,
}

/// What arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    /// Frames from [`Scene::source`] to [`Scene::to`].
    Frames,
    /// RTP by a socket of the sender.
    Rtp,
    /// Datagrams of this size by a socket of the sender.
    Sized(usize),
    Nothing,
}

/// How the program joins.
#[derive(Clone, Copy)]
enum Join {
    No,
    On(&'static str),
    From(Ipv4Addr),
}

/// Changes a frame before it is sent.
type Change = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// A host that receives, and a sender.
struct Scene {
    dice: Dice,
    net: Net,
    switch: Switch,
    /// What was drawn, for the report of a failure.
    how: String,
    subject: Subject,
    traffic: Traffic,
    group: IpAddr,
    port: u16,
    source: IpAddr,
    to: SocketAddr,
    change: Change,
    membership: Option<String>,
    join: Join,
    bind: IpAddr,
    device: Option<&'static str>,
    connected: Option<SocketAddr>,
    is_filtered: bool,
    is_read: bool,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

/// A kind of fault, which changes the scene and returns what must be found.
type Kind = (&'static str, fn(&mut Scene) -> Id);

const KINDS: &[Kind] = &[
    ("a rule of nftables", nft_rule),
    ("a rule of nftables", nft_rule),
    ("a policy of nftables", nft_policy),
    ("a rule of iptables", iptables),
    ("a filter of traffic control", traffic_control),
    ("an XDP program", |scene| {
        let filter = crate::drops::drop_all(&scene.net.receiver);
        scene.kept.push(Box::new(filter));
        Id::XdpDrops
    }),
    ("the reverse path", reverse_path),
    ("the port", |scene| {
        let other = scene.dice.pick(&[1, 2, 10, 1_000]);
        scene.to.set_port(scene.port + other);
        Id::WrongPort
    }),
    ("the group", other_group),
    ("the interface", |scene| {
        scene.join = Join::On("eth1");
        scene.membership = Some(format!("{}%eth1:{}", bracketed(scene.group), scene.port));
        Id::JoinedOtherInterface
    }),
    ("the admitted source", |scene| {
        let wrong = Ipv4Addr::new(10, 9, 0, scene.dice.between(20, 200) as u8);
        scene.join = Join::From(wrong);
        let wrong = if scene.is_v6() { "fd09::77".parse().unwrap() } else { IpAddr::V4(wrong) };
        scene.membership = Some(format!("{wrong}@{}%eth0:{}", bracketed(scene.group), scene.port));
        // The standard library's sockets admit sources of IPv4 alone.
        if scene.is_v6() {
            scene.subject = Subject::Membership;
        }
        Id::SourceNotAdmitted
    }),
    ("no membership", |scene| {
        (scene.subject, scene.join) = (Subject::Program, Join::No);
        Id::NotJoined
    }),
    ("bound to unicast", |scene| {
        scene.subject = Subject::Program;
        scene.bind = if scene.is_v6() { "fd09::2" } else { "10.9.0.2" }.parse().unwrap();
        Id::BoundToUnicast
    }),
    ("bound to another group", |scene| {
        scene.subject = Subject::Program;
        scene.bind = scene.another_group();
        Id::BoundToOtherGroup
    }),
    ("bound to another interface", |scene| {
        (scene.subject, scene.device) = (Subject::Program, Some("eth1"));
        Id::BoundToOtherInterface
    }),
    ("connected to another host", |scene| {
        scene.subject = Subject::Program;
        let host = if scene.is_v6() { "fd09::9" } else { "10.9.0.9" }.parse().unwrap();
        scene.connected = Some(SocketAddr::new(host, scene.dice.between(1_024, 60_000) as u16));
        Id::ConnectedElsewhere
    }),
    ("a filter of the socket", |scene| {
        (scene.subject, scene.is_filtered) = (Subject::Program, true);
        Id::SocketFilter
    }),
    ("a program that does not read", |scene| {
        (scene.subject, scene.is_read) = (Subject::Program, false);
        Id::NotRead
    }),
    ("the interface is down", |scene| {
        scene.subject = Subject::Program;
        Id::InterfaceDown
    }),
    ("a tag of a VLAN", |scene| {
        let tag = (scene.dice.below(8) << 13 | scene.dice.between(1, 4_094)) as u16;
        let [first, second] = tag.to_be_bytes();
        scene.note(&format!("{tag:#x}"));
        scene.change = Box::new(move |frame| drop(frame.splice(12..12, [0x81, 0, first, second])));
        Id::VlanTagged
    }),
    ("the address of another host", |scene| {
        let last = scene.dice.next().to_be_bytes();
        scene.change =
            Box::new(move |frame| frame[..6].copy_from_slice(&[2, 0, last[0], last[1], last[2], 9]));
        Id::FramesToAnotherHost
    }),
    ("the checksum", |scene| {
        let (bit, header) = (scene.dice.below(8), if scene.is_v6() { 40 } else { 20 });
        scene.change = Box::new(move |frame| frame[14 + header + 6] ^= 1 << bit);
        Id::BadChecksum
    }),
    ("a damaged header", |scene| {
        scene.use_v4();
        let bit = scene.dice.below(8);
        scene.change = Box::new(move |frame| frame[24] ^= 1 << bit);
        Id::MalformedPackets
    }),
    ("no source", |scene| {
        scene.use_v4();
        scene.source = Ipv4Addr::UNSPECIFIED.into();
        Id::SourceZero
    }),
    ("the receiver's own source", |scene| {
        scene.use_v4();
        scene.source = Ipv4Addr::new(10, 9, 0, 2).into();
        Id::SourceIsLocal
    }),
    ("a policy of IPsec", |scene| {
        let any = if scene.is_v6() { "::/0" } else { "0.0.0.0/0" };
        let group = scene.dice.pick(&[any.to_owned(), scene.group.to_string(), scene.net_of_group()]);
        let what = scene.dice.pick(&["action block", "tmpl proto esp mode transport level required"]);
        scene.on_receiver(&format!("ip xfrm policy add dir in src {any} dst {group} priority 10 {what}"));
        Id::IpsecPolicy
    }),
    ("translation", translation),
    ("losses on the way", losses),
    ("losses in the firewall", |scene| {
        scene.traffic = Traffic::Rtp;
        let modulus = scene.dice.pick(&[2, 3, 5, 10]);
        let how = scene.dice.pick(&["inc", "random"]);
        let hook = scene.dice.pick(&["input", "prerouting"]);
        let rule = format!("udp dport {} numgen {how} mod {modulus} 0 drop", scene.port);
        scene.nft("inet", &format!("hook {hook} priority 0"), &rule);
        Id::FirewallDropsData
    }),
    ("frames too large", |scene| {
        // Less than 1,280 would end IPv6.
        let (mtu, size) = (scene.dice.between(1_280, 1_400), scene.dice.between(1_410, 1_440) as usize);
        scene.on_receiver(&format!("ip link set eth0 mtu {mtu}"));
        scene.traffic = Traffic::Sized(size);
        Id::MtuTooSmall
    }),
    ("fragments", |scene| {
        scene.use_v4();
        scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize);
        scene.nft("netdev", "hook ingress device eth0 priority 0", "ip frag-off & 0x1fff != 0 drop");
        Id::FragmentsLost
    }),
    ("a firewall that admits first fragments", |scene| {
        scene.use_v6();
        scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize);
        admit_the_port_alone(scene, "");
        Id::FragmentsLost
    }),
    ("no sender", |scene| {
        scene.traffic = Traffic::Nothing;
        Id::NothingArrives
    }),
];

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let switch = dice.pick(&[Switch::Snoops, Switch::Floods, Switch::Plain]);
        let net = Net::with(match switch {
            Switch::Plain => SwitchOptions::default(),
            Switch::Floods => SwitchOptions::default().snooping(true),
            Switch::Snoops => SwitchOptions::managed(),
        });
        for family in ["iptables", "ip6tables"] {
            let command =
                format!("f=/proc/sys/net/bridge/bridge-nf-call-{family}; [ ! -e $f ] || echo 0 > $f");
            run(&net.lan.inside(), &command);
        }
        net.second_lan();
        let (is_v6, [.., a, b, c]) = (dice.chance(0.4), dice.next().to_be_bytes());
        let group = group(is_v6, [a, b, c]);
        let port = dice.between(1_024, 50_000) as u16;
        let source = if is_v6 { "fd09::1" } else { "10.9.0.1" }.parse().unwrap();
        let subject = dice.pick(&[Subject::Membership, Subject::Program]);
        Self {
            dice,
            net,
            switch,
            how: String::new(),
            subject,
            traffic: Traffic::Frames,
            group,
            port,
            source,
            to: SocketAddr::new(group, port),
            change: Box::new(|_| {}),
            membership: None,
            join: Join::On("eth0"),
            bind: if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() },
            device: None,
            connected: None,
            is_filtered: false,
            is_read: true,
            kept: Vec::new(),
        }
    }

    const fn is_v6(&self) -> bool {
        self.group.is_ipv6()
    }

    /// Selects IPv4, for what IPv6 does not have.
    fn use_v4(&mut self) {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        self.group = group(false, [a, b, c]);
        (self.source, self.bind) = (Ipv4Addr::new(10, 9, 0, 1).into(), Ipv4Addr::UNSPECIFIED.into());
        self.to = SocketAddr::new(self.group, self.port);
    }

    /// Selects IPv6.
    fn use_v6(&mut self) {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        self.group = group(true, [a, b, c]);
        (self.source, self.bind) = ("fd09::1".parse().unwrap(), Ipv6Addr::UNSPECIFIED.into());
        self.to = SocketAddr::new(self.group, self.port);
    }

    fn another_group(&mut self) -> IpAddr {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        group(self.is_v6(), [a, b, c])
    }

    fn net_of_group(&self) -> String {
        match self.group {
            IpAddr::V4(_) => "239.0.0.0/8".to_owned(),
            IpAddr::V6(_) => "ff15::/16".to_owned(),
        }
    }

    fn note(&mut self, what: &str) {
        self.how.push_str(what);
        self.how.push_str("; ");
    }

    fn on_receiver(&mut self, command: &str) {
        self.note(command);
        run(&self.net.receiver, command);
    }

    /// Adds a rule to a new table and chain.
    fn nft(&mut self, family: &str, hook: &str, rule: &str) {
        self.on_receiver(&format!(
            "nft add table {family} t && nft 'add chain {family} t d' && nft add rule {family} t d drop && \
             nft 'add chain {family} t c {{ type filter {hook} ; }}' && nft 'add rule {family} t c {rule}'"
        ));
    }

    /// Draws a condition of nftables that holds for the datagrams.
    fn condition(&mut self) -> String {
        let (group, port, source) = (self.group, self.port, self.source);
        let ip = if self.is_v6() { "ip6" } else { "ip" };
        self.dice.pick(&[
            format!("udp dport {port}"),
            format!("udp dport {}-{}", port - 3, port + 3),
            format!("{ip} daddr {group}"),
            format!("{ip} daddr {}", self.net_of_group()),
            format!("{ip} saddr {source} udp dport != 53"),
            format!("meta l4proto udp {ip} daddr {{ {group} }}"),
            format!("th dport {{ {port}, 53 }}"),
            "udp length > 8 meta pkttype multicast".to_owned(),
            format!("iif eth0 udp dport {port}"),
            format!("udp sport 6000 {ip} saddr {source}"),
        ])
    }

    /// Returns whether the machine can find the fault: what the switch keeps from it does not show.
    fn is_known(&self, id: Id) -> bool {
        match self.switch {
            Switch::Plain => true,
            Switch::Floods => id != Id::MalformedPackets,
            Switch::Snoops => ![
                Id::MalformedPackets,
                Id::SentToAnotherGroup,
                Id::NotJoined,
                Id::JoinedOtherInterface,
                Id::SourceNotAdmitted,
            ]
            .contains(&id),
        }
    }

    /// Adds what is in order, and must not be named.
    fn decorate(&mut self) {
        if self.dice.chance(0.3) {
            self.note("another stream");
            let other = SocketAddr::new(self.another_group(), 60_001);
            let (group, any) = (other.ip().to_string(), SocketAddr::new(self.bind_any(), 60_001).to_string());
            let listener = listener(&self.net.receiver, &any, &[(&group, "eth0")]);
            self.kept.push(Box::new(listener));
            self.kept.push(Box::new(Stream::to(&self.net.sender, &other.to_string())));
        }
        if self.dice.chance(0.3) {
            self.on_receiver(
                "nft add table inet fine && nft 'add chain inet fine c { type filter hook input priority 5 ; }' && \
                 nft add rule inet fine c tcp dport 22 counter accept && nft add rule inet fine c udp dport 53 drop",
            );
        }
        if self.dice.chance(0.2) {
            self.on_receiver("sysctl -qw net.ipv4.conf.eth1.rp_filter=1");
        }
    }

    const fn bind_any(&self) -> IpAddr {
        if self.is_v6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    fn open(&self) -> UdpSocket {
        let bind = SocketAddr::new(self.bind, self.port);
        let index = match self.join {
            Join::On(interface) => self.net.receiver.interface_index(interface).unwrap(),
            Join::No | Join::From(_) => 0,
        };
        let open = || {
            let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            if let Some(device) = self.device {
                socket.bind_device(Some(device.as_bytes())).unwrap();
            }
            socket.bind(&bind.into()).unwrap();
            match (self.join, self.group) {
                (Join::No, _) => {}
                (Join::On(_), IpAddr::V4(group)) => {
                    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)).unwrap();
                }
                (Join::On(_), IpAddr::V6(group)) => socket.join_multicast_v6(&group, index).unwrap(),
                (Join::From(source), IpAddr::V4(group)) => {
                    socket.join_ssm_v4(&source, &group, &Ipv4Addr::new(10, 9, 0, 2)).unwrap();
                }
                (Join::From(_), IpAddr::V6(_)) => unreachable!("it is examined as a membership"),
            }
            if self.is_filtered {
                socket.attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap();
            }
            let socket = UdpSocket::from(socket);
            if let Some(connected) = self.connected {
                socket.connect(connected).unwrap();
            }
            socket
        };
        self.net.receiver.run(open).unwrap()
    }

    fn send(&self) -> Option<Box<dyn Any>> {
        let to = self.to.to_string();
        Some(match self.traffic {
            Traffic::Nothing => return None,
            Traffic::Rtp => {
                let (socket, mut number) = (socket(&self.net.sender, self.to.ip(), "eth0"), 0);
                Box::new(Stream::of(socket.into(), self.to, move |_| {
                    number += 1;
                    rtp(number, 7)
                }))
            }
            Traffic::Sized(size) => Box::new(Stream::sized(&self.net.sender, &to, size, |_| {})),
            Traffic::Frames => {
                let frame = |number| {
                    let mut frame = self.net.frame(&self.source.to_string(), &to, number);
                    (self.change)(&mut frame);
                    frame
                };
                Box::new(inject(&self.net.sender, "eth0", &(0..20).map(frame).collect::<Vec<_>>()))
            }
        })
    }

    fn examine(&mut self, id: Id) -> Report {
        let (mut reads, mut idle) = (None, None);
        if self.subject == Subject::Program {
            let socket = self.open();
            match self.is_read {
                true => reads = Some(reading(socket)),
                false => {
                    socket2::SockRef::from(&socket).set_recv_buffer_size(2048).unwrap();
                    idle = Some(socket);
                }
            }
        }
        if id == Id::InterfaceDown {
            self.net.receiver.set_down("eth0").unwrap();
        }
        let sends = self.send();
        let membership = self.membership.take();
        let membership =
            membership.unwrap_or_else(|| format!("{}%eth0:{}", bracketed(self.group), self.port));
        let report = match (self.subject, self.traffic) {
            (Subject::Program, Traffic::Rtp) => examine_port_for_many(&self.net.receiver, self.port),
            (Subject::Program, _) => examine_port(&self.net.receiver, self.port),
            (Subject::Membership, Traffic::Rtp) => examine_many(&self.net.receiver, &membership),
            (Subject::Membership, _) => examine(&self.net.receiver, &membership),
        };
        drop((reads, idle, sends));
        report
    }
}

fn group(is_v6: bool, [a, b, c]: [u8; 3]) -> IpAddr {
    match is_v6 {
        false => Ipv4Addr::new(239, a, b.max(1), c.max(1)).into(),
        true => Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, u16::from(a), u16::from_be_bytes([b.max(1), c])).into(),
    }
}

fn nft_rule(scene: &mut Scene) -> Id {
    let own = if scene.is_v6() { "ip6" } else { "ip" };
    let (family, hook) = scene.dice.pick(&[
        ("netdev", "ingress device eth0"),
        ("inet", "prerouting"),
        (own, "prerouting"),
        ("inet", "input"),
        (own, "input"),
        (own, "input"),
    ]);
    let priority = scene.dice.pick(&["-310", "-150", "-5", "0", "10", "300"]);
    let condition = scene.condition();
    let counter = scene.dice.pick(&["", "counter "]);
    let verdicts: &[&str] = match hook {
        "input" => &["drop", "jump d", "goto d", "reject"],
        _ => &["drop", "jump d", "goto d"],
    };
    let verdict = scene.dice.pick(verdicts);
    scene.nft(
        family,
        &format!("hook {hook} priority {priority}"),
        &format!("{condition} {counter}{verdict}"),
    );
    Id::FirewallDropsData
}

fn nft_policy(scene: &mut Scene) -> Id {
    let (hook, counter) = (scene.dice.pick(&["input", "prerouting"]), scene.dice.pick(&["", "counter "]));
    let other = scene.dice.pick(&["udp dport 53 accept", "ct state established accept", "iif lo accept"]);
    scene.nft(
        "inet",
        &format!("hook {hook} priority 0"),
        &format!("meta l4proto {{ igmp, icmpv6 }} {counter}accept"),
    );
    scene
        .on_receiver(&format!("nft 'add rule inet t c {other}' && nft 'chain inet t c {{ policy drop ; }}'"));
    Id::FirewallDropsData
}

/// Closes all but the port, what groups need, and what this rule admits.
fn admit_the_port_alone(scene: &mut Scene, rule: &str) {
    let port = scene.port;
    scene.on_receiver(&format!(
        "nft add table inet p && nft 'add chain inet p c {{ type filter hook input priority 0 ; }}' && \
         nft 'add rule inet p c meta l4proto {{ igmp, icmpv6 }} accept' && \
         nft 'add rule inet p c udp dport {{ {port}, 60001 }} accept' && nft 'chain inet p c {{ policy drop ; }}'"
    ));
    if !rule.is_empty() {
        scene.on_receiver(&format!("nft 'add rule inet p c {rule}'"));
    }
}

fn iptables(scene: &mut Scene) -> Id {
    let program = if scene.is_v6() { "ip6tables-legacy" } else { "iptables-legacy" };
    let (table, chain) = scene.dice.pick(&[
        ("filter", "INPUT"),
        ("filter", "INPUT"),
        ("mangle", "INPUT"),
        ("mangle", "PREROUTING"),
        ("raw", "PREROUTING"),
    ]);
    let (group, port, source) = (scene.group, scene.port, scene.source);
    let condition = scene.dice.pick(&[
        format!("-d {group}"),
        format!("-p udp --dport {port}"),
        format!("-p udp -s {source}"),
        format!("-i eth0 -p udp -d {}", scene.net_of_group()),
        format!("-p udp -m multiport --dports 53,{port}"),
        "-p udp -m pkttype --pkt-type multicast".to_owned(),
    ]);
    let verdict =
        if chain == "INPUT" && table == "filter" { scene.dice.pick(&["DROP", "REJECT"]) } else { "DROP" };
    scene.on_receiver(&format!("{program} -t {table} -A {chain} {condition} -j {verdict}"));
    Id::FirewallDropsData
}

fn traffic_control(scene: &mut Scene) -> Id {
    let protocol = if scene.is_v6() { "ipv6" } else { "ip" };
    let protocol = scene.dice.pick(&[protocol, "all"]);
    let (preference, action) = (scene.dice.between(1, 40_000), scene.dice.pick(&[2, 4]));
    // Datagrams of UDP to any port.
    let (offset, kind) = if scene.is_v6() { (20, 0x86dd) } else { (23, 0x0800) };
    scene.on_receiver(&format!(
        "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol {protocol} pref {preference} bpf da bytecode \
         '6,40 0 0 12,21 0 3 {kind},48 0 0 {offset},21 0 1 17,6 0 0 {action},6 0 0 4294967295'"
    ));
    Id::TcDrops
}

fn reverse_path(scene: &mut Scene) -> Id {
    scene.use_v4();
    let [.., a] = scene.dice.next().to_be_bytes();
    let (place, value) = (scene.dice.pick(&["all", "eth0"]), scene.dice.pick(&["1", "2"]));
    scene.on_receiver(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    scene.source = Ipv4Addr::new(198, 51, 100, a.max(1)).into();
    if value == "1" && scene.dice.chance(0.5) {
        scene.on_receiver("ip route add 198.51.100.0/24 dev eth1");
    }
    Id::ReversePathFilter
}

fn other_group(scene: &mut Scene) -> Id {
    let mut other = scene.group;
    match &mut other {
        IpAddr::V4(group) => {
            let [a, b, c, d] = group.octets();
            *group = scene.dice.pick(&[
                Ipv4Addr::new(a, b, c, d ^ 1),
                Ipv4Addr::new(a, b, c ^ 1, d),
                if b == c { Ipv4Addr::new(a, b, c, d ^ 4) } else { Ipv4Addr::new(a, c, b, d) },
                Ipv4Addr::new(a, b ^ 0x80, c, d),
            ]);
        }
        IpAddr::V6(group) => {
            let mut parts = group.segments();
            let place = scene.dice.pick(&[6, 7]);
            parts[place] ^= 1 << scene.dice.below(12);
            *group = parts.into();
        }
    }
    scene.note(&format!("{} is sent to instead of {}", other, scene.group));
    scene.to.set_ip(other);
    Id::SentToAnotherGroup
}

fn translation(scene: &mut Scene) -> Id {
    let (port, other) = (scene.port, scene.dice.between(1_024, 60_000));
    let host = if scene.is_v6() {
        format!("dnat to [fd09::2]:{other}")
    } else {
        format!("dnat to 10.9.0.2:{other}")
    };
    let family = if scene.is_v6() { "ip6" } else { "ip" };
    let what = scene.dice.pick(&[format!("redirect to :{other}"), host]);
    let priority = scene.dice.pick(&["-100", "-101", "0"]);
    scene.on_receiver(&format!(
        "nft add table {family} n && nft 'add chain {family} n c {{ type nat hook prerouting priority {priority} ; }}' && \
         nft 'add rule {family} n c udp dport {port} {what}'"
    ));
    Id::Redirected
}

fn losses(scene: &mut Scene) -> Id {
    scene.traffic = Traffic::Rtp;
    let lost = scene.dice.pick(&[3, 10, 30, 50, 80]);
    let rule = match scene.dice.chance(0.5) {
        true => format!("numgen random mod 100 < {lost} drop"),
        false => format!("numgen inc mod 100 < {lost} drop"),
    };
    let command = format!(
        "nft add table bridge t && nft 'add chain bridge t c {{ type filter hook forward priority 0 ; }}' && \
         nft 'add rule bridge t c udp dport {} {rule}'",
        scene.port
    );
    scene.note(&command);
    run(&scene.net.lan.inside(), &command);
    Id::LostBeforeThisMachine
}

/// Returns what is wrong with the report.
fn judge(report: &Report, id: Id, is_known: bool) -> Vec<String> {
    let is_fault = |finding: &&Finding| finding.severity == Severity::Fault;
    let is_named =
        report.findings.iter().any(|finding| finding.id == id && finding.severity >= Severity::Warning);
    let is_other = |finding: &&Finding| finding.id != id && (is_named || finding.id != Id::NothingArrives);
    let mut problems: Vec<_> =
        (is_known && !is_named).then(|| format!("{id} is not named")).into_iter().collect();
    let others = report.findings.iter().filter(is_fault).filter(is_other);
    problems.extend(others.map(|finding| format!("{} is claimed", finding.id)));
    if report.verdict() == Verdict::Healthy {
        problems.push(format!("all-clear: {:?}", report.arrival));
    }
    problems
}

fn examine_one(seed: u64) -> Result<(), String> {
    let mut scene = Scene::new(seed);
    // One kind can be selected.
    let selected = std::env::var("MCAST_KIND").ok();
    let kinds: Vec<Kind> =
        KINDS.iter().filter(|kind| selected.as_deref().is_none_or(|only| only == kind.0)).copied().collect();
    let (name, kind) = scene.dice.pick(&kinds);
    let id = kind(&mut scene);
    scene.decorate();
    let report = scene.examine(id);
    let problems = judge(&report, id, scene.is_known(id));
    if problems.is_empty() {
        return Ok(());
    }
    let subject = if scene.subject == Subject::Program { "program" } else { "membership" };
    let findings: Vec<_> = report.findings.iter().map(describe).collect();
    let observations: Vec<_> = report.observations.iter().map(|each| each.message.clone()).collect();
    Err(format!(
        "{name}, {subject} {}:{} ({}) sent to {} by {}: {}\n    {}\n    {}\n    {}",
        scene.group,
        scene.port,
        scene.how,
        scene.to,
        scene.source,
        problems.join("; "),
        findings.join("\n    "),
        report.summary(),
        observations.join("\n    ")
    ))
}

/// What is in order, and takes nothing.
const ORDERLY: &[fn(&mut Scene)] = &[
    |scene| {
        let condition = scene.condition();
        let hook = scene.dice.pick(&["prerouting", "input"]);
        let verdict = scene.dice.pick(&["accept", "counter", "counter accept", "meta mark set 7", "return"]);
        let priority = scene.dice.pick(&["-310", "-150", "0", "10", "300"]);
        scene.nft("inet", &format!("hook {hook} priority {priority}"), &format!("{condition} {verdict}"));
    },
    |scene| {
        let other = scene.another_group();
        let (ip, port) = (if scene.is_v6() { "ip6" } else { "ip" }, scene.port);
        scene.on_receiver(&format!(
            "nft add table inet o && nft 'add chain inet o c {{ type filter hook input priority 0 ; }}' && \
             nft 'add rule inet o c {ip} daddr {other} udp dport {port} drop' && nft 'add rule inet o c udp dport {} drop'",
            port ^ 1
        ));
    },
    // IPv4 is whole again at this hook, IPv6 is not.
    |scene| admit_the_port_alone(scene, "exthdr frag exists accept"),
    |scene| {
        let program = if scene.is_v6() { "ip6tables-legacy" } else { "iptables-legacy" };
        let (group, port) = (scene.group, scene.port);
        let other = scene.another_group();
        scene.on_receiver(&format!(
            "{program} -A INPUT -p udp -d {group} --dport {port} -j ACCEPT && {program} -A INPUT -p udp -d {other} -j DROP"
        ));
    },
    |scene| {
        let protocol = if scene.is_v6() { "ipv6" } else { "ip" };
        let action = scene.dice.pick(&["0", "4294967295"]);
        scene.on_receiver(&format!(
            "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol {protocol} pref 9 bpf da bytecode '1,6 0 0 {action}'"
        ));
    },
    |scene| {
        let pass = crate::drops::attach_xdp(&scene.net.receiver, 2);
        scene.kept.push(Box::new(pass));
    },
    |scene| {
        let (place, value) = (scene.dice.pick(&["all", "eth0"]), scene.dice.pick(&["1", "2"]));
        scene.on_receiver(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    },
    |scene| {
        let other = scene.another_group();
        let any = if scene.is_v6() { "::/0" } else { "0.0.0.0/0" };
        scene.on_receiver(&format!(
            "ip xfrm policy add dir in src {any} dst {other} priority 10 action block"
        ));
    },
    |scene| {
        let (family, port) = (if scene.is_v6() { "ip6" } else { "ip" }, scene.port ^ 1);
        scene.on_receiver(&format!(
            "nft add table {family} n && nft 'add chain {family} n c {{ type nat hook prerouting priority -100 ; }}' && \
             nft 'add rule {family} n c udp dport {port} redirect to :7'"
        ));
    },
    |scene| {
        // A program that binds to its group receives nothing else.
        (scene.subject, scene.bind) = (Subject::Program, scene.group);
    },
    |scene| {
        scene.membership = Some(format!("{}@{}%eth0:{}", scene.source, bracketed(scene.group), scene.port));
        match scene.source {
            IpAddr::V4(source) => scene.join = Join::From(source),
            IpAddr::V6(_) => scene.subject = Subject::Membership,
        }
    },
    |scene| scene.traffic = Traffic::Rtp,
    |scene| scene.traffic = Traffic::Sized(scene.dice.between(8, 1_400) as usize),
    |scene| scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize),
    |scene| scene.on_receiver("ip link set eth0 mtu 9000"),
    |scene| {
        // Another program that has the same group and port.
        let any = SocketAddr::new(scene.bind_any(), scene.port).to_string();
        let group = scene.group.to_string();
        let other = listener(&scene.net.receiver, &any, &[(&group, "eth0")]);
        scene.kept.push(Box::new(other));
    },
    |scene| scene.device = Some("eth0"),
];

fn examine_orderly(seed: u64) -> Result<(), String> {
    let mut scene = Scene::new(seed);
    let (first, second) = (scene.dice.pick(ORDERLY), scene.dice.below(ORDERLY.len() as u64) as usize);
    first(&mut scene);
    // The same one twice would add a table that exists.
    if !std::ptr::fn_addr_eq(first, ORDERLY[second]) {
        ORDERLY[second](&mut scene);
    }
    scene.decorate();
    let report = scene.examine(Id::NothingArrives);
    let findings: Vec<_> =
        report.findings.iter().filter(|finding| finding.severity >= Severity::Warning).collect();
    if findings.is_empty() && report.verdict() == Verdict::Healthy {
        return Ok(());
    }
    let subject = if scene.subject == Subject::Program { "program" } else { "membership" };
    let findings: Vec<_> = findings.into_iter().map(describe).collect();
    let open: Vec<_> = report.open_questions.iter().map(ToString::to_string).collect();
    Err(format!(
        "in order: {subject} {}:{} ({})\n    {}\n    {}\n    {}",
        scene.group,
        scene.port,
        scene.how,
        findings.join("\n    "),
        open.join("\n    "),
        report.summary()
    ))
}

/// Returns the row of these faults in the table of goals.
pub(crate) fn row() -> String {
    let kinds: std::collections::BTreeSet<_> = KINDS.iter().map(|(name, _)| name).collect();
    format!(
        "| faults that are drawn by seed are named, nothing else is claimed, nothing lost gets the all-clear, and what is in order gets it | {} kinds of faults, and pairs of {} things that are in order | a sample by `cargo nextest run -p mcast-doctor -E 'test(drawn::)'`, 400 of each with `MCAST_INJECTIONS=400` |",
        kinds.len(),
        ORDERLY.len()
    )
}

#[test]
fn faults_that_are_drawn_are_named() {
    for_drawn(examine_one);
}

#[test]
fn what_is_in_order_gets_the_all_clear() {
    for_drawn(examine_orderly);
}

fn for_drawn(examine: impl Fn(u64) -> Result<(), String> + Sync) {
    if !has_programs() || !crate::drops::can_trace() {
        return;
    }
    let one = number("MCAST_INJECTION");
    let count = if one.is_some() { 1 } else { number("MCAST_INJECTIONS").unwrap_or(DRAWN) };
    let first = one.or_else(|| number("MCAST_FIRST_SEED")).unwrap_or(1);
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            let result = catch_unwind(AssertUnwindSafe(|| examine(seed)));
            if let Err(problem) = result.unwrap_or_else(|_| Err("the injection panicked".to_owned())) {
                println!("MCAST_INJECTION={seed}: {problem}");
                failed.lock().unwrap().push(seed);
            }
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!("{} of {count} injections are judged as expected", count - failed.len() as u64);
    assert!(failed.is_empty(), "{} of {count} injections failed: MCAST_INJECTION={failed:?}", failed.len());
}
