//! IGMP and MLD: round trips, captured messages, and detection of damage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_packet::gmp::{
    Address, GmpError, GmpMessage, IgmpMessage, MldMessage, Query, Record, RecordKind, RouterDiscovery,
    SourceQuery, Sources,
};
use mcast_packet::{ChecksumStatus, ControlFrame, EmitError, MacAddress, Packet, Transport};
use proptest::prelude::*;

const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 105);
const GROUP: Ipv4Addr = Ipv4Addr::new(234, 3, 2, 1);
const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const HOST_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 5]);

fn emit<A: Address>(message: GmpMessage<'_, A>, source: A) -> Vec<u8> {
    let mut buffer = vec![0xaa; 8192];
    let length = message.emit(&mut buffer, source, message.destination()).unwrap();
    assert_eq!(length, message.length());
    buffer.truncate(length);
    buffer
}

fn emit_frame<A: Address>(message: GmpMessage<'_, A>, source: A) -> Vec<u8> {
    let mut buffer = vec![0; 8192];
    let length = ControlFrame { mac: MAC, source, message }.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn summary<A: Address>(message: GmpMessage<'_, A>, source: A) -> String {
    mcast_packet::summary(&emit_frame(message, source)).to_string()
}

fn general_query<A: Address>(seconds: u64) -> Query<'static, A> {
    Query { group: None, max_response_time: Duration::from_secs(seconds), source_query: None }
}

#[test]
fn each_kind_of_record_has_a_name_of_its_own() {
    let names: Vec<_> = (0..7).map(|number| RecordKind::from(number).name()).collect();
    assert_eq!(names, RecordKind::NAMES);
    assert_eq!(
        (RecordKind::ModeIsExclude.name(), RecordKind::BlockOldSources.name()),
        ("mode-is-exclude", "block-old-sources")
    );
    assert_eq!(RecordKind::from(7).name(), "unknown");
}

#[test]
fn igmp_messages_have_the_bytes_that_the_rfcs_define() {
    assert_eq!(emit(IgmpMessage::Report { group: GROUP }, HOST), [0x16, 0, 0xfd, 0xfa, 234, 3, 2, 1],);
    assert_eq!(emit(IgmpMessage::V1Report { group: GROUP }, HOST)[0], 0x12);
    assert_eq!(emit(IgmpMessage::Leave { group: GROUP }, HOST)[0], 0x17);
    assert_eq!(emit(IgmpMessage::Query(general_query(10)), HOST), [0x11, 100, 0xee, 0x9b, 0, 0, 0, 0],);
}

/// Captured from a Linux 6.18 host that joined 234.3.2.1 and, for one source, 232.1.2.3.
const LINUX_IGMP: [u8; 66] = [
    0x01, 0x00, 0x5e, 0x00, 0x00, 0x16, 0x02, 0x00, 0x00, 0x00, 0x01, 0x05, 0x08, 0x00, 0x46, 0xc0, 0x00,
    0x34, 0x00, 0x00, 0x40, 0x00, 0x01, 0x02, 0x0a, 0xdc, 0xc0, 0xa8, 0x38, 0x69, 0xe0, 0x00, 0x00, 0x16,
    0x94, 0x04, 0x00, 0x00, 0x22, 0x00, 0xf4, 0xeb, 0x00, 0x00, 0x00, 0x02, 0x05, 0x00, 0x00, 0x01, 0xe8,
    0x01, 0x02, 0x03, 0x0a, 0x00, 0x00, 0x07, 0x04, 0x00, 0x00, 0x00, 0xea, 0x03, 0x02, 0x01,
];

/// The same host when it joined ff15::1.
const LINUX_MLD: [u8; 90] = [
    0x33, 0x33, 0x00, 0x00, 0x00, 0x16, 0x02, 0x00, 0x00, 0x00, 0x01, 0x05, 0x86, 0xdd, 0x60, 0x00, 0x00,
    0x00, 0x00, 0x24, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff,
    0xfe, 0x00, 0x01, 0x05, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x16, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00, 0x01, 0x00, 0x8f, 0x00, 0x6f, 0xf2, 0x00, 0x00,
    0x00, 0x01, 0x04, 0x00, 0x00, 0x00, 0xff, 0x15, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x01,
];

