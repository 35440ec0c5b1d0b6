//! Routers: queriers of IGMP and MLD, and speakers of PIM, multicast router discovery, VRRP, HSRP and OSPF.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_packet::gmp::{Address, GmpMessage, RouterDiscovery};
use mcast_packet::payload::{HsrpMessage, HsrpState, OspfHello, VrrpAdvertisement};
use mcast_packet::pim::PimMessage;
use mcast_packet::{Transport, protocol};

use super::entry::{DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource};
use super::registry::{Announced, Registry};
use super::rivals::{Rivals, announce_rival};
use super::{DiscoveryDatagram, DiscoveryPacket, Observer};
use crate::clock::Time;
use crate::queriers::{HelloFacts, ObservedQuery, advertisement_lifetime};

/// Reads what routers announce.
#[derive(Debug)]
pub(super) struct RouterObserver {
    rivals: Rivals,
}

/// Where a message came from.
#[derive(Clone, Copy)]
struct Origin {
    now: Time,
    place: DiscoveryPlace,
    source: IpAddr,
}

impl Origin {
    /// Returns the announcement of the sender in a role.
    fn router(&self, protocol: DiscoveryProtocol, kind: DiscoveredKind, role: &str) -> Announced {
        let Self { place, source, .. } = *self;
        let key = DiscoveryKey { protocol, place, id: format!("{role} {source}").into() };
        let mut announced = Announced::new(key, kind, DiscoverySource::Ip(SocketAddr::new(source, 0)));
        announced.name = source.to_string().into();
        announced.service = role.into();
        // A switch that asks as a proxy has no address.
        announced.addresses = Some(source).into_iter().filter(|source| !source.is_unspecified()).collect();
        announced
    }
}

impl RouterObserver {
    pub(super) fn new() -> Self {
        Self { rivals: Rivals::new() }
    }

    fn group_management<A: Address>(
        &mut self,
        origin: Origin,
        protocol: DiscoveryProtocol,
        message: &GmpMessage<'_, A>,
        registry: &mut Registry,
    ) {
        match message {
            GmpMessage::Query(query) => {
                self.querier(origin, protocol, &ObservedQuery::new(origin.source, query), registry);
            }
            GmpMessage::RouterDiscovery(RouterDiscovery::Advertisement { interval, .. }) => {
                let mut announced = origin.router(protocol, DiscoveredKind::Router, "multicast router");
                announced.lifetime = Some(advertisement_lifetime(*interval));
                announced.field("interval", seconds(*interval));
                registry.announce(origin.now, announced);
            }
            GmpMessage::RouterDiscovery(RouterDiscovery::Termination) => {
                let announced = origin.router(protocol, DiscoveredKind::Router, "multicast router");
                registry.goodbye(&announced.key, announced.source);
            }
            _ => {}
        }
    }

    fn querier(
        &mut self,
        origin: Origin,
        protocol: DiscoveryProtocol,
        query: &ObservedQuery,
        registry: &mut Registry,
    ) {
        const ELECTED: &str = "elected";
        let mut announced = origin.router(protocol, DiscoveredKind::Querier, "querier");
        // Its own state stays that of its general queries.
        if query.group.is_some() && registry.get(&announced.key).is_some() {
            return registry.renew(origin.now, &announced.key, Some(query.lifetime()));
        }
        announced.lifetime = Some(query.lifetime());
        announced.field("version", query.version);
        if let Some(interval) = query.interval {
            announced.field("interval", seconds(interval));
        }
        if let Some(robustness) = query.robustness {
            announced.field("robustness", robustness);
        }
        announced.field("maximum response time", seconds(query.max_response_time));
        let role = (origin.place, protocol, "querier".into());
        let queriers = self.rivals.announce(origin.now, role, &announced.key, query.lifetime());
        let rank = |key: &DiscoveryKey, source: IpAddr, registry: &Registry| {
            let address = registry.get(key).and_then(|entry| entry.source.ip()).unwrap_or(source);
            (address.is_unspecified(), address)
        };
        let elected = queriers.iter().min_by_key(|key| rank(key, origin.source, registry)).cloned();
        let yes_or_no = |key: &DiscoveryKey| if elected.as_ref() == Some(key) { "yes" } else { "no" };
        announced.field(ELECTED, yes_or_no(&announced.key));
        for other in queriers.iter().filter(|other| **other != announced.key) {
            registry.set_field(other, ELECTED, Some(yes_or_no(other).into()));
        }
        registry.announce(origin.now, announced);
    }

    fn vrrp(&mut self, origin: Origin, bytes: &[u8], registry: &mut Registry) {
        let Some(advertisement) = VrrpAdvertisement::parse(bytes) else {
            registry.counts.malformed += 1;
            return;
        };
        let router = advertisement.router;
        let role = format!("virtual router {router}");
        let mut announced = origin.router(DiscoveryProtocol::Vrrp, DiscoveredKind::Router, &role);
        let role =
            (origin.place, DiscoveryProtocol::Vrrp, format!("{router} {}", origin.source.is_ipv6()).into());
        if advertisement.priority == 0 {
            self.rivals.resign(&role, &announced.key);
            return registry.goodbye(&announced.key, announced.source);
        }
        // The longest time that a backup waits: three intervals and the skew, which is less than one (RFC 9568 section 6.1).
        let lifetime = advertisement.interval.max(Duration::from_millis(10)) * 4;
        announced.lifetime = Some(lifetime);
        announced.field("state", "master");
        announced.field("version", advertisement.version);
        announced.field("priority", advertisement.priority);
        announced.field("interval", seconds(advertisement.interval));
        for address in VrrpAdvertisement::addresses(bytes, origin.source).take(Registry::MAX_ADDRESSES) {
            announced.field("virtual address", address);
        }
        let masters = self.rivals.announce(origin.now, role, &announced.key, lifetime);
        announce_rival(origin.now, announced, &masters, registry, |others| {
            format!("more than one master of virtual router {router}: also {others}")
        });
    }

