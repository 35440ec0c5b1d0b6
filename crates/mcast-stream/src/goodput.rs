//! Measures the cost of losses in a simulation, without the noise of a real machine: a sender as fast as its link, a link
//! that loses in both directions, a receiver.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::vec::Vec;

use crate::random::Random;
use crate::receiver::{Item, ReceiverConfig};
use crate::sender::{SenderConfig, Transmit};
use crate::wire::{Incarnation, StreamId};
use crate::{Receiver, Sender};

const MESSAGES: u64 = 60_000;
/// Nanoseconds for which a datagram occupies the sender, and the one-way delay.
const COST: u64 = 2_200;
const DELAY: u64 = 20_000;

/// One direction of the link.
struct Link {
    in_flight: VecDeque<(u64, Vec<u8>)>,
    loss: f64,
    random: Random,
}

impl Link {
    fn new(loss: f64, seed: u64) -> Self {
        Self { in_flight: VecDeque::new(), loss, random: Random::new(seed) }
    }

    fn carry(&mut self, now: u64, datagram: &[u8]) {
        if self.random.unit() >= self.loss {
            self.in_flight.push_back((now + DELAY, datagram.to_vec()));
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
    sender: Sender,
    receiver: Receiver,
    forward: Link,
    back: Link,
    published: u64,
    received: u64,
}

impl Transfer {
    fn new(loss: f64) -> Self {
        let now = 1_000_000_000;
        let stream = StreamId(1);
        let config = SenderConfig { datagram: 1472, seed: 1, ..SenderConfig::new(stream, Incarnation(1)) };
        Self {
            now,
            sender: Sender::new(config, now).unwrap(),
            receiver: Receiver::new(ReceiverConfig { seed: 2, ..ReceiverConfig::new(stream) }, now),
            forward: Link::new(loss, 3),
            back: Link::new(loss, 4),
            published: 0,
            received: 0,
        }
    }

    /// Returns the nanoseconds from the join of the receiver until it has everything.
    fn duration(mut self) -> u64 {
        while self.sender.receivers().0 == 0 {
            self.step();
        }
        let began = self.now;
        while self.received < MESSAGES {
            while self.published < MESSAGES && self.sender.publish(self.now, &[7; 1344]).is_ok() {
                self.sender.flush(self.now);
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
            self.sender.handle(at.max(self.now), SocketAddr::from(([10, 0, 0, 2], 7000)), &datagram);
        }
        let has_sent = self.send();
        while let Some((at, datagram)) = self.forward.arrived(self.now) {
            self.receive(at, &datagram);
        }
        self.send_feedback(self.now);
        if !has_sent {
            let timers = self.sender.next_deadline().min(self.receiver.next_deadline());
            self.now = self.forward.next().min(self.back.next()).min(timers).max(self.now + 1);
        }
    }

    fn send(&mut self) -> bool {
        let Some(transmit) = self.sender.poll(self.now) else { return false };
        let mut carry = |datagram: &[u8]| {
            self.now += COST;
            self.forward.carry(self.now, datagram);
        };
        match transmit {
            Transmit::Data { first, count } => {
                (first..first + count).for_each(|sequence| carry(self.sender.datagram(sequence)));
            }
            Transmit::Repair { sequence, .. } => carry(self.sender.datagram(sequence)),
            Transmit::Control(control) => carry(control.bytes()),
        }
        true
    }

    fn receive(&mut self, at: u64, datagram: &[u8]) {
        self.receiver.handle(at, 0, SocketAddr::from(([10, 0, 0, 1], 7000)), datagram);
        while let Some(item) = self.receiver.next(at, datagram) {
            if let Item::Message(message) = item {
                assert_eq!(message.number, self.received, "a reliable stream has no gaps");
                self.received += 1;
            }
        }
        self.send_feedback(at);
    }

    fn send_feedback(&mut self, at: u64) {
        while let Some(control) = self.receiver.poll(at) {
            self.back.carry(at, control.bytes());
        }
    }
}

#[test]
fn losses_cost_little_more_than_the_repairs() {
    let lossless = Transfer::new(0.0).duration() as f64;
    for (loss, least) in [(0.01, 0.97), (0.05, 0.90)] {
        let share = lossless / Transfer::new(loss).duration() as f64;
        assert!(share >= least, "at loss {loss} the goodput is {share:.3} of that without loss");
    }
}
