//! Signed streams, and a member of the group that forges the publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::sign::{PinnedKeys, SIGNATURE_LENGTH, Signer, Verifier};
use mcast_stream_proto::subscriber::{Start, SubscriberConfig};
use mcast_stream_proto::wire::{Digest, Incarnation, SignerId, StreamId};
use mcast_stream_proto::{ClockTime, PublisherMachine, SubscriberMachine};

use crate::link::Quality;
use crate::plan::{MILLISECOND, Plan, SECOND, SubscriberPlan};
use crate::signer::{self, ToyKey};
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

/// A key that counts how often it is used.
#[derive(Debug)]
struct CountingKey(Arc<ToyKey>, AtomicU64);

impl Verifier for CountingKey {
    fn id(&self) -> SignerId {
        Verifier::id(&*self.0)
    }

    fn public(&self) -> [u8; 32] {
        Verifier::public(&*self.0)
    }

    fn verify(&self, text: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.verify(text, signature)
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        Verifier::digest(&*self.0, parts)
    }
}

/// Forged heartbeats cost the subscriber a bounded time.
#[test]
fn a_flood_of_wrong_signatures_is_checked_at_most_a_thousand_times_per_second() {
    let signer = signer::key(1, false);
    let config = PublisherConfig {
        signer: Some(signer.clone() as Arc<dyn Signer>),
        ..PublisherConfig::new(StreamId(7), Incarnation(1))
    };
    let mut publisher = PublisherMachine::new(config, ClockTime(SECOND)).unwrap();
    let mut heartbeat = || match publisher.poll(ClockTime(SECOND)) {
        Some(Transmit::Control(control)) => control.bytes().to_vec(),
        other => panic!("{other:?}"),
    };
    let (genuine, from) = (heartbeat(), ([10, 0, 0, 66], 7).into());
    let key = Arc::new(CountingKey(signer, AtomicU64::new(0)));
    let mut signed_by = PinnedKeys::none();
    assert!(signed_by.add(key.clone()));
    let config = SubscriberConfig { signed_by, ..SubscriberConfig::new(StreamId(7)) };
    let mut subscriber = SubscriberMachine::new(config, ClockTime(SECOND));

    let mut forged = genuine.clone();
    for at in 0..100_000_u64 {
        forged[24..32].copy_from_slice(&(at + 2).to_be_bytes());
        subscriber.handle(ClockTime(SECOND + at * 10_000), 0, from, &forged);
    }
    let checked = key.1.load(Ordering::Relaxed);
    assert!((900..=1_101).contains(&checked), "{checked}");
    assert_eq!(subscriber.incarnation(), None);
    assert_eq!(subscriber.statistics().not_verified, 100_000);

    subscriber.handle(ClockTime(2 * SECOND + 50 * MILLISECOND), 0, from, &genuine);
    assert_eq!(subscriber.incarnation(), Some(Incarnation(1)));
}
