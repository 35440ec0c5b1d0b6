//! A host that receives, a sender, and what is between them, as drawn.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::{Deref, DerefMut};

use mcast_doctor::{Id, Report};
use mcast_lab::{Host, SwitchOptions};
use mcast_sim::Dice;
use socket2::{Domain, InterfaceIndexOrAddress, SockFilter, Socket, Type};

use super::flow::{Flow, RuleSite};
use super::{Drawn, way};
use crate::net::{
    Net, Stream, examine, examine_many, examine_port, examine_port_for_many, inject, listener, reading, rtp,
    run, socket,
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
    /// Datagrams by a socket of the sender, by this interface.
    By(&'static str),
    /// Datagrams by a socket of the receiver's machine that delivers no copies there.
    LocalWithoutLoopback,
    Nothing,
}

/// What a program does with its socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    Idle,
    /// Another process has the socket.
    Another,
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
    flow: Flow,
    pub(super) net: Net,
    switch: Switch,
    pub(super) subject: Subject,
    pub(super) traffic: Traffic,
    /// Where datagrams are sent to.
    pub(super) to: SocketAddr,
    pub(super) change: Change,
    /// The interface by which the membership is examined.
    pub(super) interface: &'static str,
    pub(super) membership: Option<String>,
    pub(super) join: Join,
    pub(super) bind: IpAddr,
    pub(super) device: Option<&'static str>,
    pub(super) connected: Option<SocketAddr>,
    pub(super) is_filtered: bool,
    /// Whether its socket takes only groups that it has joined itself.
    pub(super) has_own_groups_only: bool,
    pub(super) reader: Reader,
    pub(super) is_down: bool,
    /// Whether no other program can receive.
    pub(super) is_alone: bool,
    pub(super) kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Deref for Scene {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.flow
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Flow {
        &mut self.flow
    }
}

impl Scene {
    pub(super) fn new(mut dice: Dice, is_v6: bool) -> Self {
        let switch = dice.pick(&[Switch::Snoops, Switch::Floods, Switch::Plain]);
        let subject = dice.pick(&[Subject::Membership, Subject::Program]);
        let net = Net::with(match switch {
            Switch::Plain => SwitchOptions::default(),
            Switch::Floods => SwitchOptions::default().snooping(true),
            Switch::Snoops => SwitchOptions::managed(),
        });
        without_ip_layer(&net.lan.inside());
        net.second_lan();
        let place = RuleSite {
            layer: "inet",
            hooks: &["hook prerouting", "hook input"],
            chains: &["-A INPUT", "-t mangle -A INPUT", "-t mangle -A PREROUTING", "-t raw -A PREROUTING"],
            arrives: Some("eth0".to_owned()),
            control: ["eth0", "ingress"].map(str::to_owned),
            direction: "in",
        };
        let flow = Flow::new(dice, is_v6, ["10.9.0.1", "fd09::1"]).on(&net.receiver, place);
        Self {
            net,
            switch,
            subject,
            traffic: Traffic::Frames,
            to: flow.to(),
            change: Box::new(|_| {}),
            interface: "eth0",
            membership: None,
            join: Join::On("eth0"),
            bind: flow.any_address(),
            device: None,
            connected: None,
            is_filtered: false,
            has_own_groups_only: false,
            reader: Reader::Reads,
            is_down: false,
            is_alone: false,
            kept: Vec::new(),
            flow,
        }
    }

    /// Receives by another interface.
    pub(super) fn receive_by(&mut self, interface: &'static str) {
        (self.interface, self.join) = (interface, Join::On(interface));
    }

    /// Sends from a source that must be another one.
    pub(super) fn set_wrong_source(&mut self, source: IpAddr) {
        (self.source, self.keeps_source) = (source, false);
    }

    pub(super) fn change(&mut self, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) {
        self.change = Box::new(change);
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
            if self.has_own_groups_only {
                socket.set_multicast_all_v4(false).unwrap();
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
        let (to, sender) = (self.to.to_string(), &self.net.sender);
        Some(match self.traffic {
            Traffic::Nothing => return None,
            Traffic::By(interface) => {
                let socket = way::sending_socket(sender, self.to.is_ipv6(), None, |socket| {
                    way::send_by(&socket, self.to.is_ipv6(), sender, interface);
                });
                Box::new(Stream::by(socket, self.to, 64))
            }
            Traffic::LocalWithoutLoopback => Box::new(Stream::with(&self.net.receiver, &to, |socket| {
                let _ = (socket.set_multicast_loop_v4(false), socket.set_multicast_loop_v6(false));
            })),
            Traffic::Rtp => {
                let (socket, mut number) = (socket(sender, self.to.ip(), "eth0"), 0);
                Box::new(Stream::of(socket.into(), self.to, move |_| {
                    number += 1;
                    rtp(number, 7)
                }))
            }
            Traffic::Sized(size) => Box::new(Stream::sized(sender, &to, size, |_| {})),
            Traffic::Frames => {
                let frame = |number| {
                    let mut frame = self.net.frame(&self.source.to_string(), &to, number);
                    (self.change)(&mut frame);
                    frame
                };
                Box::new(inject(sender, "eth0", &(0..20).map(frame).collect::<Vec<_>>()))
            }
        })
    }
}

impl Drawn for Scene {
    fn examine(&mut self) -> Report {
        let (mut reads, mut idle) = (None, None);
        if self.subject == Subject::Program {
            match self.reader {
                Reader::Reads => reads = Some(reading(self.open())),
                Reader::Idle => {
                    let socket = self.open();
                    socket2::SockRef::from(&socket).set_recv_buffer_size(2048).unwrap();
                    idle = Some(socket);
                }
                Reader::Another => {}
            }
        }
        if self.is_down {
            self.net.receiver.set_down("eth0").unwrap();
        }
        let sends = self.send();
        let membership = self.membership.take().unwrap_or_else(|| self.flow.membership(self.interface));
        let report = match (self.subject, self.traffic) {
            (Subject::Program, Traffic::Rtp) => examine_port_for_many(&self.net.receiver, self.port),
            (Subject::Program, _) => examine_port(&self.net.receiver, self.port),
            (Subject::Membership, Traffic::Rtp) => examine_many(&self.net.receiver, &membership),
            (Subject::Membership, _) => examine(&self.net.receiver, &membership),
        };
        drop((reads, idle, sends));
        report
    }

    fn decorate(&mut self) {
        // Behind another fault, the doctor does not name a filter yet if the program has another socket.
        if self.dice.chance(0.3) && !self.is_alone && !self.is_filtered {
            self.note("another stream");
            let other = SocketAddr::new(self.another_group(), 60_001);
            let (group, any) =
                (other.ip().to_string(), SocketAddr::new(self.any_address(), 60_001).to_string());
            let listener = listener(&self.net.receiver, &any, &[(&group, "eth0")]);
            self.kept.push(Box::new(listener));
            self.kept.push(Box::new(Stream::to(&self.net.sender, &other.to_string())));
        }
        if self.dice.chance(0.3) {
            self.nft("inet", "hook input priority 5", "tcp dport 22 counter accept ; udp dport 53 drop");
        }
        if self.dice.chance(0.2) {
            self.run("sysctl -qw net.ipv4.conf.eth1.rp_filter=1");
        }
    }

    /// What the switch keeps from the machine does not show.
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
}

/// Keeps the rules for the IP layer from frames that a switch forwards.
pub(super) fn without_ip_layer(switch: &Host) {
    for family in ["iptables", "ip6tables"] {
        run(switch, &format!("f=/proc/sys/net/bridge/bridge-nf-call-{family}; [ ! -e $f ] || echo 0 > $f"));
    }
}

/// Closes all but the port, what groups need, and what this rule admits.
pub(super) fn admit_the_port_alone(scene: &mut Scene, rule: &str) {
    let rules = format!(
        "meta l4proto {{ igmp, icmpv6 }} accept ; udp dport {{ {}, 60001 }} accept ; {rule}",
        scene.port
    );
    scene.nft("inet", "hook input priority 0 ; policy drop", &rules);
}
