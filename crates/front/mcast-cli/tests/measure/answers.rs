//! Replies to strangers: none, or at most as long as the requests.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mcast_lab::Host;
use mcast_measure::wire::{MessageType, ProbeRequest, SessionHeader, SessionId, SessionSettings, UnixNanos};

use crate::hosts::{COUNTS, GROUP, numbers, object, perf_recv, perf_send, responder};
use crate::support::Lan;

fn socket(host: &Host) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

fn header(kind: MessageType, sequence: u64) -> SessionHeader {
    SessionHeader { kind, stream: 0, session: SessionId(99), sequence, time: UnixNanos(1) }
}

/// All that comes until it has been silent for a while, and how long that took.
fn answers(socket: &UdpSocket) -> (Vec<Vec<u8>>, Duration) {
    let (start, mut answers, mut buffer) = (Instant::now(), Vec::new(), [0; 2_048]);
    while let Ok(length) = socket.recv(&mut buffer) {
        answers.push(buffer[..length].to_vec());
    }
    (answers, start.elapsed())
}

#[test]
fn hostile_datagrams_are_ignored_and_counted() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--json"]);
    let stranger = socket(&lan.a);
    let mut garbage: Vec<Vec<u8>> = vec![vec![], b"hello".to_vec(), vec![0xff; 1_400], b"mcp".to_vec()];
    // Messages that end too early, of no kind, with impossible numbers.
    for kind in 0..=255 {
        let mut bytes = header(MessageType::Opening, 0).encode().to_vec();
        bytes[4] = kind;
        garbage.push(bytes);
    }
    garbage.retain(|bytes| bytes.get(4) != Some(&(MessageType::Data as u8)));
    let mut huge = header(MessageType::Data, 0).encode();
    huge[16] = 0xff;
    garbage.push(huge.to_vec());
    for bytes in &garbage {
        stranger.send_to(bytes, GROUP).unwrap();
    }
    perf_send(&lan.a, &[GROUP, "-c", "200", "--rate", "5kpps"]).end().succeeded();
    let ended = receiver.end().succeeded();
    assert_eq!(numbers(&object(&ended), COUNTS), [200, 200, 0, 0, 0], "{ended:?}");
    assert!(ended.stderr.contains("ignored: not from mcast perf send"), "{ended:?}");
    assert!(answers(&stranger).0.is_empty());
}

#[test]
fn reports_are_limited_in_rate_and_length() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--repeat"]);
    let stranger = socket(&lan.a);
    stranger.send_to(&header(MessageType::Data, 0).encode(), GROUP).unwrap();
    let closing = SessionSettings::default().closing(header(MessageType::Closing, 1));
    for _ in 0..500 {
        stranger.send_to(&closing, GROUP).unwrap();
    }
    let (answers, time) = answers(&stranger);
    let most = 10.0 + 20.0 * (time.as_secs_f64() + 1.0);
    assert!(!answers.is_empty() && (answers.len() as f64) < most, "{} in {time:?}", answers.len());
    assert!(answers.iter().all(|answer| answer.len() <= closing.len()));
    let ended = receiver.signalled(libc::SIGINT);
    assert!(ended.stderr.contains("(rate limit)"), "{ended:?}");
}

#[test]
fn pings_without_the_right_token_are_not_answered() {
    let lan = Lan::new();
    let partner = perf_recv(&lan.b, &[GROUP, "--reply", "--repeat"]);
    let stranger = socket(&lan.a);
    for token in 0..100_u64 {
        let mut ping = header(MessageType::Ping, token).encode().to_vec();
        ping.extend(token.to_be_bytes());
        stranger.send_to(&ping, GROUP).unwrap();
    }
    assert!(answers(&stranger).0.is_empty());
    partner.signalled(libc::SIGINT);
}

#[test]
fn probes_are_answered_at_a_limited_rate_and_at_no_greater_length() {
    let lan = Lan::new();
    let running = responder(&lan.b, &[GROUP]);
    let stranger = socket(&lan.a);
    let probe = |length| {
        ProbeRequest { hop_limit: 1, by_unicast: false, short_reply: false }
            .encode(header(MessageType::Probe, 0), length)
    };
    let start = Instant::now();
    for _ in 0..2_000 {
        stranger.send_to(&probe(100), GROUP).unwrap();
    }
    stranger.send_to(&probe(0)[..55], GROUP).unwrap();
    let (answers, _) = answers(&stranger);
    let most = 50.0 + 250.0 * start.elapsed().as_secs_f64();
    assert!(answers.len() >= 50 && (answers.len() as f64) <= most, "{}", answers.len());
    assert!(answers.iter().all(|answer| answer.len() == 100));
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130));
    assert!(ended.stderr.contains("(rate limit)") && ended.stderr.contains("1 not from"), "{ended:?}");
}
