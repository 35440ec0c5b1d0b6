//! Repairers and the publisher in a signed stream: whose repairs count, and which repairers are given up.

#![cfg(feature = "seal")]

use std::net::SocketAddr;
use std::vec::Vec;

use super::*;
use crate::publisher::PublisherMachine;
use crate::publisher::{PublisherConfig, Transmit};
use crate::sign::SigningKey;
use crate::subscriber::Start;
use crate::wire::{DatagramView, Flags, Header, Incarnation, ListedRepairer, RepairerList, StreamId};

const STREAM: StreamId = StreamId(7);
const START: ClockTime = ClockTime(1_000_000_000);
/// Where the sequence is in a header.
const SEQUENCE: core::ops::Range<usize> = 24..32;

fn address(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 7000).into()
}

/// A subscriber that has chosen a repairer, and its publisher.
struct Pair {
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    now: ClockTime,
}

impl Pair {
    fn new(window_bytes: usize) -> Self {
        let key = SigningKey::new(&[7; 32]).unwrap();
        let signed_by = key.public_key().pinned();
        let config = PublisherConfig { signer: Some(key), ..PublisherConfig::new(STREAM, Incarnation(1)) };
        let publisher = PublisherMachine::new(config, START).unwrap();
        let config = SubscriberConfig {
            start: Start::Oldest,
            signed_by,
            window_bytes,
            ..SubscriberConfig::new(STREAM)
        };
        let mut subscriber = SubscriberMachine::new(config, START);
        let mut list = RepairerList::default();
        assert!(list.add(ListedRepairer { tag: 0, address: address(2) }));
        subscriber.sequencer.repairers.record_list(list);
        let mut pair = Self { publisher, subscriber, now: START };
        let heartbeats = pair.sent();
        assert!(!heartbeats.is_empty());
        for heartbeat in heartbeats {
            pair.subscriber.handle_datagram(pair.now, 0, address(1), &heartbeat);
        }
        assert_eq!(pair.subscriber.incarnation(), Some(Incarnation(1)));
        pair.subscriber.sequencer.repairers.record_list(list);
        let id = pair.subscriber.id();
        pair.subscriber.sequencer.repairers.choose(pair.now, id, Some(address(1)), 1);
        assert!(pair.has_repairer());
        pair
    }

    fn has_repairer(&self) -> bool {
        self.subscriber.sequencer.repairers.is_chosen(address(2))
    }

    /// Returns what the publisher sends in a millisecond.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        self.now = self.now + Duration::from_millis(1);
        let mut sent = Vec::new();
        while let Some(transmit) = self.publisher.poll_transmit(self.now) {
            match transmit {
                Transmit::Control(control) => sent.push(control.bytes().to_vec()),
                Transmit::Repair { sequence, .. } => sent.push(self.publisher.datagram(sequence).to_vec()),
                Transmit::Data { first, count } => {
                    sent.extend((0..count).map(|number| self.publisher.datagram(first + number).to_vec()));
                }
            }
        }
        sent
    }

    /// Publishes a message; returns its datagram and the manifest.
    fn publish(&mut self, length: usize) -> [Vec<u8>; 2] {
        self.publisher.publish(self.now, &std::vec![1; length]).unwrap();
        self.publisher.flush(self.now);
        let sent = self.sent();
        let of = |kind| sent.iter().find(|sent| Header::read(sent).unwrap().0.kind == kind).unwrap().clone();
        [of(Kind::Data), of(Kind::Manifest)]
    }

    /// Passes a datagram of data to the verification; returns whether it must be handled.
    fn verify(&mut self, arrival: Arrival, datagram: &[u8]) -> bool {
        let view = DatagramView::parse(datagram).unwrap();
        self.subscriber.context.now = self.now;
        self.subscriber.may_be_genuine(&Arrived { arrival, from: Some(address(1)), datagram, view })
    }

    fn take_manifest(&mut self, arrival: Arrival, datagram: &[u8]) {
        let view = DatagramView::parse(datagram).unwrap();
        self.subscriber.context.now = self.now;
        let from = address(1);
        self.subscriber.on_manifest(&Arrived { arrival, from: Some(from), datagram, view }, from);
    }

    /// The number of the publisher's repairs in the next status.
    fn repairs(&self) -> u64 {
        self.subscriber.context.paths.repairs()
    }
}

fn repair(datagram: &[u8]) -> Vec<u8> {
    let mut repair = datagram.to_vec();
    repair[Header::FLAGS_AT] = Flags(repair[Header::FLAGS_AT]).with(Flags::REPAIR).0;
    repair
}

/// Returns this datagram with another last byte.
fn forged(datagram: &[u8]) -> Vec<u8> {
    let mut forged = datagram.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    forged
}

