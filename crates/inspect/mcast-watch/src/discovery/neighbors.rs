//! Switches and other neighbors on a link, which announce themselves by LLDP and CDP.

use std::fmt::Display;
use std::time::Duration;

use mcast_packet::{Cdp, Lldp, LldpText, Network, ether_type};

use super::entry::{
    DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource, UntrustedText,
};
use super::registry::{Announced, Registry};
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
    let mut announced = Announced::new(key, DiscoveredKind::Neighbor, source);
    announced.name = match unit.system_name {
        Some(name) => UntrustedText::new(name.0),
        None => unit.chassis.to_string().into(),
    };
    announced.host = announced.name.clone();
    announced.addresses = unit.management_addresses().collect();
    announced.lifetime = Some(Duration::from_secs(unit.lifetime.into()));
    announced.field("port", unit.port);
    text(&mut announced, "port description", unit.port_description);
    announced.field("chassis", unit.chassis);
    text(&mut announced, "system", unit.system_description);
    if let Some(capabilities) = unit.capabilities {
        announced.text("capabilities", names(capabilities).as_bytes());
    }
    number(&mut announced, "VLAN", unit.port_vlan);
    number(&mut announced, "maximum frame size", unit.max_frame_size);
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
    let mut announced = Announced::new(key, DiscoveredKind::Neighbor, source);
    announced.name = UntrustedText::new(message.device.0);
    announced.host = announced.name.clone();
    announced.addresses = message.addresses().take(Registry::MAX_ADDRESSES).collect();
    announced.lifetime = Some(Duration::from_secs(message.lifetime.into()));
    text(&mut announced, "port", message.port);
    text(&mut announced, "system", message.software);
    text(&mut announced, "platform", message.platform);
    number(&mut announced, "VLAN", message.native_vlan);
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

fn text(announced: &mut Announced, name: &str, value: Option<LldpText<'_>>) {
    if let Some(value) = value {
        announced.text(name, value.0);
    }
}

fn number(announced: &mut Announced, name: &str, value: Option<u16>) {
    if let Some(value) = value {
        announced.field(name, value);
    }
}

/// Returns the names of capabilities (IEEE 802.1AB table 8-4).
fn names(capabilities: u16) -> String {
    const NAMES: [&str; 8] =
        ["other", "repeater", "bridge", "access point", "router", "telephone", "DOCSIS", "station"];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| capabilities & 1 << bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}