#[test]
fn captured_linux_reports_are_parsed() {
    let packet = Packet::ethernet(&LINUX_IGMP);
    let ip = packet.ip_layer().unwrap();
    assert_eq!((ip.hop_limit, ip.router_alert, ip.dscp), (1, Some(0), 0x30));
    let sources = [SOURCE];
    let records = [
        Record {
            kind: RecordKind::AllowNewSources,
            group: Ipv4Addr::new(232, 1, 2, 3),
            sources: (&sources).into(),
        },
        Record { kind: RecordKind::ChangeToExclude, group: GROUP, sources: Sources::none() },
    ];
    let Some(Transport::Igmp(control)) = packet.transport else { panic!() };
    assert_eq!(control.message, GmpMessage::V3Report((&records).into()));
    assert_eq!(control.checksum, ChecksumStatus::Valid);
    assert_eq!(
        packet.to_string(),
        "Ether / IP / IGMPv3 report 192.168.56.105: allow 10.0.0.7 to 232.1.2.3; \
         join 234.3.2.1 (exclude none)"
    );

    let packet = Packet::ethernet(&LINUX_MLD);
    let Some(Transport::Mld(control)) = packet.transport else { panic!() };
    assert_eq!(control.checksum, ChecksumStatus::Valid);
    assert_eq!(packet.ip_layer().unwrap().router_alert, Some(0));
    assert_eq!(
        packet.to_string(),
        "Ether / IPv6 / MLDv2 report fe80::ff:fe00:105: join ff15::1 (exclude none)"
    );
}

#[test]
fn built_report_is_identical_to_that_of_linux() {
    let records = [Record { kind: RecordKind::ChangeToExclude, group: GROUP_6, sources: Sources::none() }];
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x105);
    let mac = MacAddress([2, 0, 0, 0, 1, 5]);
    let message = MldMessage::V3Report((&records).into());
    let mut buffer = [0; 128];
    let length = ControlFrame { mac, source, message }.emit(&mut buffer).unwrap();
    assert_eq!(buffer[..length], LINUX_MLD);
}

