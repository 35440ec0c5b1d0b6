//! A publisher, subscribers and the datagrams in flight between them, after a sequence of actions.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, SubscriberConfig};
use mcast_stream_proto::wire::{FlowControl, Incarnation, KeyEpoch, MessageNumber, Sequence, StreamId};
use mcast_stream_proto::{ClockTime, Target};

use crate::audit::{Audit, content};
use crate::cipher::Notary;
use crate::journal::Journal;
use crate::network::{Endpoint, Flight, Network};
use crate::scene::{Action, EPOCH, Fault, PROGRESS, Scene};
use crate::state::Broken;
use crate::stranger;

pub(crate) const STREAM: StreamId = StreamId(7);
const FIRST_INCARNATION: u32 = 100;
const SECOND: u64 = 1_000_000_000;
/// The size of the retransmission buffer in datagrams: the smallest that is valid.
pub(crate) const SLOTS: usize = 16;
pub(crate) const PUBLISHER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 9);

pub(crate) struct Group<'s> {
    scene: &'s Scene,
    now: u64,
    notary: Notary,
    publisher: PublisherMachine,
    publisher_journal: Journal,
    incarnation: u32,
    /// All incarnations so far.
    incarnations: Vec<u32>,
    /// Messages of this incarnation.
    published: u64,
    bursts: usize,
    nodes: Vec<Node>,
    network: Network,
    remaining: Budget,
    keys: Rekeying,
    broken: Option<Broken>,
}

#[derive(Default)]
struct Node {
    subscriber: Option<SubscriberMachine>,
    journal: Journal,
    audit: Audit,
    /// A snapshot that was made for it: its incarnation, and its number of messages.
    captured: Option<(u32, u64)>,
    has_new_key: bool,
    has_old_key: bool,
}

/// How often each kind of action may still happen.
#[derive(Clone, Copy, Hash)]
struct Budget {
    losses: u8,
    copies: u8,
    swaps: u8,
    delays: u8,
    restarts: u8,
    strangers: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Rekeying {
    /// The number of messages published before the publisher used the new key.
    used_from: Option<u64>,
}

impl<'s> Group<'s> {
    pub(crate) fn after(scene: &'s Scene, steps: &[Action]) -> Self {
        let mut group = Self::new(scene);
        for step in steps {
            group.take(*step);
        }
        group
    }

    fn new(scene: &'s Scene) -> Self {
        let notary = Notary::default();
        let Scene { losses, copies, swaps, delays, restarts, strangers, .. } = *scene;
        let mut group = Self {
            publisher: new_publisher(FIRST_INCARNATION, keys(scene, &notary, false), SECOND),
            scene,
            now: SECOND,
            notary,
            publisher_journal: Journal::default(),
            incarnation: FIRST_INCARNATION,
            incarnations: vec![FIRST_INCARNATION],
            published: 0,
            bursts: 0,
            nodes: scene.joiners.iter().map(|_| Node::default()).collect(),
            network: Network::default(),
            remaining: Budget { losses, copies, swaps, delays, restarts, strangers },
            keys: Rekeying::default(),
            broken: None,
        };
        for (index, joiner) in scene.joiners.iter().enumerate() {
            if !joiner.late {
                group.join(index);
            }
        }
        group.serve_publisher();
        group
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        let own = || self.nodes.iter().find_map(|node| node.audit.check().err());
        let reused = self.notary.saw_reuse().then(|| (EPOCH, "a count was used twice".to_owned()));
        self.broken.clone().or_else(own).or(reused)
    }

    /// Returns a digest that is equal if every machine had the same input.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (
            self.now,
            self.publisher_journal,
            self.incarnation,
            self.published,
            self.bursts,
            self.remaining,
            self.keys,
        )
            .hash(&mut hasher);
        for node in &self.nodes {
            (node.journal, node.captured, node.has_new_key, node.has_old_key).hash(&mut hasher);
        }
        self.network.digest().hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn choices(&self) -> Vec<Action> {
        let mut all = Vec::new();
        if self.bursts < self.scene.bursts.len() {
            all.push(Action::Publish);
        }
        if self.remaining.restarts > 0 && self.published > 0 {
            all.push(Action::Restart);
        }
        for index in 0..self.nodes.len() {
            all.extend(self.choices_of(index));
        }
        all.extend(self.may_use_key().then_some(Action::UseKey));
        self.add_flights(&mut all);
        if self.network.is_empty() || self.remaining.delays > 0 {
            all.push(Action::Wait);
        }
        all
    }

