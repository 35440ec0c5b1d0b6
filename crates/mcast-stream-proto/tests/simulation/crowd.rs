//! Many subscribers of one stream, each of which loses datagrams of its own: how much they send, and what repairs cost.
//!
//! `MCAST_CROWD=10000` runs up to that number, and prints what `docs/scale.md` shows.

use mcast_dice::number;
use mcast_stream_proto::publisher::Fec;
use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{MILLISECOND, Plan, SECOND, Sizes, SubscriberPlan};
use crate::world::{Outcome, World};

/// Messages of 1,000 bytes, 200 per second, for 10 s.
const MESSAGES: u64 = 2_000;
const PAUSE: u64 = 5 * MILLISECOND;
const LENGTH: usize = 1_000;
/// In datagrams.
const WINDOW: usize = 1_024;
/// In the first seconds subscribers join.
const JOINED: u64 = 3;

/// What was measured.
#[derive(Debug)]
struct Crowd {
    subscribers: usize,
    loss: f64,
    waits: bool,
    fec: Fec,
    /// Statuses and NAKs per second: on average, and in the worst second.
    feedback: f64,
    most_feedback: u64,
    heartbeats: f64,
    /// Bytes of repairs and of parity per byte of data.
    repairs: f64,
    /// From publishing to delivery, of all messages and subscribers, in milliseconds.
    median: f64,
    late: f64,
    slowest: f64,
}

impl Crowd {
    fn run(subscribers: usize, loss: f64, waits: bool, fec: Fec) -> Self {
        let down = Quality { loss, ..Quality::GOOD };
        let subscriber =
            SubscriberPlan { down, window: WINDOW, start: Start::Oldest, ..SubscriberPlan::simple() };
        let plan = Plan {
            messages: MESSAGES,
            pause: PAUSE,
            sizes: Sizes::Exactly(LENGTH),
            slots: 4_096,
            waits,
            fec,
            good_from: 60 * SECOND,
            ..Plan::simple(vec![subscriber; subscribers])
        };
        let outcome = World::run(&plan).unwrap();
        assert!(outcome.evicted.is_empty(), "{subscribers} subscribers, {loss}: {:?}", outcome.evicted);
        for (index, each) in outcome.subscribers.iter().enumerate() {
            assert_eq!(
                (each.messages, each.lost),
                (MESSAGES, 0),
                "{subscribers}, {loss}: subscriber {index}"
            );
        }
        Self { waits, fec, ..Self::of(subscribers, loss, &outcome) }
    }

    fn of(subscribers: usize, loss: f64, outcome: &Outcome) -> Self {
        let seconds = outcome.published / SECOND;
        let meter = &outcome.meter;
        // Until the end, after which subscribers confirm it.
        let in_between = meter.feedback.iter().filter(|(at, _)| (JOINED..seconds).contains(*at));
        let feedback: Vec<u64> = in_between.map(|(_, count)| *count).collect();
        let mut latencies: Vec<u64> =
            outcome.subscribers.iter().flat_map(|each| each.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        let at = |part: usize| latencies[(latencies.len() - 1) * part / 1_000] as f64 / MILLISECOND as f64;
        Self {
            subscribers,
            loss,
            waits: true,
            fec: Fec::Off,
            feedback: feedback.iter().sum::<u64>() as f64 / (seconds - JOINED) as f64,
            most_feedback: feedback.into_iter().max().unwrap_or_default(),
            heartbeats: meter.heartbeats as f64 * SECOND as f64 / outcome.finished as f64,
            repairs: (outcome.statistics.repair_bytes + outcome.statistics.parity_bytes) as f64
                / meter.data_bytes as f64,
            median: at(500),
            late: at(999),
            slowest: at(1_000),
        }
    }

    fn print(&self) {
        println!(
            "| {} | {} | {} | {} % | {:.0} | {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.0} |",
            if self.waits { "slowest" } else { "none" },
            if self.fec == Fec::Off { "off" } else { "auto" },
            self.subscribers,
            self.loss * 100.0,
            self.feedback,
            self.most_feedback,
            self.heartbeats,
            self.repairs,
            self.median,
            self.late,
            self.slowest,
        );
    }
}

#[test]
fn a_crowd_sends_no_more_than_a_few_and_misses_nothing() {
    let most = number("MCAST_CROWD").unwrap_or(100) as usize;
    let counts = [1, 10, 100, 300, 1_000, 3_000, 10_000].into_iter().filter(|count| *count <= most);
    let cases = [
        (true, Fec::Off, &[0.0, 0.01, 0.05][..]),
        (true, Fec::Auto, &[0.01, 0.05]),
        (false, Fec::Off, &[0.0]),
    ];
    for (waits, fec, losses) in cases {
        for (loss, subscribers) in
            losses.iter().flat_map(|loss| counts.clone().map(move |count| (*loss, count)))
        {
            let crowd = Crowd::run(subscribers, loss, waits, fec);
            crowd.print();
            let Crowd { most_feedback, heartbeats, repairs, .. } = crowd;
            // Each subscriber reports each quarter of its window, if the publisher waits for it.
            let quarters = if waits { SECOND / PAUSE * 4 / WINDOW as u64 + 1 } else { 0 };
            let limit = 220 + subscribers as u64 * quarters;
            assert!(
                most_feedback <= limit,
                "{crowd:?}: {most_feedback} statuses and NAKs per second, limit {limit}"
            );
            assert!(heartbeats <= 220.0, "{crowd:?}");
            assert!(fec == Fec::Off || repairs <= 1.0, "{crowd:?}");
        }
    }
}
