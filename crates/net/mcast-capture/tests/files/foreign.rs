//! Files as other programs write them, built from the format specifications.

use mcast_capture::{CaptureFile, Direction, FileErrorKind, FileFormat};
use mcast_packet::{Cooked, CookedKind, LinkType, MacAddress, ether_type};

use crate::support::{OwnedFrame, at, datagram, read_all, read_bytes};

/// Encodes numbers in one of the two byte orders.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn half(self, value: u16) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    fn word(self, value: u32) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    fn block(self, kind: u32, body: &[Vec<u8>]) -> Vec<u8> {
        let mut body = body.concat();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = self.word(body.len() as u32 + 12);
        [self.word(kind), length.clone(), body, length].concat()
    }

    fn section(self) -> Vec<u8> {
        self.block(0x0a0d_0d0a, &[self.word(0x1a2b_3c4d), self.half(1), self.half(0), vec![0xff; 8]])
    }

    fn interface(self, link: u16, options: &[Vec<u8>]) -> Vec<u8> {
        self.block(1, &[self.half(link), self.half(0), self.word(0), options.concat()])
    }

    fn option(self, number: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [self.half(number), self.half(value.len() as u16), value.to_vec()].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn packet(self, interface: u32, ticks: u64, bytes: &[u8], options: &[Vec<u8>]) -> Vec<u8> {
        let length = self.word(bytes.len() as u32);
        let time = [self.word((ticks >> 32) as u32), self.word(ticks as u32)].concat();
        let mut data = bytes.to_vec();
        data.resize(data.len().next_multiple_of(4), 0);
        self.block(6, &[self.word(interface), time, length.clone(), length, data, options.concat()])
    }
}

#[test]
fn pcap_of_either_byte_order_and_resolution_is_read() {
    let frame = datagram(b"hello");
    for big in [false, true] {
        for (magic, fraction, format) in [
            (0xa1b2_c3d4, 123_456, FileFormat::PcapMicroseconds),
            (0xa1b2_3c4d, 123_456_000, FileFormat::PcapNanoseconds),
        ] {
            let order = Order { big };
            let head = [order.word(magic), order.half(2), order.half(4), vec![0; 8], order.word(262_144)];
            let length = order.word(frame.len() as u32);
            let record = [order.word(1_700_000_000), order.word(fraction), length, order.word(9000)];
            let bytes = [head.concat(), order.word(1), record.concat(), frame.clone()].concat();
            let file = CaptureFile::from_reader(std::io::Cursor::new(bytes), "memory").unwrap();
            assert_eq!(file.format(), format);
            let (frames, error) = read_all(file);
            assert!(error.is_none());
            let expected = OwnedFrame {
                original_length: 9000,
                time: at(1_700_000_000, 123_456_000),
                direction: Direction::Unknown,
                ..OwnedFrame::new(frame.clone(), 0)
            };
            assert_eq!(frames, [expected]);
        }
    }
}

#[test]
fn consecutive_sections_of_either_byte_order_are_read() {
    let frame = datagram(b"hello");
    let (little, big) = (Order { big: false }, Order { big: true });
    let offset = big.option(14, &1_000_000_000i64.to_be_bytes());
    let bytes = [
        little.section(),
        little.interface(
            1,
            &[little.option(2, b"eth0"), little.option(9, &[9]), little.half(0), little.half(0)],
        ),
        little.packet(0, 1_500_000_000, &frame, &[little.option(2, &[9, 0, 0, 0])]),
        big.section(),
        big.interface(1, &[big.option(2, b"en0"), big.option(9, &[0x80 | 10]), offset]),
        big.packet(0, 1536, &frame, &[big.option(1, b"a comment")]),
    ];
    let file = CaptureFile::from_reader(std::io::Cursor::new(bytes.concat()), "memory").unwrap();
    let (frames, error) = read_all(file);
    assert!(error.is_none(), "{error:?}");
    let expected = |interface, time, direction| OwnedFrame {
        interface,
        time,
        direction,
        ..OwnedFrame::new(frame.clone(), 0)
    };
    assert_eq!(
        frames,
        [
            expected(1, at(1, 500_000_000), Direction::Multicast),
            expected(2, at(1_000_000_001, 500_000_000), Direction::Unknown),
        ]
    );
}

