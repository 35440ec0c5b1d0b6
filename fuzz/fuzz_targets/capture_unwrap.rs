//! Frames of any bytes, taken apart one after the other: it never panics, ends, and gives no more packets than are allowed
//! inside each other and complete with a frame.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use mcast_capture::{Direction, Frame, Part, Unwrapper};
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType};

fuzz_target!(|bytes: &[u8]| {
    let (mut unwrapper, mut rest) = (Unwrapper::new(), bytes);
    let (mut fragments, mut incomplete) = (0_u64, 0);
    // Per frame: 1 byte of link type, 1 of interface, 2 of time, 1 of length, then the frame.
    while let Some((&[link, interface, seconds, more_seconds, length], after)) = rest.split_first_chunk() {
        let (frame, after) = after.split_at(usize::from(length).min(after.len()));
        let time = Duration::from_secs(u64::from(u16::from_be_bytes([seconds, more_seconds])));
        let frame = Frame {
            bytes: frame,
            original_length: frame.len(),
            link_type: LinkType::ALL[usize::from(link) % LinkType::ALL.len()],
            interface: InterfaceIndex::new(u32::from(interface) + 1).unwrap_or_else(|| unreachable!()),
            interface_name: None,
            direction: Direction::Unknown,
            time: SystemTime::UNIX_EPOCH + time,
            checksums: Checksums::Computed,
            resegmented: false,
        };
        let mut packets = 0;
        unwrapper.visit(&frame, &mut |packet| match packet.part {
            Part::Incomplete { fragments: came } => incomplete += u64::from(came),
            Part::Fragment => {
                fragments += 1;
                packets += 1;
            }
            _ => {
                packets += 1;
                assert!(!packet.packet.to_string().contains('\x1b'));
                assert!(!packet.packet.summary_within(packet.enclosing, None).to_string().is_empty());
            }
        });
        // Each of at most 8 levels may be a fragment that completes a datagram.
        assert!((1..=16).contains(&packets), "{packets}");
        rest = after;
    }
    unwrapper.finish(&mut |packet| match packet.part {
        Part::Incomplete { fragments: came } => incomplete += u64::from(came),
        part => panic!("{part:?} at the end"),
    });
    assert!(incomplete <= fragments);
});
