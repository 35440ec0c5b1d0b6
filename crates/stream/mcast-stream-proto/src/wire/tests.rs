//! Golden datagrams of version 1.0, byte for byte, and property tests. The golden ones never change: every later version must
//! read them.

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const STREAM: StreamId = StreamId(0x0102_0304_0506_0708);
const INCARNATION: Incarnation = Incarnation(0x1122_3344);

fn written(header: &Header, write: impl FnOnce(&mut DatagramWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1400];
    let mut writer = DatagramWriter::new(&mut buffer, header).unwrap();
    write(&mut writer);
    let length = writer.finish();
    buffer[..length].to_vec()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[track_caller]
fn agree(written: &[u8], hex: &str) {
    let hexed: Vec<String> = written.iter().map(|byte| std::format!("{byte:02x}")).collect();
    assert_eq!(written, bytes(hex), "{}", hexed.join(" "));
    assert!(DatagramView::parse(written).is_ok());
    let page = include_str!("../../../../../docs/protocol.md").split_whitespace().collect::<String>();
    assert!(page.contains(&hexed.concat()), "docs/protocol.md doesn't show {}", hexed.join(" "));
}

fn header(kind: Kind, sequence: u64) -> Header {
    Header::new(kind, STREAM, INCARNATION, sequence)
}

#[test]
fn data_with_two_messages() {
    let header = Header { flags: Flags::BATCH, message: 7, ..header(Kind::Data, 5) };
    let written = written(&header, |writer| writer.put(b"\x00\x02hi\x00\x00").unwrap());
    agree(
        &written,
        "4d43 10 01 08 08 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869 0000",
    );
    assert_eq!(Messages::read(&written[32..]).unwrap().0.collect::<Vec<_>>(), [&b"hi"[..], b""]);
}

#[test]
fn the_first_fragment_of_a_long_message() {
    let header = Header { flags: Flags::BEGIN, message: 8, ..header(Kind::Data, 6) };
    let written = written(&header, |writer| {
        writer.extension(ExtensionKind::TOTAL_LENGTH, 0, &3000_u32.to_be_bytes()).unwrap();
        writer.put(b"abc").unwrap();
    });
    agree(
        &written,
        "4d43 10 01 0a 80 0000 0102030405060708 11223344 00000008 0000000000000006 8102 0000 00000bb8 616263",
    );
}

#[test]
fn heartbeat() {
    let heartbeat = Heartbeat {
        next: Sequence(100),
        next_message: MessageNumber(250),
        oldest_retained: Sequence(10),
        oldest_message: MessageNumber(20),
        clock: 1,
        unix_time: 2,
        rate: 3,
        round_trip: 200,
        group_size: 4,
        backoff: 6,
        flow: FlowControl::Slowest,
        min_minor: 0,
        max_minor: 0,
        status_interval: 1000,
        datagram: 1472,
        block: 0,
        parity: 0,
        capacity: 7_000,
    };
    let written = written(&header(Kind::Heartbeat, 9), |writer| heartbeat.write(writer).unwrap());
    agree(
        &written,
        "4d43 10 03 08 00 0000 0102030405060708 11223344 00000000 0000000000000009
         0000000000000064 00000000000000fa 000000000000000a 0000000000000014
         0000000000000001 0000000000000002 0000000000000003 000000c8 00000004 06 01 00 00
         000003e8 05c0 0000 00001b58",
    );
    assert_eq!(Heartbeat::read(&written[32..]), Ok(heartbeat));
}

#[cfg(feature = "history")]
#[test]
fn heartbeat_of_a_publisher_that_serves_its_history() {
    let history = ServedHistory { port: 7768 };
    let written = written(&header(Kind::Heartbeat, 11), |writer| {
        history.write(writer).unwrap();
        Heartbeat { next: Sequence(1), oldest_retained: Sequence(1), ..Heartbeat::default() }
            .write(writer)
            .unwrap();
    });
    agree(
        &written,
        "4d43 10 03 09 00 0000 0102030405060708 11223344 00000000 000000000000000b
         1001 1e58
         0000000000000001 0000000000000000 0000000000000001 0000000000000000
         0000000000000000 0000000000000000 0000000000000000 00000000 00000000 00 01 00 00
         00000000 0000 0000 00000000",
    );
    assert_eq!(ServedHistory::of(&DatagramView::parse(&written).unwrap()), Some(history));
}

#[cfg(feature = "history")]
#[test]
fn heartbeat_with_an_origin() {
    let origin = Origin {
        stream: StreamId(0xa1),
        incarnation: Incarnation(0xb2),
        publisher: 0xc3,
        engines: VisitedEngines::of([EngineKey(0xd4), EngineKey(0xe5)]).unwrap(),
    };
    let written = written(&header(Kind::Heartbeat, 10), |writer| {
        origin.write(writer).unwrap();
        Heartbeat { next: Sequence(1), oldest_retained: Sequence(1), ..Heartbeat::default() }
            .write(writer)
            .unwrap();
    });
    agree(
        &written,
        "4d43 10 03 11 00 0000 0102030405060708 11223344 00000000 000000000000000a
         0b09 0000 00000000000000a1 000000b2 000000c3 00000000000000d4 00000000000000e5
         0000000000000001 0000000000000000 0000000000000001 0000000000000000
         0000000000000000 0000000000000000 0000000000000000 00000000 00000000 00 01 00 00
         00000000 0000 0000 00000000",
    );
    assert_eq!(Origin::of(&DatagramView::parse(&written).unwrap()), Some(origin));
}

#[cfg(feature = "history")]
#[test]
fn heartbeat_with_recalled_messages() {
    let mut index = RecallIndex::EMPTY;
    assert!(index.add(Sequence(9), MessageNumber(50)) && index.add(Sequence(8), MessageNumber(47)));
    let (next, next_message) = (Sequence(9), MessageNumber(50));
    let written = written(&header(Kind::Heartbeat, 10), |writer| {
        index.write(writer).unwrap();
        Heartbeat { next, next_message, oldest_retained: Sequence(1), ..Heartbeat::default() }
            .write(writer)
            .unwrap();
    });
    agree(
        &written,
        "4d43 10 03 0d 00 0000 0102030405060708 11223344 00000000 000000000000000a
         0f05 0000 00000009 00000032 00000008 0000002f
         0000000000000009 0000000000000032 0000000000000001 0000000000000000
         0000000000000000 0000000000000000 0000000000000000 00000000 00000000 00 01 00 00
         00000000 0000 0000 00000000",
    );
    let read = RecallIndex::of(&DatagramView::parse(&written).unwrap(), (next, next_message));
    assert_eq!(read, index);
    assert_eq!(
        [49, 50, 46].map(|next| read.first_needed(MessageNumber(next)).map(|at| at.0)),
        [Some(8), Some(9), None]
    );
}

#[cfg(feature = "local-repair")]
#[test]
fn heartbeat_with_repairers() {
    let mut repairers = RepairerList::default();
    let listed = [
        ListedRepairer { tag: 0xaabb, address: ([10, 0, 0, 7], 7000).into() },
        ListedRepairer { tag: 0xccdd, address: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9], 9000).into() },
    ];
    assert!(listed.into_iter().all(|repairer| repairers.add(repairer)));
    let written = written(&header(Kind::Heartbeat, 10), |writer| {
        repairers.write(writer).unwrap();
        Heartbeat { next: Sequence(1), oldest_retained: Sequence(1), ..Heartbeat::default() }
            .write(writer)
            .unwrap();
    });
    agree(
        &written,
        "4d43 10 03 11 00 0000 0102030405060708 11223344 00000000 000000000000000a
         0e09 0002 aabb 04 1b58 0a000007 ccdd 06 2328 20010db8000000000000000000000009 0000
         0000000000000001 0000000000000000 0000000000000001 0000000000000000
         0000000000000000 0000000000000000 0000000000000000 00000000 00000000 00 01 00 00
         00000000 0000 0000 00000000",
    );
    let read = RepairerList::of(&DatagramView::parse(&written).unwrap()).unwrap();
    assert_eq!(read.iter().collect::<Vec<_>>(), listed);
}

