//! Frames of any bytes: decoding never panics, the layers account for every byte, and what a large
//! packet stands for decodes again.

#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use mcast_packet::{Checksums, LinkType, Packet, Segments, hexdump};

fuzz_target!(|bytes: &[u8]| {
    for link_type in LinkType::ALL {
        let packet = Packet::decode(bytes, link_type, Checksums::Computed);
        let mut text = String::new();
        write!(text, "{packet}\n{}", hexdump(bytes)).expect("a string takes everything");
        assert!(!text.contains('\x1b'));
        if let Some(ip) = packet.ip_layer() {
            let offset = packet.link_length();
            // A radiotap header may state that a frame check sequence follows.
            if link_type != LinkType::Radiotap {
                assert_eq!(offset + ip.length() + packet.padding.len(), bytes.len());
            }
        }
        if let Some(segments) = Segments::new(bytes, link_type, Checksums::LeftToDevice, 100) {
            let mut buffer = vec![0; bytes.len()];
            for number in 0..segments.len() {
                let length = segments.emit(number, &mut buffer).expect("a piece is no longer than the whole");
                let piece = Packet::decode(&buffer[..length], link_type, Checksums::Computed);
                assert!(piece.udp().is_some(), "{packet} became {piece}");
            }
        }
    }
});