    fn choices_of(&self, index: usize) -> Vec<Action> {
        let node = &self.nodes[index];
        if node.subscriber.is_none() {
            return vec![Action::Join(index)];
        }
        let mut all = Vec::new();
        let wants = node.audit.wants.is_some();
        all.extend((wants && node.captured.is_none()).then_some(Action::Capture(index)));
        all.extend(node.captured.map(|_| Action::GiveSnapshot(index)));
        all.extend((self.scene.rotates && !node.has_new_key).then_some(Action::GiveKey(index)));
        let has_all_before = self.keys.used_from.is_some_and(|from| node.audit.due >= from);
        all.extend((node.has_old_key && has_all_before).then_some(Action::DropKey(index)));
        all.extend((self.remaining.strangers > 0).then_some(Action::Stranger(index)));
        all
    }

    fn may_use_key(&self) -> bool {
        let is_ready = |node: &Node| node.subscriber.is_none() || node.has_new_key;
        let unready_is_fine = self.scene.fault == Some(Fault::KeyNeverGiven);
        self.scene.rotates
            && self.keys.used_from.is_none()
            && (unready_is_fine || self.nodes.iter().all(is_ready))
    }

    fn add_flights(&self, all: &mut Vec<Action>) {
        for (index, flight) in self.network.flights().iter().enumerate() {
            if self.network.overtakes(index) && self.remaining.swaps == 0 {
                continue;
            }
            all.push(Action::Deliver(index));
            if self.remaining.copies > 0 {
                all.push(Action::DeliverCopy(index));
            }
            if self.remaining.losses > 0 {
                all.push(Action::Lose(index));
                if flight.datagrams.len() > 1 {
                    all.extend([Action::LoseFirst(index), Action::LoseLast(index)]);
                }
            }
        }
    }

    fn take(&mut self, step: Action) {
        match step {
            Action::Publish => self.publish(),
            Action::Join(index) => self.join(index),
            Action::Capture(index) => self.nodes[index].captured = Some((self.incarnation, self.published)),
            Action::GiveSnapshot(index) => self.give_snapshot(index),
            Action::Restart => self.restart(),
            Action::GiveKey(index) => self.give_keys(index, true, true),
            Action::DropKey(index) => {
                self.give_keys(index, true, self.scene.fault == Some(Fault::OldKeyStays));
                self.nodes[index].has_old_key = false;
            }
            Action::UseKey => {
                self.keys.used_from = Some(self.published);
                self.publisher_journal.note(self.now, b"key");
                self.publisher.set_keys(ClockTime(self.now), keys(self.scene, &self.notary, true));
                self.serve_publisher();
            }
            Action::Deliver(index) => {
                self.remaining.swaps -= u8::from(self.network.overtakes(index));
                let flight = self.network.take(index);
                self.deliver(flight);
            }
            Action::DeliverCopy(index) => {
                self.remaining.swaps -= u8::from(self.network.overtakes(index));
                self.remaining.copies -= 1;
                self.deliver(self.network.flights()[index].clone());
            }
            Action::Lose(index) => {
                self.remaining.losses -= 1;
                self.network.take(index);
            }
            Action::LoseFirst(index) => self.lose(index, |datagrams| drop(datagrams.remove(0))),
            Action::LoseLast(index) => self.lose(index, |datagrams| drop(datagrams.pop())),
            Action::Stranger(index) => self.deliver_forged(index),
            Action::Wait => self.wait(),
        }
    }

    fn publish(&mut self) {
        for _ in 0..self.scene.bursts[self.bursts] {
            let message = content(self.incarnation, self.incarnations.len() as u32, self.published);
            // There is no flow control, so there is always room.
            if self.publisher.publish(ClockTime(self.now), &message).is_ok() {
                self.published += 1;
            }
            self.publisher.flush(ClockTime(self.now));
            self.serve_publisher();
        }
        self.bursts += 1;
        self.publisher_journal.note(self.now, b"publish");
    }

    fn join(&mut self, index: usize) {
        let joiner = self.scene.joiners[index];
        let has_new = self.keys.used_from.is_some();
        let config = SubscriberConfig::new(STREAM).with(|config| {
            config.start = joiner.start;
            config.policy = joiner.policy;
            config.window = SLOTS;
            config.keys = keys(self.scene, &self.notary, has_new);
            config.unix_offset = Some(SECOND);
            config.seed = index as u64 + 1;
        });
        let node = &mut self.nodes[index];
        (node.has_new_key, node.has_old_key) = (has_new, self.scene.sealed);
        node.subscriber = Some(SubscriberMachine::new(config, ClockTime(self.now)));
        node.journal.note(self.now, b"join");
        self.serve(index, &[]);
    }

