//! Signed streams, and a member of the group that forges the publisher.

use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{MILLISECOND, Plan, SECOND, SubscriberPlan};
use crate::world::World;

fn verifying() -> SubscriberPlan {
    SubscriberPlan { verifies: true, start: Start::Oldest, ..SubscriberPlan::simple() }
}

fn signed(subscribers: Vec<SubscriberPlan>) -> Plan {
    Plan { signed: true, messages: 400, pause: 300_000, ..Plan::simple(subscribers) }
}

#[test]
fn a_signed_stream_is_delivered_within_two_milliseconds_and_without_repairs() {
    for (pause, flush) in [(0, false), (0, true), (50_000, true), (3 * MILLISECOND, false)] {
        let outcome = World::run(&Plan { pause, flush, ..signed(vec![verifying(); 3]) }).unwrap();
        assert_eq!((outcome.messages, outcome.naks), (1_200, 0), "{pause}, {flush}");
        assert!(outcome.slowest <= 3 * MILLISECOND, "{pause}, {flush}: {} ns", outcome.slowest);
        assert!(outcome.statistics.manifests > 0);
    }
}

/// A flush completes the manifest at once, if the last one is long enough ago.
#[test]
fn a_message_of_a_slow_stream_is_not_delayed_by_its_signature() {
    let outcome = World::run(&signed(vec![verifying()])).unwrap();
    assert_eq!(outcome.messages, 400);
    assert!(outcome.slowest <= 2 * Quality::GOOD.delay, "{} ns", outcome.slowest);
}

#[test]
fn a_lossy_signed_stream_is_repaired() {
    let down = Quality { loss: 0.1, ..Quality::GOOD };
    let plan = signed(vec![SubscriberPlan { down, ..verifying() }; 4]);
    let outcome = World::run(&Plan { pause: 20_000, flush: false, messages: 4_000, ..plan }).unwrap();
    assert_eq!(outcome.messages, 16_000);
}

/// A subscriber without the key receives the stream as before.
#[test]
fn a_subscriber_that_verifies_nothing_receives_a_signed_stream() {
    let plan = signed(vec![SubscriberPlan::simple(), verifying()]);
    let outcome = World::run(&Plan { datagram: 256, ..plan }).unwrap();
    assert_eq!(outcome.messages, 800);
}

#[test]
fn a_new_signing_key_causes_no_gap() {
    for sealed in [false, true] {
        let plan = signed(vec![verifying(); 2]);
        let outcome = World::run(&Plan { new_signer: Some(200), sealed, ..plan }).unwrap();
        assert_eq!((outcome.messages, outcome.naks), (800, 0));
    }
}

/// The forger has the group's secret, sends from the publisher's address, and is faster than the publisher.
#[test]
fn a_member_can_forge_nothing_in_a_signed_stream() {
    for sealed in [false, true] {
        for seed in 1..=10 {
            let plan = signed(vec![verifying(); 3]);
            let plan = Plan { forger: Some(200_000), sealed, seed, good_from: 3 * SECOND, ..plan };
            let outcome = World::run(&plan).unwrap();
            assert_eq!(outcome.messages, 1_200);
            let (forgeries, discarded) = outcome.forged;
            assert!(forgeries > 1_000 && discarded > 0, "{forgeries} forgeries, {discarded} discarded");
        }
    }
}

/// The same forgeries succeed where nothing is verified.
#[test]
fn a_member_can_forge_a_stream_that_is_not_verified() {
    for sealed in [false, true] {
        let plan = signed(vec![SubscriberPlan { verifies: false, ..verifying() }; 3]);
        let why = World::run(&Plan { forger: Some(200_000), sealed, ..plan }).unwrap_err();
        assert!(!why.is_empty());
    }
}
