//! The sockets of discovery: memberships, questions and their answers.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast::interface::{Interface, InterfaceWatcher};
use mcast::{
    Batch, Family, GroupAddr, HostAddr, InterfaceIndex, InterfaceSelector, Membership, Outgoing, Receiver,
    Sender,
};

use mcast_packet::payload::Rtps;

use super::super::memberships::{HeldMemberships, unused_port};
use super::super::{LiveError, selected_interfaces};
use super::DiscoveryOptions;
use super::groups::groups;
use crate::discovery::{
    DiscoveryDatagram, DiscoveryPlace, DiscoveryProtocol, DiscoveryQuestion, OwnMemberships,
};

/// The port of mDNS, from which it asks.
const MDNS: u16 = 5353;
/// The port of Art-Net, at which its nodes expect each other, and answer.
const ART_NET: u16 = 6454;
/// Datagrams in a batch, and the longest one that is read whole.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// Batches that are received before something else is done.
const BATCHES_PER_TURN: usize = 16;
/// Enough for a burst; a flood must not take the memory of the system.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The sockets of a [`Discovery`](super::Discovery).
#[derive(Debug)]
pub(super) struct DiscoverySockets {
    receiver: Option<Receiver>,
    /// Joins the groups whose datagrams are captured.
    held: Option<Receiver>,
    /// Whether the datagrams of groups are captured, so that those of the receiver are copies.
    is_captured: bool,
    selectors: Vec<InterfaceSelector>,
    pub(super) watcher: InterfaceWatcher,
    interfaces: Vec<Interface>,
    /// The senders of questions, by family and the port of their destination.
    senders: BTreeMap<(Family, u16), Sender>,
    batch: Batch,
    buffer: Vec<u8>,
    pub(super) joined: Vec<(DiscoveryProtocol, GroupAddr)>,
    pub(super) refused: Vec<(DiscoveryProtocol, GroupAddr, mcast::Error)>,
}

impl DiscoverySockets {
    /// Joins the groups that can be joined.
    pub(super) fn open(options: &DiscoveryOptions, is_captured: bool) -> Result<Self, LiveError> {
        let mut sockets = Self {
            receiver: None,
            held: None,
            is_captured,
            selectors: options.interfaces.clone(),
            watcher: InterfaceWatcher::new()?,
            interfaces: Vec::new(),
            senders: BTreeMap::new(),
            batch: Batch::new(BUFFERS, BUFFER),
            buffer: vec![0; BUFFER],
            joined: Vec::new(),
            refused: Vec::new(),
        };
        sockets.find_interfaces()?;
        if options.join || !is_captured {
            sockets.join(options)?;
        }
        Ok(sockets)
    }

    fn join(&mut self, options: &DiscoveryOptions) -> Result<(), LiveError> {
        let builder = Receiver::builder().follow(true).gro(false).receive_buffer(RECEIVE_BUFFER);
        let receiver = if self.is_captured {
            builder.build_raising_limit()?
        } else {
            // Nodes of Art-Net broadcast. Where another program has the port for itself, they are not received.
            let with_broadcasts = builder.clone().listen(HostAddr::broadcast(ART_NET));
            with_broadcasts.build_raising_limit().or_else(|_| builder.build_raising_limit())?
        };
        let elsewhere = match self.is_captured {
            false => None,
            true => Some((
                HeldMemberships::builder().follow(true).build_raising_limit()?,
                unused_port().map_err(LiveError::Port)?,
            )),
        };
        let mut joined = BTreeSet::new();
        let wanted = |protocol| options.protocols.is_empty() || options.protocols.contains(&protocol);
        let groups = groups(&options.domains, &options.universes);
        for (protocol, address) in groups.into_iter().filter(|(protocol, _)| wanted(*protocol)) {
            // What is captured need not be received, too. Questions of mDNS are sent from its port.
            let (receiver, at) = match &elsewhere {
                Some((held, port)) if address.port != MDNS => (held, GroupAddr { port: *port, ..address }),
                _ => (&receiver, address),
            };
            if !joined.insert(at) {
                self.joined.push((protocol, address));
                continue;
            }
            let on: Vec<_> = match self.selectors.as_slice() {
                [] => vec![Membership::new(at)],
                named => named.iter().map(|selector| Membership::new(at).on(selector.clone())).collect(),
            };
            let mut failure = None;
            let mut is_joined = false;
            for membership in on {
                match receiver.join(membership) {
                    Ok(()) => is_joined = true,
                    Err(error) => failure = Some(error.at_port(address.port)),
                }
            }
            match failure.filter(|_| !is_joined) {
                None => self.joined.push((protocol, address)),
                Some(error) => self.refused.push((protocol, address, error)),
            }
        }
        self.receiver = Some(receiver);
        self.held = elsewhere.map(|(held, _)| held);
        Ok(())
    }

    /// Returns the names of all interfaces.
    pub(super) fn names(&self) -> impl Iterator<Item = (InterfaceIndex, &str)> {
        self.interfaces.iter().flat_map(|interface| {
            [Family::V4, Family::V6].map(|family| (interface.index_for(family), interface.name.as_str()))
        })
    }

    /// Returns what it has joined, and what others on this machine have joined as well.
    pub(super) fn own_memberships(&self) -> OwnMemberships {
        // What is captured is received at one port, so that a second socket is that of somebody else. Where the system does not
        // count them, others are not known.
        let shared = mcast_sys::joined::shared().unwrap_or_default();
        let addresses = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        OwnMemberships {
            groups: self.joined.iter().map(|(_, joined)| joined.group.addr()).collect(),
            addresses: addresses.map(|own| own.address).collect(),
            shared: shared.into_iter().map(|(interface, group)| (interface, group.addr())).collect(),
        }
    }

