//! Feeds arbitrary datagrams to the ports of all discovery protocols at arbitrary times: what is listed stays within its limits,
//! shows no control character, and lapses when it is due.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use mcast_group::InterfaceIndex;
use mcast_watch::Time;
use mcast_watch::discovery::{DescriptionRequest, DiscoveryDatagram, DiscoveryPlace, DiscoveryTable};

const PORTS: [u16; 12] = [5353, 5355, 1900, 3702, 9875, 5683, 3671, 5568, 6454, 7400, 320, 1985];

fuzz_target!(|bytes: &[u8]| {
    let mut table = DiscoveryTable::new();
    let mut now = Time::from_secs(1_000);
    table.ask(now);
    let mut rest = bytes;
    // Per datagram: its port, its source, the seconds before it, 2 bytes of length, then the payload.
    while let Some((&[port, source, wait, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (payload, after) = after.split_at(length);
        rest = after;
        now = now.after(std::time::Duration::from_secs(wait.into()));
        table.handle_timeout(now);
        let port = PORTS[usize::from(port) % PORTS.len()];
        let number = u32::from(source % 2) + 2;
        let datagram = DiscoveryDatagram {
            place: DiscoveryPlace {
                interface: InterfaceIndex::new(number).unwrap_or_else(|| unreachable!()),
                vlan: None,
            },
            source: SocketAddr::new([10, 0, 0, source % 8].into(), port),
            destination: SocketAddr::new([239, 255, 255, 250].into(), port),
            // That of mDNS by unicast.
            hop_limit: Some(255),
            outgoing: false,
            payload,
        };
        table.handle_datagram(now, &datagram);
        while table.poll_transmit(now).is_some() {}
    }
    for entry in table.entries() {
        assert!(entry.fields.len() <= 64 && entry.addresses.len() <= 16, "{entry:?}");
        let shown = format!("{} {} {} {}", entry.name, entry.service, entry.host, entry.url);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        if let Ok(request) = DescriptionRequest::new(entry) {
            assert_eq!(entry.source.ip(), Some(request.address.ip()));
            assert_eq!(request.payload.windows(2).filter(|pair| pair == b"\r\n").count(), 4);
            let _ = request.read(bytes);
        }
    }
    while table.poll_event().is_some() {}
    // The longest lifetime of all is that of LLDP, 65,535 s; others are at most a day.
    now = now.after(std::time::Duration::from_secs(90_000));
    table.handle_timeout(now);
    assert!(table.entries().iter().all(|entry| entry.expires.is_none_or(|expires| expires > now)));
});
