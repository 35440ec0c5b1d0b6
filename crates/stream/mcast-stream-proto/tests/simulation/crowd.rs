//! Many subscribers of one stream: how much they send, what repairs cost, and when messages arrive.
//!
//! `MCAST_CROWD=10000` runs up to that number, and prints the table of `docs/scale.md`; `MCAST_CROWD_CASE`
//! selects the cases whose name contains it. The default stays small.

mod catch_up;
mod side_channel;

use mcast_sim::number;
use mcast_stream_proto::publisher::Fec;
use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{MILLISECOND, NetworkPlan, SECOND, Sizes, SubscriberPlan};
use crate::world::{Outcome, World};

/// Messages of 1,000 bytes, 200 per second, for 10 s.
const MESSAGES: u64 = 2_000;
const PAUSE: u64 = 5 * MILLISECOND;
const LENGTH: usize = 1_000;
/// In datagrams.
const WINDOW: usize = 1_024;
const WINDOWS_PER_SECOND: f64 = SECOND as f64 / PAUSE as f64 / WINDOW as f64;
/// The NAKs of all subscribers together: this many per second, or one per `DATAGRAMS_PER_NAK` datagrams if that is more, and
/// these at once by each.
const NAKS_PER_SECOND: u64 = 200;
const DATAGRAMS_PER_NAK: u64 = 20;
const NAKS_AT_ONCE: u64 = 4;
/// When those who join in the middle begin, and when all others have joined, in seconds.
const JOINS: u64 = 3;

/// A network with many subscribers, and what must hold in it.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    /// The share of datagrams that is lost on the way to each subscriber, and on the way to all.
    loss: f64,
    shared_loss: f64,
    /// All join within a second, while messages are published.
    joins_late: bool,
    waits: bool,
    fec: Fec,
    /// The most statuses and NAKs of all subscribers per second, and in addition those of each per window that passes.
    feedback: u64,
    feedback_per_window: f64,
    /// The most bytes of repairs and parity per byte of data.
    repairs: f64,
    /// The longest time until 99.9 % of the messages are delivered, in milliseconds.
    late: f64,
}

const PLAIN: Case = Case {
    name: "no loss",
    loss: 0.0,
    shared_loss: 0.0,
    joins_late: false,
    waits: true,
    fec: Fec::Crowd,
    feedback: 130,
    feedback_per_window: 3.0,
    repairs: 0.0,
    late: 1.0,
};
const LOSSY: Case =
    Case { name: "1 % lost by each", loss: 0.01, feedback: 330, repairs: 1.0, late: 100.0, ..PLAIN };
const CASES: [Case; 7] = [
    PLAIN,
    Case { name: "no loss, flow none", waits: false, feedback_per_window: 0.0, ..PLAIN },
    Case { name: "all join within 1 s", joins_late: true, ..PLAIN },
    Case {
        name: "1 % lost by all",
        shared_loss: 0.01,
        feedback_per_window: 4.0,
        repairs: 0.1,
        late: 1_000.0,
        ..PLAIN
    },
    LOSSY,
    Case { name: "1 % lost by each, fec auto", fec: Fec::Auto, ..LOSSY },
    Case {
        name: "1 % lost by each, fec off",
        fec: Fec::Off,
        feedback: 530,
        repairs: 3.0,
        late: 3_000.0,
        ..LOSSY
    },
];

/// What was measured.
#[derive(Debug)]
struct Crowd {
    case: Case,
    subscribers: usize,
    /// Statuses and NAKs per second after the first seconds: on average, and in the worst second.
    feedback: f64,
    most_feedback: u64,
    /// The most in one of the first seconds.
    joining: u64,
    heartbeats: f64,
    /// NAKs per second after the first seconds: in the worst second.
    most_naks: u64,
    /// Bytes of repairs and of parity per byte of data.
    repairs: f64,
    /// From publishing to delivery, of all messages and subscribers, in milliseconds.
    median: f64,
    late: f64,
    slowest: f64,
}

