//! Any bytes as a datagram of a stream, and what its body says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_stream::wire::{Announce, Heartbeat, Messages, Nak, Ncf, Packet, Probe, Reset, Status};

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = Packet::parse(bytes) else { return };
    assert_eq!(packet.head.len() + packet.body.len(), bytes.len());
    assert!(packet.extensions.count() <= 55);
    let body = packet.body;
    let _ = (
        Heartbeat::read(body),
        Status::read(body),
        Probe::read(body),
        Reset::read(body),
        Announce::read(body),
    );
    if let Ok((messages, count)) = Messages::read(body) {
        assert_eq!(messages.count(), count as usize);
    }
    if let Ok(nak) = Nak::read(body) {
        assert!(nak.missing.count() <= 140 * 17);
    }
    if let Ok(mut confirmation) = Ncf::read(body) {
        assert!(confirmation.coming.all(|(_, count)| count > 0));
    }
});
