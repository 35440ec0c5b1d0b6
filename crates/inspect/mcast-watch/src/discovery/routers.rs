//! Routers: queriers of IGMP and MLD, and speakers of PIM, multicast router discovery, VRRP, HSRP and OSPF.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_packet::gmp::{Address, GmpMessage, RouterDiscovery};
use mcast_packet::payload::{HsrpMessage, HsrpState, OspfHello, VrrpAdvertisement};
use mcast_packet::pim::PimMessage;
use mcast_packet::{Transport, protocol};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
};
use super::registry::Registry;
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
    fn router(&self, protocol: DiscoveryProtocol, kind: DiscoveredKind, role: &str) -> Discovered {
        let Self { now, place, source } = *self;
        let key = DiscoveryKey { protocol, place, id: format!("{role} {source}").into() };
        let source_address = DiscoverySource::Ip(SocketAddr::new(source, 0));
        let mut announced = Discovered::new(key, kind, source_address, now);
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
                announced.expires = Some(origin.now.after(advertisement_lifetime(*interval)));
                announced.add("interval", seconds(*interval));
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
        announced.expires = Some(origin.now.after(query.lifetime()));
        announced.add("version", query.version);
        announced.add_some("interval", query.interval.map(seconds));
        announced.add_some("robustness", query.robustness);
        announced.add("maximum response time", seconds(query.max_response_time));
        let role = (origin.place, protocol, "querier".into());
        let queriers = self.rivals.announce(origin.now, role, &announced.key, query.lifetime());
        let rank = |key: &DiscoveryKey, source: IpAddr, registry: &Registry| {
            let address = registry.get(key).and_then(|entry| entry.source.ip()).unwrap_or(source);
            (address.is_unspecified(), address)
        };
        let elected = queriers.all().min_by_key(|key| rank(key, origin.source, registry)).cloned();
        let yes_or_no = |key: &DiscoveryKey| if elected.as_ref() == Some(key) { "yes" } else { "no" };
        announced.add(ELECTED, yes_or_no(&announced.key));
        for other in queriers.all().filter(|other| **other != announced.key) {
            registry.set_field(origin.now, other, ELECTED, Some(yes_or_no(other).into()));
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
        announced.expires = Some(origin.now.after(lifetime));
        announced.add("state", "master");
        announced.add("version", advertisement.version);
        announced.add("priority", advertisement.priority);
        announced.add("interval", seconds(advertisement.interval));
        for address in VrrpAdvertisement::addresses(bytes, origin.source).take(Registry::MAX_ADDRESSES) {
            announced.add("virtual address", address);
        }
        let masters = self.rivals.announce(origin.now, role, &announced.key, lifetime);
        // A master that receives the advertisement of a better one is silent from then on, without a resignation (RFC 9568 section
        // 6.4.3); one that has failed is, too.
        let next = origin.now.after(advertisement.interval * 3 / 2);
        masters.ceded(&announced.key).for_each(|key| registry.end_by(key, next));
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
        announced.expires = Some(origin.now.after(lifetime));
        announced.add("state", message.state);
        announced.add("version", message.version);
        announced.add("priority", message.priority);
        announced.add("interval", seconds(message.interval));
        announced.add_some("virtual address", (!message.address.is_unspecified()).then_some(message.address));
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
    announced.expires = facts.hold_time.map(|time| origin.now.after(time));
    announced.add_some("DR priority", facts.dr_priority);
    match facts.hold_time {
        Some(time) => announced.add("hold time", seconds(time)),
        None => announced.add("hold time", "unlimited"),
    }
    if let Some(id) = facts.generation_id {
        announced.add("generation", format_args!("{id:#010x}"));
    }
    registry.announce(origin.now, announced);
}

fn ospf_hello(origin: Origin, bytes: &[u8], registry: &mut Registry) {
    let Some(hello) = OspfHello::parse(bytes) else { return };
    let role = format!("area {}", hello.area);
    let mut announced = origin.router(DiscoveryProtocol::Ospf, DiscoveredKind::Router, &role);
    announced.name = hello.router.to_string().into();
    announced.expires = Some(origin.now.after(hello.dead_interval.max(Duration::from_secs(1))));
    announced.add("router", hello.router);
    announced.add("area", hello.area);
    announced.add("version", if hello.mask.is_some() { 2 } else { 3 });
    announced.add("interval", seconds(hello.interval));
    announced.add("dead interval", seconds(hello.dead_interval));
    announced.add_some(
        "designated router",
        (!hello.designated_router.is_unspecified()).then_some(hello.designated_router),
    );
    registry.announce(origin.now, announced);
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use mcast_packet::InternetChecksum;

    fn with_checksum(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
        let sum = InternetChecksum::new().bytes(&bytes).finish();
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn query(bench: &mut Bench, last: u8) {
        let bytes = with_checksum(vec![0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0], 2);
        bench.packet(protocol::IGMP, [10, 0, 0, last], [224, 0, 0, 1], &bytes);
    }

    fn vrrp(bench: &mut Bench, last: u8, priority: u8) {
        let bytes = vec![0x31, 51, priority, 1, 0, 100, 0, 0, 10, 0, 0, 254];
        bench.packet(protocol::VRRP, [10, 0, 0, last], [224, 0, 0, 18], &bytes);
    }

    #[test]
    fn querier_with_the_lowest_address_is_elected() {
        let mut bench = Bench::new();
        query(&mut bench, 9);
        assert_eq!(bench.only(DiscoveryProtocol::Igmp).value("elected"), "yes");
        query(&mut bench, 2);
        let elected: Vec<_> = bench
            .of(DiscoveryProtocol::Igmp)
            .map(|entry| (entry.name.to_string(), entry.value("elected")))
            .collect();
        assert_eq!(elected, [("10.0.0.2".into(), "yes".into()), ("10.0.0.9".into(), "no".into())]);
        assert!(bench.of(DiscoveryProtocol::Igmp).all(|entry| entry.value("interval") == "125 s"));
    }

    #[test]
    fn two_masters_of_a_virtual_router_are_remarked_until_one_resigns() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            vrrp(&mut bench, 1, 100);
            vrrp(&mut bench, 2, 90);
            bench.wait(1.0);
        }
        let remarks: Vec<_> = bench.of(DiscoveryProtocol::Vrrp).map(|entry| entry.value("remark")).collect();
        assert_eq!(
            remarks,
            [
                "more than one master of virtual router 51: also 10.0.0.2",
                "more than one master of virtual router 51: also 10.0.0.1"
            ]
        );
        vrrp(&mut bench, 2, 0);
        vrrp(&mut bench, 1, 100);
        let entry = bench.only(DiscoveryProtocol::Vrrp);
        assert_eq!(
            (entry.value("remark"), entry.value("virtual address")),
            (String::new(), "10.0.0.254".into())
        );
        bench.wait(4.1);
        assert_eq!(bench.names(DiscoveryProtocol::Vrrp).len(), 0);
    }

    #[test]
    fn master_that_hands_over_is_not_remarked_and_ends_within_an_interval() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            vrrp(&mut bench, 1, 100);
            bench.wait(1.0);
        }
        // A better router takes over, which the first one notices.
        for _ in 0..2 {
            vrrp(&mut bench, 2, 200);
            assert!(bench.of(DiscoveryProtocol::Vrrp).all(|entry| entry.value("remark").is_empty()));
            bench.wait(1.0);
        }
        assert_eq!(bench.names(DiscoveryProtocol::Vrrp), ["10.0.0.2"]);
        // It resigns, and the first one takes over.
        vrrp(&mut bench, 2, 0);
        assert_eq!(bench.names(DiscoveryProtocol::Vrrp).len(), 0);
        bench.wait(0.6);
        vrrp(&mut bench, 1, 100);
        assert_eq!(bench.only(DiscoveryProtocol::Vrrp).value("remark"), "");
        // It fails, and the second one takes over after three intervals and its skew.
        bench.wait(3.3);
        for _ in 0..2 {
            vrrp(&mut bench, 2, 200);
            assert!(bench.of(DiscoveryProtocol::Vrrp).all(|entry| entry.value("remark").is_empty()));
            bench.wait(1.0);
        }
        assert_eq!(bench.names(DiscoveryProtocol::Vrrp), ["10.0.0.2"]);
    }

    #[test]
    fn ospf_routers_are_listed_for_their_dead_interval() {
        let mut hello = vec![0; 44];
        hello[..12].copy_from_slice(&[2, 1, 0, 44, 10, 9, 9, 1, 0, 0, 0, 3]);
        hello[24..40].copy_from_slice(&[255, 255, 255, 0, 0, 10, 2, 1, 0, 0, 0, 40, 10, 0, 0, 1]);
        let mut bench = Bench::new();
        bench.packet(protocol::OSPF, [10, 0, 0, 1], [224, 0, 0, 5], &hello);
        let entry = bench.only(DiscoveryProtocol::Ospf);
        assert_eq!((entry.name.to_string(), entry.value("area")), ("10.9.9.1".into(), "0.0.0.3".into()));
        bench.wait(41.0);
        assert_eq!(bench.names(DiscoveryProtocol::Ospf).len(), 0);
    }

    #[test]
    fn pim_router_is_listed_until_it_leaves() {
        let hello = |seconds: u16| {
            let mut bytes = vec![0x20, 0, 0, 0, 0, 1, 0, 2];
            bytes.extend(seconds.to_be_bytes());
            with_checksum(bytes, 2)
        };
        let mut bench = Bench::new();
        bench.packet(protocol::PIM, [10, 0, 0, 1], [224, 0, 0, 13], &hello(105));
        assert_eq!(bench.only(DiscoveryProtocol::Pim).value("hold time"), "105 s");
        bench.packet(protocol::PIM, [10, 0, 0, 1], [224, 0, 0, 13], &hello(0));
        assert_eq!(bench.names(DiscoveryProtocol::Pim).len(), 0);
    }

    #[test]
    fn hsrp_group_has_one_active_router_and_standby_is_no_rival() {
        let message = |state: u8| {
            let mut bytes = [0; 20];
            bytes[..7].copy_from_slice(&[0, 0, state, 3, 10, 110, 5]);
            bytes[16..].copy_from_slice(&[10, 0, 0, 254]);
            bytes
        };
        let mut bench = Bench::new();
        bench.datagram("10.0.0.1:1985", "224.0.0.2:1985", &message(16));
        bench.datagram("10.0.0.2:1985", "224.0.0.2:1985", &message(8));
        let states: Vec<_> = bench
            .of(DiscoveryProtocol::Hsrp)
            .map(|entry| (entry.value("state"), entry.value("remark")))
            .collect();
        assert_eq!(states, [("active".into(), String::new()), ("standby".into(), String::new())]);
        // The standby router takes over, and the first one was active before that.
        bench.datagram("10.0.0.2:1985", "224.0.0.2:1985", &message(16));
        assert!(bench.of(DiscoveryProtocol::Hsrp).all(|entry| entry.value("remark").is_empty()));
        bench.datagram("10.0.0.1:1985", "224.0.0.2:1985", &message(16));
        let entry = bench.of(DiscoveryProtocol::Hsrp).next().unwrap();
        assert_eq!(entry.value("remark"), "more than one active router in group 5: also 10.0.0.2");
    }
}
