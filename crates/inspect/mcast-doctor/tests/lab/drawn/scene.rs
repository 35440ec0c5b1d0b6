//! A host that receives, a sender, and what is between them, as drawn.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use mcast_doctor::{Id, Report};
use mcast_lab::SwitchOptions;
use mcast_sim::Dice;
use socket2::{Domain, InterfaceIndexOrAddress, SockFilter, Socket, Type};

use crate::net::{
    Net, Stream, describe, examine, examine_many, examine_port, examine_port_for_many, inject, listener,
    reading, rtp, run, socket,
};

/// What is examined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A membership of the doctor's own.
    Membership,
    Program,
}

/// What the switch does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    Plain,
    /// It snoops, and floods without a querier.
    Floods,
    /// It delivers only what is joined, and from the sources that are.
    Snoops,
}

/// What arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
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
pub(super) enum Join {
    No,
    On(&'static str),
    From(Ipv4Addr),
}

/// Changes a frame before it is sent.
pub(super) type Change = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// A host that receives, and a sender.
pub(super) struct Scene {
    pub(super) dice: Dice,
    pub(super) net: Net,
    pub(super) switch: Switch,
    /// What was drawn, for the report of a failure.
    pub(super) how: String,
    pub(super) subject: Subject,
    pub(super) traffic: Traffic,
    pub(super) group: IpAddr,
    pub(super) port: u16,
    pub(super) source: IpAddr,
    pub(super) to: SocketAddr,
    pub(super) change: Change,
    pub(super) membership: Option<String>,
    pub(super) join: Join,
    pub(super) bind: IpAddr,
    pub(super) device: Option<&'static str>,
    pub(super) connected: Option<SocketAddr>,
    pub(super) is_filtered: bool,
    pub(super) is_read: bool,
    pub(super) is_down: bool,
    pub(super) kept: Vec<Box<dyn Any + Send + Sync>>,
}

pub(super) fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

impl Scene {
    pub(super) fn new(seed: u64) -> Self {
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
            is_down: false,
            kept: Vec::new(),
        }
    }

    pub(super) const fn is_v6(&self) -> bool {
        self.group.is_ipv6()
    }

    /// Selects IPv4, for what IPv6 does not have.
    pub(super) fn use_v4(&mut self) {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        self.group = group(false, [a, b, c]);
        (self.source, self.bind) = (Ipv4Addr::new(10, 9, 0, 1).into(), Ipv4Addr::UNSPECIFIED.into());
        self.to = SocketAddr::new(self.group, self.port);
    }

    /// Selects IPv6.
    pub(super) fn use_v6(&mut self) {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        self.group = group(true, [a, b, c]);
        (self.source, self.bind) = ("fd09::1".parse().unwrap(), Ipv6Addr::UNSPECIFIED.into());
        self.to = SocketAddr::new(self.group, self.port);
    }

    pub(super) fn another_group(&mut self) -> IpAddr {
        let [.., a, b, c] = self.dice.next().to_be_bytes();
        group(self.is_v6(), [a, b, c])
    }

    pub(super) fn net_of_group(&self) -> String {
        match self.group {
            IpAddr::V4(_) => "239.0.0.0/8".to_owned(),
            IpAddr::V6(_) => "ff15::/16".to_owned(),
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        self.how.push_str(what);
        self.how.push_str("; ");
    }

    pub(super) fn on_receiver(&mut self, command: &str) {
        self.note(command);
        run(&self.net.receiver, command);
    }

    /// Adds a rule to a new table and chain.
    pub(super) fn nft(&mut self, family: &str, hook: &str, rule: &str) {
        self.on_receiver(&format!(
            "nft add table {family} t && nft 'add chain {family} t d' && nft add rule {family} t d drop && \
             nft 'add chain {family} t c {{ type filter {hook} ; }}' && nft 'add rule {family} t c {rule}'"
        ));
    }

    /// Draws a condition of nftables that holds for the datagrams.
    pub(super) fn condition(&mut self) -> String {
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
    pub(super) fn is_known(&self, id: Id) -> bool {
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

    /// Returns what was drawn, and what is wrong with the report.
    pub(super) fn describe(&self, problems: &[String], report: &Report) -> String {
        let subject = if self.subject == Subject::Program { "program" } else { "membership" };
        let mut lines = vec![format!(
            "{subject} {}:{} ({}) sent to {} by {}: {}",
            self.group,
            self.port,
            self.how,
            self.to,
            self.source,
            problems.join("; ")
        )];
        lines.extend(report.findings.iter().map(describe));
        lines.extend(report.open_questions.iter().map(ToString::to_string));
        lines.push(report.summary());
        lines.extend(report.observations.iter().map(|each| each.message.clone()));
        lines.join("\n    ")
    }

    /// Adds what is in order, and must not be named.
    pub(super) fn decorate(&mut self) {
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

    pub(super) const fn bind_any(&self) -> IpAddr {
        if self.is_v6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    pub(super) fn open(&self) -> UdpSocket {
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

    pub(super) fn send(&self) -> Option<Box<dyn Any>> {
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

    pub(super) fn examine(&mut self) -> Report {
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
        if self.is_down {
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
pub(super) fn group(is_v6: bool, [a, b, c]: [u8; 3]) -> IpAddr {
    match is_v6 {
        false => Ipv4Addr::new(239, a, b.max(1), c.max(1)).into(),
        true => Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, u16::from(a), u16::from_be_bytes([b.max(1), c])).into(),
    }
}
/// Closes all but the port, what groups need, and what this rule admits.
pub(super) fn admit_the_port_alone(scene: &mut Scene, rule: &str) {
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
