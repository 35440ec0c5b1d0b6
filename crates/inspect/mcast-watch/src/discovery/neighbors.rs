//! Switches and other neighbors on a link, which announce themselves by LLDP and CDP.

use std::fmt::Display;
use std::time::Duration;

use mcast_packet::{Cdp, Lldp, LldpText, Network, ether_type};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
    UntrustedText,
};
use super::registry::Registry;
use super::{DiscoveryPacket, Observer};
use crate::clock::Time;

/// Reads what neighbors announce.
#[derive(Debug)]
pub(super) struct NeighborObserver;

impl Observer for NeighborObserver {
    fn handle_packet(&mut self, now: Time, packet: &DiscoveryPacket<'_>, registry: &mut Registry) {
        let Some(Network::Other { ether_type, payload }) = packet.packet.network else { return };
        let Some((to, from)) = packet.packet.hardware_addresses().filter(|_| !packet.outgoing) else {
            return;
        };
        let source = DiscoverySource::Mac(from);
        match ether_type {
            ether_type::LLDP => match Lldp::parse(payload) {
                Some(unit) => lldp(now, packet.place, source, &unit, registry),
                None => registry.counts.malformed += 1,
            },
            // In a frame with LLC, it is the length; padding may follow.
            length if length < ether_type::FIRST && to == Cdp::DESTINATION => {
                let message = payload.get(..usize::from(length)).unwrap_or(payload);
                if let Some(message) = Cdp::parse(message) {
                    cdp(now, packet.place, source, &message, registry);
                }
            }
            _ => {}
        }
    }
}

fn lldp(now: Time, place: DiscoveryPlace, source: DiscoverySource, unit: &Lldp<'_>, registry: &mut Registry) {
    let key = key(DiscoveryProtocol::Lldp, place, &unit.chassis, &unit.port);
    if unit.lifetime == 0 {
        return registry.goodbye(&key, source);
    }
    let mut announced = Discovered::new(key, DiscoveredKind::Neighbor, source, now);
    announced.name = match unit.system_name {
        Some(name) => UntrustedText::new(name.0),
        None => unit.chassis.to_string().into(),
    };
    announced.host = announced.name.clone();
    announced.addresses = unit.management_addresses().collect();
    announced.expires = Some(now.after(Duration::from_secs(unit.lifetime.into())));
    announced.add("port", unit.port);
    announced.add_text("port description", bytes(unit.port_description));
    announced.add("chassis", unit.chassis);
    announced.add_text("system", bytes(unit.system_description));
    if let Some(capabilities) = unit.capabilities {
        announced.add_text("capabilities", names(capabilities).as_bytes());
    }
    // A port without a VLAN states 0 (IEEE 802.1Q annex D.2.1).
    announced.add_some("VLAN", unit.port_vlan.filter(|vlan| *vlan != 0));
    announced.add_some("maximum frame size", unit.max_frame_size);
    registry.announce(now, announced);
}

fn cdp(
    now: Time,
    place: DiscoveryPlace,
    source: DiscoverySource,
    message: &Cdp<'_>,
    registry: &mut Registry,
) {
    let port = message.port.unwrap_or(LldpText(&[]));
    let key = key(DiscoveryProtocol::Cdp, place, &message.device, &port);
    if message.lifetime == 0 {
        return registry.goodbye(&key, source);
    }
    let mut announced = Discovered::new(key, DiscoveredKind::Neighbor, source, now);
    announced.name = UntrustedText::new(message.device.0);
    announced.host = announced.name.clone();
    announced.addresses = message.addresses().take(Registry::MAX_ADDRESSES).collect();
    announced.expires = Some(now.after(Duration::from_secs(message.lifetime.into())));
    announced.add_text("port", bytes(message.port));
    announced.add_text("system", bytes(message.software));
    announced.add_text("platform", bytes(message.platform));
    announced.add_some("VLAN", message.native_vlan);
    registry.announce(now, announced);
}

fn key(
    protocol: DiscoveryProtocol,
    place: DiscoveryPlace,
    system: &impl Display,
    port: &impl Display,
) -> DiscoveryKey {
    DiscoveryKey { protocol, place, id: format!("{system}/{port}").into() }
}

fn bytes(text: Option<LldpText<'_>>) -> &[u8] {
    text.map_or(&[], |text| text.0)
}

