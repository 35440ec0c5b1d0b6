//! The protocol without its options: numbering, order, repair, flow control. Built without features, this is the core alone:
//!
//!     cargo test -p mcast-stream-proto --no-default-features --test core
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "core/size.rs"]
mod size;

use std::net::SocketAddr;

use mcast_sim::{Dice, EventQueue, for_seeds};
use mcast_stream_proto::publisher::{PublisherConfig, PublisherMachine, Transmit};
use mcast_stream_proto::subscriber::{Item, SubscriberConfig, SubscriberEvent, SubscriberMachine};
use mcast_stream_proto::wire::{Incarnation, StreamId};
use mcast_stream_proto::{ClockTime, Control, Target};

const MESSAGES: u64 = 400;
const MILLISECOND: u64 = 1_000_000;
const PUBLISHER: usize = 0;

/// Everything that one seed draws, and the two kinds of machines, on a network that loses, delays and so reorders.
struct World {
    dice: Dice,
    now: ClockTime,
    loss: u64,
    jitter: u64,
    publisher: PublisherMachine,
    subscribers: Vec<Subscriber>,
    network: EventQueue<ClockTime, Arrival>,
}

/// A datagram on its way.
struct Arrival {
    to: usize,
    from: usize,
    bytes: Vec<u8>,
}

struct Subscriber {
    machine: SubscriberMachine,
    received: u64,
    has_ended: bool,
}

fn address(host: usize) -> SocketAddr {
    ([10, 0, 0, host as u8 + 1], 7000).into()
}

fn message(seed: u64, number: u64) -> Vec<u8> {
    let length = Dice::new(seed ^ (number << 20)).below(3_000);
    (0..length).map(|at| (at ^ number) as u8).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let stream = StreamId::named("core");
        let now = ClockTime(1_000 * MILLISECOND);
        let config = PublisherConfig::new(stream, Incarnation(1)).with(|config| {
            config.seed = dice.below(u64::MAX);
            config.retransmission_buffer = 64 << 10;
        });
        let subscriber = |seed| SubscriberConfig::new(stream).with(|config| config.seed = seed);
        let subscribers = (0..dice.below(4) + 1).map(|_| {
            let machine = SubscriberMachine::new(subscriber(dice.below(u64::MAX)), now);
            Subscriber { machine, received: 0, has_ended: false }
        });
        Self {
            subscribers: subscribers.collect(),
            now,
            loss: dice.below(20),
            jitter: dice.below(2 * MILLISECOND) + 1,
            publisher: PublisherMachine::new(config, now).unwrap(),
            network: EventQueue::new(),
            dice,
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if self.dice.below(100) >= self.loss {
            let at = ClockTime(self.now.0 + MILLISECOND / 10 + self.dice.below(self.jitter));
            self.network.push(at, Arrival { to, from, bytes: bytes.to_vec() });
        }
    }

    fn send_to_group(&mut self, bytes: &[u8]) {
        (1..=self.subscribers.len()).for_each(|host| self.send(PUBLISHER, host, bytes));
    }

    fn send_control(&mut self, from: usize, control: &Control) {
        match control.to {
            Target::Address(to) | Target::Aside(to) => {
                let host = (0..=self.subscribers.len()).find(|host| address(*host) == to);
                self.send(from, host.unwrap(), control.bytes());
            }
            Target::Group | Target::Discovery => self.send_to_group(control.bytes()),
        }
    }

    /// Sends what the machines have to send.
    fn transmit(&mut self) {
        while let Some(transmit) = self.publisher.poll_transmit(self.now) {
            match transmit {
                Transmit::Data { first, count } => {
                    for sequence in (0..count).map(|ahead| first + ahead) {
                        let datagram = self.publisher.datagram(sequence).to_vec();
                        self.send_to_group(&datagram);
                    }
                }
                Transmit::Repair { sequence, .. } => {
                    let datagram = self.publisher.datagram(sequence).to_vec();
                    self.send_to_group(&datagram);
                }
                Transmit::Control(control) => self.send_control(PUBLISHER, &control),
            }
        }
        for host in 1..=self.subscribers.len() {
            while let Some(control) = self.subscribers[host - 1].machine.poll_transmit(self.now) {
                self.send_control(host, &control);
            }
        }
    }

    /// Hands a datagram to a machine, and takes what a subscriber delivers.
    fn arrive(&mut self, seed: u64, to: usize, from: usize, bytes: &[u8]) {
        let Some(host) = to.checked_sub(1) else {
            return self.publisher.handle_datagram(self.now, address(from), bytes);
        };
        self.subscribers[host].machine.handle_datagram(self.now, 0, address(from), bytes);
        self.deliver(seed, host, bytes);
    }

    /// Takes what a subscriber delivers. `current`: the datagram that has just arrived.
    fn deliver(&mut self, seed: u64, host: usize, current: &[u8]) {
        let Subscriber { machine, received, has_ended } = &mut self.subscribers[host];
        while let Some(item) = machine.poll_item(self.now, current) {
            match item {
                Item::Message(delivered) => {
                    assert_eq!(delivered.number.0, *received, "seed {seed}");
                    assert!(delivered.bytes == message(seed, *received), "seed {seed}, message {received}");
                    *received += 1;
                }
                Item::Event(SubscriberEvent::Ended { .. }) => *has_ended = true,
                Item::Event(event @ (SubscriberEvent::Lost { .. } | SubscriberEvent::InternalError(_))) => {
                    panic!("seed {seed}: {event:?}");
                }
                Item::Event(_) => {}
            }
        }
    }

    /// Returns when something happens next.
    fn next_time(&self) -> ClockTime {
        let timers = self.subscribers.iter().map(|subscriber| subscriber.machine.poll_timeout());
        let timers = timers.chain([self.publisher.poll_timeout()]).flatten();
        timers
            .chain(self.network.next_time())
            .min()
            .unwrap()
            .max(self.now + std::time::Duration::from_nanos(1))
    }

    /// Publishes what there is room for, once all subscribers are there; then ends the stream.
    fn publish(&mut self, seed: u64) {
        if self.publisher.subscribers().0 < self.subscribers.len() {
            return;
        }
        while self.publisher.next_message().0 < MESSAGES {
            let text = message(seed, self.publisher.next_message().0);
            if self.publisher.publish(self.now, &text).is_err() {
                return;
            }
        }
        if !self.subscribers.iter().any(|subscriber| subscriber.has_ended) {
            self.publisher.close(self.now);
        }
    }
}

/// Each subscriber delivers every message once, in order, and then the end; nothing is lost where everything can be repaired.
#[test]
fn every_message_arrives_once_and_in_order() {
    for_seeds(200, |seed| {
        let mut world = World::new(seed);
        let mut steps = 0_u64;
        while !world.subscribers.iter().all(|subscriber| subscriber.has_ended) {
            steps += 1;
            assert!(steps < 200_000, "seed {seed} does not end: {:?}", world.publisher.statistics());
            if steps % 8 == 1 {
                world.publish(seed);
            }
            world.transmit();
            (0..world.subscribers.len()).for_each(|host| world.deliver(seed, host, &[]));
            world.now = world.next_time();
            while let Some((_, Arrival { to, from, bytes })) = world.network.pop_until(world.now) {
                world.arrive(seed, to, from, &bytes);
            }
        }
        for subscriber in &world.subscribers {
            assert_eq!(subscriber.received, MESSAGES, "seed {seed}");
            assert!(
                world.loss < 5 || subscriber.machine.statistics().repaired > 0,
                "seed {seed}: no repairs"
            );
        }
    });
}