    fn hsrp(&mut self, origin: Origin, message: &HsrpMessage, registry: &mut Registry) {
        let group = message.group;
        let role = format!("group {group}");
        let mut announced = origin.router(DiscoveryProtocol::Hsrp, DiscoveredKind::Router, &role);
        let role = (origin.place, DiscoveryProtocol::Hsrp, format!("{group} {}", message.address).into());
        if message.resigns || message.state != HsrpState::Active {
            self.rivals.resign(&role, &announced.key);
        }
        if message.resigns {
            return registry.goodbye(&announced.key, announced.source);
        }
        // A hold time of zero is an error of the sender.
        let lifetime = message.hold_time.max(Duration::from_secs(1));
        announced.lifetime = Some(lifetime);
        announced.field("state", message.state);
        announced.field("version", message.version);
        announced.field("priority", message.priority);
        announced.field("interval", seconds(message.interval));
        if !message.address.is_unspecified() {
            announced.field("virtual address", message.address);
        }
        if message.state != HsrpState::Active {
            return registry.announce(origin.now, announced);
        }
        let active = self.rivals.announce(origin.now, role, &announced.key, lifetime);
        announce_rival(origin.now, announced, &active, registry, |others| {
            format!("more than one active router in group {group}: also {others}")
        });
    }
}

impl Observer for RouterObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        const PORTS: [u16; 2] = [1985, 2029];
        if !PORTS.contains(&datagram.destination.port()) {
            return;
        }
        let origin = Origin { now, place: datagram.place, source: datagram.source.ip() };
        if let Some(message) = HsrpMessage::parse(datagram.payload) {
            self.hsrp(origin, &message, registry);
        }
    }

    fn handle_packet(&mut self, now: Time, packet: &DiscoveryPacket<'_>, registry: &mut Registry) {
        let Some(ip) = packet.packet.ip_layer() else { return };
        let origin = Origin { now, place: packet.place, source: ip.source };
        match &packet.packet.transport {
            Some(Transport::Igmp(control)) if !control.checksum.is_invalid() => {
                self.group_management(origin, DiscoveryProtocol::Igmp, &control.message, registry);
            }
            // Hosts ignore messages from beyond the link (RFC 3810 section 5.1.14).
            Some(Transport::Mld(control)) if !control.checksum.is_invalid() && ip.hop_limit == 1 => {
                self.group_management(origin, DiscoveryProtocol::Mld, &control.message, registry);
            }
            Some(Transport::Pim(pim)) if !pim.checksum.is_invalid() => {
                pim_hello(origin, &pim.message, registry);
            }
            Some(Transport::Other(bytes)) if ip.fragment.is_none() && !ip.truncated => match ip.protocol {
                protocol::VRRP => self.vrrp(origin, bytes, registry),
                protocol::OSPF => ospf_hello(origin, bytes, registry),
                _ => {}
            },
            _ => {}
        }
    }
}

fn pim_hello(origin: Origin, message: &PimMessage<'_>, registry: &mut Registry) {
    let Some(facts) = HelloFacts::of(message) else { return };
    let mut announced = origin.router(DiscoveryProtocol::Pim, DiscoveredKind::Router, "PIM router");
    if facts.is_goodbye() {
        return registry.goodbye(&announced.key, announced.source);
    }
    announced.lifetime = facts.hold_time;
    if let Some(priority) = facts.dr_priority {
        announced.field("DR priority", priority);
    }
    match facts.hold_time {
        Some(time) => announced.field("hold time", seconds(time)),
        None => announced.field("hold time", "unlimited"),
    }
    if let Some(id) = facts.generation_id {
        announced.field("generation", format_args!("{id:#010x}"));
    }
    registry.announce(origin.now, announced);
}

fn ospf_hello(origin: Origin, bytes: &[u8], registry: &mut Registry) {
    let Some(hello) = OspfHello::parse(bytes) else { return };
    let role = format!("area {}", hello.area);
    let mut announced = origin.router(DiscoveryProtocol::Ospf, DiscoveredKind::Router, &role);
    announced.name = hello.router.to_string().into();
    announced.lifetime = Some(hello.dead_interval.max(Duration::from_secs(1)));
    announced.field("router", hello.router);
    announced.field("area", hello.area);
    announced.field("version", if hello.mask.is_some() { 2 } else { 3 });
    announced.field("interval", seconds(hello.interval));
    announced.field("dead interval", seconds(hello.dead_interval));
    if !hello.designated_router.is_unspecified() {
        announced.field("designated router", hello.designated_router);
    }
    registry.announce(origin.now, announced);
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
