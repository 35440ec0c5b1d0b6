//! Decodes arbitrary bytes as messages of perf and ping, and feeds valid ones to the state machines.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_measure::wire::{SessionId, SessionSettings, UnixNanos};
use mcast_measure::{
    ClockTime, Inquiry, MessageArrival, PerfSession, PingPong, PingPongLimit, PingSchedule, Pings, ProbeCase,
    ProbeSession, Replier, ReplierHost, ReplierKind, Sessions, SystemCounters,
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

fn ask(inquiry: &mut impl Inquiry, now: ClockTime, bytes: &[u8], source: SocketAddr) {
    while inquiry.poll_transmit(now, UnixNanos(now.0)).is_some() {}
    inquiry.handle_datagram(now, bytes, source, None);
    while inquiry.poll_event().is_some() {}
}

fuzz_target!(|messages: Vec<&[u8]>| {
    let source = SocketAddr::from(([10, 0, 0, 1], 5_000));
    let mut repliers = KINDS.map(|kind| {
        let sessions = Sessions::new(1, 1, Duration::from_secs(1), SystemCounters::default());
        Replier::new(kind, 1, 9, sessions)
    });
    let mut perf = PerfSession::new(SessionId(0), SessionSettings::default(), [0, 1]);
    let mut game = PingPong::new(SessionId(0), 64, 1, PingPongLimit::Count(9), None);
    let case = ProbeCase { size: 64, hop_limit: 1 };
    let second = Duration::from_secs(1);
    let schedule =
        PingSchedule { every: second, wait: second, count: Some(9), timeout: None, expected: Some(1) };
    let mut pings = Pings::new(SessionId(0), case, schedule);
    let mut path = ProbeSession::path_test(SessionId(0), vec![case; 3]);
    for (step, bytes) in messages.into_iter().enumerate() {
        let now = ClockTime(0) + Duration::from_millis(step as u64 * 100);
        let time = UnixNanos(now.0);
        path.handle_sent(now, step % 3);
        path.handle_datagram(now, bytes, source.ip());
        ask(&mut pings, now, bytes, source);
        ask(&mut perf, now, bytes, source);
        ask(&mut game, now, bytes, source);
        let (by_unicast, length) = (step % 2 == 1, bytes.len());
        let arrival = MessageArrival { source, interface: 1, hop_limit: None, by_unicast, time, length };
        for replier in &mut repliers {
            let reply = replier.handle_datagram(now, bytes, &arrival, &mut Host);
            assert!(reply.is_none_or(|reply| reply.len() <= bytes.len()));
            for ended in replier.sessions().take_ended(now, SystemCounters::default) {
                let totals = ended.session.totals();
                assert_eq!(totals.sent, totals.received + totals.lost);
            }
        }
    }
});
