//! Any bytes as a message of perf and ping, and what comes of those that are one.

#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_probe::wire::{Message, SessionId, UnixNanos};
use mcast_probe::{Origin, Pings, Reports, Sessions};

fuzz_target!(|messages: Vec<&[u8]>| {
    let address = IpAddr::from([10, 0, 0, 1]);
    let (mut sessions, mut reports) = (Sessions::new(1), Reports::new());
    let mut pings = Pings::new(Duration::from_secs(1));
    for (step, bytes) in messages.into_iter().enumerate() {
        let now = Duration::from_millis(step as u64 * 100);
        let Ok((header, message)) = Message::decode(bytes) else { continue };
        let origin = Origin { source: address, interface: 1, session: SessionId(header.session.0 % 4) };
        pings.ask(now);
        match message {
            Message::Opening(settings) => sessions.open(origin, &header, &settings, now),
            Message::Closing(settings) => drop(sessions.close(origin, &header, &settings, now)),
            Message::Report(report) => drop(reports.record(address, *report)),
            Message::Answer(answer) => {
                pings.answered(address, header.sequence % 8, &answer, now);
            }
            _ => sessions.data(origin, &header, bytes.len(), UnixNanos(header.time.0 ^ 1), now),
        }
        for (_, session) in sessions.take_ended(now, Duration::from_secs(1)) {
            let totals = session.totals();
            assert_eq!(totals.sent, totals.received + totals.lost);
        }
    }
});
