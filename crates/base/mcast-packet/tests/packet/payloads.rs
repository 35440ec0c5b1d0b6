//! Payloads: recognition, ambiguous payloads, and arbitrary bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_packet::payload::{
    ContinuityTracker, Dns, DnsSection, MoldUdp64, MpegTs, Payload, Ptp, PtpKind, Rtp, Ssdp, TsPacket,
    recognize,
};
use mcast_packet::summary;
use proptest::collection::vec;
use proptest::prelude::*;

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
const MDNS: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));

fn describe(port: u16, group: IpAddr, payload: &[u8]) -> Option<String> {
    recognize(port, group, payload).map(|payload| payload.to_string())
}

pub(crate) fn rtp(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let packet = Rtp {
        marker: true,
        payload_type,
        sequence,
        timestamp: 90_000,
        ssrc: 0xfeed,
        csrc_count: 0,
        extension: None,
        payload,
    };
    let mut buffer = vec![0; 2000];
    let length = packet.emit(&mut buffer).unwrap();
    assert_eq!(Rtp::parse(&buffer[..length]), Some(packet));
    buffer.truncate(length);
    buffer
}

fn ts_packets(pids: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, pid) in pids.iter().enumerate() {
        let mut packet = [0; TsPacket::LENGTH];
        let payload = [7; 100];
        assert_eq!(TsPacket::new(*pid, number as u8, &payload).emit(&mut packet), Ok(188));
        bytes.extend(packet);
    }
    bytes
}

#[test]
fn rtp_header_with_all_options_is_parsed() {
    let mut bytes = vec![0xb2, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 5]);
    bytes.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
    bytes.extend(b"inside\0\0\x03");
    let packet = Rtp::parse(&bytes).unwrap();
    assert_eq!((packet.csrc_count, packet.extension, packet.payload), (2, Some(0xbede), &b"inside"[..]));
    for length in 0..28 {
        assert_eq!(Rtp::parse(&bytes[..length]), None, "{length}");
    }
    *bytes.last_mut().unwrap() = 200;
    assert_eq!(Rtp::parse(&bytes), None, "more padding than payload");
    assert_eq!(Rtp::parse(&[0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), None, "RTCP");
}

#[test]
fn transport_stream_is_recognized_with_and_without_rtp() {
    let stream = ts_packets(&[17, 256, 256, 0x1fff]);
    assert_eq!(describe(1234, GROUP, &stream).unwrap(), "MPEG-TS, 4 packets, PID 17 256 8191");
    assert_eq!(
        describe(1235, GROUP, &rtp(33, 7, &stream)).unwrap(),
        "RTP PT 33 (MP2T), seq 7, timestamp 90000, SSRC 0x0000feed, marker / MPEG-TS, 4 packets, PID 17 256 8191"
    );
    assert_eq!(describe(1234, GROUP, &stream[..stream.len() - 1]), None);
    let mut out_of_sync = stream.clone();
    out_of_sync[188] = 0;
    assert!(MpegTs::parse(&out_of_sync).is_none());
    let many: Vec<u16> = (100..107).collect();
    assert!(describe(1234, GROUP, &ts_packets(&many)).unwrap().ends_with("PID 100 101 102 103 ..."));
}

#[test]
fn ts_packets_have_payload_and_stuffing() {
    let bytes = ts_packets(&[300]);
    let packet = MpegTs::parse(&bytes).unwrap().packets().next().unwrap();
    assert_eq!((packet.pid, packet.continuity, packet.payload), (300, 0, Some(&[7; 100][..])));
    let mut buffer = [0; 188];
    let jump = TsPacket { discontinuity: true, unit_start: true, scrambled: true, payload: None, ..packet };
    jump.emit(&mut buffer).unwrap();
    assert_eq!(MpegTs::parse(&buffer).unwrap().packets().next(), Some(jump));
    assert!(TsPacket::new(1, 0, &[0; 185]).emit(&mut buffer).is_err());
}

#[test]
fn lost_datagram_is_visible_in_the_continuity_counters() {
    let mut tracker: ContinuityTracker = ContinuityTracker::new();
    let stream = ts_packets(&[256; 7]);
    tracker.observe(&MpegTs::parse(&stream).unwrap());
    tracker.observe(&MpegTs::parse(&stream[3 * 188..]).unwrap());
    let counts = tracker.counts();
    assert_eq!((counts.packets, counts.errors, counts.missing), (11, 1, 12));
}