/// The data above as a block, with a second implementation's symbols.
#[cfg(feature = "parity")]
#[test]
fn parity() {
    let data = [
        "4d43 10 01 08 08 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869 0000",
        "4d43 10 01 0a 80 0000 0102030405060708 11223344 00000008 0000000000000006 8102 0000 00000bb8 616263",
    ];
    let data = data.map(bytes);
    let parts = data.each_ref().map(|datagram| crate::fec::symbol_of(datagram).unwrap());
    let symbols = crate::fec::encode(&parts, 0..2, crate::fec::symbol_length(data[1].len()));
    let hexes = [
        "4d43 10 02 08 00 0000 0102030405060708 11223344 00000000 000000000000000e
         0000000000000005 02 00 0000 000d 00 02 88 0000000f 8100686900000bb8616263",
        "4d43 10 02 08 40 0000 0102030405060708 11223344 00000000 000000000000000f
         0000000000000005 02 01 0000 0018 83 89 20 000000d3 031b324d0000aac1fbe21e",
    ];
    for ((index, symbol), hex) in symbols.into_iter().enumerate().zip(hexes) {
        let flags = if index == 1 { Flags::LAST_AHEAD } else { Flags(0) };
        let parity = Parity {
            base: Sequence(5),
            count: 2,
            index: index as u8,
            epoch: KeyEpoch::CLEAR,
            symbol: &symbol,
        };
        let header = Header { flags, ..header(Kind::Parity, 14 + index as u64) };
        let written = written(&header, |writer| parity.write(writer).unwrap());
        agree(&written, hex);
        assert_eq!(Parity::read(&written[32..]), Ok(parity));
    }
}

