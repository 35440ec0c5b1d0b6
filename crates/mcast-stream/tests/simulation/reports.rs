//! Losses are reported, to the application and by the publisher. `World::judge` compares the reports with the published
//! messages. These are cases in which messages are certainly lost.

use mcast_stream::receiver::{Policy, Start};

use crate::link::Quality;
use crate::plan::{MILLISECOND, NextIncarnation, Plan, ReceiverPlan, SECOND, Sizes, Stuck};
use crate::world::{Outcome, World};

/// A message per millisecond, and a retransmission buffer that holds little more than the last 1,024.
fn feed(messages: u64, receivers: Vec<ReceiverPlan>) -> Plan {
    let sizes = Sizes::Exactly(1_000);
    Plan { messages, sizes, pause: MILLISECOND, good_from: 60 * SECOND, ..Plan::simple(receivers) }
}

fn cut_off(from: u64, to: u64) -> ReceiverPlan {
    ReceiverPlan { partition: Some((from, to)), ..ReceiverPlan::simple() }
}

/// Checks that the first receiver lost messages, and the second none.
fn loses_some(plan: &Plan) -> Outcome {
    let outcome = World::run(plan).unwrap();
    let [short, whole] = &outcome.receivers[..] else { panic!("{} receivers", outcome.receivers.len()) };
    assert_eq!(short.messages + short.lost, plan.messages);
    assert!(short.lost > 0, "it lost nothing");
    assert_eq!((whole.messages, whole.lost), (plan.messages, 0));
    outcome
}

#[test]
fn a_receiver_that_was_silent_and_came_back_is_not_reported_complete() {
    loses_some(&feed(15_000, vec![cut_off(SECOND, 12 * SECOND), ReceiverPlan::simple()]));
}

#[test]
fn a_receiver_that_was_evicted_and_came_back_is_not_reported_complete() {
    let stuck =
        ReceiverPlan { stuck: Some(Stuck { after: 500, time: 6 * SECOND }), ..ReceiverPlan::simple() };
    let outcome = loses_some(&feed(10_000, vec![stuck, ReceiverPlan::simple()]));
    assert_eq!(outcome.evicted, [0]);
}

/// Without flow control, nothing is retained for receivers that fall behind.
#[test]
fn without_flow_control_a_receiver_that_missed_some_is_not_reported_complete() {
    let plan = feed(8_000, vec![cut_off(SECOND, 4 * SECOND), ReceiverPlan::simple()]);
    loses_some(&Plan { waits: false, ..plan });
}

/// It lacks the messages that it did not wait for.
#[test]
fn a_receiver_that_skips_what_comes_late_is_not_reported_complete() {
    let down = Quality { loss: 0.1, delay: 2 * MILLISECOND, ..Quality::GOOD };
    let policy = Policy::Deadline(2 * MILLISECOND);
    let impatient = ReceiverPlan { policy, down, start: Start::Oldest, ..ReceiverPlan::simple() };
    loses_some(&feed(2_000, vec![impatient, ReceiverPlan::simple()]));
}

#[test]
fn a_receiver_that_lost_some_and_left_is_not_reported_complete() {
    let short = ReceiverPlan { leaves: Some(20 * SECOND), ..cut_off(SECOND, 12 * SECOND) };
    let plan = feed(15_000, vec![short, ReceiverPlan::simple()]);
    loses_some(&plan);
}

/// With a larger buffer, the same partition causes no loss, and the publisher reports that, too.
#[test]
fn a_receiver_that_was_silent_and_lost_nothing_is_reported_complete() {
    let plan = feed(15_000, vec![cut_off(SECOND, 12 * SECOND), ReceiverPlan::simple()]);
    let outcome = World::run(&Plan { slots: 16_384, ..plan }).unwrap();
    assert!(outcome.receivers.iter().all(|receiver| (receiver.messages, receiver.lost) == (15_000, 0)));
}

/// A firewall passes the group and drops all feedback: gaps stay open, and are losses when the application stops.
#[test]
fn behind_a_firewall_losses_are_reported() {
    let down = Quality { loss: 0.05, ..Quality::GOOD };
    let firewalled = ReceiverPlan { firewalled: true, down, ..ReceiverPlan::simple() };
    let plan = feed(2_000, vec![ReceiverPlan { window: 8_192, ..firewalled }, ReceiverPlan::simple()]);
    loses_some(&plan);
}

/// Messages that a sender published during a partition before it was killed can only be reported as an unknown loss.
#[test]
fn messages_that_nobody_received_before_a_restart_are_reported_as_unknown() {
    for incarnation in [NextIncarnation::Remembered, NextIncarnation::ByClock] {
        let receivers = vec![cut_off(2 * SECOND, 5 * SECOND), ReceiverPlan::simple()];
        let plan = Plan { restart: Some((4_000, incarnation)), ..feed(6_000, receivers) };
        World::run(&plan).unwrap();
    }
}

/// With two publishers of one stream, a receiver of the second does not know how much the first still sent.
#[test]
fn later_messages_of_a_replaced_publisher_are_reported_as_unknown() {
    for incarnation in
        [NextIncarnation::Remembered, NextIncarnation::ByClock, NextIncarnation::ByClockSetBack]
    {
        let plan = feed(4_000, vec![ReceiverPlan::simple(); 2]);
        let plan = Plan { restart: Some((2_000, incarnation)), overlap: Some(3_000), ..plan };
        World::run(&plan).unwrap();
    }
}
