mod reports;

use super::*;
use crate::discovery::testing::Bench;

const PTP: DiscoveryProtocol = DiscoveryProtocol::Ptp;
const GENERAL: &str = "224.0.1.129:320";

fn message(kind: PtpKind, clock: u64, domain: u8, body: &[u8]) -> Vec<u8> {
    let length = Ptp::HEADER_LENGTH + body.len();
    let header = Ptp {
        kind,
        minor_version: 0,
        length: length as u16,
        domain,
        flags: 0,
        correction: 0,
        clock,
        clock_port: 1,
        sequence: 1,
        log_interval: 1,
    };
    let mut bytes = vec![0; length];
    header.emit(&mut bytes).unwrap();
    bytes[Ptp::HEADER_LENGTH..].copy_from_slice(body);
    bytes
}

fn announce(clock: u64, domain: u8) -> Vec<u8> {
    let mut body = [0; 30];
    body[10..19].copy_from_slice(&[0, 37, 0, 128, 6, 0x21, 0x4e, 0x5d, 127]);
    body[19..27].copy_from_slice(&clock.to_be_bytes());
    body[29] = 0x20;
    message(PtpKind::Announce, clock, domain, &body)
}

const FIRST: u64 = 0x0011_22ff_fe00_0001;
const SECOND: u64 = 0x0011_22ff_fe00_0002;

#[test]
fn master_is_listed_with_its_properties_until_three_announcements_are_missing() {
    let mut bench = Bench::new();
    bench.datagram("10.0.0.1:320", GENERAL, &announce(FIRST, 0));
    let clock = bench.only(PTP);
    assert_eq!(
        (clock.name.to_string(), clock.service.to_string()),
        ("001122.fffe.000001".into(), "domain 0".into())
    );
    assert_eq!((clock.value("class"), clock.value("accuracy")), ("6".into(), "100 ns".into()));
    assert_eq!((clock.value("priority 1"), clock.value("time source")), ("128".into(), "GNSS".into()));
    bench.wait(5.9);
    assert_eq!(bench.names(PTP).len(), 1);
    bench.wait(0.2);
    assert_eq!(bench.names(PTP).len(), 0);
}

#[test]
fn second_master_in_a_domain_is_remarked_with_both_and_not_in_another_domain() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.datagram("10.0.0.1:320", GENERAL, &announce(FIRST, 0));
        bench.datagram("10.0.0.2:320", GENERAL, &announce(SECOND, 0));
        bench.datagram("10.0.0.3:320", GENERAL, &announce(3, 7));
        bench.wait(1.0);
    }
    let remarks: Vec<_> = bench.of(PTP).map(|clock| clock.value("remark")).collect();
    assert_eq!(
        remarks,
        [
            "",
            "more than one master in domain 0: also 001122.fffe.000002",
            "more than one master in domain 0: also 001122.fffe.000001",
        ]
    );
    // The remark is one change of each, not one with each announcement.
    assert_eq!(bench.events(PTP), "AAACC");
    for _ in 0..6 {
        bench.datagram("10.0.0.2:320", GENERAL, &announce(SECOND, 0));
        bench.wait(2.0);
    }
    assert_eq!(bench.only(PTP).value("remark"), "");
}

#[test]
fn clock_over_ethernet_and_follower_are_listed() {
    let mut bench = Bench::new();
    bench.frame([0x01, 0x1b, 0x19, 0, 0, 0], ether_type::PTP, &announce(FIRST, 0));
    bench.frame(
        [0x01, 0x1b, 0x19, 0, 0, 0],
        ether_type::PTP,
        &message(PtpKind::DelayRequest, SECOND, 0, &[0; 10]),
    );
    bench.frame(
        [0x01, 0x1b, 0x19, 0, 0, 0],
        ether_type::PTP,
        &message(PtpKind::DelayRequest, FIRST, 0, &[0; 10]),
    );
    let states: Vec<_> = bench.of(PTP).map(|clock| clock.value("state")).collect();
    assert_eq!(states, ["master", "follower"]);
    bench.frame([0x01, 0x1b, 0x19, 0, 0, 0], ether_type::PTP, &[0; 20]);
    assert_eq!(bench.table.counts().malformed, 1);
}

#[test]
fn answer_to_a_question_describes_a_follower() {
    let mut bench = Bench::new();
    bench.table.ask(bench.now);
    let mut questions = std::iter::from_fn(|| bench.table.poll_transmit(bench.now));
    let question = questions.find(|question| question.protocol == PTP).unwrap();
    assert_eq!(question.destination, GENERAL.parse().unwrap());
    let mut body = [0; 40];
    body[..20].copy_from_slice(&question.payload[34..54]);
    body[12] = 2;
    body[15] = 1;
    body[17] = 22;
    body[20..30].copy_from_slice(&[2, 0, 0, 1, 255, 255, 0xfe, 0xff, 0xff, 128]);
    body[30..38].copy_from_slice(&SECOND.to_be_bytes());
    bench.datagram("10.0.0.2:320", GENERAL, &message(PtpKind::Management, SECOND, 0, &body));
    let clock = bench.only(PTP);
    assert_eq!((clock.value("state"), clock.value("never master")), ("follower".into(), "yes".into()));
    assert_eq!((clock.value("class"), clock.value("accuracy")), ("255".into(), "unknown".into()));
}

#[test]
fn clocks_of_version_1_are_listed_by_their_domain() {
    let mut bytes = [0; 124];
    bytes[..9].copy_from_slice(b"\0\x01\0\x01_DFLT");
    bytes[20] = 1;
    bytes[22..28].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
    bytes[54..60].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
    bytes[67..72].copy_from_slice(b"\x04DFLT");
    let mut bench = Bench::new();
    bench.datagram("10.0.0.1:319", "224.0.1.129:319", &bytes);
    let clock = bench.only(DiscoveryProtocol::PtpV1);
    assert_eq!(
        (clock.name.to_string(), clock.service.to_string()),
        ("001dc1010203".into(), "domain _DFLT".into())
    );
    assert_eq!((clock.value("stratum"), clock.value("quality")), ("4".into(), "DFLT".into()));
    bench.wait(10.1);
    assert_eq!(bench.names(DiscoveryProtocol::PtpV1).len(), 0);
}

#[test]
fn flood_of_clocks_is_bounded_and_leaves_a_lasting_one() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.datagram("10.0.0.1:320", GENERAL, &announce(FIRST, 0));
        bench.wait(1.5);
    }
    for clock in 0..5_000_u64 {
        bench.datagram("10.0.0.66:320", GENERAL, &announce(clock, clock as u8));
    }
    let names = bench.names(PTP);
    assert!(names.len() <= 2_000 && names.contains(&"001122.fffe.000001".into()), "{}", names.len());
    let remark = bench.of(PTP).map(|clock| clock.value("remark").len()).max().unwrap();
    assert!(remark < 256, "{remark}");
}
