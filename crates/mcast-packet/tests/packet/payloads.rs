//! Payloads: recognized where they are certain, left alone where not, and never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_packet::payload::{
    Cell, ContinuityTracker, Dns, MoldUdp64, MpegTs, Payload, Ptp, PtpKind, Rtp, Ssdp, recognize,
};
use mcast_packet::sequence::{Observation, SequenceTracker};
use mcast_packet::summary;
use proptest::collection::vec;
use proptest::prelude::*;

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
const MDNS: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));

fn text(port: u16, group: IpAddr, payload: &[u8]) -> Option<String> {
    recognize(port, group, payload).map(|payload| payload.to_string())
}

pub(crate) fn rtp(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let packet = Rtp {
        marker: true,
        payload_type,
        sequence,
        timestamp: 90_000,
        ssrc: 0xfeed,
        contributors: 0,
        extension: None,
        payload,
    };
    let mut buffer = vec![0; 2000];
    let length = packet.emit(&mut buffer).unwrap();
    assert_eq!(Rtp::parse(&buffer[..length]), Some(packet));
    buffer.truncate(length);
    buffer
}

fn cells(pids: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, pid) in pids.iter().enumerate() {
        let mut cell = [0; Cell::LENGTH];
        let payload = [7; 100];
        assert_eq!(Cell::new(*pid, number as u8, &payload).emit(&mut cell), Ok(188));
        bytes.extend(cell);
    }
    bytes
}

#[test]
fn rtp_is_read_with_all_that_its_header_may_have() {
    let mut bytes = vec![0xb2, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 5]);
    bytes.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
    bytes.extend(b"inside\0\0\x03");
    let packet = Rtp::parse(&bytes).unwrap();
    assert_eq!((packet.contributors, packet.extension, packet.payload), (2, Some(0xbede), &b"inside"[..]));
    for length in 0..28 {
        assert_eq!(Rtp::parse(&bytes[..length]), None, "{length}");
    }
    *bytes.last_mut().unwrap() = 200;
    assert_eq!(Rtp::parse(&bytes), None, "more padding than there is");
    assert_eq!(Rtp::parse(&[0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), None, "RTCP");
}

#[test]
fn a_transport_stream_is_known_by_itself_and_inside_rtp() {
    let stream = cells(&[17, 256, 256, 0x1fff]);
    assert_eq!(text(1234, GROUP, &stream).unwrap(), "MPEG-TS, 4 cells, PID 17 256 8191");
    assert_eq!(
        text(1235, GROUP, &rtp(33, 7, &stream)).unwrap(),
        "RTP type 33, number 7, time 90000, from 0x0000feed, marker / MPEG-TS, 4 cells, PID 17 256 8191"
    );
    assert_eq!(text(1234, GROUP, &stream[..stream.len() - 1]), None);
    let mut out_of_sync = stream.clone();
    out_of_sync[188] = 0;
    assert!(MpegTs::parse(&out_of_sync).is_none());
    let many: Vec<u16> = (100..107).collect();
    assert!(text(1234, GROUP, &cells(&many)).unwrap().ends_with("PID 100 101 102 103 ..."));
}

#[test]
fn cells_carry_their_payload_and_stuffing() {
    let bytes = cells(&[300]);
    let cell = MpegTs::parse(&bytes).unwrap().cells().next().unwrap();
    assert_eq!((cell.pid, cell.continuity, cell.payload), (300, 0, Some(&[7; 100][..])));
    let mut buffer = [0; 188];
    let leap = Cell { discontinuity: true, unit_start: true, scrambled: true, payload: None, ..cell };
    leap.emit(&mut buffer).unwrap();
    assert_eq!(MpegTs::parse(&buffer).unwrap().cells().next(), Some(leap));
    assert!(Cell::new(1, 0, &[0; 185]).emit(&mut buffer).is_err());
}

#[test]
fn a_lost_datagram_shows_in_the_continuity_counters() {
    let mut tracker: ContinuityTracker = ContinuityTracker::new();
    let stream = cells(&[256; 7]);
    tracker.observe(&MpegTs::parse(&stream).unwrap());
    tracker.observe(&MpegTs::parse(&stream[3 * 188..]).unwrap());
    let counts = tracker.counts();
    assert_eq!((counts.cells, counts.errors, counts.missing), (11, 1, 12));
}

