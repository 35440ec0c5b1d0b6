//! Property tests: every datagram is read as it was written; hostile bytes are parsed or rejected without a panic.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn data_header() -> Header {
    Header::new(Kind::Data, StreamId(1), Incarnation(2), 3)
}

proptest! {
    #[test]
    fn headers_survive(
        number in 1_u8..=11, flags: u8, stream: u64, incarnation: u32, message: u32, sequence in 1_u64..,
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
