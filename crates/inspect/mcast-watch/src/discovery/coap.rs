//! CoAP (RFC 7252 section 8, RFC 6690): servers and their resources, found by asking all nodes for `/.well-known/core`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use mcast_packet::payload::Coap;

use super::entry::{DiscoveredField, DiscoveredKind, DiscoveryProtocol, UntrustedText};
use super::registry::Registry;
use super::support::{Asking, announced_by, read};
use super::{DiscoveryDatagram, Observer};
use crate::clock::Time;

const GROUPS: [SocketAddr; 3] = [
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(224, 0, 1, 187), Coap::PORT)),
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd), Coap::PORT, 0, 0)),
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd), Coap::PORT, 0, 0)),
];

/// Reads CoAP.
#[derive(Debug)]
pub(super) struct CoapObserver;

impl CoapObserver {
    /// A response may hold forever or not at all; the list is then kept within these limits.
    const LIFETIMES: (Duration, Duration) = (Duration::from_secs(150), Duration::from_secs(86_400));
}

impl Observer for CoapObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(message) = read(datagram, Coap::PORT, registry, Coap::parse) else { return };
        let Some(links) = message.links() else { return };
        let id = datagram.source.to_string();
        let mut announced = announced_by(now, datagram, DiscoveryProtocol::Coap, DiscoveredKind::Service, id);
        announced.port = Some(datagram.source.port());
        announced.url = format!("coap://{}/.well-known/core", datagram.source).into();
        announced.name = datagram.source.ip().to_string().into();
        announced.expires = Some(now.after(message.max_age().clamp(Self::LIFETIMES.0, Self::LIFETIMES.1)));
        for link in links.take(Registry::MAX_FIELDS) {
            let kind = link.attribute("rt").filter(|kind| !kind.is_empty() && *kind != b"core.rd");
            if let Some(kind) = kind.filter(|_| announced.service.is_empty()) {
                announced.service = UntrustedText::new(kind);
            }
            // Only directories of resources name nodes (RFC 9176 section 5.1).
            if let Some(name) = link.attribute("ep") {
                announced.name = UntrustedText::new(name);
            }
            let (name, value) = (UntrustedText::new(link.target), UntrustedText::new(link.attributes));
            announced.fields.push(DiscoveredField { name, value });
        }
        if message.has_more() {
            announced
                .fields
                .insert(0, DiscoveredField::new("incomplete", "the list continues in further blocks"));
        }
        registry.announce(now, announced);
    }
}

pub(super) const fn asking() -> Asking {
    // Non-confirmable, as all requests to groups (RFC 7252 section 8.1). A server ignores a number that it knows.
    Asking::new(DiscoveryProtocol::Coap, &GROUPS, 1, |now, _, _, number| {
        let [.., high, low] = (now.as_nanos() / 1_000_000 + number as u64).to_be_bytes();
        let head = [0x52, Coap::GET, high, low, high, low];
        [&head[..], &[0xbb], b".well-known", &[0x04], b"core"].concat()
    })
}