#[test]
fn rtp_is_not_recognized_if_ambiguous() {
    assert!(describe(5004, GROUP, &rtp(96, 1, b"sound")).unwrap().starts_with("RTP PT 96, seq 1"));
    assert_eq!(describe(5005, GROUP, &rtp(96, 1, b"sound")), None, "an odd port");
    assert_eq!(describe(5004, GROUP, &rtp(50, 1, b"sound")), None, "an unassigned payload type");
    assert_eq!(describe(5004, GROUP, &rtp(96, 1, b"")), None, "an empty payload");
    assert_eq!(describe(5004, GROUP, b"Hello, World!"), None);
}

pub(crate) fn mold(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let length = MoldUdp64::emit(*b"000007841A", sequence, messages, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn mold_udp64_must_match_to_the_last_byte() {
    let mut bytes = mold(100, &[b"first", b"", b"third"]);
    let packet = MoldUdp64::parse(&bytes).unwrap();
    assert_eq!((packet.sequence, packet.end_of_session), (100, false));
    assert!(packet.messages.eq([&b"first"[..], b"", b"third"]));
    assert_eq!(describe(26477, GROUP, &bytes).unwrap(), "MoldUDP64 000007841A, number 100, 3 messages");
    bytes.push(0);
    assert_eq!(describe(26477, GROUP, &bytes), None, "one byte too many");
    assert_eq!(describe(26477, GROUP, &bytes[..bytes.len() - 2]), None, "one byte too few");
    let heartbeat = mold(103, &[]);
    assert_eq!(describe(26477, GROUP, &heartbeat).unwrap(), "MoldUDP64 000007841A, number 103, heartbeat");
    let mut end = heartbeat;
    end[18..].fill(0xff);
    assert_eq!(describe(26477, GROUP, &end).unwrap(), "MoldUDP64 000007841A, number 103, end of session");
}

#[test]
fn sequence_of_a_payload_is_number_length_and_width() {
    let sequence = |bytes: &[u8]| recognize(26477, GROUP, bytes).unwrap().sequence();
    assert_eq!(sequence(&mold(1, &[b"a", b"b"])), Some((1, 2, 64)));
    assert_eq!(sequence(&mold(3, &[])), Some((3, 0, 64)));
}

pub(crate) fn ptp() -> Ptp {
    Ptp {
        kind: PtpKind::Sync,
        minor_version: 1,
        length: 44,
        domain: 24,
        flags: 0x0200,
        correction: -65_536,
        clock: 0x0011_22ff_fe33_4455,
        clock_port: 1,
        sequence: 4711,
        log_interval: -3,
    }
}

#[test]
fn ptp_is_recognized_on_its_ports_only() {
    let mut bytes = [0xaa; 60];
    assert_eq!(ptp().emit(&mut bytes), Ok(44));
    assert_eq!(Ptp::parse(&bytes), Some(ptp()));
    let group = IpAddr::from([224, 0, 1, 129]);
    assert_eq!(
        describe(319, group, &bytes[..44]).unwrap(),
        "PTPv2 sync, domain 24, number 4711, clock 001122fffe334455 port 1"
    );
    assert_eq!(describe(321, group, &bytes[..44]), None);
    assert_eq!(describe(320, group, &bytes[..43]), None, "truncated");
    bytes[1] = 1;
    assert_eq!(describe(319, group, &bytes[..44]), None, "version 1");
}

/// A query for printers and the response of one, with compressed names.
pub(crate) const MDNS_QUERY: &[u8] = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04_ipp\x04_tcp\x05local\0\0\x0c\x80\x01";
pub(crate) const MDNS_RESPONSE: &[u8] = b"\0\0\x84\0\0\0\0\x02\0\0\0\0\
    \x04_ipp\x04_tcp\x05local\0\0\x0c\0\x01\0\0\x11\x94\0\x09\x06Office\xc0\x0c\
    \xc0\x27\0\x21\x80\x01\0\0\0\x78\0\x0c\0\0\0\0\x02\x77\x03prn\xc0\x16";

#[test]
fn compressed_mdns_names_are_decoded() {
    assert_eq!(describe(5353, MDNS, MDNS_QUERY).unwrap(), "mDNS query: _ipp._tcp.local PTR");
    assert_eq!(
        describe(5353, MDNS, MDNS_RESPONSE).unwrap(),
        "mDNS response: _ipp._tcp.local PTR Office._ipp._tcp.local, Office._ipp._tcp.local SRV prn.local:631"
    );
    let dns = Dns::parse(MDNS_RESPONSE).unwrap();
    let service = dns.answers().nth(1).unwrap();
    assert_eq!(service.to_string(), "Office._ipp._tcp.local SRV prn.local:631");
    assert!(service.cache_flush && service.time_to_live == 120);
    assert!(Dns::parse(MDNS_QUERY).unwrap().questions().next().unwrap().unicast_response);
    let group: IpAddr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfb).into();
    assert!(recognize(5353, group, MDNS_QUERY).is_some());
    assert_eq!(describe(5353, GROUP, MDNS_QUERY), None, "another group");
    assert_eq!(describe(5353, MDNS, &MDNS_QUERY[..30]), None, "truncated");
}

/// Builds a record of class Internet with a time to live of two minutes.
fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [name, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 120], &length.to_be_bytes(), data].concat()
}

