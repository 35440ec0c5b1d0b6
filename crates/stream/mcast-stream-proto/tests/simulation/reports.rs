//! Losses are reported, to the application and by the publisher. `World::judge` compares the reports with the published
//! messages. These are cases in which messages are certainly lost.

use core::time::Duration;

use mcast_stream_proto::subscriber::{Policy, Start};

use crate::link::Quality;
use crate::plan::{MILLISECOND, NetworkPlan, NextIncarnation, SECOND, Sizes, Stuck, SubscriberPlan};
use crate::world::{Outcome, World};

/// A message per millisecond, and a retransmission buffer that holds little more than the last 1,024.
fn feed(messages: u64, subscribers: Vec<SubscriberPlan>) -> NetworkPlan {
    let sizes = Sizes::Exactly(1_000);
    NetworkPlan {
        messages,
        sizes,
        pause: MILLISECOND,
        good_from: 60 * SECOND,
        ..NetworkPlan::simple(subscribers)
    }
}

fn cut_off(from: u64, to: u64) -> SubscriberPlan {
    SubscriberPlan { partition: Some((from, to)), ..SubscriberPlan::simple() }
}

/// Checks that the first subscriber lost messages, and the second none.
fn loses_some(plan: &NetworkPlan) -> Outcome {
    let outcome = World::run(plan).unwrap();
    let [short, whole] = &outcome.subscribers[..] else {
        panic!("{} subscribers", outcome.subscribers.len())
    };
    assert_eq!(short.messages + short.lost, plan.messages);
    assert!(short.lost > 0, "it lost nothing");
    assert_eq!((whole.messages, whole.lost), (plan.messages, 0));
    outcome
}

#[test]
fn a_subscriber_that_was_silent_and_came_back_is_not_reported_complete() {
    loses_some(&feed(15_000, vec![cut_off(SECOND, 12 * SECOND), SubscriberPlan::simple()]));
}

#[test]
fn a_subscriber_that_was_evicted_and_came_back_is_not_reported_complete() {
    let stuck =
        SubscriberPlan { stuck: Some(Stuck { after: 500, time: 6 * SECOND }), ..SubscriberPlan::simple() };
    let outcome = loses_some(&feed(10_000, vec![stuck, SubscriberPlan::simple()]));
    assert_eq!(outcome.evicted, [0]);
}

/// Without flow control, nothing is retained for subscribers that fall behind.
#[test]
fn without_flow_control_a_subscriber_that_missed_some_is_not_reported_complete() {
    let plan = feed(8_000, vec![cut_off(SECOND, 4 * SECOND), SubscriberPlan::simple()]);
    loses_some(&NetworkPlan { waits: false, ..plan });
}

/// It lacks the messages that it did not wait for.
#[test]
fn a_subscriber_that_skips_what_comes_late_is_not_reported_complete() {
    let down = Quality { loss: 0.1, delay: 2 * MILLISECOND, ..Quality::GOOD };
    let policy = Policy::Deadline(Duration::from_millis(2));
    let impatient = SubscriberPlan { policy, down, start: Start::Oldest, ..SubscriberPlan::simple() };
    loses_some(&feed(2_000, vec![impatient, SubscriberPlan::simple()]));
}

#[test]
fn a_subscriber_that_lost_some_and_left_is_not_reported_complete() {
    let short = SubscriberPlan { leaves: Some(20 * SECOND), ..cut_off(SECOND, 12 * SECOND) };
    let plan = feed(15_000, vec![short, SubscriberPlan::simple()]);
    loses_some(&plan);
}

/// With a larger buffer, the same partition causes no loss, and the publisher reports that, too.
#[test]
fn a_subscriber_that_was_silent_and_lost_nothing_is_reported_complete() {
    let plan = feed(15_000, vec![cut_off(SECOND, 12 * SECOND), SubscriberPlan::simple()]);
    let outcome = World::run(&NetworkPlan { slots: 16_384, ..plan }).unwrap();
    assert!(
        outcome.subscribers.iter().all(|subscriber| (subscriber.messages, subscriber.lost) == (15_000, 0))
    );
}

/// A firewall passes the group and drops all feedback: gaps stay open, and are losses when the application stops.
#[test]
fn behind_a_firewall_losses_are_reported() {
    let down = Quality { loss: 0.05, ..Quality::GOOD };
    let firewalled = SubscriberPlan { firewalled: true, down, ..SubscriberPlan::simple() };
    let plan = feed(2_000, vec![SubscriberPlan { window: 8_192, ..firewalled }, SubscriberPlan::simple()]);
    loses_some(&plan);
}

/// Messages that a publisher published during a partition before it was killed can only be reported as an unknown loss.
#[test]
fn messages_that_nobody_received_before_a_restart_are_reported_as_unknown() {
    for incarnation in [NextIncarnation::Remembered, NextIncarnation::ByClock] {
        let subscribers = vec![cut_off(2 * SECOND, 5 * SECOND), SubscriberPlan::simple()];
        let plan = NetworkPlan { restart: Some((4_000, incarnation)), ..feed(6_000, subscribers) };
        World::run(&plan).unwrap();
    }
}

/// With two publishers of one stream, a subscriber of the second does not know how much the first still sent.
#[test]
fn later_messages_of_a_replaced_publisher_are_reported_as_unknown() {
    for incarnation in
        [NextIncarnation::Remembered, NextIncarnation::ByClock, NextIncarnation::ByClockSetBack]
    {
        let plan = feed(4_000, vec![SubscriberPlan::simple(); 2]);
        let plan = NetworkPlan { restart: Some((2_000, incarnation)), overlap: Some(3_000), ..plan };
        World::run(&plan).unwrap();
    }
}
