//! Acknowledgements when nothing goes wrong: how soon they arrive, and how much feedback they cause.
//! `World::check_acknowledgements` compares what is reported as acknowledged with what subscribers received and processed,
//! in every network.

use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{AckPlan, Acknowledge, MILLISECOND, NetworkPlan, SECOND, SubscriberPlan};
use crate::world::{Outcome, World};

const RECEIVED: AckPlan = AckPlan { by: Acknowledge::All, processed: false, processing: 0, blocks: true };

/// A message per `pause`, which `count` subscribers must acknowledge.
fn feed(count: usize, messages: u64, pause: u64, acknowledge: AckPlan) -> NetworkPlan {
    let acknowledge = Some(acknowledge);
    NetworkPlan { messages, pause, acknowledge, ..NetworkPlan::simple(vec![SubscriberPlan::simple(); count]) }
}

/// Runs a plan in which everything must be acknowledged.
fn acknowledges_all(plan: &NetworkPlan) -> Outcome {
    let outcome = World::run(plan).unwrap();
    assert_eq!((outcome.acks.acknowledged, outcome.acks.given_up), (plan.messages, 0));
    outcome
}

fn slowest(outcome: &Outcome) -> u64 {
    outcome.acks.latencies.iter().copied().max().unwrap()
}

/// Returns the most statuses and NAKs in one second after the first two.
fn most_feedback(outcome: &Outcome) -> u64 {
    outcome
        .meter
        .feedback
        .iter()
        .filter(|(second, _)| **second > 1)
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
}