/// Returns the names of capabilities (IEEE 802.1AB table 8-4).
fn names(capabilities: u16) -> String {
    const NAMES: [&str; 8] =
        ["other", "repeater", "bridge", "access point", "router", "telephone", "DOCSIS", "station"];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| capabilities & 1 << bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    fn unit(port: &[u8], lifetime: u16) -> Vec<u8> {
        let tlv = |kind: u8, value: &[u8]| [&[kind << 1, value.len() as u8], value].concat();
        let fields = [
            tlv(1, &[4, 2, 0, 0, 0, 0, 7]),
            tlv(2, port),
            tlv(3, &lifetime.to_be_bytes()),
            tlv(5, b"sw3"),
            tlv(7, &[0, 0x14, 0, 0x14]),
            tlv(8, &[5, 1, 10, 0, 0, 7, 2, 0, 0, 0, 1, 0]),
            tlv(0, &[]),
        ];
        fields.concat()
    }

    #[test]
    fn switch_is_listed_with_its_port_until_its_lifetime_ends_or_it_leaves() {
        let mut bench = Bench::new();
        bench.frame(Lldp::DESTINATION.0, ether_type::LLDP, &unit(b"\x05Gi1/0/7", 120));
        bench.frame(Lldp::DESTINATION.0, ether_type::LLDP, &unit(b"\x05Gi1/0/8", 30));
        let entry = bench.of(DiscoveryProtocol::Lldp).next().unwrap();
        assert_eq!((entry.name.to_string(), entry.value("port")), ("sw3".into(), "Gi1/0/7".into()));
        assert_eq!(entry.value("capabilities"), "bridge, router");
        assert_eq!(entry.addresses, ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]);
        bench.wait(31.0);
        assert_eq!(bench.only(DiscoveryProtocol::Lldp).value("port"), "Gi1/0/7");
        bench.frame(Lldp::DESTINATION.0, ether_type::LLDP, &unit(b"\x05Gi1/0/7", 0));
        assert_eq!(bench.names(DiscoveryProtocol::Lldp).len(), 0);
        bench.frame(Lldp::DESTINATION.0, ether_type::LLDP, &[2, 7]);
        assert_eq!(bench.table.counts().malformed, 1);
    }

    #[test]
    fn port_of_a_switch_has_the_vlan_that_it_states_and_none_if_it_is_zero() {
        for (vlan, listed) in [(42_u16, Some("42")), (0, None)] {
            let tlv = [&[0xfe, 6, 0, 0x80, 0xc2, 1], &vlan.to_be_bytes()[..]].concat();
            let unit = unit(b"\x05Gi1/0/7", 120);
            let (fields, end) = unit.split_at(unit.len() - 2);
            let mut bench = Bench::new();
            bench.frame(Lldp::DESTINATION.0, ether_type::LLDP, &[fields, &tlv, end].concat());
            let field = bench.only(DiscoveryProtocol::Lldp).field("VLAN").map(ToString::to_string);
            assert_eq!(field.as_deref(), listed);
        }
    }

    #[test]
    fn switch_that_speaks_cdp_is_listed_and_padding_is_ignored() {
        let field = |kind: u8, value: &[u8]| [&[0, kind, 0, value.len() as u8 + 4], value].concat();
        let head = [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0, 2, 180, 0, 0];
        let message = [&head[..], &field(1, b"sw4"), &field(3, b"Gi0/1"), &field(10, &[0, 42])].concat();
        let padded = [&message[..], &field(1, b"padding")].concat();
        let mut bench = Bench::new();
        bench.frame(Cdp::DESTINATION.0, message.len() as u16, &padded);
        let entry = bench.only(DiscoveryProtocol::Cdp);
        assert_eq!((entry.name.to_string(), entry.value("port")), ("sw4".into(), "Gi0/1".into()));
        assert_eq!(entry.value("VLAN"), "42");
    }

    #[test]
    fn flood_of_neighbors_is_bounded() {
        let mut bench = Bench::new();
        for number in 0..5_000_u16 {
            let port = [&b"\x05port"[..], number.to_string().as_bytes()].concat();
            bench.frame(Lldp::DESTINATION.0, ether_type::LLDP, &unit(&port, u16::MAX));
        }
        let counts = bench.table.counts();
        assert_eq!(bench.names(DiscoveryProtocol::Lldp).len() as u64 + counts.evicted, 5_000);
        assert!(counts.evicted >= 3_000);
    }
}
