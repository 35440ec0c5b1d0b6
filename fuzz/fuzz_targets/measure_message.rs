//! Decodes arbitrary bytes as messages of perf and ping, and feeds valid ones to the state machines.

#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_measure::wire::{Message, SessionId, UnixNanos};
use mcast_measure::{ProbeCase, ProbeSession, ReceiverReports, SessionKey, Sessions};

fuzz_target!(|messages: Vec<&[u8]>| {
    let address = IpAddr::from([10, 0, 0, 1]);
    let (mut sessions, mut reports) = (Sessions::new(1), ReceiverReports::new());
    let case = ProbeCase { size: 64, hop_limit: 1 };
    let mut pings = ProbeSession::ping(SessionId(0), case, Duration::from_secs(1));
    let mut path = ProbeSession::path_test(SessionId(0), vec![case; 3]);
    for (step, bytes) in messages.into_iter().enumerate() {
        let now = Duration::from_millis(step as u64 * 100);
        let Ok((header, message)) = Message::decode(bytes) else { continue };
        let key = SessionKey { source: address, interface: 1, session: SessionId(header.session.0 % 4) };
        pings.record_probe(0, now);
        path.record_probe(step % 3, now);
        pings.record(bytes, address, step % 2 == 1, now);
        path.record(bytes, address, false, now);
        match message {
            Message::Opening(settings) => sessions.open(key, &header, &settings, now),
            Message::Closing(settings) => drop(sessions.close(key, &header, &settings, now)),
            Message::Report(report) => drop(reports.record(address, *report)),
            _ => sessions.data(key, &header, bytes.len(), UnixNanos(header.time.0 ^ 1), now),
        }
        for (_, session) in sessions.take_ended(now, Duration::from_secs(1)) {
            let totals = session.totals();
            assert_eq!(totals.sent, totals.received + totals.lost);
        }
    }
});
