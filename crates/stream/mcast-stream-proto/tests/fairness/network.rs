//! A simulated network: a bottleneck with a tail-drop queue, which a stream shares with TCP flows, and behind it the links
//! of the subscribers. Feedback and acknowledgements are only delayed.

use std::net::SocketAddr;

use mcast_sim::{Dice, EventQueue};
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{
    AutoRate, Fec, PublisherConfig, PublisherEvent, PublisherRate, Transmit,
};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, SubscriberConfig};
use mcast_stream_proto::wire::{Incarnation, Sequence, StreamId};
use mcast_stream_proto::{ClockTime, Target};

use crate::tcp::{Algorithm, SEGMENT, Tcp};
use crate::{MILLISECOND, SECOND};

const STREAM: StreamId = StreamId(7);
/// Ethernet, IPv4 and UDP.
const OVERHEAD: u64 = 42;
const DATAGRAM: usize = 1_472;
const MESSAGE: [u8; 1_400] = [7; 1_400];
/// The interval at which the queue is measured.
const SAMPLE: u64 = MILLISECOND;

/// What is simulated. Rates are in bytes per second, times in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) rate: u64,
    /// The round-trip time without queues.
    pub(crate) round_trip: u64,
    /// The size of the queue in bytes.
    pub(crate) queue: u64,
    pub(crate) subscribers: Vec<Receiver>,
    pub(crate) flows: Vec<Algorithm>,
    /// When the flows begin and end.
    pub(crate) flow_time: (u64, u64),
    pub(crate) time: u64,
    /// What is measured begins then.
    pub(crate) warm_up: u64,
    pub(crate) evict_below: Option<u64>,
    /// The application publishes this many bytes per second, if it has not unlimited data.
    pub(crate) feed: Option<u64>,
    /// When the bottleneck changes, and to which rate.
    pub(crate) change: Option<(u64, u64)>,
    /// The longest random delay of a datagram at its receiver: a process that is not scheduled at once.
    pub(crate) stalls: u64,
    pub(crate) fec: Fec,
    pub(crate) seed: u64,
}

/// A subscriber behind the bottleneck.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// The share of datagrams lost near it.
    pub(crate) loss: f64,
    pub(crate) rate: Option<u64>,
    pub(crate) delay: u64,
    pub(crate) joins: u64,
}

impl Receiver {
    pub(crate) const GOOD: Self = Self { loss: 0.0, rate: None, delay: 0, joins: 0 };
}

impl Scene {
    /// A stream to one subscriber over a bottleneck of this many Mbit/s, with a queue of this many times the product of
    /// rate and round-trip time.
    pub(crate) fn alone(megabits: u64, round_trip: u64, queue: u64, seed: u64) -> Self {
        let rate = megabits * 125_000;
        Self {
            rate,
            round_trip,
            queue: (queue * rate * round_trip / SECOND).max(4 * SEGMENT),
            subscribers: vec![Receiver::GOOD],
            flows: Vec::new(),
            flow_time: (2 * SECOND, u64::MAX),
            time: 20 * SECOND,
            warm_up: 3 * SECOND,
            evict_below: None,
            feed: None,
            change: None,
            stalls: 0,
            fec: Fec::Off,
            seed,
        }
    }

    pub(crate) fn run(&self) -> Outcome {
        Network::new(self).run()
    }
}

/// What was measured. Rates are in bytes per second on the wire, delays in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What the stream and each flow got of the bottleneck.
    pub(crate) stream: f64,
    pub(crate) flows: Vec<f64>,
    /// The rate of new messages at each subscriber.
    pub(crate) goodput: Vec<f64>,
    /// The delay of the queue: the mean, and the 95th percentile.
    pub(crate) queue: u64,
    pub(crate) queue_p95: u64,
    pub(crate) evicted: Vec<PublisherEvent>,
    /// The rate of the stream in each tenth of a second.
    pub(crate) history: Vec<f64>,
}

impl Outcome {
    /// The stream's share relative to the mean of the flows.
    pub(crate) fn fairness(&self) -> f64 {
        self.stream / (self.flows.iter().sum::<f64>() / self.flows.len() as f64)
    }
}

