//! What announces itself on the networks of this machine: services, devices, streams, clocks, routers and switches.
//!
//! [`DiscoveryTable`] uses neither sockets nor clocks. Datagrams and frames go in, from a capture or from sockets; entries and
//! events come out, and with [`DiscoveryTable::ask`] also questions to send. Each protocol is a module with an observer,
//! which turns what it reads into announcements; the registry keeps them, with lifetimes, in bounded memory.

mod avtp;
mod coap;
mod dds;
mod description;
mod entry;
mod facts;
mod knx;
mod lighting;
mod llmnr;
mod mdns;
mod neighbors;
mod own;
mod ptp;
mod registry;
mod rivals;
mod routers;
mod rtps;
mod sap;
mod ssdp;
mod streams;
mod support;
#[cfg(test)]
mod testing;
mod text;
mod traffic;
mod wsd;

use std::net::SocketAddr;

use mcast_group::InterfaceIndex;
use mcast_packet::{Packet, Transport};

pub use dds::{DdsMismatch, DdsObstacle, DdsSetting, dds_obstacles};
pub use description::{DescriptionError, DescriptionRequest};
pub use entry::{
    Discovered, DiscoveredField, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol,
    DiscoverySource, UntrustedText,
};
pub use facts::{DdsEndpoint, DdsFacts, DdsPolicy, DiscoveredFacts};
pub use own::OwnMemberships;
use registry::Registry;
pub use registry::{DepartureReason, DiscoveryCounts, DiscoveryEvent};

use support::Asking;

use crate::announcements::StreamAnnouncement;
use crate::clock::Time;

/// A datagram that may contain an announcement.
#[derive(Clone, Copy, Debug)]
pub struct DiscoveryDatagram<'a> {
    /// Where it arrived.
    pub place: DiscoveryPlace,
    /// The address that it was sent from.
    pub source: SocketAddr,
    /// The address that it was sent to: a group, or a host. Of an answer to a question that was sent from a port of its
    /// own, the port to which the question was sent, so that protocols are recognized.
    pub destination: SocketAddr,
    /// Its hop limit, if it is known.
    pub hop_limit: Option<u8>,
    /// Whether this machine sent it.
    pub outgoing: bool,
    /// Its payload.
    pub payload: &'a [u8],
}

/// A question to send to a group, on each interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryQuestion {
    /// The protocol.
    pub protocol: DiscoveryProtocol,
    /// Where to send it.
    pub place: Option<DiscoveryPlace>,
    /// The group and port to send it to.
    pub destination: SocketAddr,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl DiscoveryQuestion {
    /// Returns the port that it must be sent from; `None` if any port will do. Responders answer mDNS questions from another
    /// port by unicast, and only briefly (RFC 6762 section 6.7).
    #[must_use]
    pub fn source_port(&self) -> Option<u16> {
        (self.protocol == DiscoveryProtocol::Mdns).then_some(self.destination.port())
    }
}

/// What to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveryRequest {
    /// The name of a thing, or a type of service such as `_ipp._tcp`. Without one, everything is asked for. Protocols that
    /// cannot ask for one thing ask for everything.
    pub name: Option<String>,
    /// The networks to ask on. Without any, questions state no place, and are for every interface.
    pub places: Vec<DiscoveryPlace>,
    /// DDS domains to ask in, besides the first ten and those that participants announce.
    pub domains: Vec<u8>,
}

/// What one protocol reads.
trait Observer: std::fmt::Debug + Send {
    /// Reads a datagram of the protocol; others are ignored.
    fn handle_datagram(&mut self, _now: Time, _datagram: &DiscoveryDatagram<'_>, _registry: &mut Registry) {}

    /// Reads a packet or frame that is not UDP.
    fn handle_packet(&mut self, _now: Time, _packet: &DiscoveryPacket<'_>, _registry: &mut Registry) {}

    /// Does what is due.
    fn handle_timeout(&mut self, _now: Time, _registry: &mut Registry) {}

    /// Returns when [`Self::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// Starts to ask for this, if the protocol has questions.
    fn ask(&mut self, _now: Time, _request: &DiscoveryRequest) {}

    /// Returns the next question to send.
    fn poll_transmit(&mut self, _now: Time, _registry: &Registry) -> Option<DiscoveryQuestion> {
        None
    }
}

/// A packet or frame that may contain an announcement.
#[derive(Clone, Copy, Debug)]
pub struct DiscoveryPacket<'a> {
    /// Where it arrived.
    pub place: DiscoveryPlace,
    /// Whether this machine sent it.
    pub outgoing: bool,
    /// Its decoded layers.
    pub packet: &'a Packet<'a>,
}

/// What announces itself, by all protocols.
#[derive(Debug)]
pub struct DiscoveryTable {
    registry: Registry,
    observers: Vec<Box<dyn Observer>>,
    /// The protocols whose questions are the same whatever is known.
    askings: [Asking; 5],
}

impl Default for DiscoveryTable {
    fn default() -> Self {
        Self::new()
    }
}

impl DiscoveryTable {
    /// Creates an empty table.
    #[must_use]
    pub fn new() -> Self {
        let askings = [coap::asking(), knx::asking(), lighting::asking(), ssdp::asking(), wsd::asking()];
        Self { registry: Registry::new(), observers: observers(), askings }
    }

    /// Reads a datagram.
    pub fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>) {
        self.registry.handle_timeout(now);
        for observer in &mut self.observers {
            observer.handle_datagram(now, datagram, &mut self.registry);
        }
    }