#[test]
fn a_small_group_acknowledges_single_messages_within_milliseconds() {
    for count in [1, 2, 4, 8] {
        let outcome = acknowledges_all(&feed(count, 60, 50 * MILLISECOND, RECEIVED));
        let mut latencies = outcome.acks.latencies;
        latencies.sort_unstable();
        let (median, slowest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
        assert!(median < MILLISECOND, "{count} subscribers took {median} ns");
        // A message that follows the last status at once.
        assert!(slowest < (5 * count as u64 + 2) * MILLISECOND, "{count} subscribers took {slowest} ns");
    }
}

#[test]
fn processed_messages_are_acknowledged_when_they_are_processed() {
    let processing = 30 * MILLISECOND;
    let outcome =
        acknowledges_all(&feed(2, 60, 50 * MILLISECOND, AckPlan { processed: true, processing, ..RECEIVED }));
    let fastest = outcome.acks.latencies.iter().copied().min().unwrap();
    assert!(fastest >= processing, "acknowledged after {fastest} ns");
    assert!(slowest(&outcome) < processing + 15 * MILLISECOND, "{} ns", slowest(&outcome));
}

#[test]
fn acknowledgements_of_a_small_group_take_at_most_two_hundred_statuses_per_second() {
    for count in [1, 4, 8] {
        let plan = feed(count, 20_000, 250_000, RECEIVED);
        let outcome = acknowledges_all(&plan);
        // While they join, it takes longer.
        let slowest = outcome.acks.latencies[2_000..].iter().copied().max().unwrap();
        let limit = (5 * count as u64 + 5) * MILLISECOND;
        assert!(slowest < limit, "{count} subscribers took {slowest} ns");
        let without = World::run(&NetworkPlan { acknowledge: None, ..plan }).unwrap();
        let (most, others) = (most_feedback(&outcome), most_feedback(&without));
        assert!(
            most <= others + 210,
            "{most} statuses per second of {count} subscribers, and {others} without"
        );
    }
}

#[test]
fn a_large_group_acknowledges_everything_with_the_usual_feedback() {
    let plan = feed(400, 40, 500 * MILLISECOND, RECEIVED);
    let outcome = acknowledges_all(&NetworkPlan { good_from: 40 * SECOND, ..plan.clone() });
    // A status interval takes 4 s.
    assert!(slowest(&outcome) < 12 * SECOND, "it took {} ns", slowest(&outcome));
    let most = most_feedback(&outcome);
    assert!(most <= 210, "{most} statuses per second");
}

#[test]
fn lost_statuses_and_lost_messages_are_acknowledged_in_bounded_time() {
    let lossy = Quality { loss: 0.1, ..Quality::GOOD };
    let subscriber = SubscriberPlan { down: lossy.clone(), up: lossy, ..SubscriberPlan::simple() };
    for processed in [false, true] {
        let plan = feed(3, 300, 20 * MILLISECOND, AckPlan { processed, ..RECEIVED });
        let plan = NetworkPlan { subscribers: vec![subscriber.clone(); 3], good_from: 20 * SECOND, ..plan };
        let outcome = acknowledges_all(&plan);
        assert!(slowest(&outcome) < 3 * SECOND, "it took {} ns", slowest(&outcome));
    }
}

/// A subscriber does not know that its status was lost.
#[test]
fn a_lost_acknowledgement_is_requested_again_soon() {
    let up = Quality { loss: 0.2, ..Quality::GOOD };
    let plan = feed(2, 60, SECOND, RECEIVED);
    let subscribers = vec![SubscriberPlan { up, ..SubscriberPlan::simple() }; 2];
    let outcome = acknowledges_all(&NetworkPlan { subscribers, good_from: 70 * SECOND, ..plan });
    let mut latencies = outcome.acks.latencies;
    latencies.sort_unstable();
    let late = latencies[latencies.len() * 9 / 10];
    assert!(late < 200 * MILLISECOND, "one of ten takes {late} ns or more");
}

/// Nothing is published before the second subscriber is there, which starts with the next message.
#[test]
fn a_publisher_that_requires_two_subscribers_waits_for_the_second() {
    let plan = feed(2, 50, MILLISECOND, AckPlan { by: Acknowledge::Count(2), ..RECEIVED });
    let mut subscribers = plan.subscribers.clone();
    subscribers[1].joins = 700 * MILLISECOND;
    let outcome = acknowledges_all(&NetworkPlan { subscribers, ..plan });
    assert!(outcome.published > 700 * MILLISECOND);
    assert!(outcome.subscribers.iter().all(|subscriber| (subscriber.messages, subscriber.lost) == (50, 0)));
}

/// One of three is enough: the others may be absent, or fall silent. Flow control would wait for them.
#[test]
fn the_loss_of_subscribers_that_need_not_acknowledge_delays_nothing() {
    let plan = feed(3, 200, 20 * MILLISECOND, AckPlan { by: Acknowledge::Named(1), ..RECEIVED });
    let mut subscribers = plan.subscribers.clone();
    subscribers[1].partition = Some((SECOND, 30 * SECOND));
    subscribers[2].joins = 2 * SECOND;
    let outcome =
        acknowledges_all(&NetworkPlan { subscribers, waits: false, good_from: 40 * SECOND, ..plan });
    assert!(slowest(&outcome) < 100 * MILLISECOND, "it took {} ns", slowest(&outcome));
}

/// A subscriber that was cut off has received nothing of what was published meanwhile.
#[test]
fn messages_that_a_silent_subscriber_must_acknowledge_are_given_up_or_awaited() {
    let cut = |blocks| {
        let by = Acknowledge::Named(2);
        let plan = feed(2, 400, 20 * MILLISECOND, AckPlan { by, blocks, ..RECEIVED });
        let mut subscribers = plan.subscribers.clone();
        subscribers[1].partition = Some((SECOND, 9 * SECOND));
        World::run(&NetworkPlan { subscribers, good_from: 30 * SECOND, ..plan }).unwrap()
    };
    let blocked = cut(true);
    assert_eq!((blocked.acks.acknowledged, blocked.acks.given_up), (400, 0));
    assert!(blocked.published > 9 * SECOND, "it published until {} without the second", blocked.published);
    let reported = cut(false);
    assert_eq!(reported.acks.acknowledged + reported.acks.given_up, 400);
    assert!(reported.acks.given_up > 50, "{} given up", reported.acks.given_up);
    assert!(reported.published < blocked.published, "it published until {}", reported.published);
}

/// The subscribers were there before the publisher, and it publishes before it has heard of them.
#[test]
fn what_is_published_before_the_first_subscribers_are_known_is_acknowledged_by_them() {
    for by in [Acknowledge::All, Acknowledge::Count(2), Acknowledge::Named(2), Acknowledge::NamedCount(2)] {
        let plan = feed(2, 200, MILLISECOND, AckPlan { by, blocks: false, ..RECEIVED });
        let first = acknowledges_all(&plan).acks.latencies[0];
        assert!(first > 0, "the first message was acknowledged before a subscriber was known");
        // One of them takes a while, and has everything then.
        let mut subscribers = plan.subscribers.clone();
        subscribers[1].start = Start::Oldest;
        subscribers[1].joins = 2 * SECOND;
        let waits = !matches!(by, Acknowledge::All);
        let outcome = acknowledges_all(&NetworkPlan { subscribers, messages: 3_000, slots: 8_192, ..plan });
        let first = outcome.acks.latencies[0];
        assert_eq!(first > SECOND, waits, "the first message took {first} ns");
    }
}

/// They have the time after which a subscriber counts as silent, and no more.
#[test]
fn what_nobody_acknowledges_after_a_first_start_is_given_up_in_time() {
    let by = Acknowledge::Count(2);
    let plan = feed(1, 400, 20 * MILLISECOND, AckPlan { by, blocks: false, ..RECEIVED });
    let outcome = World::run(&NetworkPlan { good_from: 20 * SECOND, ..plan }).unwrap();
    assert_eq!((outcome.acks.acknowledged, outcome.acks.given_up), (0, 400));
    let at = outcome.acks.gave_up_at.unwrap();
    assert!((5 * SECOND..6 * SECOND).contains(&at), "given up after {at} ns");
}
