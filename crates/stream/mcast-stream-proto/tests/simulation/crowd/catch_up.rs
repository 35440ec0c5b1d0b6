//! Many subscribers that read the log of a publisher: how long it takes, how often they ask, and what it does to the live
//! stream.

use mcast_sim::number;
use mcast_stream_proto::side_channel::{AdmissionLimits, SharedPace};

use super::side_channel::{LINK, Outcome, SideChannel};
use crate::plan::{MILLISECOND, SECOND};

/// What the log has at the start: messages of 1,000 bytes.
const MESSAGES: u64 = 1_000;
/// Subscribers start within this time: those that search a server wait for a random part of it.
const SPREAD: u64 = SECOND / 2;

/// How subscribers and network are, and what must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) spread: u64,
    pub(super) messages: u64,
    pub(super) round_trip: u64,
    /// Subscribers on each host.
    pub(super) per_host: usize,
    /// One in this many has a link of 1 Mbit/s.
    pub(super) slow: Option<usize>,
    /// One in this many vanishes while it waits or reads.
    pub(super) vanishes: Option<usize>,
    /// The server is gone for 2 s from then on, and forgets everybody.
    pub(super) restarts_at: Option<u64>,
    /// The memory for the live stream, in bytes.
    pub(super) backlog: usize,
}

const PLAIN: Case = Case {
    name: "all at once",
    spread: SPREAD,
    messages: MESSAGES,
    round_trip: MILLISECOND / 5,
    per_host: 1,
    slow: None,
    vanishes: None,
    restarts_at: None,
    backlog: 64 << 20,
};
const CASES: [Case; 6] = [
    PLAIN,
    Case { name: "round trip of 20 ms", round_trip: 20 * MILLISECOND, ..PLAIN },
    Case { name: "20 on each host", per_host: 20, ..PLAIN },
    Case { name: "10 % have links of 1 Mbit/s", slow: Some(10), ..PLAIN },
    Case { name: "10 % vanish", vanishes: Some(10), ..PLAIN },
    Case { name: "the server restarts", restarts_at: Some(SECOND), ..PLAIN },
];

impl Case {
    fn run(self, subscribers: usize) -> Outcome {
        let outcome = SideChannel::run(self, subscribers);
        self.print(subscribers, &outcome);
        self.judge(subscribers, &outcome);
        outcome
    }

    fn print(self, subscribers: usize, outcome: &Outcome) {
        let seconds = |time: u64| time as f64 / SECOND as f64;
        println!(
            "| {} | {subscribers} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {:.1} |",
            self.name,
            Self::least_time(outcome),
            seconds(outcome.finished_at(500)),
            seconds(outcome.finished_at(1_000)),
            outcome.attempts.iter().sum::<u64>() as f64 / subscribers as f64,
            outcome.attempts.iter().max().unwrap(),
            outcome.connections_per_second.values().max().unwrap(),
            outcome.slowest_live as f64 / MILLISECOND as f64,
        );
    }

    /// Returns the seconds in which the server sends the bytes that it sent.
    fn least_time(outcome: &Outcome) -> f64 {
        outcome.bytes as f64 / SharedPace::RATE.get() as f64
    }

    /// Everybody has everything, in the time that the bytes take, after few attempts, and the live stream flows. That
    /// nothing is missing and nothing comes twice is checked as it is delivered.
    fn judge(self, subscribers: usize, outcome: &Outcome) {
        let context = format!("{} of {subscribers}", self.name);
        let have_places = self.per_host <= 20;
        assert_eq!(
            outcome.finished.len() + outcome.vanished,
            subscribers,
            "{context}: not all have everything"
        );
        let last = outcome.finished_at(1_000) as f64 / SECOND as f64;
        // Slow links keep a part of the turns.
        let slow = self.slow.map_or(0.0, |every| {
            let bytes = outcome.longest_log as f64;
            (subscribers.div_ceil(every) as f64 / AdmissionLimits::HISTORY.turns as f64).ceil() * bytes
                / 125e3
        });
        let absent = self.restarts_at.map_or(0.0, |_| 5.0);
        // Few turns of an address, each for some round trips.
        let turns = subscribers.div_ceil(AdmissionLimits::HISTORY.turns_per_address) as f64;
        let far = if have_places { 0.0 } else { turns * 6.0 * self.round_trip as f64 / SECOND as f64 };
        // A subscriber that is sent away comes back after at most 10 s and a random eighth of that, also when nobody waits any more.
        let away = if subscribers > 500 { 12.0 } else { 2.0 };
        let limit = 1.2 * Self::least_time(outcome) + slow * 1.2 + absent + far + away + 4.0;
        assert!(last <= limit, "{context}: {last} s, limit {limit} s");
        // It asks often while few wait, and every 10 s while many do; more often where its address has too many.
        let pause = if have_places { 1.0 } else { 0.25 };
        let once = 60 + (last / pause) as u64;
        for (attempts, turns) in outcome.attempts.iter().zip(&outcome.turns) {
            let limit = once * turns.max(&1);
            assert!(*attempts <= limit, "{context}: {attempts} attempts for {turns} turns, limit {limit}");
        }
        let busiest = *outcome.connections_per_second.values().max().unwrap();
        // Connections that are refused, because an address has too many or the server is gone, are repeated soon at first.
        let each = match (have_places, self.restarts_at) {
            (false, _) => 6,
            (true, Some(_)) => 4,
            (true, None) => 2,
        };
        let limit = each * subscribers as u64 + 500;
        assert!(busiest <= limit, "{context}: {busiest} connections in a second, limit {limit}");
        assert!(outcome.most_connections <= AdmissionLimits::HISTORY.connections, "{context}");
        // A burst of the side channel is ahead of a datagram in the queue of the link.
        assert!(outcome.slowest_live <= 12 * MILLISECOND, "{context}: {} ns", outcome.slowest_live);
        let waste = outcome.bytes as f64 / outcome.delivered_bytes as f64;
        assert!(waste <= 1.05, "{context}: {waste} bytes sent for each that was needed");
    }
}

#[test]
fn a_crowd_reads_the_log_in_the_time_that_its_bytes_take() {
    const { assert!(SharedPace::RATE.get() < LINK) };
    let most = number("MCAST_CROWD").unwrap_or(300) as usize;
    for case in CASES {
        for subscribers in [10, 100, 300, 1_000, 3_000, 10_000].into_iter().filter(|count| *count <= most) {
            case.run(subscribers);
        }
    }
}

/// Subscribers behind a NAT have one address for the server.
#[test]
fn a_crowd_behind_one_address_gets_there() {
    for (round_trip, subscribers) in
        [(MILLISECOND / 5, 300), (20 * MILLISECOND, 300), (300 * MILLISECOND, 30)]
    {
        Case { name: "behind one address", per_host: usize::MAX, round_trip, ..PLAIN }.run(subscribers);
    }
}

/// What a subscriber discards of the live stream comes from the log as well.
#[test]
fn a_crowd_without_memory_for_the_live_stream_gets_there() {
    Case { name: "500 bytes of memory", backlog: 500, ..PLAIN }.run(300);
}

/// Nobody holds a turn for longer than 10 s while others wait.
#[test]
fn long_logs_are_read_by_turns() {
    let case = Case { name: "log of 50 MB", messages: 50_000, spread: 0, ..PLAIN };
    let outcome = case.run(40);
    assert!(outcome.turns.iter().any(|turns| *turns > 1), "{:?}", outcome.turns);
}