    /// Reads a captured packet, which is whole. That of a datagram is read as [`Self::handle_datagram`] does.
    pub fn handle_packet(&mut self, now: Time, packet: &DiscoveryPacket<'_>) {
        if let (Some(ip), Some(Transport::Udp(udp))) = (packet.packet.ip_layer(), &packet.packet.transport) {
            return self.handle_datagram(
                now,
                &DiscoveryDatagram {
                    place: packet.place,
                    source: SocketAddr::new(ip.source, udp.source_port),
                    destination: SocketAddr::new(ip.destination, udp.destination_port),
                    hop_limit: Some(ip.hop_limit),
                    outgoing: packet.outgoing,
                    payload: udp.payload,
                },
            );
        }
        self.registry.handle_timeout(now);
        for observer in &mut self.observers {
            observer.handle_packet(now, packet, &mut self.registry);
        }
    }

    /// Records a stream of the message layer that announced itself, on this VLAN of its interface.
    pub fn handle_stream(&mut self, now: Time, vlan: Option<u16>, stream: &StreamAnnouncement) {
        self.registry.handle_timeout(now);
        streams::stream(now, vlan, stream, &mut self.registry);
    }

    /// Records a history of the stream with this number that announced itself from `source`. The address of its server may be
    /// unspecified; then it is that of `source`.
    pub fn handle_history(
        &mut self,
        now: Time,
        place: DiscoveryPlace,
        source: SocketAddr,
        stream: u64,
        server: SocketAddr,
    ) {
        self.registry.handle_timeout(now);
        streams::history(now, place, source, stream, server, &mut self.registry);
    }

    /// Removes what has lapsed, and does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.registry.handle_timeout(now);
        for observer in &mut self.observers {
            observer.handle_timeout(now, &mut self.registry);
        }
    }

    /// Removes what was announced on interfaces that do not exist any more. On one that exists again, it appears when it is
    /// announced again.
    pub fn retain_interfaces(&mut self, exists: impl Fn(InterfaceIndex) -> bool) {
        self.registry.retain_interfaces(exists);
    }

    /// Returns when [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let due = self.observers.iter().filter_map(|observer| observer.poll_timeout());
        due.chain(self.askings.iter().filter_map(Asking::due)).chain(self.registry.poll_timeout()).min()
    }

    /// Starts to send queries in all protocols that have them.
    pub fn ask(&mut self, now: Time) {
        self.ask_for(now, &DiscoveryRequest::default());
    }

    /// Starts to query for this in all protocols that have queries.
    pub fn ask_for(&mut self, now: Time, request: &DiscoveryRequest) {
        self.registry.is_asking = true;
        self.askings.iter_mut().for_each(|asking| asking.start(now));
        self.observers.iter_mut().for_each(|observer| observer.ask(now, request));
    }

    /// Sets what this process has joined. Its groups are listed if others have joined them, too.
    pub fn set_own_memberships(&mut self, own: OwnMemberships) {
        if self.registry.own != own {
            (self.registry.own, self.registry.is_own_new) = (own, true);
        }
    }

    /// Returns the next question to send.
    pub fn poll_transmit(&mut self, now: Time) -> Option<DiscoveryQuestion> {
        let registry = &self.registry;
        let mut others = self.observers.iter_mut();
        let question = (self.askings.iter_mut().find_map(|asking| asking.poll(now)))
            .or_else(|| others.find_map(|observer| observer.poll_transmit(now, registry)))?;
        self.registry.questions.note(&question);
        Some(question)
    }

    /// Returns the next change.
    pub fn poll_event(&mut self) -> Option<DiscoveryEvent> {
        self.registry.poll_event()
    }

    /// Returns all entries, ordered by place, protocol and name.
    #[must_use]
    pub fn entries(&self) -> Vec<&Discovered> {
        let mut entries: Vec<&Discovered> = self.registry.entries().collect();
        entries.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        entries
    }

    /// Returns one entry.
    #[must_use]
    pub fn get(&self, key: &DiscoveryKey) -> Option<&Discovered> {
        self.registry.get(key)
    }

    /// Returns what was dropped to keep memory bounded, and what could not be read.
    #[must_use]
    pub const fn counts(&self) -> DiscoveryCounts {
        self.registry.counts
    }
}

impl Discovered {
    fn order(&self) -> (DiscoveryPlace, DiscoveryProtocol, &UntrustedText, &UntrustedText) {
        (self.key.place, self.key.protocol, &self.name, &self.key.id)
    }
}

/// Returns an observer of each protocol.
fn observers() -> Vec<Box<dyn Observer>> {
    vec![
        Box::new(avtp::AvtpObserver::new()),
        Box::new(coap::CoapObserver),
        Box::new(knx::KnxObserver),
        Box::new(lighting::ArtNetObserver::default()),
        Box::new(lighting::SacnObserver),
        Box::new(llmnr::Llmnr::new()),
        Box::new(mdns::Mdns::new()),
        Box::new(neighbors::NeighborObserver),
        Box::new(ptp::PtpObserver::new()),
        Box::new(routers::RouterObserver::new()),
        Box::new(rtps::RtpsObserver::new()),
        Box::new(sap::SapObserver::new()),
        Box::new(ssdp::SsdpObserver::new()),
        Box::new(wsd::WsDiscoveryObserver::default()),
        Box::new(streams::RelayObserver),
        Box::new(traffic::GroupObserver::new()),
    ]
}