#[test]
fn nak() {
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(50), 1) && list.add(Sequence(52), 2) && list.add(Sequence(200), 100));
    let written = written(&header(Kind::Nak, 3), |writer| {
        writer.subscriber(SubscriberId(0xaabb)).unwrap();
        list.write_nak(AddressToken(5), writer).unwrap();
    });
    agree(
        &written,
        "4d43 10 04 0b 00 0000 0102030405060708 11223344 00000000 0000000000000003
         8903 0000 000000000000aabb 0000000000000005
         0000000000000032 0001 0001 00000000 00000006 00000096 00000064",
    );
    let listed: Vec<_> = Nak::read(&written[44..]).unwrap().missing.collect();
    assert_eq!(listed, [(Sequence(50), 1), (Sequence(52), 2), (Sequence(200), 100)]);
}

#[test]
fn confirmation() {
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(50), 3));
    let written = written(&header(Kind::Ncf, 4), |writer| {
        list.write_ncf(Sequence(40), MessageNumber(90), writer).unwrap();
    });
    agree(
        &written,
        "4d43 10 06 08 00 0000 0102030405060708 11223344 00000000 0000000000000004
         0000000000000028 000000000000005a 0000000000000032 0001 0000 00000000 00000003",
    );
}

#[test]
fn status() {
    let status = Status {
        next: Sequence(60),
        highest: Sequence(100),
        window: 4096,
        missed: 10_000,
        clock: 1,
        held: 150,
        flags: Status::JOINING,
        token: AddressToken(5),
        received: 59,
        tag: 0,
        repairs: 11,
        given_up: 3,
        lost_messages: 7,
    };
    let written = written(&header(Kind::Status, 2), |writer| {
        writer.subscriber(SubscriberId(0xaabb)).unwrap();
        status.write(writer).unwrap();
    });
    agree(
        &written,
        "4d43 10 05 0b 00 0000 0102030405060708 11223344 00000000 0000000000000002
         8903 0000 000000000000aabb 000000000000003c 0000000000000064 00001000 00002710
         0000000000000001 00000096 00000001 0000000000000005 000000000000003b 00000000
         0000000b 0000000000000003 0000000000000007",
    );
}

