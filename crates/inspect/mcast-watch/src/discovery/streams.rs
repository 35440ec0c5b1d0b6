//! Streams of the message layer and their histories, which a caller that knows their protocol passes in, and relays.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_packet::payload::RelayGreeting;

use super::entry::{DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource};
use super::registry::{Announced, Registry};
use super::{DiscoveryDatagram, Observer};
use crate::announcements::StreamAnnouncement;
use crate::clock::Time;

/// Reads what relays announce.
#[derive(Debug)]
pub(super) struct RelayObserver;

/// Publishers repeat their announcements every second, relays at least as often. Three of them may be lost.
const LIFETIME: Duration = Duration::from_secs(4);

impl Observer for RelayObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(greeting) = RelayGreeting::parse(datagram.payload) else { return };
        let key = key(datagram.place, "relay", greeting.relay);
        let source = DiscoverySource::Ip(datagram.source);
        if greeting.is_goodbye {
            return registry.goodbye(&key, source);
        }
        let mut announced = Announced::new(key, DiscoveredKind::Relay, source);
        announced.name = format!("{:016x}", greeting.relay).into();
        announced.addresses = vec![datagram.source.ip()];
        announced.port = Some(datagram.source.port());
        announced.lifetime = Some(LIFETIME);
        announced.field("priority", greeting.priority);
        announced.field("authenticated", if greeting.is_authenticated { "yes" } else { "no" });
        for address in greeting.addresses().take(Registry::MAX_ADDRESSES) {
            announced.field("address", address);
        }
        registry.announce(now, announced);
    }
}

/// Records a stream.
pub(super) fn stream(now: Time, vlan: Option<u16>, stream: &StreamAnnouncement, registry: &mut Registry) {
    let place = DiscoveryPlace { interface: stream.interface, vlan };
    let source = DiscoverySource::Ip(stream.source);
    let mut announced =
        Announced::new(key(place, "stream", stream.identity.stream), DiscoveredKind::Stream, source);
    announced.name =
        stream.name().map_or_else(|| format!("{:016x}", stream.identity.stream), str::to_owned).into();
    announced.addresses = vec![stream.source.ip()];
    announced.port = Some(stream.source.port());
    announced.lifetime = Some(LIFETIME);
    announced.field("stream", format_args!("{:016x}", stream.identity.stream));
    announced.field("incarnation", stream.identity.incarnation);
    announced.field("sealed", if stream.identity.sealed { "yes" } else { "no" });
    if let Some(content) = &stream.content {
        announced.service = content.memberships().first().map_or("", String::as_str).into();
        for membership in content.memberships() {
            announced.field("path", membership);
        }
        if let Some(snapshot) = content.snapshot {
            announced.field("snapshot", snapshot);
        }
        match content.rate {
            Some(rate) => announced.field("rate", format_args!("{} bit/s", rate.saturating_mul(8))),
            None => announced.field("rate", "unlimited"),
        }
    }
    registry.announce(now, announced);
}

/// Records a history of a stream.
pub(super) fn history(
    now: Time,
    place: DiscoveryPlace,
    source: SocketAddr,
    number: u64,
    server: SocketAddr,
    registry: &mut Registry,
) {
    // An unspecified address is that of the sender.
    let server =
        if server.ip().is_unspecified() { SocketAddr::new(source.ip(), server.port()) } else { server };
    let mut announced =
        Announced::new(key(place, "history", number), DiscoveredKind::Stream, DiscoverySource::Ip(source));
    announced.name = format!("history of {number:016x}").into();
    announced.service = "history".into();
    announced.addresses = vec![server.ip()];
    announced.port = Some(server.port());
    announced.lifetime = Some(LIFETIME);
    announced.field("stream", format_args!("{number:016x}"));
    registry.announce(now, announced);
}

fn key(place: DiscoveryPlace, kind: &str, number: u64) -> DiscoveryKey {
    DiscoveryKey { protocol: DiscoveryProtocol::Mcast, place, id: format!("{kind} {number:016x}").into() }
}