impl Crowd {
    fn run(case: Case, subscribers: usize) -> Self {
        let down = Quality { loss: case.loss, ..Quality::GOOD };
        let subscriber =
            SubscriberPlan { down, window: WINDOW, start: Start::Oldest, ..SubscriberPlan::simple() };
        let mut subscribers = vec![subscriber; subscribers];
        let count = subscribers.len() as u64;
        for (index, subscriber) in (0..count).zip(&mut subscribers).filter(|_| case.joins_late) {
            (subscriber.joins, subscriber.start) = (SECOND + index * SECOND / count, Start::Now);
        }
        let plan = NetworkPlan {
            messages: MESSAGES,
            pause: PAUSE,
            sizes: Sizes::Exactly(LENGTH),
            slots: 4_096,
            trunk: Quality { loss: case.shared_loss, ..Quality::FREE },
            waits: case.waits,
            fec: case.fec,
            good_from: 60 * SECOND,
            ..NetworkPlan::simple(subscribers)
        };
        let outcome = World::run(&plan).unwrap();
        let crowd = Self::of(case, &outcome);
        crowd.print();
        crowd.judge(&outcome);
        crowd
    }

    fn of(case: Case, outcome: &Outcome) -> Self {
        let seconds = outcome.published / SECOND;
        let meter = &outcome.meter;
        // Until the end, after which subscribers confirm it.
        let in_time = |at: &u64| (JOINS..seconds).contains(at);
        let in_between = meter.feedback.iter().filter(|(at, _)| in_time(at));
        let feedback: Vec<u64> = in_between.map(|(_, count)| *count).collect();
        let joining = meter.feedback.iter().filter(|(at, _)| **at < JOINS).map(|(_, count)| *count);
        let mut latencies: Vec<u64> =
            outcome.subscribers.iter().flat_map(|each| each.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        let at = |part: usize| latencies[(latencies.len() - 1) * part / 1_000] as f64 / MILLISECOND as f64;
        Self {
            case,
            subscribers: outcome.subscribers.len(),
            feedback: feedback.iter().sum::<u64>() as f64 / (seconds - JOINS) as f64,
            most_feedback: feedback.into_iter().max().unwrap_or_default(),
            joining: joining.max().unwrap_or_default(),
            heartbeats: meter.heartbeats as f64 * SECOND as f64 / outcome.finished as f64,
            most_naks: meter
                .naks
                .iter()
                .filter(|(at, _)| in_time(at))
                .map(|(_, count)| *count)
                .max()
                .unwrap_or(0),
            repairs: (outcome.statistics.repair_bytes + outcome.statistics.parity_bytes) as f64
                / meter.data_bytes as f64,
            median: at(500),
            late: at(999),
            slowest: at(1_000),
        }
    }

    /// All that was promised arrives, for what was promised that it costs.
    fn judge(&self, outcome: &Outcome) {
        let Self { case, subscribers, .. } = *self;
        assert!(outcome.evicted.is_empty(), "{self:?}: evicted {:?}", outcome.evicted);
        // Those who join late begin with the next message.
        let least = if case.joins_late { MESSAGES - JOINS * SECOND / PAUSE } else { MESSAGES };
        for (index, each) in outcome.subscribers.iter().enumerate() {
            assert!(
                (least..=MESSAGES).contains(&each.messages),
                "{self:?}: subscriber {index}: {}",
                each.messages
            );
            assert_eq!(each.lost, 0, "{self:?}: subscriber {index}");
        }
        let limit = case.feedback as f64 + subscribers as f64 * case.feedback_per_window * WINDOWS_PER_SECOND;
        assert!(self.feedback <= limit, "{self:?}: limit {limit}");
        // Those who joined together use up their windows together.
        let limit = case.feedback + subscribers as u64 * u64::from(case.waits) * 2;
        assert!(self.most_feedback <= limit, "{self:?}: limit {limit}");
        let limit = 220 + 4 * subscribers as u64;
        assert!(self.joining <= limit, "{self:?}: limit {limit}");
        assert!(self.heartbeats <= 220.0, "{self:?}");
        judge_naks(outcome, subscribers);
        assert!(case.fec == Fec::Off || self.most_naks <= NAKS_PER_SECOND, "{self:?}");
        // Each datagram is lost by many of 10,000, and its repair by some.
        let (repairs, late) = match subscribers {
            ..=1_000 => (case.repairs, case.late),
            _ => (2.0 * case.repairs, 5.0 * case.late),
        };
        assert!(self.repairs <= repairs, "{self:?}");
        assert!(self.late <= late, "{self:?}");
    }

    fn print(&self) {
        println!(
            "| {} | {} | {:.0} | {} | {} | {:.2} | {:.1} | {:.0} | {:.0} |",
            self.case.name,
            self.subscribers,
            self.feedback,
            self.most_feedback,
            self.joining,
            self.repairs,
            self.median,
            self.late,
            self.slowest,
        );
    }
}

/// However much is lost, the NAKs of all subscribers together are bounded by time and by what is sent.
fn judge_naks(outcome: &Outcome, subscribers: usize) {
    let seconds = outcome.finished.div_ceil(SECOND);
    let datagrams = outcome.meter.data_datagrams + outcome.statistics.group_repairs;
    let limit = (seconds * NAKS_PER_SECOND).max(datagrams / DATAGRAMS_PER_NAK)
        + subscribers.max(16) as u64 * NAKS_AT_ONCE;
    let naks: u64 = outcome.meter.naks.values().sum();
    assert!(naks <= limit, "{naks} NAKs of {subscribers} subscribers in {seconds} s, limit {limit}");
}

#[test]
fn a_crowd_sends_no_more_than_a_few_and_misses_nothing() {
    let most = number("MCAST_CROWD").unwrap_or(300) as usize;
    let only = std::env::var("MCAST_CROWD_CASE").unwrap_or_default();
    let counts = [10, 100, 300, 1_000, 3_000, 10_000].into_iter().filter(|count| *count <= most);
    for case in CASES.into_iter().filter(|case| case.name.contains(&only)) {
        for subscribers in counts.clone() {
            let crowd = Crowd::run(case, subscribers);
            assert_eq!(crowd.subscribers, subscribers);
        }
    }
}

/// The losses of a large group need more NAKs than it may send together: a subscriber whose gaps fill its window has them
/// repaired before the publisher would evict it.
#[test]
fn a_subscriber_of_a_lossy_crowd_is_not_evicted() {
    let down = Quality { loss: 0.05, ..Quality::GOOD };
    let subscriber = SubscriberPlan { down, window: 256, start: Start::Oldest, ..SubscriberPlan::simple() };
    let plan = NetworkPlan {
        messages: 1_000,
        pause: PAUSE,
        slots: 4_096,
        good_from: 60 * SECOND,
        ..NetworkPlan::simple(vec![subscriber; 300])
    };
    let outcome = World::run(&plan).unwrap();
    assert!(outcome.evicted.is_empty(), "evicted: {:?}", outcome.evicted);
    assert!(outcome.slowest < 4 * SECOND, "the last message arrived after {} ns", outcome.slowest);
}

/// Where a crowd loses more than it may send NAKs for, messages would wait for these: it gets parity, although far less than a
/// quarter of all datagrams must be repaired.
#[test]
fn messages_of_a_crowd_do_not_wait_for_its_allowance_of_naks() {
    for (subscribers, rate, seconds) in [(12, 2_000, 5), (20, 20_000, 2)] {
        let down = Quality { loss: 0.01, ..Quality::GOOD };
        let subscriber =
            SubscriberPlan { down, window: 8_192, start: Start::Oldest, ..SubscriberPlan::simple() };
        let plan = NetworkPlan {
            messages: rate * seconds,
            pause: SECOND / rate,
            sizes: Sizes::Exactly(200),
            slots: 16_384,
            flush: true,
            fec: Fec::Crowd,
            good_from: 60 * SECOND,
            ..NetworkPlan::simple(vec![subscriber; subscribers])
        };
        let outcome = World::run(&plan).unwrap();
        let mut latencies: Vec<_> =
            outcome.subscribers.iter().flat_map(|each| each.latencies.iter()).collect();
        latencies.sort_unstable();
        let late = *latencies[latencies.len() * 9 / 10];
        assert!(
            late < 4 * MILLISECOND,
            "{subscribers} at {rate} per second: one message in ten takes {late} ns"
        );
        judge_naks(&outcome, subscribers);
    }
}
