//! A machine that a flow leaves or passes: a sender, a router, a switch.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use mcast_doctor::Report;
use mcast_lab::{Host, RouteGroup, SwitchOptions};
use mcast_sim::Dice;
use socket2::SockRef;

use super::Drawn;
use super::flow::{FROM, Flow, RuleSite};
use super::scene::without_ip_layer;
use crate::boxes::{Routed, ports};
use crate::drops::attach_xdp_to;
use crate::net::{Listener, Net, Stream, briefly, examine, examine_port, examine_while, listener, run};

enum Network {
    Sender(Net),
    Router(Routed),
    Switch(Net),
}

/// How a sender chooses its interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// By an option of the socket.
    Option,
    Route,
    /// By the address that the socket is bound to.
    Address(Ipv4Addr),
    /// By binding the socket to the interface.
    Device,
}

/// A flow, and the machine that it leaves or passes.
pub(super) struct Way {
    flow: Flow,
    network: Network,
    pub(super) hops: u32,
    pub(super) size: usize,
    pub(super) choice: Choice,
    /// The interface by which the sender sends.
    pub(super) interface: &'static str,
    /// Where the datagrams are sent to, if not to the group.
    pub(super) to: Option<IpAddr>,
    /// What is done to the sender once its socket is open.
    pub(super) later: String,
    /// The multicast route of a router: from where, to where, and for which hop limits.
    pub(super) route: Option<(&'static str, &'static [&'static str])>,
    pub(super) threshold: u8,
    /// Whether the receiver joins only while the machine is examined.
    pub(super) joins_late: bool,
    /// The ports of a switch that lead to the sender and to the receiver.
    pub(super) ports: [String; 2],
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Deref for Way {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.flow
    }
}

impl DerefMut for Way {
    fn deref_mut(&mut self) -> &mut Flow {
        &mut self.flow
    }
}

impl Way {
    pub(super) fn sender(dice: Dice, is_v6: bool) -> Self {
        let net = Net::new();
        let place = RuleSite {
            layer: "inet",
            hooks: &["hook output", "hook postrouting"],
            chains: &["-A OUTPUT", "-t mangle -A OUTPUT", "-t mangle -A POSTROUTING", "-t raw -A OUTPUT"],
            arrives: None,
            control: ["eth0", "egress"].map(str::to_owned),
            direction: "out",
        };
        let flow = Flow::new(dice, is_v6, ["10.9.0.1", "fd09::1"]).on(&net.sender, place);
        Self::new(flow, Network::Sender(net))
    }

    pub(super) fn router(dice: Dice, is_v6: bool) -> Self {
        let net = Routed::new();
        let place = RuleSite {
            layer: "inet",
            hooks: &["hook prerouting", "hook forward", "hook postrouting"],
            chains: &[
                "-A FORWARD",
                "-t mangle -A FORWARD",
                "-t mangle -A PREROUTING",
                "-t raw -A PREROUTING",
            ],
            arrives: None,
            control: ["r0", "ingress"].map(str::to_owned),
            direction: "fwd",
        };
        let flow = Flow::new(dice, is_v6, ["10.1.0.1", "fd01::1"]).on(&net.router, place);
        Self::new(flow, Network::Router(net))
    }

    pub(super) fn switch(dice: Dice, is_v6: bool) -> Self {
        let net = Net::with(SwitchOptions::managed());
        let switch = net.lan.inside();
        without_ip_layer(&switch);
        let ports = ports(&switch);
        let place = RuleSite {
            layer: "bridge",
            hooks: &["hook prerouting", "hook forward", "hook postrouting"],
            chains: &[],
            arrives: Some(ports[0].clone()),
            control: [ports[0].clone(), "ingress".to_owned()],
            direction: "fwd",
        };
        let flow = Flow::new(dice, is_v6, ["10.9.0.1", "fd09::1"]).on(&switch, place);
        Self { ports, ..Self::new(flow, Network::Switch(net)) }
    }

    fn new(flow: Flow, network: Network) -> Self {
        Self {
            flow,
            network,
            hops: 8,
            size: 64,
            choice: Choice::Option,
            interface: "eth0",
            to: None,
            later: String::new(),
            route: Some(("r0", &["r1"])),
            threshold: 1,
            joins_late: false,
            ports: Default::default(),
            kept: Vec::new(),
        }
    }

    const fn hosts(&self) -> [&Host; 2] {
        match &self.network {
            Network::Sender(net) | Network::Switch(net) => [&net.sender, &net.receiver],
            Network::Router(net) => [&net.sender, &net.receiver],
        }
    }

    /// Joins at the receiver.
    fn join(&self) -> Listener {
        let any = SocketAddr::new(self.any_address(), self.port).to_string();
        listener(self.hosts()[1], &any, &[(&self.group.to_string(), "eth0")])
    }

    /// Attaches an XDP program to an interface that drops everything.
    pub(super) fn drop_by_xdp(&mut self, interface: &str) {
        const XDP_DROP: i32 = 1;
        self.note(&format!("XDP at {interface}"));
        let filter = attach_xdp_to(self.host.as_ref().unwrap(), interface, XDP_DROP);
        self.kept.push(Box::new(filter));
    }

    /// Does this at a port of the switch once the receiver has joined.
    pub(super) fn later_at_port(&mut self, port: usize, command: &str) {
        self.later = command.replace("PORT", &self.ports[port]);
    }

    /// Takes the switch port of the sender down.
    pub(super) fn take_port_down(&mut self) {
        if let Network::Sender(net) = &self.network {
            let switch = net.lan.inside();
            run(&switch, &format!("ip link set dev {} down", ports(&switch)[0]));
        }
    }

    /// Changes a setting of the port to the sender (0) or to the receiver (1).
    pub(super) fn set_port(&mut self, port: usize, setting: &str) {
        let name = self.ports[port].clone();
        self.run(&format!("bridge link set dev {name} {setting}"));
    }

    fn stream(&self) -> Stream {
        let (sender, is_v6) = (self.hosts()[0], self.is_v6());
        let local = if let Choice::Address(local) = self.choice { Some(local) } else { None };
        let socket = sending_socket(sender, is_v6, local, |socket| {
            match is_v6 {
                true => socket.set_multicast_hops_v6(self.hops).unwrap(),
                false => socket.set_multicast_ttl_v4(self.hops).unwrap(),
            }
            match self.choice {
                Choice::Option => send_by(&socket, is_v6, sender, self.interface),
                Choice::Device => socket.bind_device(Some(self.interface.as_bytes())).unwrap(),
                Choice::Route | Choice::Address(_) => {}
            }
        });
        let to = SocketAddr::new(self.to.unwrap_or(self.group), self.port);
        Stream::by(socket, to, self.size)
    }

    fn route_group(&self) {
        let (Network::Router(net), Some((from, to))) = (&self.network, self.route) else { return };
        // A route for any source would follow the interface on which the group arrives.
        let source = (from != "r0").then_some(self.source);
        let route = RouteGroup { source, group: self.group, from, to, ttl_threshold: self.threshold };
        net.router.route_group(route).unwrap();
    }
}

impl Drawn for Way {
    fn examine(&mut self) -> Report {
        self.route_group();
        if let (Network::Switch(net), false) = (&self.network, self.joins_late) {
            let listener = self.join();
            net.lan.wait_for_member(&net.receiver, "eth0", self.group, Duration::from_secs(10)).unwrap();
            self.kept.push(Box::new(listener));
        }
        let _stream = self.stream();
        if !self.later.is_empty() {
            let later = std::mem::take(&mut self.later);
            self.run(&later);
        }
        let host = self.host.as_ref().unwrap();
        let interface = match self.network {
            Network::Sender(_) => return examine_port(host, FROM),
            Network::Router(_) => "r0",
            Network::Switch(_) => "br0",
        };
        let membership = self.membership(interface);
        if !self.joins_late {
            return examine(host, &membership);
        }
        let mut joined = None;
        examine_while(host, &membership, &briefly(), || joined = Some(self.join()))
    }
}

/// Opens the socket of a sender, prepared by a function.
pub(super) fn sending_socket(
    host: &Host,
    is_v6: bool,
    local: Option<Ipv4Addr>,
    prepare: impl FnOnce(SockRef<'_>) + Send,
) -> UdpSocket {
    let any = if is_v6 { "[::]".to_owned() } else { local.unwrap_or(Ipv4Addr::UNSPECIFIED).to_string() };
    let open = || {
        let socket = UdpSocket::bind(format!("{any}:{FROM}")).unwrap();
        prepare(SockRef::from(&socket));
        socket
    };
    host.run(open).unwrap()
}

/// Chooses the interface of a sender by an option of its socket.
pub(super) fn send_by(socket: &SockRef<'_>, is_v6: bool, host: &Host, interface: &str) {
    if is_v6 {
        return socket.set_multicast_if_v6(host.interface_index(interface).unwrap()).unwrap();
    }
    let own = host.addresses(interface).unwrap();
    let own = own.iter().find_map(|own| match own.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    socket.set_multicast_if_v4(&own.unwrap()).unwrap();
}