#[test]
fn status_with_an_acknowledgement_and_a_name() {
    let status = Status {
        next: Sequence(60),
        highest: Sequence(100),
        window: 4096,
        missed: 10_000,
        clock: 1,
        held: 150,
        token: AddressToken(5),
        received: 59,
        repairs: 11,
        ..Status::default()
    };
    let name: SubscriberName = "db-1".parse().unwrap();
    let acknowledgement = Acknowledgement {
        since: MessageNumber(20),
        received: MessageNumber(90),
        processed: MessageNumber(60),
    };
    let written = written(&header(Kind::Status, 3), |writer| {
        writer.subscriber(SubscriberId(0xaabb)).unwrap();
        name.write(writer).unwrap();
        acknowledgement.write(writer).unwrap();
        status.write(writer).unwrap();
    });
    agree(
        &written,
        "4d43 10 05 14 00 0000 0102030405060708 11223344 00000000 0000000000000003
         8903 0000 000000000000aabb 0d02 0004 64622d31
         0c07 0000 0000000000000014 000000000000005a 000000000000003c
         000000000000003c 0000000000000064 00001000 00002710
         0000000000000001 00000096 00000000 0000000000000005 000000000000003b 00000000
         0000000b 0000000000000000 0000000000000000",
    );
    let view = DatagramView::parse(&written).unwrap();
    assert_eq!((SubscriberName::of(&view), Acknowledgement::of(&view)), (Some(name), Some(acknowledgement)));
}

#[test]
fn probe_echo_and_reset() {
    let probe = Probe { clock: 9, token: AddressToken::NONE, subscriber: SubscriberId(0xaabb) };
    let request = written(&header(Kind::Probe, 1), |writer| {
        writer.subscriber(SubscriberId(0xaabb)).unwrap();
        probe.write(writer).unwrap();
    });
    agree(
        &request,
        "4d43 10 07 0b 00 0000 0102030405060708 11223344 00000000 0000000000000001
         8903 0000 000000000000aabb 0000000000000009 0000000000000000 000000000000aabb",
    );
    let echo = Probe { token: AddressToken(5), ..probe };
    let reply = written(&header(Kind::Echo, 11), |writer| echo.write(writer).unwrap());
    agree(
        &reply,
        "4d43 10 0b 08 00 0000 0102030405060708 11223344 00000000 000000000000000b
         0000000000000009 0000000000000005 000000000000aabb",
    );
    assert!(reply.len() <= request.len());
    let reply = written(&header(Kind::Echo, 4), |writer| {
        writer.subscriber(SubscriberId(0xccdd)).unwrap();
        echo.write(writer).unwrap();
    });
    agree(
        &reply,
        "4d43 10 0b 0b 00 0000 0102030405060708 11223344 00000000 0000000000000004
         8903 0000 000000000000ccdd 0000000000000009 0000000000000005 000000000000aabb",
    );
    assert_eq!(reply.len(), request.len());
    let reset = Reset { subscriber: SubscriberId(0xaabb), reason: ResetReason::Evicted };
    let written = written(&header(Kind::Reset, 12), |writer| reset.write(writer).unwrap());
    agree(
        &written,
        "4d43 10 0a 08 00 0000 0102030405060708 11223344 00000000 000000000000000c
         000000000000aabb 01 00000000000000",
    );
    assert_eq!(Reset::read(&written[32..]), Ok(reset));
}

#[test]
fn announcement() {
    let mut announce = Announce::new("prices");
    announce.paths[0] =
        Some(AnnouncedPath { group: ([239, 1, 2, 3], 7000).into(), source: Some([10, 0, 0, 1].into()) });
    (announce.rate, announce.key) = (125_000_000, 1);
    let written = written(&header(Kind::Announce, 13), |writer| announce.write(writer).unwrap());
    agree(
        &written,
        "4d43 10 09 08 00 0000 0102030405060708 11223344 00000000 000000000000000d
         0106 707269636573 020b 04 1b58 ef010203 0a000001 0408 0000000007735940
         0508 0000000000000001 0602 0000",
    );
}

