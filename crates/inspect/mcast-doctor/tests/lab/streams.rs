//! Streams that conflict, and streams that stop.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mcast_doctor::{ArrivalStatus, Id, Options, Report, Verdict};

use crate::net::{
    Net, Stream, assert_only, assert_received, examine, examine_port, examine_while, inject, listener, rtp,
    socket,
};

crate::table::cases! {
    conflicting_transport_streams: ConflictingStreams, "two MPEG transport streams to one group and port", conflicting_transport_streams;
    conflicting_transport_streams_for_a_program: ConflictingStreams, "the same from two hosts, program examined", conflicting_transport_streams_for_a_program;
    conflicting_rtp_v6: ConflictingStreams, "two streams of RTP with the same SSRC, IPv6", conflicting_rtp_v6;
    stopped_stream: StreamStopped, "a regular stream whose sender ends", stopped;
    stopped_stream_v6: StreamStopped, "the same, IPv6 (sender ends)", stopped_v6;
    two_hosts_with_one_address: ConflictingStreams, "two hosts with the same address", two_hosts_with_one_address;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// Returns a datagram of an MPEG transport stream: seven packets, filled with a byte.
fn transport_stream(number: u64, fill: u8) -> Vec<u8> {
    let packet = |index: u64| {
        let counter = (number * 7 + index) as u8 & 0x0f;
        let mut packet = vec![fill; 188];
        // Synchronization byte, PID 0x100, payload only.
        packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | counter]);
        packet[4..12].copy_from_slice(&number.to_be_bytes());
        packet
    };
    (0..7).flat_map(packet).collect()
}

/// Streams these payloads with a socket of its own.
fn stream(net: &Net, to: &str, payload: impl FnMut(u64) -> Vec<u8> + Send + 'static) -> Stream {
    let to: SocketAddr = to.parse().unwrap();
    Stream::of(socket(&net.sender, to.ip(), "eth0").into(), to, payload)
}

/// Two transport streams from one host.
pub(crate) fn conflicting_transport_streams() -> Report {
    let net = Net::new();
    let _streams = [1, 2].map(|fill| stream(&net, GROUP, move |number| transport_stream(number, fill)));
    examine(&net.receiver, MEMBERSHIP)
}

/// The same, from two hosts, while a program is examined.
pub(crate) fn conflicting_transport_streams_for_a_program() -> Report {
    let net = Net::new();
    let other = net.lab.host("other").unwrap();
    other.connect("eth0", &net.lan, &["10.9.0.3/24"]).unwrap();
    let to: SocketAddr = GROUP.parse().unwrap();
    let _first = stream(&net, GROUP, |number| transport_stream(number, 1));
    let other = socket(&other, to.ip(), "eth0");
    let _second = Stream::of(other.into(), to, |number| transport_stream(number, 2));
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    examine_port(&net.receiver, 5000)
}

/// Two streams of RTP with the same SSRC, IPv6.
pub(crate) fn conflicting_rtp_v6() -> Report {
    let net = Net::new();
    let _streams =
        [0, 1000].map(|offset| stream(&net, GROUP_V6, move |number| rtp(number as u16 + offset, 7)));
    examine(&net.receiver, MEMBERSHIP_V6)
}

/// Two hosts with the same address send to the group in turn.
pub(crate) fn two_hosts_with_one_address() -> Report {
    let net = Net::new();
    let frames: Vec<_> = (0..200)
        .map(|number| {
            let mut frame = net.frame("10.9.0.1", GROUP, number);
            frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, number as u8 % 2]);
            frame
        })
        .collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, MEMBERSHIP)
}

