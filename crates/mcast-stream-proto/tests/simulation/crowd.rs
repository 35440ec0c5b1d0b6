//! Many subscribers of one stream, each of which loses datagrams of its own: how much they send, and what repairs cost.
//!
//! `MCAST_CROWD=10000` runs up to that number, and prints what `docs/scale.md` shows.

use mcast_dice::number;
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
struct Crowd {
    subscribers: usize,
    loss: f64,
    waits: bool,
    /// Statuses and NAKs per second: on average, and in the worst second.
    feedback: f64,
    most_feedback: u64,
    heartbeats: f64,
    /// Bytes of repairs per byte of data.
    repairs: f64,
    /// From publishing to delivery, of all messages and subscribers, in milliseconds.
    median: f64,
    late: f64,
    slowest: f64,
}

impl Crowd {
    fn run(subscribers: usize, loss: f64, waits: bool) -> Self {
        let down = Quality { loss, ..Quality::GOOD };
        let subscriber =
            SubscriberPlan { down, window: WINDOW, start: Start::Oldest, ..SubscriberPlan::simple() };
        let plan = Plan {
            messages: MESSAGES,
            pause: PAUSE,
            sizes: Sizes::Exactly(LENGTH),
            slots: 4_096,
            waits,
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
        Self { waits, ..Self::of(subscribers, loss, &outcome) }
    }

    fn of(subscribers: usize, loss: f64, outcome: &Outcome) -> Self {
        let seconds = outcome.published / SECOND;
        let meter = &outcome.meter;
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
            feedback: feedback.iter().sum::<u64>() as f64 / (seconds - JOINED) as f64,
            most_feedback: feedback.into_iter().max().unwrap_or_default(),
            heartbeats: meter.heartbeats as f64 * SECOND as f64 / outcome.published as f64,
            repairs: meter.repair_bytes as f64 / meter.data_bytes as f64,
            median: at(500),
            late: at(999),
            slowest: at(1_000),
        }
    }

    fn print(&self) {
        println!(
            "| {} | {} | {} % | {:.0} | {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.0} |",
            if self.waits { "slowest" } else { "none" },
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
    let most = number("MCAST_CROWD").unwrap_or(300) as usize;
    let counts = [1, 10, 100, 300, 1_000, 3_000, 10_000].into_iter().filter(|count| *count <= most);
    for waits in [true, false] {
        for loss in [0.0, 0.01, 0.05] {
            for subscribers in counts.clone() {
                let crowd = Crowd::run(subscribers, loss, waits);
                crowd.print();
                let Crowd { most_feedback, heartbeats, .. } = crowd;
                // Each subscriber reports each quarter of its window, if the publisher waits for it.
                let quarters = if waits { SECOND / PAUSE * 4 / WINDOW as u64 + 1 } else { 0 };
                let limit = 220 + subscribers as u64 * quarters;
                assert!(
                    most_feedback <= limit,
                    "{subscribers}, {loss}: {most_feedback} statuses and NAKs per second"
                );
                assert!(heartbeats <= 220.0, "{subscribers}, {loss}: {heartbeats} heartbeats per second");
            }
        }
    }
}