    /// Gives a snapshot to a subscriber, unless it is of a former incarnation or too old.
    fn give_snapshot(&mut self, index: usize) {
        let lacks = u64::from(self.scene.fault == Some(Fault::SnapshotLacksTheLast));
        let node = &mut self.nodes[index];
        let (Some((incarnation, messages)), Some(subscriber)) = (node.captured.take(), &mut node.subscriber)
        else {
            return;
        };
        if node.audit.incarnation == Some(incarnation)
            && node.audit.wants.is_some_and(|wanted| wanted <= messages)
        {
            subscriber.resume(MessageNumber(messages));
            node.audit.snapshot(messages, messages.saturating_sub(lacks));
            node.journal.note(self.now, &messages.to_be_bytes());
        }
        self.serve(index, &[]);
    }

    fn restart(&mut self) {
        self.remaining.restarts -= 1;
        self.incarnation = match self.scene.fault {
            Some(Fault::ClockSetBack) => self.incarnation - 50,
            Some(Fault::SameIncarnation) => self.incarnation,
            _ => self.incarnation + 1,
        };
        self.incarnations.push(self.incarnation);
        let uses_new = self.keys.used_from.is_some();
        self.publisher = new_publisher(self.incarnation, keys(self.scene, &self.notary, uses_new), self.now);
        self.publisher_journal.note(self.now, b"restart");
        self.published = 0;
        self.serve_publisher();
    }

    fn give_keys(&mut self, index: usize, new: bool, old: bool) {
        let mut given = Keys::none();
        let all = keys(self.scene, &self.notary, new);
        if old {
            given = all;
        } else {
            given.add(KeyEpoch(2), self.notary.secret(2));
        }
        let node = &mut self.nodes[index];
        node.has_new_key = true;
        node.journal.note(self.now, if old { b"both" } else { b"new " });
        if let Some(subscriber) = &mut node.subscriber {
            subscriber.set_keys(given);
        }
        self.serve(index, &[]);
    }

    fn lose(&mut self, index: usize, what: impl FnOnce(&mut Vec<Vec<u8>>)) {
        self.remaining.losses -= 1;
        self.remaining.swaps -= u8::from(self.network.overtakes(index));
        let mut flight = self.network.take(index);
        what(&mut flight.datagrams);
        self.deliver(flight);
    }

    fn deliver_forged(&mut self, index: usize) {
        self.remaining.strangers -= 1;
        let is_excluded = self.keys.used_from.is_some() && !self.nodes[index].has_old_key;
        let next = self.nodes[index].audit.due;
        let datagrams = stranger::datagrams(self.incarnation, next, self.now, is_excluded);
        self.deliver(Flight { from: Endpoint::PublisherMachine, to: Endpoint::Subscriber(index), datagrams });
    }

    fn wait(&mut self) {
        if !self.network.is_empty() {
            self.remaining.delays = self.remaining.delays.saturating_sub(1);
        }
        let subscribers = self.nodes.iter().filter_map(|node| node.subscriber.as_ref());
        let next = subscribers
            .map(|subscriber| subscriber.poll_timeout().unwrap_or(ClockTime::NEVER).0)
            .min()
            .unwrap_or(u64::MAX);
        self.now =
            next.min(self.publisher.poll_timeout().unwrap_or(ClockTime::NEVER).0).max(self.now + 1_000);
        if self.publisher.poll_timeout().unwrap_or(ClockTime::NEVER).0 <= self.now {
            self.publisher_journal.note(self.now, b"wait");
            self.serve_publisher();
        }
        for index in 0..self.nodes.len() {
            let is_due = |subscriber: &SubscriberMachine| {
                subscriber.poll_timeout().unwrap_or(ClockTime::NEVER).0 <= self.now
            };
            if self.nodes[index].subscriber.as_ref().is_some_and(is_due) {
                self.nodes[index].journal.note(self.now, b"wait");
                self.serve(index, &[]);
            }
        }
    }

    fn deliver(&mut self, flight: Flight) {
        for datagram in flight.datagrams {
            match flight.to {
                Endpoint::PublisherMachine => {
                    let Endpoint::Subscriber(from) = flight.from else { continue };
                    self.publisher_journal.note(self.now, &datagram);
                    self.publisher.handle_datagram(ClockTime(self.now), address(from), &datagram);
                    self.serve_publisher();
                }
                Endpoint::Subscriber(index) => {
                    let node = &mut self.nodes[index];
                    let Some(subscriber) = &mut node.subscriber else { continue };
                    node.journal.note(self.now, &datagram);
                    subscriber.handle_datagram(ClockTime(self.now), 0, PUBLISHER, &datagram);
                    self.serve(index, &datagram);
                }
            }
        }
    }