#[test]
fn a_repair_of_the_publisher_counts_although_that_of_a_repairer_waits_for_its_manifest() {
    let mut pair = Pair::new(1 << 20);
    let [data, manifest] = pair.publish(100).map(|datagram| repair(&datagram));
    assert!(!pair.verify(Arrival::Repairer, &data));
    assert_eq!((pair.repairs(), pair.subscriber.statistics().copies), (0, 0));
    assert!(!pair.verify(Arrival::Path(0), &data));
    assert_eq!((pair.repairs(), pair.subscriber.statistics().copies), (1, 1));
    pair.take_manifest(Arrival::Repairer, &manifest);
    assert_eq!(pair.repairs(), 1);
    pair.take_manifest(Arrival::Path(0), &manifest);
    assert_eq!((pair.repairs(), pair.subscriber.statistics().copies), (2, 2));
    let counted = pair.subscriber.statistics();
    assert_eq!((counted.received, counted.repaired_locally), (2, 2));
}

#[test]
fn a_repairer_is_blamed_for_what_differs_from_the_signed_digest() {
    for is_manifest_first in [true, false] {
        for (arrival, is_blamed) in
            [(Arrival::Repairer, true), (Arrival::Path(0), false), (Arrival::Recovered, false)]
        {
            let mut pair = Pair::new(1 << 20);
            let [data, manifest] = pair.publish(100);
            if is_manifest_first {
                pair.take_manifest(Arrival::Path(0), &manifest);
            }
            assert!(!pair.verify(arrival, &forged(&data)));
            if !is_manifest_first {
                assert!(pair.has_repairer(), "it is not known yet");
                pair.take_manifest(Arrival::Path(0), &manifest);
            }
            assert_eq!(pair.subscriber.statistics().forged, 1);
            assert_eq!(pair.has_repairer(), !is_blamed, "{arrival:?}, {is_manifest_first}");
        }
    }
}

#[test]
fn a_repairer_is_not_blamed_for_what_does_not_fit() {
    // Too little room for what waits for its manifest.
    let mut pair = Pair::new(2_000);
    let [data, _] = pair.publish(900);
    assert!(!pair.verify(Arrival::Repairer, &data));
    assert_eq!((pair.subscriber.statistics().beyond, pair.has_repairer()), (1, true));
    // Too little room in the window, which the first datagram has left.
    let mut pair = Pair::new(4_000);
    let [first, manifest] = pair.publish(900);
    drop(first);
    pair.take_manifest(Arrival::Path(0), &manifest);
    for _ in 0..4 {
        let [data, manifest] = pair.publish(900);
        pair.take_manifest(Arrival::Path(0), &manifest);
        pair.subscriber.handle_datagram(pair.now, 0, address(1), &data);
        while pair.subscriber.poll_item(pair.now, &data).is_some() {}
    }
    let before = pair.subscriber.statistics().beyond;
    let [data, manifest] = pair.publish(900);
    assert!(!pair.verify(Arrival::Repairer, &data));
    assert_eq!(pair.subscriber.statistics().beyond, before);
    pair.take_manifest(Arrival::Path(0), &manifest);
    assert_eq!((pair.subscriber.statistics().beyond, pair.has_repairer()), (before + 1, true));
    assert_eq!(pair.subscriber.statistics().forged, 0);
}

#[test]
fn a_repairer_is_blamed_if_what_it_sent_has_taken_the_place_of_a_manifest() {
    for (arrival, is_blamed) in [(Arrival::Repairer, true), (Arrival::Path(0), false)] {
        let mut pair = Pair::new(1 << 20);
        let [data, manifest] = pair.publish(100);
        let mut instead = data.clone();
        instead[SEQUENCE].copy_from_slice(&manifest[SEQUENCE]);
        let end = Sequence(Header::read(&manifest).unwrap().0.sequence) + 1;
        assert!(!pair.verify(arrival, &data) && !pair.verify(arrival, &instead));
        let SubscriberMachine { context, sequencer, .. } = &mut pair.subscriber;
        context.now = pair.now;
        sequencer.record_sent_before(context, end);
        pair.subscriber.context.now = pair.now;
        pair.subscriber.sequencer.distrust_staged(&pair.subscriber.context);
        assert!(pair.has_repairer(), "the manifest may still arrive");
        pair.now = pair.now + Duration::from_secs(1);
        pair.subscriber.context.now = pair.now;
        pair.subscriber.sequencer.distrust_staged(&pair.subscriber.context);
        assert_eq!(pair.has_repairer(), !is_blamed, "{arrival:?}");
        assert_eq!(pair.subscriber.statistics().unverified, 0);
    }
}