/// Sends a number of datagrams, one every 10 ms, once the doctor listens.
fn examine_stream_of(datagrams: u32, to: &str, membership: &str, options: &Options) -> Report {
    let net = Net::new();
    let to: SocketAddr = to.parse().unwrap();
    let sender = UdpSocket::from(socket(&net.sender, to.ip(), "eth0"));
    examine_while(&net.receiver, membership, options, || {
        for number in 0..datagrams {
            sender.send_to(&number.to_be_bytes(), to).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Returns the options of an examination that outlasts the datagrams by ten of the pauses that a busy machine makes.
fn long() -> Options {
    Options::default().listening(Duration::from_secs(8))
}

/// Ends a stream some time after the doctor has begun to listen.
fn examine_until_it_stops(to: &str, membership: &str, options: &Options) -> Report {
    let net = Net::new();
    let stream = Stream::to(&net.sender, to);
    examine_while(&net.receiver, membership, options, || {
        std::thread::sleep(Duration::from_millis(2500));
        drop(stream);
    })
}

/// A regular stream whose sender ends.
pub(crate) fn stopped() -> Report {
    let report = examine_until_it_stops(GROUP, MEMBERSHIP, &long());
    assert!(report.summary().starts_with("a stream has stopped; 1 warning"), "{}", report.summary());
    report
}

pub(crate) fn stopped_v6() -> Report {
    examine_until_it_stops(GROUP_V6, MEMBERSHIP_V6, &long())
}

/// Without snooping and without a querier, a stream that stops is not the fault of a switch.
#[test]
fn stream_that_stops_on_a_flat_network_is_not_the_fault_of_a_switch() {
    let options = long().with(|options| {
        options.query_interval = Duration::from_secs(3);
        options.membership_interval = Duration::from_secs(3);
    });
    let report = examine_until_it_stops(GROUP, MEMBERSHIP, &options);
    assert_only(&report, Id::StreamStopped);
    let [finding] = &report.findings[..] else { panic!("{report:#?}") };
    assert!(finding.cause.contains("its sender has stopped, or"), "{}", finding.cause);
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Stopped, Verdict::Warnings));
    assert_eq!(report.summary(), "a stream has stopped; 1 note");
}

#[test]
pub(crate) fn sender_that_ends_after_a_burst() {
    assert_received(&examine_stream_of(30, GROUP, MEMBERSHIP, &long()));
}

#[test]
pub(crate) fn one_transport_stream_on_two_paths() {
    let net = Net::new();
    let _paths = [0, 1].map(|_| stream(&net, GROUP, |number| transport_stream(number, 1)));
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

#[test]
pub(crate) fn several_participants_that_send_rtp() {
    let net = Net::new();
    let _participants = [7, 8, 9].map(|ssrc| stream(&net, GROUP, move |number| rtp(number as u16, ssrc)));
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

/// Clocks of one domain ignore those of another, so that a program that gets all of it does not see the time that it wants.
#[test]
fn several_domains_of_ptp_are_a_note() {
    let message = |domain: u8| {
        move |number: u64| {
            // The header of a message of PTP version 2: Sync.
            let mut message = vec![0; 44];
            (message[1], message[3], message[4]) = (2, 44, domain);
            message[30..32].copy_from_slice(&(number as u16).to_be_bytes());
            message
        }
    };
    for (to, membership) in
        [("224.0.1.129:320", "224.0.1.129%eth0:320"), ("[ff0e::181]:320", "[ff0e::181%eth0]:320")]
    {
        let net = Net::new();
        let to: SocketAddr = to.parse().unwrap();
        let stream = |domain| Stream::of(socket(&net.sender, to.ip(), "eth0").into(), to, message(domain));
        let _first = stream(0);
        let report = examine(&net.receiver, membership);
        assert_eq!(report.findings, [], "{report:#?}");
        assert!(format!("{:?}", report.observations).contains("PTP domain 0"), "{report:#?}");
        let _second = stream(24);
        let report = examine(&net.receiver, membership);
        let [note] = report.findings.as_slice() else { panic!("{report:#?}") };
        assert_eq!((note.id, note.severity), (Id::ConflictingStreams, mcast_doctor::Severity::Note));
        assert!(
            note.cause.contains("domain 0 from") && note.cause.contains("domain 24 from"),
            "{}",
            note.cause
        );
        assert_eq!(report.verdict(), Verdict::Healthy, "{report:#?}");
    }
}