/// Computed with another implementation of SHA-256 and Ed25519.
#[cfg(feature = "seal")]
#[test]
fn a_manifest() {
    use crate::sign::{self, SIGNATURE_LENGTH, Signer, SigningKey};
    let data = [
        bytes("4d43 10 01 08 08 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869 0000"),
        bytes(
            "4d43 10 01 0a 80 0000 0102030405060708 11223344 00000008 0000000000000006 8102 0000 00000bb8 616263",
        ),
    ];
    let key = SigningKey::new(&core::array::from_fn(|at| at as u8)).unwrap();
    let digests = data.map(|datagram| sign::digest(&*key, &datagram).unwrap());
    let mut written = written(&header(Kind::Manifest, 7), |writer| {
        writer.salt(IncarnationSalt(0xaabb_ccdd_eeff_0011)).unwrap();
        writer.extension(ExtensionKind::SIGNATURE, key.id().0, &[0; SIGNATURE_LENGTH]).unwrap();
        Manifest::write(&digests, writer).unwrap();
    });
    assert!(sign::sign(&*key, &mut written, &mut Vec::new()));
    agree(
        &written,
        "4d43 10 08 1c 00 0000 0102030405060708 11223344 00000000 0000000000000007
         8a03 0000 aabbccddeeff0011 0711 5647
         2a96973771fb95416a76a934a676cfb5776b000104290c14b3969474e313ce5d
         d2a46e4d421c875ec9aab04917ec655190f4796e0dcb1092230acd9327a34704
         0002 0000 e2cceabf3b5fad40f0c391e09548ee5f 80ca607179976cc1a6810522caf3cbca",
    );
    let view = DatagramView::parse(&written).unwrap();
    assert_eq!(key.public_key().pinned().verify(view.head, view.body), Ok(()));
    let covered: Vec<_> = Manifest::read(view.body).unwrap().covered(Sequence(7)).collect();
    assert_eq!(covered, [(Sequence(5), digests[0]), (Sequence(6), digests[1])]);
}

fn data_header() -> Header {
    Header::new(Kind::Data, StreamId(1), Incarnation(2), 3)
}