/// Builds a message without questions, with this number of records in each section.
fn message(flags: u16, sections: [u16; 3], records: &[Vec<u8>]) -> Vec<u8> {
    let counts = sections.map(u16::to_be_bytes).concat();
    [&[0, 0][..], &flags.to_be_bytes(), &[0, 0], &counts, &records.concat()].concat()
}

#[test]
fn all_records_of_an_mdns_message_are_shown() {
    let records = [
        record(b"\x04cast\0", 16, b"\x0aid=\"1\x1b[2J\xff\0\x04ca=5"),
        record(b"\xc0\x0c", 1, &[10, 0, 0, 1]),
        record(b"\x01h\0", 28, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    let response = message(0x8400, [1, 0, 2], &records);
    assert_eq!(
        describe(5353, MDNS, &response).unwrap(),
        r#"mDNS response: cast TXT "id=\"1\u{1b}[2J\xff" "" "ca=5", cast A 10.0.0.1, h AAAA fe80::1"#
    );
    let dns = Dns::parse(&response).unwrap();
    let sections: Vec<_> = dns.records().map(|(section, _)| section).collect();
    assert_eq!(sections, [DnsSection::Answer, DnsSection::Additional, DnsSection::Additional]);

    let probe = message(0, [1, 1, 0], &records[..2]);
    let shown = describe(5353, MDNS, &probe).unwrap();
    assert!(
        shown.starts_with("mDNS known answers: cast TXT ") && shown.ends_with("; proposed: cast A 10.0.0.1"),
        "{shown}"
    );

    let truncated = &response[..response.len() - 1];
    assert!(describe(5353, MDNS, truncated).unwrap().ends_with("cast A 10.0.0.1 and 1 more"));
    let many = message(0x8400, [40, 0, 0], &vec![record(b"\x01h\0", 1, &[10, 0, 0, 1]); 40]);
    assert!(describe(5353, MDNS, &many).unwrap().ends_with("h A 10.0.0.1 and 8 more"));
}

pub(crate) const SSDP_NOTIFY: &[u8] = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
    NT: upnp:rootdevice\r\nnts:ssdp:alive\r\nUSN:  uuid:1::upnp:rootdevice \r\n\r\nNT: not a header";

#[test]
fn ssdp_messages_are_shown_with_their_target() {
    let group = IpAddr::from([239, 255, 255, 250]);
    assert_eq!(
        describe(1900, group, SSDP_NOTIFY).unwrap(),
        "SSDP notify: upnp:rootdevice (uuid:1::upnp:rootdevice)"
    );
    let message = Ssdp::parse(SSDP_NOTIFY).unwrap();
    assert_eq!(message.headers().count(), 4);
    assert_eq!(message.header("NTS"), Some(&b"ssdp:alive"[..]));
    let search = b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\x1b[2J\r\n\r\n";
    assert_eq!(describe(1900, group, search).unwrap(), "SSDP search: ssdp:all\\x1b[2J");
    let goodbye = b"NOTIFY * HTTP/1.1\nNTS: ssdp:byebye\nNT: x";
    assert_eq!(describe(1900, group, goodbye).unwrap(), "SSDP goodbye: x");
    assert_eq!(describe(1900, group, b"GET / HTTP/1.1\r\n\r\n"), None);
}

#[test]
fn summary_of_a_packet_contains_its_payload() {
    let mut frame = crate::frames::HELLO[..42].to_vec();
    let payload = mold(9, &[b"x"]);
    frame[16..18].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
    frame[38..40].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    frame[40..42].fill(0);
    frame.extend(payload);
    assert!(
        summary(&frame)
            .to_string()
            .ends_with("> 224.1.1.5:50001 / MoldUDP64 000007841A, number 9, 1 message")
    );
    let truncated = &frame[..frame.len() - 1];
    assert!(summary(truncated).to_string().ends_with("/ Raw"));
}

fn seeds() -> Vec<Vec<u8>> {
    let mut header = vec![0; 44];
    ptp().emit(&mut header).unwrap();
    vec![
        rtp(33, 1, &ts_packets(&[1, 2])),
        ts_packets(&[5, 6]),
        mold(1, &[b"abc", b"d"]),
        header,
        MDNS_RESPONSE.to_vec(),
        SSDP_NOTIFY.to_vec(),
    ]
}

/// Reads everything in a payload.
fn exhaust(port: u16, group: IpAddr, payload: &[u8]) {
    let Some(payload) = recognize(port, group, payload) else { return };
    let shown = payload.to_string();
    assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
    if let Some(stream) = payload.mpeg_ts() {
        ContinuityTracker::<2>::new().observe(&stream);
    }
    match payload {
        Payload::MoldUdp64(mold) => assert_eq!(mold.messages.count(), mold.messages.len()),
        Payload::Mdns(dns) => {
            dns.questions().for_each(|question| assert!(!question.to_string().is_empty()));
            dns.records().for_each(|(_, record)| {
                let shown = record.to_string();
                assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
            });
        }
        Payload::Ssdp(ssdp) => assert!(ssdp.headers().count() <= 2000),
        _ => {}
    }
}

proptest! {
    #[test]
    fn dissectors_do_not_panic_on_damaged_payloads(
        seed in 0usize..6,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
        cut: prop::sample::Index,
        port in prop::sample::select(&[319, 320, 1234, 1900, 5004, 5353][..]),
    ) {
        let mut payload = seeds().swap_remove(seed);
        for (position, value) in damage {
            let position = position.index(payload.len());
            payload[position] = value;
        }
        payload.truncate(cut.index(payload.len() + 1));
        exhaust(port, MDNS, &payload);
    }

    #[test]
    fn dissectors_do_not_panic_on_any_bytes(payload in vec(any::<u8>(), 0..200), port: u16) {
        exhaust(port, MDNS, &payload);
    }
}

proptest! {
    /// The beginnings are those that the protocols are recognized by.
    #[test]
    fn any_message_of_a_service_is_summarized_without_panic(
        port in prop::sample::select(vec![
            123_u16, 520, 546, 547, 1985, 2029, 3222, 3702, 3784, 5005, 5355, 5568, 5683, 6454, 7400, 9875,
        ]),
        number in prop::sample::select(vec![58_u8, 88, 89, 112]),
        begin in prop::sample::select(vec![
            &b""[..], b"\x20\xc8", b"\x80\xc8\x00\x01", b"\x50\x01\x00\x00", b"\x00\x00\x10", b"\x01\x28\x02\x00",
            b"RTPS", b"Art-Net\0", b"\x00\x10\x00\x00ASC-E1.17\0\0\0", b"\x25\x01", b"\x02\x02", b"\x86", b"\x31",
            b"<a:Probe xmlns=\"ws/2005/04/discovery\"><Types>",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [begin, &rest].concat();
        for group in ["239.1.2.3", "ff02::1:2"] {
            if let Some(payload) = mcast_packet::payload::recognize(port, group.parse().unwrap(), &bytes) {
                prop_assert!(!payload.to_string().contains('\x1b'));
            }
        }
        if let Some(service) = mcast_packet::payload::Service::of_packet(number, &bytes) {
            prop_assert!(!service.to_string().contains('\x1b'));
        }
    }
}