#[test]
fn query_version_follows_from_length_and_response_time() {
    let version = |bytes: &[u8]| match IgmpMessage::parse(bytes) {
        Ok(GmpMessage::Query(query)) => query.version(),
        other => panic!("{other:?}"),
    };
    assert_eq!(version(&[0x11, 0, 0, 0, 0, 0, 0, 0]), 1);
    assert_eq!(version(&[0x11, 100, 0, 0, 0, 0, 0, 0]), 2);
    assert_eq!(version(&[0x11, 0, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), 3);
    for length in 9..12 {
        let bytes = [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(IgmpMessage::parse(&bytes[..length]), Err(GmpError::QueryLength(length)));
    }
}

#[test]
fn long_times_are_floating_point() {
    let bytes = [0x11, 0x9f, 0, 0, 0, 0, 0, 0, 2, 0x8f, 0, 0];
    let Ok(GmpMessage::Query(query)) = IgmpMessage::parse(&bytes) else { panic!() };
    assert_eq!(query.max_response_time, Duration::from_millis((0x1f << 4) * 100));
    assert_eq!(query.source_query.unwrap().interval, Duration::from_secs(0x1f << 3));
    let old = [0x11, 0x9f, 0, 0, 0, 0, 0, 0];
    let Ok(GmpMessage::Query(query)) = IgmpMessage::parse(&old) else { panic!() };
    assert_eq!(query.max_response_time, Duration::from_millis(0x9f * 100));
}

#[test]
fn auxiliary_data_of_a_record_is_skipped() {
    let bytes = [
        0x22, 0, 0, 0, 0, 0, 0, 2, 9, 1, 0, 0, 224, 1, 1, 1, 0xde, 0xad, 0xbe, 0xef, 6, 0, 0, 1, 234, 3, 2,
        1, 10, 0, 0, 7,
    ];
    let message = IgmpMessage::parse(&bytes).unwrap();
    let sources = [SOURCE];
    let records = [
        Record { kind: RecordKind::Unknown(9), group: Ipv4Addr::new(224, 1, 1, 1), sources: Sources::none() },
        Record { kind: RecordKind::BlockOldSources, group: GROUP, sources: (&sources).into() },
    ];
    assert_eq!(message, GmpMessage::V3Report((&records).into()));
}

#[test]
fn truncated_lists_are_rejected_with_their_position() {
    let second_record_missing = [0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 234, 3, 2, 1];
    assert_eq!(IgmpMessage::parse(&second_record_missing), Err(GmpError::Records { count: 2, cut_off: 2 }));
    let source_missing = [0x11, 0, 0, 0, 234, 3, 2, 1, 2, 125, 0, 1];
    assert_eq!(IgmpMessage::parse(&source_missing), Err(GmpError::Sources(1)));
    assert_eq!(IgmpMessage::parse(&[0x16, 0, 0, 0, 1]), Err(GmpError::TooShort(5)));
    assert_eq!(IgmpMessage::parse(&[0x14, 0, 0, 0, 1]), Err(GmpError::UnknownType(0x14)));
    assert_eq!(IgmpMessage::parse(&[]), Err(GmpError::TooShort(0)));
}

#[test]
fn unrepresentable_messages_are_errors() {
    let mut buffer = [0; 64];
    let first = MldMessage::V1Report { group: GROUP_6 };
    assert_eq!(first.emit(&mut buffer, HOST_6, GROUP_6), Err(EmitError::NoSuchMessage));
    let report = IgmpMessage::Report { group: GROUP };
    assert_eq!(report.emit(&mut buffer[..7], HOST, GROUP), Err(EmitError::BufferTooShort));
    let many = vec![SOURCE; 65_536];
    let records =
        [Record { kind: RecordKind::AllowNewSources, group: GROUP, sources: many.as_slice().into() }];
    let mut large = vec![0; 300_000];
    let report = IgmpMessage::V3Report((&records).into());
    assert_eq!(report.emit(&mut large, HOST, GROUP), Err(EmitError::TooMany));
}

#[test]
fn router_discovery_messages_round_trip() {
    let advertisement = RouterDiscovery::Advertisement {
        interval: Duration::from_secs(20),
        query_interval: Duration::from_secs(125),
        robustness: 2,
    };
    assert_eq!(emit(IgmpMessage::RouterDiscovery(advertisement), HOST), [0x30, 20, 0xcf, 0x6c, 0, 125, 0, 2]);
    for discovery in [advertisement, RouterDiscovery::Solicitation, RouterDiscovery::Termination] {
        let (v4, v6) = (
            emit(GmpMessage::RouterDiscovery(discovery), HOST),
            emit(GmpMessage::RouterDiscovery(discovery), HOST_6),
        );
        assert_eq!(IgmpMessage::parse(&v4), Ok(GmpMessage::RouterDiscovery(discovery)));
        assert_eq!(MldMessage::parse(&v6), Ok(GmpMessage::RouterDiscovery(discovery)));
    }
    assert_eq!(
        summary(IgmpMessage::RouterDiscovery(advertisement), HOST),
        "Ether / IP / IGMP multicast router advertisement 192.168.56.105: interval 20 s, \
         query interval 125 s, robustness 2"
    );
    assert_eq!(
        summary(MldMessage::RouterDiscovery(RouterDiscovery::Termination), HOST_6),
        "Ether / IPv6 / MLD multicast router termination fe80::5: stops forwarding multicast"
    );
    let snoopers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);
    assert_eq!(MldMessage::RouterDiscovery(advertisement).destination(), snoopers);
    assert_eq!(IgmpMessage::parse(&[0x30, 20, 0, 0, 0, 125, 0]), Err(GmpError::TooShort(7)));
    assert_eq!(IgmpMessage::parse(&[0x31, 0, 0]), Err(GmpError::TooShort(3)));
}

#[test]
fn summaries_describe_messages() {
    let exclude = [Record { kind: RecordKind::ChangeToExclude, group: GROUP, sources: Sources::none() }];
    assert_eq!(
        summary(IgmpMessage::V3Report((&exclude).into()), HOST),
        "Ether / IP / IGMPv3 report 192.168.56.105: join 234.3.2.1 (exclude none)"
    );
    let sources = [SOURCE, HOST];
    let several = [
        Record { kind: RecordKind::ChangeToInclude, group: GROUP, sources: Sources::none() },
        Record { kind: RecordKind::ModeIsInclude, group: GROUP, sources: (&sources).into() },
    ];
    assert_eq!(
        summary(IgmpMessage::V3Report((&several).into()), HOST),
        "Ether / IP / IGMPv3 report 192.168.56.105: leave 234.3.2.1 (include none); \
         member of 234.3.2.1 (include 10.0.0.7, 192.168.56.105)"
    );
    assert_eq!(
        summary(IgmpMessage::Query(general_query(10)), HOST),
        "Ether / IP / IGMPv2 general query 192.168.56.105: members of any group, answer within 10 s"
    );
    assert_eq!(
        summary(IgmpMessage::Query(general_query(0)), HOST),
        "Ether / IP / IGMPv1 general query 192.168.56.105: members of any group, answer within 10 s"
    );
    assert_eq!(
        summary(MldMessage::Leave { group: GROUP_6 }, HOST_6),
        "Ether / IPv6 / MLDv1 done fe80::5: leave ff15::1"
    );
    let one = [SOURCE];
    let source_query = Some(SourceQuery {
        suppress: false,
        robustness: 2,
        interval: Duration::from_secs(125),
        sources: (&one).into(),
    });
    let query = Query { group: Some(GROUP), max_response_time: Duration::from_millis(1500), source_query };
    assert_eq!(
        summary(IgmpMessage::Query(query), HOST),
        "Ether / IP / IGMPv3 query 192.168.56.105: members of 234.3.2.1 from 10.0.0.7, answer within 1.5 s"
    );
}

#[test]
fn frames_have_the_header_fields_that_the_rfcs_require() {
    let frame = emit_frame(MldMessage::Report { group: GROUP_6 }, HOST_6);
    let packet = Packet::ethernet(&frame);
    let ip = packet.ip_layer().unwrap();
    assert_eq!((ip.hop_limit, ip.router_alert, ip.dscp), (1, Some(0), 0));
    assert_eq!(ip.destination, IpAddr::from(GROUP_6));
    assert_eq!(packet.ethernet.unwrap().destination, MacAddress([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!((packet.malformed, packet.padding), (None, &[][..]));

    let frame = emit_frame(IgmpMessage::Leave { group: GROUP }, HOST);
    let packet = Packet::ethernet(&frame);
    let ip = packet.ip_layer().unwrap();
    assert_eq!((ip.hop_limit, ip.router_alert, ip.dscp), (1, Some(0), 0x30));
    assert_eq!((ip.destination, ip.header_checksum), (IpAddr::from([224, 0, 0, 2]), ChecksumStatus::Valid));
}

#[test]
fn summary_of_a_damaged_message_contains_the_correct_checksum() {
    let mut frame = emit_frame(IgmpMessage::Report { group: GROUP }, HOST);
    *frame.last_mut().unwrap() ^= 3;
    let text = mcast_packet::summary(&frame).to_string();
    assert_eq!(
        text,
        "Ether / IP / IGMPv2 report 192.168.56.105: member of 234.3.2.2 (bad checksum 0xfdfa, should be 0xfdf9)"
    );
}

proptest! {
    #[test]
    fn igmp_messages_round_trip(message in crate::support::message(crate::support::v4())) {
        let step = Duration::from_millis(100);
        message.with(step, |message| {
            let bytes = emit(message, HOST);
            prop_assert_eq!(GmpMessage::parse(&bytes), Ok(message));
            prop_assert_eq!(GmpMessage::checksum(&bytes, HOST, HOST), ChecksumStatus::Valid);
            Ok(())
        })?;
    }

    #[test]
    fn mld_messages_round_trip(message in crate::support::message(crate::support::v6())) {
        let step = Duration::from_millis(1);
        message.with(step, |message| {
            if matches!(message, GmpMessage::V1Report { .. }) {
                return Ok(());
            }
            let bytes = emit(message, HOST_6);
            prop_assert_eq!(GmpMessage::parse(&bytes), Ok(message));
            let destination = message.destination();
            prop_assert_eq!(GmpMessage::checksum(&bytes, HOST_6, destination), ChecksumStatus::Valid);
            Ok(())
        })?;
    }

    #[test]
    fn any_flipped_bit_invalidates_the_checksum(message in crate::support::message(crate::support::v6()), position: usize, bit in 0..8u8) {
        message.with(Duration::from_millis(1), |message| {
            if matches!(message, GmpMessage::V1Report { .. }) {
                return Ok(());
            }
            let mut bytes = emit(message, HOST_6);
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            prop_assert!(GmpMessage::checksum(&bytes, HOST_6, message.destination()).is_invalid());
            Ok(())
        })?;
    }

    #[test]
    fn frames_decode_to_their_message(message in crate::support::message(crate::support::v4())) {
        message.with(Duration::from_millis(100), |message| {
            // A frame is sent to a group, but the random group of a report may be a unicast address.
            if !message.destination().is_multicast() {
                return Ok(());
            }
            let frame = emit_frame(message, HOST);
            match Packet::ethernet(&frame).transport {
                Some(Transport::Igmp(control)) => {
                    prop_assert_eq!(control.message, message);
                    prop_assert_eq!(control.checksum, ChecksumStatus::Valid);
                }
                other => prop_assert!(false, "{:?}", other),
            }
            Ok(())
        })?;
    }

    #[test]
    fn parsers_do_not_panic_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind: prop::sample::Index) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = *kind.get(&[0x11, 0x12, 0x16, 0x17, 0x22, 130, 131, 132, 143, *first]);
        }
        if let Ok(message) = IgmpMessage::parse(&bytes) {
            let _ = message.to_string();
            prop_assert!(message.length() <= bytes.len());
        }
        if let Ok(message) = MldMessage::parse(&bytes) {
            let _ = message.to_string();
            prop_assert!(message.length() <= bytes.len());
        }
    }
}

#[test]
fn message_refers_to_its_groups_or_to_all() {
    let refers_to_group = |frame: &[u8]| {
        Packet::ethernet(frame).is_control_about(|group| group == IpAddr::V4(GROUP) || group == GROUP_6)
    };
    assert!(refers_to_group(&LINUX_IGMP), "in the second record");
    assert!(refers_to_group(&emit_frame(IgmpMessage::Leave { group: GROUP }, HOST)));
    assert!(refers_to_group(&emit_frame(MldMessage::Report { group: GROUP_6 }, HOST_6)));
    assert!(refers_to_group(&emit_frame(IgmpMessage::Query(general_query(10)), HOST)));
    let other = Ipv4Addr::new(239, 9, 9, 9);
    assert!(!refers_to_group(&emit_frame(IgmpMessage::Report { group: other }, HOST)));
    let query = Query { group: Some(other), ..general_query(1) };
    assert!(!refers_to_group(&emit_frame(IgmpMessage::Query(query), HOST)));
    assert!(!refers_to_group(&crate::frames::HELLO), "not a control message");
}
