//! Measures the cost of losses and of reordering in a simulation, without the noise of a real machine: a publisher as
//! fast as its link, a link that loses in both directions, a subscriber.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::vec::Vec;

use crate::ClockTime;
use crate::publisher::PublisherMachine;
use crate::publisher::{PublisherConfig, Transmit};
use crate::random::Random;
use crate::subscriber::SubscriberMachine;
use crate::subscriber::{Item, SubscriberConfig};
use crate::wire::{Incarnation, Sequence, StreamId};

const MESSAGES: u64 = 60_000;
/// Nanoseconds for which a datagram occupies the publisher, and the one-way delay.
const COST: u64 = 2_200;
const DELAY: u64 = 20_000;

/// One direction of the link.
struct Link {
    in_flight: VecDeque<(u64, Vec<u8>)>,
    loss: f64,
    /// The longest time by which a datagram is later than the fastest ones.
    jitter: u64,
    random: Random,
}

impl Link {
    fn new(loss: f64, jitter: u64, seed: u64) -> Self {
        Self { in_flight: VecDeque::new(), loss, jitter, random: Random::new(seed) }
    }

    fn carry(&mut self, now: u64, datagram: &[u8]) {
        if self.random.unit() >= self.loss {
            let late = (self.random.unit() * self.jitter as f64) as u64;
            let at = now + DELAY + late;
            let position = self.in_flight.partition_point(|(other, _)| *other <= at);
            self.in_flight.insert(position, (at, datagram.to_vec()));
        }
    }

    fn arrived(&mut self, now: u64) -> Option<(u64, Vec<u8>)> {
        let is_here = self.in_flight.front().is_some_and(|(at, _)| *at <= now);
        if is_here { self.in_flight.pop_front() } else { None }
    }

    fn next(&self) -> u64 {
        self.in_flight.front().map_or(u64::MAX, |(at, _)| *at)
    }
}

struct Transfer {
    now: u64,
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    forward: Link,
    back: Link,
    published: u64,
    received: u64,
}

impl Transfer {
    fn new(loss: f64, jitter: u64, seed: u64) -> Self {
        let now = 1_000_000_000;
        let stream = StreamId(1);
        let config =
            PublisherConfig { datagram: 1472, seed: 1, ..PublisherConfig::new(stream, Incarnation(1)) };
        Self {
            now,
            publisher: PublisherMachine::new(config, ClockTime(now)).unwrap(),
            subscriber: SubscriberMachine::new(
                SubscriberConfig { seed: 2, ..SubscriberConfig::new(stream) },
                ClockTime(now),
            ),
            forward: Link::new(loss, jitter, 2 * seed),
            back: Link::new(loss, 0, 2 * seed + 1),
            published: 0,
            received: 0,
        }
    }

    /// Returns the nanoseconds from the join of the subscriber until it has everything.
    fn duration(mut self) -> u64 {
        while self.publisher.subscribers().0 == 0 {
            self.step();
        }
        let began = self.now;
        while self.received < MESSAGES {
            while self.published < MESSAGES && self.publisher.publish(ClockTime(self.now), &[7; 1344]).is_ok()
            {
                self.publisher.flush(ClockTime(self.now));
                self.published += 1;
            }
            self.step();
            assert!(
                self.now - began < 60_000_000_000,
                "{} of {MESSAGES} messages in a minute",
                self.received
            );
        }
        self.now - began
    }

    fn step(&mut self) {
        while let Some((at, datagram)) = self.back.arrived(self.now) {
            self.publisher.handle_datagram(
                ClockTime(at.max(self.now)),
                SocketAddr::from(([10, 0, 0, 2], 7000)),
                &datagram,
            );
        }
        let has_sent = self.send();
        while let Some((at, datagram)) = self.forward.arrived(self.now) {
            self.receive(at, &datagram);
        }
        self.send_feedback(self.now);
        if !has_sent {
            let timers = self
                .publisher
                .poll_timeout()
                .unwrap_or(ClockTime::NEVER)
                .0
                .min(self.subscriber.poll_timeout().unwrap_or(ClockTime::NEVER).0);
            self.now = self.forward.next().min(self.back.next()).min(timers).max(self.now + 1);
        }
    }

    fn send(&mut self) -> bool {
        let Some(transmit) = self.publisher.poll_transmit(ClockTime(self.now)) else { return false };
        let mut carry = |datagram: &[u8]| {
            self.now += COST;
            self.forward.carry(self.now, datagram);
        };
        match transmit {
            Transmit::Data { first, count } => {
                Sequence::each(first..first + count)
                    .for_each(|sequence| carry(self.publisher.datagram(sequence)));
            }
            Transmit::Repair { sequence, .. } => carry(self.publisher.datagram(sequence)),
            Transmit::Control(control) => carry(control.bytes()),
        }
        true
    }

    fn receive(&mut self, at: u64, datagram: &[u8]) {
        self.subscriber.handle_datagram(ClockTime(at), 0, SocketAddr::from(([10, 0, 0, 1], 7000)), datagram);
        while let Some(item) = self.subscriber.poll_item(ClockTime(at), datagram) {
            if let Item::Message(message) = item {
                assert_eq!(message.number.0, self.received, "a reliable stream has no gaps");
                self.received += 1;
            }
        }
        self.send_feedback(at);
    }

    fn send_feedback(&mut self, at: u64) {
        while let Some(control) = self.subscriber.poll_transmit(ClockTime(at)) {
            self.back.carry(at, control.bytes());
        }
    }
}

/// Returns the median duration of several transfers: one in ten loses a status or a heartbeat that it waits for.
fn median_duration(loss: f64, jitter: u64) -> f64 {
    let mut durations: Vec<u64> = (1..10).map(|seed| Transfer::new(loss, jitter, seed).duration()).collect();
    durations.sort_unstable();
    durations[durations.len() / 2] as f64
}

#[test]
fn losses_cost_little_more_than_the_repairs() {
    let lossless = median_duration(0.0, 0);
    for (loss, least) in [(0.01, 0.97), (0.05, 0.90)] {
        let share = lossless / median_duration(loss, 0);
        assert!(share >= least, "at loss {loss} the goodput is {share:.3} of that without loss");
    }
}

/// A datagram that was overtaken is not lost: a slower publisher, whose datagrams are further apart, gains nothing.
#[test]
fn reordering_does_not_slow_the_publisher() {
    let share = median_duration(0.0, 0) / median_duration(0.0, 50_000);
    assert!(share >= 0.95, "the goodput is {share:.3} of that in order");
}
