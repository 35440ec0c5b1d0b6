//! Frames taken apart: datagrams from fragments, packets in tunnels, and the interfaces of captures on all of them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast_capture::{CaptureFile, Direction, Frame, Part, Replay, ReplayEvent, Unwrapper};
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, UdpPacket};
use proptest::prelude::*;

/// The data in a fragment, as with an MTU of 1,500.
const PIECE: usize = 1_480;

fn datagram(source: &str, group: &str, payload: &[u8]) -> Vec<u8> {
    let packet = UdpPacket {
        source: (source.parse::<IpAddr>().unwrap(), 4000).into(),
        destination: (group.parse::<IpAddr>().unwrap(), 5000).into(),
        hop_limit: 4,
        traffic_class: 0,
        payload,
    };
    let mut bytes = vec![0; payload.len() + 60];
    let length = packet.emit(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn fragments(identification: u16, datagram: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let is_v4 = datagram[0] >> 4 == 4;
    let (headers, data) = datagram.split_at(if is_v4 { 20 } else { 40 });
    let count = data.chunks(piece).count();
    let fragment = |(number, part): (usize, &[u8])| {
        let (offset, more) = ((number * piece) as u16, number + 1 < count);
        let mut bytes = headers.to_vec();
        if is_v4 {
            bytes[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&identification.to_be_bytes());
            bytes[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
        } else {
            bytes[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            bytes[6] = 44;
            bytes.extend([17, 0]);
            bytes.extend((offset | u16::from(more)).to_be_bytes());
            bytes.extend(u32::from(identification).to_be_bytes());
        }
        bytes.extend(part);
        bytes
    };
    data.chunks(piece).enumerate().map(fragment).collect()
}

/// What an unwrapper has found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    whole: Vec<Vec<u8>>,
    incomplete: u64,
    without_port: u64,
}

struct Capture {
    unwrapper: Unwrapper,
    found: Contents,
}

impl Capture {
    fn new() -> Self {
        Self { unwrapper: Unwrapper::new(), found: Contents::default() }
    }

    fn add(&mut self, milliseconds: u64, interface: u32, bytes: &[u8]) {
        let Self { unwrapper, found } = self;
        let frame = Frame {
            bytes,
            original_length: bytes.len(),
            link_type: LinkType::Ip,
            interface: InterfaceIndex::new(interface).unwrap(),
            interface_name: None,
            direction: Direction::Multicast,
            time: SystemTime::UNIX_EPOCH
                + Duration::from_secs(1_000_000)
                + Duration::from_millis(milliseconds),
            checksums: Checksums::Computed,
            resegmented: false,
        };
        unwrapper.visit(&frame, &mut |packet| found.add(packet));
    }

    fn finish(mut self) -> Contents {
        let found = &mut self.found;
        self.unwrapper.finish(&mut |packet| found.add(packet));
        self.found
    }
}

impl Contents {
    fn add(&mut self, packet: &mcast_capture::UnwrappedPacket<'_>) {
        match (packet.part, packet.packet.udp()) {
            (Part::Whole | Part::Reassembled { .. }, Some(udp)) => {
                assert!(!udp.checksum.is_invalid() && packet.packet.malformed.is_none(), "{}", packet.packet);
                self.whole.push(udp.payload.to_vec());
            }
            (Part::Incomplete { .. }, Some(_)) => self.incomplete += 1,
            (Part::Incomplete { .. }, None) => self.without_port += 1,
            _ => {}
        }
    }
}

fn payload(number: usize) -> Vec<u8> {
    (0..8_000).map(|position| (number * 31 + position) as u8).collect()
}

#[test]
fn datagram_counts_once_all_its_fragments_have_come_in_any_order() {
    for (source, group) in [("10.0.0.1", "239.1.2.3"), ("fd00::1", "ff15::9")] {
        let mut capture = Capture::new();
        for number in 0..200 {
            let mut pieces = fragments(number as u16, &datagram(source, group, &payload(number)), PIECE);
            match number % 4 {
                1 => pieces.reverse(),
                2 => pieces.swap(0, 3),
                _ => {}
            }
            if number % 8 == 5 {
                pieces.remove(number % 5 + 1);
            }
            pieces.iter().for_each(|bytes| capture.add(number as u64 * 10, 1, bytes));
        }
        let found = capture.finish();
        assert_eq!((found.whole.len(), found.incomplete + found.without_port), (175, 25), "{group}");
        assert!(found.whole.contains(&payload(1)) && found.whole.contains(&payload(2)));
    }
}

#[test]
fn fragments_of_two_interfaces_are_not_mixed_and_waiting_ends_by_the_time_of_the_capture() {
    let pieces = fragments(7, &datagram("10.0.0.1", "239.1.2.3", &payload(1)), PIECE);
    let mut capture = Capture::new();
    pieces.iter().enumerate().for_each(|(number, bytes)| capture.add(0, 1 + number as u32 % 2, bytes));
    assert_eq!(capture.found, Contents::default());
    capture.add(31_000, 1, &datagram("10.0.0.1", "239.1.2.3", b"later"));
    assert_eq!((capture.found.incomplete, capture.found.without_port), (1, 1));
    pieces[1..].iter().for_each(|bytes| capture.add(31_001, 1, bytes));
    assert_eq!(capture.finish().whole, [b"later"]);
}

#[test]
fn copies_of_fragments_are_no_further_datagrams_and_a_reused_number_is_another_one() {
    let pieces = |number| fragments(7, &datagram("10.0.0.1", "239.1.2.3", &payload(number)), PIECE);
    let mut capture = Capture::new();
    pieces(1).iter().for_each(|bytes| (0..2).for_each(|_| capture.add(0, 1, bytes)));
    assert_eq!(capture.found.whole, [payload(1)], "each fragment came twice");
    capture.add(1, 1, &pieces(1)[5]);
    // The last fragment of the first is missing, and the number is used again.
    pieces(2)[..4].iter().for_each(|bytes| capture.add(2_000, 1, bytes));
    pieces(3).iter().for_each(|bytes| capture.add(3_000, 1, bytes));
    let found = capture.finish();
    assert_eq!((found.whole, found.incomplete), (vec![payload(1), payload(3)], 1));
}

#[test]
fn clock_that_is_set_back_ends_no_waiting() {
    let pieces = fragments(7, &datagram("10.0.0.1", "239.1.2.3", &payload(1)), PIECE);
    let mut capture = Capture::new();
    let times = [900_000, 800_000, 800_001, 100_000, 100_001, 5];
    pieces.iter().zip(times).for_each(|(bytes, time)| capture.add(time, 1, bytes));
    assert_eq!(capture.finish().whole, [payload(1)]);
}

#[test]
fn memory_is_bounded() {
    let mut capture = Capture::new();
    for number in 0..5_000_u16 {
        let pieces = fragments(number, &datagram("10.0.0.1", "239.1.2.3", &payload(1)), PIECE);
        capture.add(u64::from(number), 1, &pieces[0]);
    }
    let before = capture.found.incomplete;
    assert!((3_900..5_000).contains(&before), "{before}");
    assert_eq!(capture.finish().incomplete, 5_000);
}

proptest! {
    #[test]
    fn any_order_with_copies_gives_each_datagram_once(order in Just((0..18).collect::<Vec<usize>>()).prop_shuffle(), copied in 0_usize..18) {
        let all: Vec<_> = (0..3).flat_map(|number| {
            fragments(number as u16, &datagram("10.0.0.1", "239.1.2.3", &payload(number)), PIECE)
        }).collect();
        let mut capture = Capture::new();
        for number in order {
            capture.add(0, 1, &all[number]);
            if number == copied {
                capture.add(0, 1, &all[number]);
            }
        }
        let mut found = capture.finish();
        found.whole.sort();
        let mut sent: Vec<_> = (0..3).map(payload).collect();
        sent.sort();
        prop_assert_eq!(found, Contents { whole: sent, ..Contents::default() });
    }

    #[test]
    fn fragments_of_any_bytes_never_give_more_than_there_is(
        frames in prop::collection::vec((0_u16..4, 0_u16..40, any::<bool>(), 0_usize..64), 0..200),
    ) {
        let mut capture = Capture::new();
        let mut sum = 0;
        for (identification, offset, more, length) in frames {
            let mut bytes = datagram("10.0.0.1", "239.1.2.3", &vec![0; length + 8])[..20].to_vec();
            bytes[2..4].copy_from_slice(&(20 + length as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&identification.to_be_bytes());
            bytes[6..8].copy_from_slice(&(offset | (u16::from(more) << 13)).to_be_bytes());
            bytes.resize(20 + length, 0);
            sum += length;
            let Capture { unwrapper, .. } = &mut capture;
            let frame = Frame {
                bytes: &bytes,
                original_length: bytes.len(),
                link_type: LinkType::Ip,
                interface: InterfaceIndex::new(1).unwrap(),
                interface_name: None,
                direction: Direction::Multicast,
                time: SystemTime::UNIX_EPOCH,
                checksums: Checksums::Computed,
                resegmented: false,
            };
            let mut whole = 0;
            unwrapper.visit(&frame, &mut |packet| {
                if matches!(packet.part, Part::Reassembled { .. }) {
                    whole += packet.packet.ip_layer().unwrap().payload.len();
                }
            });
            prop_assert!(whole <= sum);
        }
    }
}

/// Returns a pcap file with these frames.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    bytes.extend(link.to_le_bytes());
    for (number, frame) in (0_u32..).zip(frames) {
        let length = frame.len() as u32;
        [1_000_000, number * 10, length, length].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(frame);
    }
    bytes
}

#[test]
fn interfaces_of_a_capture_on_all_of_them_are_separate() {
    let frame = |interface: u32| {
        let head = [&[8, 0, 0, 0][..], &interface.to_be_bytes(), &[0, 1, 2, 6], &[2; 8]].concat();
        [head, datagram("10.0.0.1", "239.1.2.3", b"hello")].concat()
    };
    let bytes = pcap(276, &[frame(2), frame(7), frame(2)]);
    let mut file = CaptureFile::from_reader(Cursor::new(bytes), "memory").unwrap();
    let mut seen = BTreeMap::<u32, u32>::new();
    while let Some(frame) = file.next().unwrap() {
        *seen.entry(frame.interface.number()).or_default() += 1;
    }
    assert_eq!(seen, [(2, 2), (7, 1)].into());
    let all: Vec<_> = file.all_interfaces().map(|(number, ..)| number.number()).collect();
    assert_eq!(all, [1, 2, 7]);
    assert!(file.interface(InterfaceIndex::new(7).unwrap()).is_some());
}

#[test]
fn replay_sends_datagrams_from_fragments_and_tunnels() {
    let plain = datagram("10.0.0.1", "239.1.2.3", b"inside");
    let mut gre =
        [0x45, 0, 0, 24 + plain.len() as u8, 0, 1, 0, 0, 9, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2].to_vec();
    gre.extend([0, 0, 8, 0]);
    gre.extend(&plain);
    let mut frames = fragments(1, &datagram("10.0.0.1", "239.1.2.3", &payload(1)), PIECE);
    frames.push(gre);
    frames.extend(fragments(2, &datagram("10.0.0.1", "239.1.2.3", &payload(2)), PIECE).into_iter().skip(1));
    let file = CaptureFile::from_reader(Cursor::new(pcap(101, &frames)), "memory").unwrap();
    let (mut sent, mut skipped) = (Vec::new(), None);
    for event in Replay::of(file).start().unwrap() {
        match event {
            ReplayEvent::Batch(batch) => {
                sent.extend(batch.datagrams().iter().map(|datagram| batch.payload(datagram).to_vec()));
            }
            ReplayEvent::RoundEnded(round) => skipped = Some(round.skipped),
            ReplayEvent::Failed(error) => panic!("{error}"),
        }
    }
    assert_eq!(sent, [payload(1), b"inside".to_vec()]);
    assert_eq!(skipped.unwrap().fragments, 5);
}