proptest! {
    #[test]
    fn headers_survive(
        number in 1_u8..=13, flags: u8, stream: u64, incarnation: u32, message: u32, sequence in 1_u64..,
    ) {
        let header = Header {
            kind: Kind::from_number(number).unwrap(),
            flags: Flags(flags).without(Flags::RESERVED),
            epoch: KeyEpoch::CLEAR,
            stream: StreamId(stream),
            incarnation: Incarnation(incarnation),
            message,
            sequence,
        };
        prop_assert_eq!(header.kind.number(), number);
        prop_assert_eq!(DatagramView::parse(&header.bytes()).unwrap().header, header);
    }

    #[test]
    fn heartbeats_survive(a in any::<[u64; 5]>(), b in any::<[u32; 3]>(), c in any::<(u8, u16)>(), span in 0_u64..1000) {
        let next = Sequence((a[0] >> 2).max(1));
        let heartbeat = Heartbeat {
            next, next_message: MessageNumber(a[1] >> 2), oldest_retained: Sequence(next.0.saturating_sub(span).max(1)), oldest_message: MessageNumber(a[1] >> 3),
            clock: a[2], unix_time: a[3], rate: a[4], round_trip: b[0], group_size: b[1], backoff: c.0,
            flow: FlowControl::Slowest, min_minor: 0, max_minor: 3, status_interval: b[2], datagram: c.1, block: c.0, parity: a[0] as u8, capacity: b[1],
        };
        let mut buffer = [0; 200];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Heartbeat, StreamId(9), Incarnation(8), 7)).unwrap();
        heartbeat.write(&mut writer).unwrap();
        let length = writer.finish();
        prop_assert_eq!(length, HEADER_LENGTH + Heartbeat::LENGTH);
        prop_assert_eq!(Heartbeat::read(DatagramView::parse(&buffer[..length]).unwrap().body), Ok(heartbeat));
    }

    #[test]
    fn acknowledgements_and_names_survive(a in any::<[u64; 3]>(), name in "[a-z._-][A-Za-z0-9._-]{0,63}") {
        let mut numbers = a;
        numbers.sort_unstable();
        let [since, processed, received] = numbers.map(MessageNumber);
        let acknowledgement = Acknowledgement { since, received, processed };
        let name = name.parse::<SubscriberName>();
        prop_assume!(name.is_ok());
        let mut buffer = [0; 200];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Status, StreamId(9), Incarnation(8), 7)).unwrap();
        name.unwrap().write(&mut writer).unwrap();
        acknowledgement.write(&mut writer).unwrap();
        let length = writer.finish();
        let view = DatagramView::parse(&buffer[..length]).unwrap();
        prop_assert_eq!((SubscriberName::of(&view), Acknowledgement::of(&view)), (name.ok(), Some(acknowledgement)));
    }

    #[cfg(feature = "local-repair")]
    #[test]
    fn lists_of_repairers_survive(
        tags in any::<[u16; 5]>(), v4 in any::<[([u8; 4], u16); 2]>(), v6 in any::<[([u16; 8], u16); 3]>(),
        count in 0_usize..=5,
    ) {
        let mut list = RepairerList::default();
        let addresses = v6.map(std::net::SocketAddr::from).into_iter().chain(v4.map(std::net::SocketAddr::from));
        for (tag, address) in tags.into_iter().zip(addresses).take(count) {
            list.add(ListedRepairer { tag, address });
        }
        let mut buffer = [0; 252];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Heartbeat, StreamId(9), Incarnation(8), 7)).unwrap();
        // The longest of the other extensions of a heartbeat.
        writer.salt(IncarnationSalt(7)).unwrap();
        writer.extension(ExtensionKind::SIGNATURE, 7, &[7; 64]).unwrap();
        writer.extension(ExtensionKind::ORIGIN, 7, &[7; 48]).unwrap();
        list.write(&mut writer).unwrap();
        let length = writer.finish();
        let read = RepairerList::of(&DatagramView::parse(&buffer[..length]).unwrap());
        prop_assert_eq!(read.unwrap_or_default(), list);
    }

    /// Nothing may be sent to an address that is not one host.
    #[cfg(feature = "local-repair")]
    #[test]
    fn hostile_lists_of_repairers_name_hosts(value in prop::collection::vec(any::<u8>(), 0..100), small: u16) {
        let mut buffer = [0; 400];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Heartbeat, StreamId(9), Incarnation(8), 7)).unwrap();
        writer.extension(ExtensionKind::REPAIRERS, small, &value).unwrap();
        let length = writer.finish();
        let list = RepairerList::of(&DatagramView::parse(&buffer[..length]).unwrap()).unwrap();
        prop_assert!(list.iter().all(|each| each.address.port() > 0 && !each.address.ip().is_multicast() && !each.address.ip().is_unspecified()));
    }

    /// Whatever a datagram claims, the numbers are in order, and a name can be printed.
    #[test]
    fn hostile_acknowledgements_are_in_order_and_names_printable(
        value in prop::collection::vec(any::<u8>(), 0..64), small: u16, name in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut buffer = [0; 400];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Status, StreamId(9), Incarnation(8), 7)).unwrap();
        writer.extension(ExtensionKind::ACKNOWLEDGEMENT, small, &value).unwrap();
        writer.extension(ExtensionKind::NAME, small % 100, &name).unwrap();
        let length = writer.finish();
        let view = DatagramView::parse(&buffer[..length]).unwrap();
        if let Some(Acknowledgement { since, received, processed }) = Acknowledgement::of(&view) {
            prop_assert!(since <= processed && processed <= received);
        }
        if let Some(name) = SubscriberName::of(&view) {
            prop_assert!((1..=64).contains(&name.as_str().len()) && name.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn statuses_and_their_subscriber_survive(a in any::<[u64; 5]>(), b in any::<[u32; 6]>()) {
        let status = Status {
            next: Sequence(a[0].min(a[1])), highest: Sequence(a[0].max(a[1])), window: b[0], missed: b[1], clock: a[2], held: b[2],
            flags: b[3], token: AddressToken(a[3]), received: a[4], tag: b[4], repairs: b[5], given_up: a[0], lost_messages: a[1],
        };
        let mut buffer = [0; 200];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Status, StreamId(9), Incarnation(8), 7)).unwrap();
        writer.subscriber(SubscriberId(a[4])).unwrap();
        status.write(&mut writer).unwrap();
        let length = writer.finish();
        prop_assert_eq!(length, HEADER_LENGTH + 12 + Status::LENGTH);
        let view = DatagramView::parse(&buffer[..length]).unwrap();
        prop_assert_eq!((view.subscriber(), Status::read(view.body)), (Some(SubscriberId(a[4])), Ok(status)));
    }

    #[test]
    fn lists_contain_exactly_the_ranges_added(base in 1_u64..1 << 40, steps in prop::collection::vec((1_u64..80, 1_u32..60), 0..60)) {
        let mut list = NakWriter::new();
        let (mut at, mut expected) = (base, Vec::new());
        for (skip, count) in steps {
            prop_assert!(list.add(Sequence(at), count));
            expected.extend(at..at + u64::from(count));
            at += u64::from(count) + skip;
        }
        let mut buffer = [0; 1400];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Nak, StreamId(9), Incarnation(8), 7)).unwrap();
        list.write_nak(AddressToken(77), &mut writer).unwrap();
        let length = writer.finish();
        let view = DatagramView::parse(&buffer[..length]).unwrap();
        let nak = Nak::read(view.body).unwrap();
        prop_assert_eq!(nak.token.0, 77);
        let mut listed: Vec<u64> = nak.missing.flat_map(|(first, count)| first.0..first.0 + u64::from(count)).collect();
        listed.sort_unstable();
        prop_assert_eq!(listed, expected);
    }

    #[test]
    fn announcements_survive(name in "[a-zäöü/.]{1,80}", group: [u8; 16], port: u16, source: Option<[u8; 4]>, rate: u64, key: u64) {
        let mut announce = Announce::new(&name);
        announce.paths[0] = Some(AnnouncedPath { group: (group, port).into(), source: None });
        announce.paths[1] = Some(AnnouncedPath { group: ([239, 1, 2, 3], port).into(), source: source.map(Into::into) });
        announce.snapshot = Some(([10, 0, 0, 1], port).into());
        (announce.rate, announce.key, announce.minors) = (rate, key, (0, 2));
        let mut buffer = [0; 600];
        let mut writer = DatagramWriter::new(&mut buffer, &Header::new(Kind::Announce, StreamId(9), Incarnation(8), 7)).unwrap();
        announce.write(&mut writer).unwrap();
        let length = writer.finish();
        prop_assert_eq!(Announce::read(DatagramView::parse(&buffer[..length]).unwrap().body), Ok(announce));
    }

    #[test]
    fn messages_survive(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..12)) {
        let (mut body, mut end) = ([0; 1400], 0);
        for message in &messages {
            end = push_message(&mut body, end, message).unwrap();
        }
        let (read, count) = Messages::read(&body[..end]).unwrap();
        prop_assert_eq!(count as usize, messages.len());
        prop_assert_eq!(read.map(<[u8]>::to_vec).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn hostile_bytes_are_parsed_or_rejected(kind in 0_u8..14, words in 0_u8..70, flags: u8, body in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..340) {
        let mut bytes = data_header().bytes().to_vec();
        (bytes[3], bytes[4], bytes[5]) = (kind, words, flags);
        bytes.extend(body);
        bytes.truncate(cut);
        if let Ok(view) = DatagramView::parse(&bytes) {
            let _ = view.extensions.count();
            let _ = (Heartbeat::read(view.body), Status::read(view.body), Probe::read(view.body));
            let _ = (Reset::read(view.body), Announce::read(view.body), Messages::read(view.body));
            let _ = Nak::read(view.body).map(|nak| nak.missing.take(10_000).count());
            let _ = Ncf::read(view.body).map(|ncf| ncf.coming.take(10_000).count());
        }
    }
}

#[test]
fn malformed_headers_are_rejected_with_the_reason() {
    let good = data_header().bytes();
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        DatagramView::parse(&bytes).map(|_| ())
    };
    assert_eq!(with(0, b'X'), Err(WireError::Foreign));
    assert_eq!(with(2, 0x20), Err(WireError::Version(0x20)));
    assert_eq!(with(2, 0x1f), Ok(()), "a later minor version");
    assert_eq!(with(3, 14), Err(WireError::UnknownKind(14)));
    assert_eq!(with(4, 7), Err(WireError::HeaderLength(7)));
    assert_eq!(with(4, 9), Err(WireError::HeaderLength(9)));
    assert_eq!(with(5, 0x04), Err(WireError::ReservedFlag));
    assert_eq!(with(7, 1), Err(WireError::Short), "sealed, but without a tag");
    assert_eq!(with(31, 0), Err(WireError::Body), "numbers begin at 1");
    assert_eq!(DatagramView::parse(&good[..31]), Err(WireError::Short));
    assert_eq!(DatagramView::parse(b"M"), Err(WireError::Foreign));
}