    /// Returns the networks on which it asks.
    pub(super) fn places(&self) -> Vec<DiscoveryPlace> {
        let place = |interface: &Interface| DiscoveryPlace { interface: interface.index, vlan: None };
        self.interfaces.iter().map(place).collect()
    }

    /// Receives what has arrived, waiting at most this time for the first datagram.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
        mut handle: impl FnMut(&DiscoveryDatagram<'_>),
    ) -> mcast::Result<()> {
        // It follows its interfaces while it receives.
        if let Some(held) = &self.held {
            held.recv_batch(&mut self.batch, Some(Duration::ZERO))?;
        }
        if let Some(receiver) = &self.receiver {
            let mut wait = if self.is_captured { Duration::ZERO } else { wait };
            for _ in 0..BATCHES_PER_TURN {
                let received = receiver.recv_batch(&mut self.batch, Some(wait))?;
                for datagram in self.batch.iter().filter(|_| !self.is_captured) {
                    handle(&DiscoveryDatagram {
                        place: DiscoveryPlace { interface: datagram.interface, vlan: None },
                        source: datagram.source,
                        destination: datagram.destination,
                        hop_limit: datagram.hop_limit,
                        outgoing: is_own(&self.interfaces, datagram.source.ip()),
                        payload: datagram.payload(),
                    });
                }
                if received < BUFFERS {
                    break;
                }
                wait = Duration::ZERO;
            }
        } else if !self.is_captured {
            mcast_sys::pause(wait);
        }
        self.receive_answers(&mut handle);
        Ok(())
    }

    /// Receives answers, which are sent to the sockets of questions. Each is read as if it was sent to the port of the
    /// question, by which protocols are recognized.
    fn receive_answers(&mut self, handle: &mut impl FnMut(&DiscoveryDatagram<'_>)) {
        for ((family, port), sender) in &self.senders {
            for _ in 0..BUFFERS * BATCHES_PER_TURN {
                // An error concerns one answer.
                let Ok(Some(reply)) = sender.recv_answer(*family, &mut self.buffer, Duration::ZERO) else {
                    break;
                };
                let Some(interface) = reply.interface else { continue };
                handle(&DiscoveryDatagram {
                    place: DiscoveryPlace { interface, vlan: None },
                    source: reply.source,
                    destination: SocketAddr::new(unspecified(*family), *port),
                    hop_limit: reply.hop_limit,
                    outgoing: is_own(&self.interfaces, reply.source.ip()),
                    payload: reply.payload,
                });
            }
        }
    }

    /// Sends a question on each interface, or on the one where it is asked.
    pub(super) fn send(&mut self, question: &DiscoveryQuestion) {
        let (destination, family) = (question.destination, Family::of(question.destination.ip()));
        for interface in &self.interfaces {
            let index = interface.index_for(family);
            let is_place = question.place.is_none_or(|place| place.interface == interface.index);
            if !is_place || interface.addresses_of(family).next().is_none() {
                continue;
            }
            // An interface that refuses a question is silent; the others are asked.
            if let Ok(group) = GroupAddr::try_from(destination)
                && question.source_port() == Some(group.port)
                && let Some(receiver) = &self.receiver
            {
                let _ = receiver.ask(group, index, &question.payload);
            } else if let Some(sender) = sender(&mut self.senders, family, port_of_socket(question)) {
                let to = Outgoing::new(&question.payload).to_address(destination).by(index);
                let _ = sender.send_one(&to);
            }
        }
    }

    /// Notices changes of interfaces; returns whether there are some.
    pub(super) fn refresh(&mut self) -> mcast::Result<bool> {
        if self.watcher.wait(Some(Duration::ZERO))?.is_none() {
            return Ok(false);
        }
        // Without any, those that appear are waited for.
        let _ = self.find_interfaces();
        Ok(true)
    }

    /// Lists the interfaces on which to ask.
    fn find_interfaces(&mut self) -> Result<(), LiveError> {
        let all = [InterfaceSelector::All];
        let selectors = if self.selectors.is_empty() { &all[..] } else { &self.selectors };
        let mut found: Vec<Interface> = Vec::new();
        let mut failure = None;
        for selector in selectors {
            match selected_interfaces(selector, None) {
                Ok(interfaces) => found.extend(interfaces),
                Err(error) => failure = Some(error),
            }
        }
        found.sort_by_key(|interface| interface.index);
        found.dedup_by_key(|interface| interface.index);
        self.interfaces = found;
        match failure {
            Some(error) if self.interfaces.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Returns the sender of questions to this port, from an unused port, or from the one where the protocol answers.
fn sender(senders: &mut BTreeMap<(Family, u16), Sender>, family: Family, port: u16) -> Option<&Sender> {
    match senders.entry((family, port)) {
        Entry::Occupied(known) => Some(known.into_mut()),
        Entry::Vacant(place) => {
            let builder = Sender::builder().broadcast(true);
            let builder = if port == ART_NET { builder.source_port(ART_NET) } else { builder };
            Some(place.insert(builder.build().ok()?))
        }
    }
}

/// Returns the port by which the socket of a question is known. Requests to participants of DDS have many ports, and one socket.
fn port_of_socket(question: &DiscoveryQuestion) -> u16 {
    match question.protocol {
        DiscoveryProtocol::Rtps if !question.destination.ip().is_multicast() => Rtps::FIRST_PORT,
        _ => question.destination.port(),
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn is_own(interfaces: &[Interface], source: IpAddr) -> bool {
    interfaces.iter().flat_map(|interface| &interface.addresses).any(|own| own.address == source)
}
