//! Streams of the message layer and their histories, which a caller that knows their protocol passes in, and relays.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_packet::payload::RelayGreeting;

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, DiscoverySource,
};
use super::registry::Registry;
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
        let mut announced = Discovered::new(key, DiscoveredKind::Relay, source, now);
        announced.name = format!("{:016x}", greeting.relay).into();
        announced.addresses = vec![datagram.source.ip()];
        announced.port = Some(datagram.source.port());
        announced.expires = Some(now.after(LIFETIME));
        announced.add("priority", greeting.priority);
        announced.add("authenticated", if greeting.is_authenticated { "yes" } else { "no" });
        for address in greeting.addresses().take(Registry::MAX_ADDRESSES) {
            announced.add("address", address);
        }
        registry.announce(now, announced);
    }
}

/// Records a stream.
pub(super) fn stream(now: Time, vlan: Option<u16>, stream: &StreamAnnouncement, registry: &mut Registry) {
    let place = DiscoveryPlace { interface: stream.interface, vlan };
    let source = DiscoverySource::Ip(stream.source);
    let mut announced =
        Discovered::new(key(place, "stream", stream.identity.stream), DiscoveredKind::Stream, source, now);
    announced.name =
        stream.name().map_or_else(|| format!("{:016x}", stream.identity.stream), str::to_owned).into();
    announced.addresses = vec![stream.source.ip()];
    announced.port = Some(stream.source.port());
    announced.expires = Some(now.after(LIFETIME));
    announced.add("stream", format_args!("{:016x}", stream.identity.stream));
    announced.add("incarnation", stream.identity.incarnation);
    announced.add("sealed", if stream.identity.sealed { "yes" } else { "no" });
    if let Some(content) = &stream.content {
        announced.service = content.memberships().first().map_or("", String::as_str).into();
        for membership in content.memberships() {
            announced.add("path", membership);
        }
        announced.add_some("snapshot", content.snapshot);
        match content.rate {
            Some(rate) => announced.add("rate", format_args!("{} bit/s", rate.saturating_mul(8))),
            None => announced.add("rate", "unlimited"),
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
    let mut announced = Discovered::new(
        key(place, "history", number),
        DiscoveredKind::Stream,
        DiscoverySource::Ip(source),
        now,
    );
    announced.name = format!("history of {number:016x}").into();
    announced.service = "history".into();
    announced.addresses = vec![server.ip()];
    announced.port = Some(server.port());
    announced.expires = Some(now.after(LIFETIME));
    announced.add("stream", format_args!("{number:016x}"));
    registry.announce(now, announced);
}

fn key(place: DiscoveryPlace, kind: &str, number: u64) -> DiscoveryKey {
    DiscoveryKey { protocol: DiscoveryProtocol::Mcast, place, id: format!("{kind} {number:016x}").into() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, place};
    use super::*;
    use crate::announcements::AnnouncementContent;
    use crate::ledger::StreamIdentity;

    #[test]
    fn stream_and_its_history_are_listed_until_they_are_silent() {
        let mut bench = Bench::new();
        let announcement = StreamAnnouncement {
            time: bench.now,
            interface: place().interface,
            source: ([10, 0, 0, 1], 4000).into(),
            identity: StreamIdentity { stream: 7, incarnation: 2, sealed: false },
            content: Some(AnnouncementContent {
                name: "prices".into(),
                paths: vec![(None, ([239, 1, 2, 3], 5000).into())],
                snapshot: None,
                rate: Some(125_000),
            }),
        };
        bench.table.handle_stream(bench.now, None, &announcement);
        let server = ([0, 0, 0, 0], 9000).into();
        bench.table.handle_history(bench.now, place(), ([10, 0, 0, 5], 4001).into(), 7, server);
        assert_eq!(bench.names(DiscoveryProtocol::Mcast), ["history of 0000000000000007", "prices"]);
        let stream = bench.of(DiscoveryProtocol::Mcast).nth(1).unwrap();
        assert_eq!(
            (stream.value("path"), stream.value("rate")),
            ("239.1.2.3:5000".into(), "1000000 bit/s".into())
        );
        let history = bench.of(DiscoveryProtocol::Mcast).next().unwrap();
        assert_eq!((history.addresses[0].to_string(), history.port), ("10.0.0.5".into(), Some(9000)));
        bench.wait(4.1);
        assert_eq!(bench.names(DiscoveryProtocol::Mcast).len(), 0);
    }

    #[test]
    fn relay_is_listed_until_it_leaves() {
        let mut bench = Bench::new();
        let mut bytes = b"MCRL\x01\x00\x64\x00".to_vec();
        bytes.extend(9_u64.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend([0xf0, 0, 4, 0, 0, 1, 1, 0, 0, 4, 10, 0, 0, 1]);
        bench.datagram("10.0.0.1:7650", "239.255.2.1:7650", &bytes);
        let relay = bench.only(DiscoveryProtocol::Mcast);
        assert_eq!((relay.kind, relay.value("priority")), (DiscoveredKind::Relay, "100".into()));
        assert_eq!(relay.value("address"), "10.0.0.1");
        bytes[5] = 1;
        bench.datagram("10.0.0.1:7650", "239.255.2.1:7650", &bytes);
        assert_eq!(bench.names(DiscoveryProtocol::Mcast).len(), 0);
    }
}
