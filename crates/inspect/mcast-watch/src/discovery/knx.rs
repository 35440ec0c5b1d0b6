//! KNXnet/IP: interfaces and routers of KNX, which respond to a search.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use mcast_packet::payload::Knx;

use super::entry::{DiscoveredKind, DiscoveryProtocol};
use super::registry::Registry;
use super::support::{Asking, announced_by, read};
use super::{DiscoveryDatagram, Observer};
use crate::clock::Time;

const GROUPS: [SocketAddr; 1] = [SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(224, 0, 23, 12), Knx::PORT))];

/// A search request. Its endpoint is zero, so that responses return to the address that it comes from.
const SEARCH_REQUEST: [u8; 14] = [6, 0x10, 2, 1, 0, 14, 8, 1, 0, 0, 0, 0, 0, 0];

/// Reads KNXnet/IP.
#[derive(Debug)]
pub(super) struct KnxObserver;

impl Observer for KnxObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(message) = read(datagram, Knx::PORT, registry, Knx::parse) else { return };
        if !message.is_search_response() {
            return;
        }
        let Some(endpoint) = message.endpoint() else {
            registry.counts.malformed += 1;
            return;
        };
        // Behind a translation of addresses, the endpoint is zero.
        let address = match endpoint.ip() {
            ip if ip.is_unspecified() => datagram.source.ip(),
            ip => IpAddr::V4(*ip),
        };
        let port = if endpoint.port() == 0 { datagram.source.port() } else { endpoint.port() };
        let device = message.device();
        // Servers in software share a serial number.
        let id = SocketAddr::new(address, port).to_string();
        let mut announced = announced_by(now, datagram, DiscoveryProtocol::Knx, DiscoveredKind::Device, id);
        announced.addresses = vec![address];
        announced.port = Some(port);
        announced.expires = registry.answer_holds_until(now);
        announced.name = address.to_string().into();
        let families: Vec<_> = message.families().collect();
        let offered =
            families.iter().map(|(name, _)| *name).filter(|name| matches!(*name, "tunneling" | "routing"));
        announced.service = offered.collect::<Vec<_>>().join(" ").into();
        if let Some(device) = device {
            if !device.name.is_empty() {
                announced.name = device.name.iter().map(|byte| char::from(*byte)).collect::<String>().into();
            }
            let (area, line, number) = device.address;
            announced.add("individual address", format_args!("{area}.{line}.{number}"));
            announced.add("serial number", hexadecimal(&device.serial));
            announced.add("mac", device.mac);
            announced.add("group", device.group);
            announced.add_some("programming mode", device.is_programming.then_some("on"));
        }
        for (name, version) in families {
            announced.add(name, format_args!("v{version}"));
        }
        registry.announce(now, announced);
    }
}

pub(super) const fn asking() -> Asking {
    Asking::new(DiscoveryProtocol::Knx, &GROUPS, 1, |_, _, _, _| SEARCH_REQUEST.to_vec())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