#[test]
fn an_unknown_extension_is_passed_over_unless_it_is_critical() {
    let with = |kind| {
        let mut buffer = [0; 64];
        let mut writer = DatagramWriter::new(&mut buffer, &data_header()).unwrap();
        writer.extension(ExtensionKind(kind), 5, &[1, 2, 3]).unwrap();
        writer.put(b"body").unwrap();
        let length = writer.finish();
        DatagramView::parse(&buffer[..length]).map(|view| view.body.to_vec())
    };
    assert_eq!(with(0x42), Ok(b"body".to_vec()));
    assert_eq!(with(0xc2), Err(WireError::CriticalExtension(0xc2)));
}

proptest! {
    #[cfg(feature = "history")]
    #[test]
    fn origins_are_read_as_they_were_written(
        stream: u64,
        incarnation: u32,
        publisher: u32,
        keys in prop::collection::vec(any::<u64>(), 0..=VisitedEngines::MAX),
    ) {
        let origin = Origin {
            stream: StreamId(stream),
            incarnation: Incarnation(incarnation),
            publisher,
            engines: VisitedEngines::of(keys.into_iter().map(EngineKey)).unwrap(),
        };
        let mut buffer = [0; 128];
        let mut writer = DatagramWriter::new(&mut buffer, &data_header()).unwrap();
        origin.write(&mut writer).unwrap();
        let length = writer.finish();
        prop_assert_eq!(length, HEADER_LENGTH + origin.extension_length());
        prop_assert_eq!(Origin::of(&DatagramView::parse(&buffer[..length]).unwrap()), Some(origin));
    }

    #[cfg(feature = "history")]
    #[test]
    fn an_origin_of_another_length_is_none(value in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut buffer = [0; 160];
        let mut writer = DatagramWriter::new(&mut buffer, &data_header()).unwrap();
        writer.extension(ExtensionKind::ORIGIN, 0, &value).unwrap();
        let length = writer.finish();
        let read = Origin::of(&DatagramView::parse(&buffer[..length]).unwrap());
        let padded = value.len().next_multiple_of(4);
        let keys = padded.checked_sub(16).filter(|keys| keys % 8 == 0).map(|keys| keys / 8);
        prop_assert_eq!(read.is_some(), keys.is_some_and(|keys| keys <= VisitedEngines::MAX));
    }
}

#[test]
fn a_list_refuses_what_it_cannot_hold() {
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(100), 1));
    assert!(!list.add(Sequence(99), 1), "before the first");
    assert!(!list.add(Sequence(200), 0));
    assert!(!list.add(Sequence(101 + (1 << 32)), 1));
    while list.add(Sequence(100 + 40 * list.spot_count_for_tests() as u64), 1) {}
    assert_eq!(list.spot_count_for_tests(), 140);
}