#[test]
fn rtp_is_not_seen_where_something_else_could_be_meant() {
    assert!(text(5004, GROUP, &rtp(96, 1, b"sound")).unwrap().starts_with("RTP type 96, number 1"));
    assert_eq!(text(5005, GROUP, &rtp(96, 1, b"sound")), None, "an odd port");
    assert_eq!(text(5004, GROUP, &rtp(50, 1, b"sound")), None, "a payload type that nobody has");
    assert_eq!(text(5004, GROUP, &rtp(96, 1, b"")), None, "nothing inside");
    assert_eq!(text(5004, GROUP, b"Hello, World!"), None);
}

pub(crate) fn mold(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let length = MoldUdp64::emit(*b"000007841A", sequence, messages, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn mold_udp64_is_known_to_the_last_byte() {
    let mut bytes = mold(100, &[b"first", b"", b"third"]);
    let packet = MoldUdp64::parse(&bytes).unwrap();
    assert_eq!((packet.sequence, packet.end_of_session), (100, false));
    assert!(packet.messages.eq([&b"first"[..], b"", b"third"]));
    assert_eq!(text(26477, GROUP, &bytes).unwrap(), "MoldUDP64 000007841A, number 100, 3 messages");
    bytes.push(0);
    assert_eq!(text(26477, GROUP, &bytes), None, "one byte too many");
    assert_eq!(text(26477, GROUP, &bytes[..bytes.len() - 2]), None, "one too few");
    let heartbeat = mold(103, &[]);
    assert_eq!(text(26477, GROUP, &heartbeat).unwrap(), "MoldUDP64 000007841A, number 103, heartbeat");
    let mut end = heartbeat;
    end[18..].fill(0xff);
    assert_eq!(text(26477, GROUP, &end).unwrap(), "MoldUDP64 000007841A, number 103, end of session");
}

#[test]
fn payloads_that_are_numbered_feed_the_tracker() {
    let mut tracker = SequenceTracker::new(64);
    let mut observe = |bytes: &[u8]| {
        let (number, length, bits) = recognize(26477, GROUP, bytes).unwrap().sequence().unwrap();
        assert_eq!(bits, 64);
        tracker.observe_run(number, length)
    };
    assert_eq!(observe(&mold(1, &[b"a", b"b"])), Observation::First);
    assert_eq!(observe(&mold(3, &[])), Observation::InOrder);
    assert_eq!(observe(&mold(5, &[b"e"])), Observation::Gap { missing: 2 });
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
fn ptp_is_looked_for_on_its_ports() {
    let mut bytes = [0xaa; 60];
    assert_eq!(ptp().emit(&mut bytes), Ok(44));
    assert_eq!(Ptp::parse(&bytes), Some(ptp()));
    let group = IpAddr::from([224, 0, 1, 129]);
    assert_eq!(
        text(319, group, &bytes[..44]).unwrap(),
        "PTPv2 sync, domain 24, number 4711, clock 001122fffe334455 port 1"
    );
    assert_eq!(text(321, group, &bytes[..44]), None);
    assert_eq!(text(320, group, &bytes[..43]), None, "cut off");
    bytes[1] = 1;
    assert_eq!(text(319, group, &bytes[..44]), None, "version 1");
}

/// A question for printers and the answer of one, which refers to names said before.
pub(crate) const MDNS_QUESTION: &[u8] =
    b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04_ipp\x04_tcp\x05local\0\0\x0c\x80\x01";
pub(crate) const MDNS_ANSWER: &[u8] = b"\0\0\x84\0\0\0\0\x02\0\0\0\0\
    \x04_ipp\x04_tcp\x05local\0\0\x0c\0\x01\0\0\x11\x94\0\x09\x06Office\xc0\x0c\
    \xc0\x27\0\x21\x80\x01\0\0\0\x78\0\x0c\0\0\0\0\x02\x77\x03prn\xc0\x16";

#[test]
fn mdns_names_are_put_together() {
    assert_eq!(text(5353, MDNS, MDNS_QUESTION).unwrap(), "mDNS question: _ipp._tcp.local PTR");
    assert_eq!(
        text(5353, MDNS, MDNS_ANSWER).unwrap(),
        "mDNS answer: _ipp._tcp.local PTR Office._ipp._tcp.local and 1 more"
    );
    let dns = Dns::parse(MDNS_ANSWER).unwrap();
    let service = dns.answers().nth(1).unwrap();
    assert_eq!(service.to_string(), "Office._ipp._tcp.local SRV prn.local");
    assert!(service.cache_flush && service.time_to_live == 120);
    assert!(Dns::parse(MDNS_QUESTION).unwrap().questions().next().unwrap().unicast_response);
    let group: IpAddr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfb).into();
    assert!(recognize(5353, group, MDNS_QUESTION).is_some());
    assert_eq!(text(5353, GROUP, MDNS_QUESTION), None, "another group");
    assert_eq!(text(5353, MDNS, &MDNS_QUESTION[..30]), None, "cut off");
}

pub(crate) const SSDP_NOTIFY: &[u8] = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
    NT: upnp:rootdevice\r\nnts:ssdp:alive\r\nUSN:  uuid:1::upnp:rootdevice \r\n\r\nNT: not a header";

#[test]
fn ssdp_says_what_is_there_and_what_is_looked_for() {
    let group = IpAddr::from([239, 255, 255, 250]);
    assert_eq!(
        text(1900, group, SSDP_NOTIFY).unwrap(),
        "SSDP notify: upnp:rootdevice (uuid:1::upnp:rootdevice)"
    );
    let message = Ssdp::parse(SSDP_NOTIFY).unwrap();
    assert_eq!(message.headers().count(), 4);
    assert_eq!(message.header("NTS"), Some(&b"ssdp:alive"[..]));
    let search = b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\x1b[2J\r\n\r\n";
    assert_eq!(text(1900, group, search).unwrap(), "SSDP search: ssdp:all\\x1b[2J");
    let goodbye = b"NOTIFY * HTTP/1.1\nNTS: ssdp:byebye\nNT: x";
    assert_eq!(text(1900, group, goodbye).unwrap(), "SSDP goodbye: x");
    assert_eq!(text(1900, group, b"GET / HTTP/1.1\r\n\r\n"), None);
}

#[test]
fn a_packets_summary_says_what_it_carries() {
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
    let cut_off = &frame[..frame.len() - 1];
    assert!(summary(cut_off).to_string().ends_with("/ Raw"));
}

fn seeds() -> Vec<Vec<u8>> {
    let mut header = vec![0; 44];
    ptp().emit(&mut header).unwrap();
    vec![
        rtp(33, 1, &cells(&[1, 2])),
        cells(&[5, 6]),
        mold(1, &[b"abc", b"d"]),
        header,
        MDNS_ANSWER.to_vec(),
        SSDP_NOTIFY.to_vec(),
    ]
}

/// Reads all that a payload offers.
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
            dns.answers().for_each(|answer| assert!(!answer.to_string().is_empty()));
        }
        Payload::Ssdp(ssdp) => assert!(ssdp.headers().count() <= 2000),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_damage_makes_a_dissector_panic(
        seed in 0usize..6,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
        cut: prop::sample::Index,
        port in prop::sample::select(&[319, 320, 1234, 1900, 5004, 5353][..]),
    ) {
        let mut payload = seeds().swap_remove(seed);
        for (place, value) in damage {
            let place = place.index(payload.len());
            payload[place] = value;
        }
        payload.truncate(cut.index(payload.len() + 1));
        exhaust(port, MDNS, &payload);
    }

    #[test]
    fn no_bytes_make_a_dissector_panic(payload in vec(any::<u8>(), 0..200), port: u16) {
        exhaust(port, MDNS, &payload);
    }

    #[test]
    fn a_tracker_agrees_with_a_set_of_all_numbers(
        start: u64,
        bits in prop::sample::select(&[16u32, 24, 32, 48, 64][..]),
        steps in vec((0u64..6, 0u64..4), 1..300),
    ) {
        // Each step goes ahead, and then perhaps back by a few numbers: to one skipped, or one seen.
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let mut tracker = SequenceTracker::new(bits);
        let mut seen = std::collections::BTreeSet::new();
        let (mut head, mut duplicates, mut late, mut received) = (0u64, 0, 0, 0);
        let mut observe = |position: u64, head: u64| {
            received += 1;
            tracker.observe(start.wrapping_add(position) & mask);
            if !seen.insert(position) {
                duplicates += 1;
            } else if position < head {
                late += 1;
            }
        };
        observe(0, 0);
        for (ahead, back) in steps {
            head += ahead + 1;
            observe(head, head);
            if back > 0 {
                observe(head.saturating_sub(back), head);
            }
        }
        let counts = tracker.counts();
        prop_assert_eq!(counts.received, received);
        prop_assert_eq!(counts.missing, head + 1 - seen.len() as u64);
        prop_assert_eq!((counts.duplicates, counts.reordered), (duplicates, late));
        prop_assert_eq!((counts.restarts, counts.strays), (0, 0));
    }
}