    fn serve_publisher(&mut self) {
        let mut to: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.nodes.len()];
        while let Some(transmit) = self.publisher.poll_transmit(ClockTime(self.now)) {
            let (datagrams, target) = match transmit {
                Transmit::Data { first, count } => {
                    let all = Sequence::each(first..first + count)
                        .map(|sequence| self.publisher.datagram(sequence).to_vec());
                    (all.collect(), Target::Group)
                }
                Transmit::Repair { sequence, to } => (vec![self.publisher.datagram(sequence).to_vec()], to),
                Transmit::Control(control) => (vec![control.bytes().to_vec()], control.to),
            };
            for (index, bytes) in to.iter_mut().enumerate() {
                let own = address(index);
                if [Target::Group, Target::Address(own), Target::Aside(own)].contains(&target) {
                    bytes.extend(datagrams.iter().cloned());
                }
            }
        }
        while self.publisher.poll_event().is_some() {}
        for (index, datagrams) in to.into_iter().enumerate() {
            if self.nodes[index].subscriber.is_some() {
                self.network.add(Endpoint::PublisherMachine, Endpoint::Subscriber(index), datagrams);
            }
        }
    }

    /// Takes the messages, events and datagrams that a subscriber has ready.
    fn serve(&mut self, index: usize, datagram: &[u8]) {
        let (now, incarnations) = (self.now, &self.incarnations);
        let Node { subscriber: Some(subscriber), audit, .. } = &mut self.nodes[index] else { return };
        while let Some(item) = subscriber.poll_item(ClockTime(now), datagram) {
            let result = match item {
                Item::Message(message) => audit.message(&message),
                Item::Event(event) => audit.event(&event, |incarnation| incarnations.contains(&incarnation)),
            };
            self.broken = self.broken.take().or_else(|| result.err());
        }
        let mut feedback = Vec::new();
        while let Some(control) = subscriber.poll_transmit(ClockTime(now)) {
            feedback.push(control.bytes().to_vec());
        }
        self.network.add(Endpoint::Subscriber(index), Endpoint::PublisherMachine, feedback);
    }

    /// Returns whether every subscriber reaches the end of the stream if no more faults happen.
    pub(crate) fn can_reach_the_end(mut self) -> bool {
        const MAX_STEPS: usize = 3_000;
        self.publisher.close(ClockTime(self.now));
        self.serve_publisher();
        for _ in 0..MAX_STEPS {
            if self.nodes.iter().all(|node| self.is_at_the_end(node)) {
                return self.broken().is_none_or(|(promise, _)| promise == PROGRESS);
            }
            let wants = |node: &Node| node.audit.wants.is_some();
            if !self.network.is_empty() {
                let flight = self.network.take(0);
                self.deliver(flight);
                continue;
            }
            for index in (0..self.nodes.len()).filter(|index| wants(&self.nodes[*index])).collect::<Vec<_>>()
            {
                self.take(Action::Capture(index));
                self.take(Action::GiveSnapshot(index));
            }
            self.wait();
        }
        false
    }

    /// Returns whether a subscriber is at the end. One that follows an incarnation that seems later than the present
    /// one cannot know that it is over.
    fn is_at_the_end(&self, node: &Node) -> bool {
        let is_left_behind = node.audit.incarnation.is_some_and(|incarnation| incarnation > self.incarnation);
        node.subscriber.is_none()
            || node.audit.ended && node.audit.incarnation == Some(self.incarnation)
            || is_left_behind
    }
}

pub(crate) fn keys(scene: &Scene, notary: &Notary, with_new: bool) -> Keys {
    if !scene.sealed {
        return Keys::none();
    }
    let mut keys = Keys::one(KeyEpoch(1), notary.secret(1));
    if with_new {
        keys.add(KeyEpoch(2), notary.secret(2));
    }
    keys
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 1], index as u16 + 1))
}

fn new_publisher(incarnation: u32, keys: Keys, now: u64) -> PublisherMachine {
    let config = PublisherConfig::new(STREAM, Incarnation(incarnation)).with(|config| {
        config.datagram = 256;
        config.retransmission_buffer = SLOTS * 256;
        config.flow = FlowControl::None;
        config.unix_offset = Some(SECOND);
        config.seed = u64::from(incarnation);
        config.keys = keys;
    });
    PublisherMachine::new(config, ClockTime(now)).unwrap()
}
