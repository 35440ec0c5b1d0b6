//! Decodes arbitrary bytes as messages of perf and ping, and feeds valid ones to the state machines.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_measure::wire::{SessionId, UnixNanos};
use mcast_measure::{
    ClockTime, MessageArrival, PingPong, PingPongLimit, ProbeCase, ProbeSession, ReceiverReports, Replier,
    ReplierHost, ReplierKind, Sessions, SystemCounters,
};

const KINDS: [ReplierKind; 3] = [
    ReplierKind::Perf { pings: false },
    ReplierKind::Perf { pings: true },
    ReplierKind::Probes { examinations: true },
];

struct Host;

impl ReplierHost for Host {
    fn counters(&mut self) -> SystemCounters {
        SystemCounters::default()
    }

    fn examine(&mut self, _session: SessionId) -> (Option<u64>, String) {
        (Some(1), "finding".into())
    }
}

fuzz_target!(|messages: Vec<&[u8]>| {
    let source = SocketAddr::from(([10, 0, 0, 1], 5_000));
    let mut repliers = KINDS.map(|kind| {
        let sessions = Sessions::new(1, 1, Duration::from_secs(1), SystemCounters::default());
        Replier::new(kind, 1, 9, sessions)
    });
    let mut reports = ReceiverReports::new(SessionId(0));
    let mut game = PingPong::new(SessionId(0), 64, 1, PingPongLimit::Count(9), None);
    let case = ProbeCase { size: 64, hop_limit: 1 };
    let mut pings = ProbeSession::ping(SessionId(0), case, Duration::from_secs(1));
    let mut path = ProbeSession::path_test(SessionId(0), vec![case; 3]);
    for (step, bytes) in messages.into_iter().enumerate() {
        let now = Duration::from_millis(step as u64 * 100);
        let time = UnixNanos(now.as_nanos() as u64);
        pings.record_probe(0, now);
        path.record_probe(step % 3, now);
        pings.record(bytes, source.ip(), step % 2 == 1, now);
        path.record(bytes, source.ip(), false, now);
        reports.record(source.ip(), bytes);
        game.poll_transmit(ClockTime(time.0), time);
        game.handle_datagram(ClockTime(time.0), bytes, source);
        let (by_unicast, length) = (step % 2 == 1, bytes.len());
        let arrival = MessageArrival { source, interface: 1, hop_limit: None, by_unicast, time, length };
        for replier in &mut repliers {
            let reply = replier.handle_datagram(ClockTime(time.0), bytes, &arrival, &mut Host);
            assert!(reply.is_none_or(|reply| reply.len() <= bytes.len()));
            for ended in replier.sessions().take_ended(ClockTime(time.0), SystemCounters::default) {
                let totals = ended.session.totals();
                assert_eq!(totals.sent, totals.received + totals.lost);
            }
        }
    }
});
