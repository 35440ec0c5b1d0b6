//! What feedback costs: at most a part of what subscribers receive, and no delay where that part suffices.

use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{MILLISECOND, NetworkPlan, SECOND, Sizes, SubscriberPlan};
use crate::world::{Outcome, World};

/// Runs a stream of `rate` messages per second of `size` bytes each, of which each subscriber loses its own share, in both
/// directions.
fn run(subscribers: usize, loss: f64, size: usize, rate: u64) -> Outcome {
    let lossy = Quality { loss, ..Quality::GOOD };
    let subscriber = SubscriberPlan {
        down: lossy.clone(),
        up: lossy,
        window: 4_096,
        start: Start::Oldest,
        ..SubscriberPlan::simple()
    };
    let plan = NetworkPlan {
        messages: (2 * rate).max(1_000),
        pause: SECOND / rate,
        sizes: Sizes::Exactly(size),
        slots: 8_192,
        good_from: 60 * SECOND,
        ..NetworkPlan::simple(vec![subscriber; subscribers])
    };
    World::run(&plan).unwrap()
}

/// Returns the time in which this many thousandths of the messages are delivered by the slowest subscriber.
fn delay(outcome: &Outcome, part: usize) -> u64 {
    let of_one = |latencies: &[u64]| latencies[(latencies.len() - 1) * part / 1_000];
    outcome.subscribers.iter().map(|each| of_one(&each.latencies)).max().unwrap()
}

/// Few subscribers are not throttled: whatever their number, and however long and frequent the messages are, a loss delays
/// messages by some round trips.
#[test]
fn losses_of_a_small_group_delay_few_messages_and_not_for_long() {
    for subscribers in [1, 4, 8] {
        for (size, rate) in [(64, 20_000), (224, 20_000), (1_344, 20_000), (224, 2_000), (224, 200)] {
            let outcome = run(subscribers, 0.01, size, rate);
            assert!(outcome.lost_in_links > 0, "nothing was lost");
            let case = format!("{subscribers} subscribers, {size} bytes, {rate} messages per second");
            let (half, most) = (delay(&outcome, 500), delay(&outcome, 990));
            assert!(half <= MILLISECOND / 5, "{case}: half of the messages took {half} ns");
            // Where few are sent, the next heartbeat or message shows that one is missing.
            let limit = 2 * MILLISECOND + SECOND / rate;
            assert!(most <= limit, "{case}: one in a hundred messages took {most} ns");
        }
    }
}