#[derive(Debug)]
enum Event {
    Publisher,
    Subscriber(usize),
    Flow(usize),
    Arrives(usize, Vec<u8>),
    Feedback(usize, Vec<u8>),
    Acknowledged(usize, u64),
    Measure,
}

struct Network<'s> {
    scene: &'s Scene,
    now: u64,
    events: EventQueue<u64, Event>,
    dice: Dice,
    publisher: PublisherMachine,
    publisher_at: u64,
    subscribers: Vec<SubscriberMachine>,
    subscriber_at: Vec<u64>,
    last_arrival: Vec<u64>,
    busy: Vec<u64>,
    flows: Vec<Tcp>,
    flow_at: Vec<u64>,
    bottleneck: u64,
    fed: u64,
    queues: Vec<u64>,
    stream_bytes: u64,
    flow_bytes: Vec<u64>,
    message_bytes: Vec<u64>,
    window_bytes: u64,
    outcome: Outcome,
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1 + (index / 250) as u8, 2 + (index % 250) as u8], 7000))
}

impl<'s> Network<'s> {
    fn new(scene: &'s Scene) -> Self {
        let config = PublisherConfig::new(STREAM, Incarnation(1)).with(|config| {
            config.datagram = DATAGRAM;
            config.rate = PublisherRate::Auto(AutoRate { evict_below: scene.evict_below });
            config.fec = scene.fec;
            config.seed = scene.seed;
        });
        let subscriber = |index: usize| {
            let config = SubscriberConfig::new(STREAM).with(|config| config.seed = 100 + index as u64);
            SubscriberMachine::new(config, ClockTime(SECOND))
        };
        let count = scene.subscribers.len();
        Self {
            scene,
            now: SECOND,
            events: EventQueue::new(),
            dice: Dice::new(scene.seed),
            publisher: PublisherMachine::new(config, ClockTime(SECOND)).unwrap(),
            publisher_at: u64::MAX,
            subscribers: (0..count).map(subscriber).collect(),
            subscriber_at: vec![u64::MAX; count],
            last_arrival: vec![0; count],
            busy: vec![0; count],
            flows: Vec::new(),
            flow_at: vec![u64::MAX; scene.flows.len()],
            bottleneck: 0,
            fed: 0,
            queues: Vec::new(),
            stream_bytes: 0,
            flow_bytes: vec![0; scene.flows.len()],
            message_bytes: vec![0; count],
            window_bytes: 0,
            outcome: Outcome::default(),
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.events.push(time.max(self.now), event);
    }

    fn run(mut self) -> Outcome {
        let (begun, scene) = (self.now, self.scene);
        self.publisher_at = self.now;
        self.at(self.now, Event::Publisher);
        self.at(self.now, Event::Measure);
        for (index, algorithm) in scene.flows.iter().enumerate() {
            // They do not start together.
            let start = begun + scene.flow_time.0 + self.dice.below(100 * MILLISECOND);
            self.flows.push(Tcp::new(*algorithm, start, self.dice.next()));
            self.flow_at[index] = start;
            self.at(start, Event::Flow(index));
        }
        while let Some((at, event)) = self.events.pop() {
            self.now = at;
            if at > begun + scene.time {
                break;
            }
            self.handle(event);
        }
        self.finish(begun)
    }

    fn finish(mut self, begun: u64) -> Outcome {
        let measured =
            (self.now.min(begun + self.scene.time) - begun - self.scene.warm_up) as f64 / SECOND as f64;
        let since_flows =
            (self.scene.time - self.scene.warm_up.max(self.scene.flow_time.0)) as f64 / SECOND as f64;
        let per_second = |bytes: &u64| *bytes as f64 / measured;
        self.queues.sort_unstable();
        let count = self.queues.len().max(1);
        Outcome {
            stream: per_second(&self.stream_bytes),
            flows: self.flow_bytes.iter().map(|bytes| *bytes as f64 / since_flows).collect(),
            goodput: self.message_bytes.iter().map(per_second).collect(),
            queue: self.queues.iter().sum::<u64>() / count as u64,
            queue_p95: self.queues.get(count * 95 / 100).copied().unwrap_or_default(),
            ..self.outcome
        }
    }

    fn is_measured(&self) -> bool {
        self.now >= SECOND + self.scene.warm_up
    }

    fn handle(&mut self, event: Event) {
        match event {
            // An event that an earlier one has replaced does nothing: else each would cause another.
            Event::Publisher if self.publisher_at <= self.now => {
                self.publisher_at = u64::MAX;
                self.serve_publisher();
            }
            Event::Subscriber(index) if self.subscriber_at[index] <= self.now => {
                self.subscriber_at[index] = u64::MAX;
                self.serve_subscriber(index, &[]);
            }
            Event::Flow(index) if self.flow_at[index] <= self.now => {
                self.flow_at[index] = u64::MAX;
                self.serve_flow(index);
            }
            Event::Publisher | Event::Subscriber(_) | Event::Flow(_) => {}
            Event::Arrives(index, bytes) => {
                if self.now < SECOND + self.scene.subscribers[index].joins {
                    return;
                }
                let from = SocketAddr::from(([10, 0, 0, 1], 7000));
                self.subscribers[index].handle_datagram(ClockTime(self.now), 0, from, &bytes);
                self.serve_subscriber(index, &bytes);
            }
            Event::Feedback(index, bytes) => {
                self.publisher.handle_datagram(ClockTime(self.now), address(index), &bytes);
                self.serve_publisher();
            }
            Event::Acknowledged(index, number) => {
                self.flows[index].acknowledge(self.now, number);
                self.serve_flow(index);
            }
            Event::Measure => {
                if self.is_measured() {
                    let waiting = self.bottleneck.saturating_sub(self.now);
                    self.queues.push(waiting);
                }
                if (self.now / SAMPLE).is_multiple_of(100) {
                    self.outcome.history.push(self.window_bytes as f64 * 10.0);
                    self.window_bytes = 0;
                }
                self.at(self.now + SAMPLE, Event::Measure);
            }
        }
    }

    fn serve_flow(&mut self, index: usize) {
        if self.now >= self.scene.flow_time.1.saturating_add(SECOND) {
            return;
        }
        while let Some(number) = self.flows[index].send(self.now) {
            if let Some(arrives) = self.pass_bottleneck(SEGMENT) {
                if self.is_measured() {
                    self.flow_bytes[index] += SEGMENT;
                }
                self.at(arrives + self.scene.round_trip, Event::Acknowledged(index, number));
            }
        }
        let deadline = self.flows[index].deadline(self.now);
        if deadline < self.flow_at[index] {
            self.flow_at[index] = deadline;
            self.at(deadline, Event::Flow(index));
        }
    }

    /// Returns when a packet leaves the bottleneck, or `None` if its queue is full.
    fn pass_bottleneck(&mut self, bytes: u64) -> Option<u64> {
        let changed = self.scene.change.filter(|(at, _)| self.now >= SECOND + at);
        let rate = changed.map_or(self.scene.rate, |(_, rate)| rate);
        let start = self.bottleneck.max(self.now);
        if (start - self.now) * rate / SECOND + bytes > self.scene.queue {
            return None;
        }
        self.bottleneck = start + bytes * SECOND / rate;
        Some(self.bottleneck)
    }

    fn serve_publisher(&mut self) {
        self.publish();
        while let Some(transmit) = self.publisher.poll_transmit(ClockTime(self.now)) {
            match transmit {
                Transmit::Data { first, count } => {
                    for sequence in Sequence::each(first..first + count) {
                        let bytes = self.publisher.datagram(sequence).to_vec();
                        self.send_to_group(&bytes);
                    }
                    self.publish();
                }
                Transmit::Repair { sequence, to } => {
                    let bytes = self.publisher.datagram(sequence).to_vec();
                    self.send(to, &bytes);
                }
                Transmit::Control(control) => {
                    let bytes = control.bytes().to_vec();
                    self.send(control.to, &bytes);
                }
            }
        }
        while let Some(event) = self.publisher.poll_event() {
            if matches!(event, PublisherEvent::SubscriberEvicted(..)) {
                self.outcome.evicted.push(event);
            }
        }
        let mut deadline = self.publisher.poll_timeout().unwrap_or(ClockTime::NEVER).0.max(self.now + 1);
        if let Some(feed) = self.scene.feed {
            deadline = deadline.min(self.now + (MESSAGE.len() as u64 * SECOND / feed).max(1));
        }
        if deadline < self.publisher_at {
            self.publisher_at = deadline;
            self.at(deadline, Event::Publisher);
        }
    }

    fn publish(&mut self) {
        let due = self.scene.feed.map_or(u64::MAX, |feed| (self.now - SECOND) / 1_000 * feed / 1_000_000);
        while self.fed < due && self.publisher.publish(ClockTime(self.now), &MESSAGE).is_ok() {
            self.publisher.flush(ClockTime(self.now));
            self.fed += MESSAGE.len() as u64;
        }
    }

    fn send(&mut self, to: Target, bytes: &[u8]) {
        match to {
            Target::Group => self.send_to_group(bytes),
            Target::Address(to) | Target::Aside(to) => {
                let index = (0..self.subscribers.len()).find(|index| address(*index) == to);
                let arrives = self.pass_bottleneck(bytes.len() as u64 + OVERHEAD);
                self.count_stream(bytes, arrives);
                if let (Some(index), Some(at)) = (index, arrives) {
                    self.deliver(index, at, bytes);
                }
            }
            Target::Discovery => {}
        }
    }

    fn send_to_group(&mut self, bytes: &[u8]) {
        let arrives = self.pass_bottleneck(bytes.len() as u64 + OVERHEAD);
        self.count_stream(bytes, arrives);
        if let Some(at) = arrives {
            (0..self.subscribers.len()).for_each(|index| self.deliver(index, at, bytes));
        }
    }

    fn count_stream(&mut self, bytes: &[u8], arrives: Option<u64>) {
        if arrives.is_some() {
            let length = bytes.len() as u64 + OVERHEAD;
            self.window_bytes += length;
            if self.is_measured() {
                self.stream_bytes += length;
            }
        }
    }

    fn deliver(&mut self, index: usize, at: u64, bytes: &[u8]) {
        let receiver = &self.scene.subscribers[index];
        if self.dice.chance(receiver.loss) {
            return;
        }
        let mut at = at + self.scene.round_trip / 2 + receiver.delay;
        if let Some(rate) = receiver.rate {
            let start = self.busy[index].max(at);
            // A queue of 50 ms.
            if start - at > 50 * MILLISECOND {
                return;
            }
            self.busy[index] = start + (bytes.len() as u64 + OVERHEAD) * SECOND / rate;
            at = self.busy[index];
        }
        // Now and then its process is not scheduled for a while.
        if self.scene.stalls > 0 && self.dice.chance(0.002) {
            at += self.dice.below(self.scene.stalls);
        }
        at = at.max(self.last_arrival[index]);
        self.last_arrival[index] = at;
        self.at(at, Event::Arrives(index, bytes.to_vec()));
    }

    fn serve_subscriber(&mut self, index: usize, datagram: &[u8]) {
        let now = ClockTime(self.now);
        while let Some(item) = self.subscribers[index].poll_item(now, datagram) {
            if let Item::Message(message) = item
                && self.now >= SECOND + self.scene.warm_up
            {
                self.message_bytes[index] += message.bytes.len() as u64;
            }
        }
        while let Some(control) = self.subscribers[index].poll_transmit(now) {
            let back = self.scene.round_trip / 2 + self.scene.subscribers[index].delay;
            self.at(self.now + back, Event::Feedback(index, control.bytes().to_vec()));
        }
        let deadline =
            self.subscribers[index].poll_timeout().unwrap_or(ClockTime::NEVER).0.max(self.now + 1_000);
        if deadline < self.subscriber_at[index] {
            self.subscriber_at[index] = deadline;
            self.at(deadline, Event::Subscriber(index));
        }
    }
}
