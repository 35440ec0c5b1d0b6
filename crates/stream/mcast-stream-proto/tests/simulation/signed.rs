//! Signed streams, and a member of the group that forges the publisher.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{Fec, PublisherConfig, Transmit};
use mcast_stream_proto::sign::{PinnedKeys, SIGNATURE_LENGTH, Signer, Verifier};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, Policy, Start, SubscriberConfig};
use mcast_stream_proto::wire::{DatagramView, Digest, Header, Incarnation, Kind, SignerId, StreamId};

use crate::link::Quality;
use crate::plan::{MILLISECOND, NetworkPlan, SECOND, SubscriberPlan};
use crate::signer::{self, ToyKey};
use crate::world::World;

fn verifying() -> SubscriberPlan {
    SubscriberPlan { verifies: true, start: Start::Oldest, ..SubscriberPlan::simple() }
}

fn signed(subscribers: Vec<SubscriberPlan>) -> NetworkPlan {
    NetworkPlan { signed: true, messages: 400, pause: 300_000, ..NetworkPlan::simple(subscribers) }
}

#[test]
fn a_signed_stream_is_delivered_within_two_milliseconds_and_without_repairs() {
    for (pause, flush) in [(0, false), (0, true), (50_000, true), (3 * MILLISECOND, false)] {
        let outcome = World::run(&NetworkPlan { pause, flush, ..signed(vec![verifying(); 3]) }).unwrap();
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
    let outcome = World::run(&NetworkPlan { pause: 20_000, flush: false, messages: 4_000, ..plan }).unwrap();
    assert_eq!(outcome.messages, 16_000);
}

/// A message is delivered, or given up, in the time of the policy: the time of a datagram that waits for a lost manifest does
/// not begin after that of the one before.
#[test]
fn the_deadline_holds_for_a_lossy_signed_stream_with_parity() {
    let down = Quality { loss: 0.2, ..Quality::GOOD };
    let deadline = 200 * MILLISECOND;
    for fec in [Fec::Fixed { data: 10, parity: 3 }, Fec::Off, Fec::Auto] {
        for seed in 1..=3 {
            let policy = Policy::Deadline(Duration::from_nanos(deadline));
            let subscriber = SubscriberPlan { down: down.clone(), policy, window: 2_048, ..verifying() };
            let plan = signed(vec![subscriber; 2]);
            let plan =
                NetworkPlan { fec, seed, messages: 6_000, slots: 8_192, good_from: 60 * SECOND, ..plan };
            let outcome = World::run(&plan).unwrap();
            assert!(outcome.slowest < deadline, "{fec:?}: a message took {} ns", outcome.slowest);
            // Repairs take milliseconds: a manifest that was recovered does not delay the requests for others.
            let lost: u64 = outcome.subscribers.iter().map(|subscriber| subscriber.lost).sum();
            assert!(lost <= 12, "{fec:?}: {lost} messages were lost");
        }
    }
}

/// A subscriber without the key receives the stream as before.
#[test]
fn a_subscriber_that_verifies_nothing_receives_a_signed_stream() {
    let plan = signed(vec![SubscriberPlan::simple(), verifying()]);
    let outcome = World::run(&NetworkPlan { datagram: 256, ..plan }).unwrap();
    assert_eq!(outcome.messages, 800);
}

#[test]
fn a_new_signing_key_causes_no_gap() {
    for sealed in [false, true] {
        let plan = signed(vec![verifying(); 2]);
        let outcome = World::run(&NetworkPlan { new_signer: Some(200), sealed, ..plan }).unwrap();
        assert_eq!((outcome.messages, outcome.naks), (800, 0));
    }
}

/// The forger has the group's secret, sends from the publisher's address, and is faster than the publisher.
#[test]
fn a_member_can_forge_nothing_in_a_signed_stream() {
    for sealed in [false, true] {
        for seed in 1..=10 {
            let plan = signed(vec![verifying(); 3]);
            let plan = NetworkPlan { forger: Some(200_000), sealed, seed, good_from: 3 * SECOND, ..plan };
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
        let why = World::run(&NetworkPlan { forger: Some(200_000), sealed, ..plan }).unwrap_err();
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
    let config = PublisherConfig::new(StreamId(7), Incarnation(1))
        .with(|config| config.signer = Some(signer.clone() as Arc<dyn Signer>));
    let mut publisher = PublisherMachine::new(config, ClockTime(SECOND)).unwrap();
    let mut heartbeat = || match publisher.poll_transmit(ClockTime(SECOND)) {
        Some(Transmit::Control(control)) => control.bytes().to_vec(),
        other => panic!("{other:?}"),
    };
    let (genuine, from) = (heartbeat(), ([10, 0, 0, 66], 7).into());
    let key = Arc::new(CountingKey(signer, AtomicU64::new(0)));
    let config = SubscriberConfig::new(StreamId(7)).with(|config| config.signed_by = pinned(key.clone()));
    let mut subscriber = SubscriberMachine::new(config, ClockTime(SECOND));

    let mut forged = genuine.clone();
    for at in 0..100_000_u64 {
        forged[24..32].copy_from_slice(&(at + 2).to_be_bytes());
        subscriber.handle_datagram(ClockTime(SECOND + at * 10_000), 0, from, &forged);
    }
    let checked = key.1.load(Ordering::Relaxed);
    assert!((900..=1_101).contains(&checked), "{checked}");
    assert_eq!(subscriber.incarnation(), None);
    assert_eq!(subscriber.statistics().not_verified, 100_000);

    subscriber.handle_datagram(ClockTime(2 * SECOND + 50 * MILLISECOND), 0, from, &genuine);
    assert_eq!(subscriber.incarnation(), Some(Incarnation(1)));
}

/// A publisher that signs, and a subscriber that verifies, without a network between them.
struct Pair {
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    now: ClockTime,
}

impl Pair {
    const PUBLISHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    const SUBSCRIBER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2);

    fn new() -> Self {
        let config = SubscriberConfig::new(StreamId(7)).with(|config| {
            config.start = Start::Oldest;
            config.signed_by = pinned(signer::key(1, false));
        });
        let now = ClockTime(SECOND);
        Self { publisher: publisher(1, 1), subscriber: SubscriberMachine::new(config, now), now }
    }

    /// Returns what this publisher sends within a millisecond, each with its kind.
    fn sent(&mut self) -> Vec<(Kind, Vec<u8>)> {
        self.now = self.now + Duration::from_millis(1);
        sent(&mut self.publisher, self.now)
    }

    /// Publishes a message, and returns its datagram and the manifest.
    fn publish(&mut self, message: &[u8]) -> [Vec<u8>; 2] {
        self.publisher.publish(self.now, message).unwrap();
        self.publisher.flush(self.now);
        let sent = self.sent();
        [Kind::Data, Kind::Manifest].map(|kind| {
            let found = sent.iter().find(|(of, _)| *of == kind);
            found.unwrap_or_else(|| panic!("no {kind:?}: {sent:?}")).1.clone()
        })
    }

    /// Delivers a datagram of the publisher, or one that pretends to be; returns the messages that the subscriber delivers.
    fn deliver(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.subscriber.handle_datagram(self.now, 0, Self::PUBLISHER, datagram);
        let mut messages = Vec::new();
        while let Some(item) = self.subscriber.poll_item(self.now, datagram) {
            if let Item::Message(message) = item {
                messages.push(message.bytes.to_vec());
            }
        }
        messages
    }

    /// Lets both exchange control datagrams for a time; returns whether the subscriber requests anything.
    fn exchange(&mut self, milliseconds: u64) -> bool {
        let mut has_requested = false;
        for _ in 0..milliseconds {
            for (kind, datagram) in self.sent() {
                if !matches!(kind, Kind::Data | Kind::Manifest) {
                    self.deliver(&datagram);
                }
            }
            while let Some(control) = self.subscriber.poll_transmit(self.now) {
                has_requested |= Header::read(control.bytes()).unwrap().0.kind == Kind::Nak;
                self.publisher.handle_datagram(self.now, Self::SUBSCRIBER, control.bytes());
            }
        }
        has_requested
    }
}

fn pinned(key: Arc<dyn Verifier>) -> PinnedKeys {
    let mut pinned = PinnedKeys::none();
    assert!(pinned.add(key));
    pinned
}

/// A publisher of incarnation 1 with this key.
fn publisher(key: u64, seed: u64) -> PublisherMachine {
    let config = PublisherConfig::new(StreamId(7), Incarnation(1)).with(|config| {
        config.signer = Some(signer::key(key, false) as Arc<dyn Signer>);
        config.seed = seed;
    });
    PublisherMachine::new(config, ClockTime(SECOND)).unwrap()
}

fn sent(publisher: &mut PublisherMachine, now: ClockTime) -> Vec<(Kind, Vec<u8>)> {
    let mut sent = Vec::new();
    while let Some(transmit) = publisher.poll_transmit(now) {
        match transmit {
            Transmit::Control(control) => sent.push(control.bytes().to_vec()),
            Transmit::Repair { sequence, .. } => sent.push(publisher.datagram(sequence).to_vec()),
            Transmit::Data { first, count } => {
                sent.extend((0..count).map(|number| publisher.datagram(first + number).to_vec()));
            }
        }
    }
    sent.into_iter().map(|datagram| (Header::read(&datagram).unwrap().0.kind, datagram)).collect()
}

/// Returns this datagram with its last byte changed.
fn forged(datagram: &[u8]) -> Vec<u8> {
    let mut forged = datagram.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    forged
}

#[test]
fn a_forged_repair_is_compared_with_the_signed_digest() {
    let mut pair = Pair::new();
    pair.exchange(5);
    let [data, manifest] = pair.publish(b"one");
    assert_eq!(pair.deliver(&manifest), <Vec<Vec<u8>>>::new());
    assert_eq!(pair.deliver(&forged(&data)), <Vec<Vec<u8>>>::new());
    assert_eq!(pair.subscriber.statistics().forged, 1);
    assert_eq!(pair.deliver(&data), [b"one"]);
}

#[test]
fn a_signature_covers_the_digests() {
    let mut pair = Pair::new();
    pair.exchange(5);
    let [data, manifest] = pair.publish(b"one");
    assert_eq!(pair.deliver(&forged(&manifest)), <Vec<Vec<u8>>>::new());
    assert_eq!(pair.subscriber.statistics().not_verified, 1);
    assert_eq!(pair.deliver(&data), <Vec<Vec<u8>>>::new());
    assert_eq!(pair.deliver(&manifest), [b"one"]);
}

#[test]
fn another_key_signs_nothing() {
    let mut pair = Pair::new();
    pair.publisher = publisher(2, 1);
    pair.exchange(50);
    assert_eq!(pair.subscriber.incarnation(), None);
    assert!(pair.subscriber.statistics().not_verified > 0);
}

/// A publisher that is started twice with the same incarnation, because the clock was set back.
#[test]
fn of_one_incarnation_only_the_first_salt_is_trusted() {
    let mut pair = Pair::new();
    pair.exchange(5);
    let mut namesake = publisher(1, 2);
    namesake.publish(pair.now, b"other").unwrap();
    namesake.flush(pair.now);
    let datagrams = sent(&mut namesake, pair.now + Duration::from_millis(1));
    assert!(datagrams.iter().any(|(kind, _)| *kind == Kind::Manifest));
    for (kind, datagram) in datagrams {
        assert_eq!(pair.deliver(&datagram), <Vec<Vec<u8>>>::new(), "{kind:?}");
    }
    let statistics = pair.subscriber.statistics();
    assert_eq!((statistics.verified, statistics.received), (0, 0), "{statistics:?}");
    assert!(statistics.not_verified > 0, "{statistics:?}");
}

/// The subscriber would never request the manifest, because it has a datagram with its sequence.
#[test]
fn forged_data_in_the_place_of_a_manifest_is_requested_again() {
    let mut pair = Pair::new();
    pair.exchange(5);
    let [data, manifest] = pair.publish(b"one");
    let mut forged = data.clone();
    forged[24..32].copy_from_slice(&manifest[24..32]);
    pair.deliver(&data);
    pair.deliver(&forged);
    assert!(pair.exchange(500), "it requests nothing: {:?}", pair.subscriber.statistics());
}

#[test]
fn what_was_published_before_a_change_of_the_key_is_signed_with_the_old_one() {
    let mut pair = Pair::new();
    pair.exchange(5);
    pair.publisher.publish(pair.now, b"one").unwrap();
    pair.publisher.set_signer(pair.now, signer::key(2, false));
    let mut messages = Vec::new();
    for (_, datagram) in pair.sent() {
        messages.extend(pair.deliver(&datagram));
    }
    assert_eq!(messages, [b"one"]);
}

#[test]
fn the_confirmation_of_the_end_is_signed() {
    let mut pair = Pair::new();
    pair.exchange(5);
    for datagram in pair.publish(b"one") {
        pair.deliver(&datagram);
    }
    pair.publisher.close(pair.now);
    let key = pinned(signer::key(1, false));
    let mut confirmations = 0;
    for _ in 0..50 {
        for (kind, datagram) in pair.sent() {
            if kind == Kind::Reset {
                confirmations += 1;
                let view = DatagramView::parse(&datagram).unwrap();
                assert_eq!(key.verify(view.head, view.body), Ok(()));
            }
            pair.deliver(&datagram);
        }
        while let Some(control) = pair.subscriber.poll_transmit(pair.now) {
            pair.publisher.handle_datagram(pair.now, Pair::SUBSCRIBER, control.bytes());
        }
    }
    assert!(confirmations > 0);
}