#[test]
fn simple_and_obsolete_packets_are_read_and_unknown_blocks_skipped() {
    let order = Order { big: false };
    let frame = datagram(b"odd");
    let length = order.word(frame.len() as u32);
    let bytes = [
        order.section(),
        order.block(0x0bad_cafe, &[vec![1, 2, 3, 4, 5, 6, 7, 8]]),
        order.interface(1, &[]),
        order.block(3, &[length.clone(), frame.clone()]),
        order.block(
            2,
            &[
                order.half(0),
                order.half(0xffff),
                order.word(0),
                order.word(2_500_000),
                length.clone(),
                length,
                frame.clone(),
            ],
        ),
    ];
    let (frames, error) = read_bytes(bytes.concat());
    assert!(error.is_none(), "{error:?}");
    assert!(frames.iter().all(|found| found.bytes == frame));
    assert_eq!((frames[0].time, frames[1].time), (at(0, 0), at(2, 500_000_000)));
}

#[test]
fn link_types_are_decoded_or_skipped_and_counted() {
    let order = Order { big: false };
    let frame = datagram(b"x");
    let ip = &frame[14..];
    let cooked = |kind, interface| {
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let mut bytes = vec![0; 20];
        let length = Cooked::new(kind, mac, ether_type::IPV4, interface).emit(&mut bytes).unwrap();
        [&bytes[..length], ip].concat()
    };
    let numbers = [1, 101, 113, 276, 0, 9, 105, 187];
    let bodies = [
        frame.clone(),
        ip.to_vec(),
        cooked(CookedKind::Outgoing, None),
        cooked(CookedKind::Multicast, Some(3)),
        [&[2, 0, 0, 0], ip].concat(),
        [&[0xff, 3, 0, 0x21], ip].concat(),
        vec![0x88; 40],
        vec![0x88; 40],
    ];
    let mut bytes = order.section();
    for link in numbers {
        bytes.extend(order.interface(link, &[]));
    }
    for (interface, body) in (0..).zip(&bodies) {
        bytes.extend(order.packet(interface, 0, body, &[]));
    }
    let mut file = CaptureFile::from_reader(std::io::Cursor::new(bytes), "memory").unwrap();
    let mut found = Vec::new();
    while let Some(frame) = file.next().unwrap() {
        assert!(frame.packet().to_string().ends_with("IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw"));
        found.push((frame.link_type, frame.direction));
    }
    assert_eq!(
        found,
        [
            (LinkType::Ethernet, Direction::Unknown),
            (LinkType::Ip, Direction::Unknown),
            (LinkType::LinuxCooked, Direction::Outgoing),
            (LinkType::LinuxCooked2, Direction::Multicast),
            (LinkType::Loopback, Direction::Unknown),
            (LinkType::Ppp, Direction::Unknown),
        ]
    );
    assert_eq!((file.statistics().frames, file.statistics().skipped), (6, 2));
}

#[test]
fn inconsistent_blocks_end_the_file() {
    let order = Order { big: false };
    let head = [order.section(), order.interface(1, &[])].concat();
    let mut wrong_end = order.packet(0, 0, b"abc", &[]);
    *wrong_end.last_mut().unwrap() = 9;
    let too_long = order.block(6, &[vec![0; 12], order.word(u32::MAX), order.word(4), vec![0; 4]]);
    let stranger = order.packet(5, 0, b"abc", &[]);
    let short = order.block(6, &[vec![0; 12]]);
    for block in [wrong_end, too_long, stranger, short] {
        let (frames, error) = read_bytes([head.clone(), block].concat());
        assert!(frames.is_empty());
        let offset = head.len() as u64;
        let kind = error.unwrap().kind();
        assert!(
            matches!(kind, FileErrorKind::Malformed { offset: found, .. } if found == offset),
            "{kind:?}"
        );
    }
}
