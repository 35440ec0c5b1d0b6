//! The publisher: its messages, its faults and its output.

use std::rc::Rc;

use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{
    AckLevel, Acknowledgers, AutoRate, PublisherConfig, PublisherEvent, PublisherRate, Quorum, QuorumLoss,
    Refusal, Transmit,
};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{DatagramView, FlowControl, Incarnation, KeyEpoch, Kind, Sequence};
use mcast_stream_proto::{ClockTime, Target};

use super::acknowledgements::name_of;
use super::former::FormerPublisher;
use super::{FIRST_INCARNATION, Happening, STREAM, World, nothing_verified};
use crate::content;
use crate::plan::{AckPlan, Acknowledge, MILLISECOND, NetworkPlan, NextIncarnation, SECOND};
use crate::signer;

/// How long the application waits for subscribers that must acknowledge messages, before it ends the stream.
const TIMEOUT: u64 = 12 * SECOND;

impl World<'_> {
    pub(super) fn publisher_now(&self) -> u64 {
        self.now + self.publisher_clock
    }

    pub(super) fn publish(&mut self) -> Result<(), String> {
        if self.closed {
            return Ok(());
        }
        let now = self.publisher_now();
        let gives_up = self.blocked_since.is_some_and(|since| self.now > since + TIMEOUT);
        if self.published == self.plan.messages || gives_up {
            self.closed = true;
            self.publisher.close(ClockTime(now));
            return Ok(());
        }
        let pause = self.publish_message()?;
        self.at(self.now + pause.max(1), Happening::Publish);
        Ok(())
    }

    /// Publishes the next message, if there is room; returns the time until the next attempt.
    pub(super) fn publish_message(&mut self) -> Result<u64, String> {
        let now = self.publisher_now();
        let (key, bytes) = content::message(self.plan, self.incarnation, self.published);
        match self.publisher.publish(ClockTime(now), (key, &bytes)) {
            Ok(number) if number.0 != self.published => Err(format!("{number} follows {}", self.published)),
            Ok(_) => {
                self.record_published();
                Ok(self.plan.pause)
            }
            Err(refusal) if refusal.is_temporary() => {
                if let Refusal::WaitingFor { subscriber, .. } = refusal {
                    self.record_waiting(subscriber);
                }
                if refusal == Refusal::NoQuorum {
                    self.blocked_since.get_or_insert(self.now);
                }
                Ok(MILLISECOND)
            }
            Err(refusal) => Err(format!("message {} was refused: {refusal}", self.published)),
        }
    }

    /// Notes a published message, and starts the faults that are planned after it.
    fn record_published(&mut self) {
        self.blocked_since = None;
        (self.published, self.progress_at) = (self.published + 1, self.now);
        self.accepted.insert(self.incarnation, self.published);
        self.published_at.push(self.now);
        if self.plan.flush || self.dice.chance(0.1) {
            self.publisher.flush(ClockTime(self.publisher_now()));
        }
        // No faults are planned for later incarnations.
        if self.incarnation != FIRST_INCARNATION || self.accepted.len() > 1 {
            return;
        }
        if self.plan.rotate == Some(self.published) {
            self.rotate();
        }
        if self.plan.new_signer == Some(self.published) {
            let now = self.publisher_now();
            self.publisher.set_signer(ClockTime(now), signer::key(self.plan.seed, true));
        }
        if let Some((_, forward)) = self.plan.jump.filter(|(at, _)| *at == self.published) {
            self.publisher_clock += forward;
        }
        if let Some((_, incarnation)) = self.plan.restart.filter(|(at, _)| *at == self.published) {
            self.restart(incarnation);
        }
    }

    /// Changes the key, at the subscribers first; some get it late.
    fn rotate(&mut self) {
        self.keys.add(KeyEpoch(2), self.notary.secret(self.plan.seed ^ 1));
        for index in 0..self.nodes.len() {
            match self.plan.subscribers[index].key_late {
                0 => self.set_keys_of(index),
                late => self.at(self.now + late, Happening::GetsKey(index)),
            }
        }
        self.publisher.set_keys(ClockTime(self.publisher_now()), self.keys.clone());
    }

    fn restart(&mut self, incarnation: NextIncarnation) {
        let now = self.publisher_now();
        let former = (self.incarnation, self.published);
        self.incarnation = incarnation.after(self.incarnation, self.now);
        let publisher = std::mem::replace(
            &mut self.publisher,
            new_publisher(self.plan, self.incarnation, &self.keys, now),
        );
        self.accepted.insert(self.incarnation, 0);
        let verified_through = std::mem::replace(&mut self.verified_through, nothing_verified(self.plan));
        self.former =
            self.plan.overlap.map(|left| FormerPublisher::new(publisher, former, verified_through, left));
        if self.former.is_some() {
            self.at(self.now + 1, Happening::FormerPublisherWakes);
        }
        (self.published, self.begun) = (0, self.now);
        self.meter.start_new_publisher();
        self.published_at.clear();
        self.waited_since.clear();
        self.present.clear();
    }

    pub(super) fn serve_publisher(&mut self) {
        self.before_sending = (Sequence(self.publisher.statistics().datagrams + 1), self.verified_through);
        self.send_from_publisher();
        while let Some(event) = self.publisher.poll_event() {
            self.record_event(event);
        }
        let at = self
            .publisher
            .poll_timeout()
            .unwrap_or(ClockTime::NEVER)
            .0
            .saturating_sub(self.publisher_clock)
            .max(self.now + 1_000);
        if at < self.publisher_wakes_at {
            self.publisher_wakes_at = at;
            self.at(at, Happening::PublisherWakes);
        }
    }

    fn record_event(&mut self, event: PublisherEvent) {
        match event {
            PublisherEvent::SubscriberJoined(id, from) => {
                self.record_joined(id, from);
                self.waited_since.entry(id).or_insert(self.now);
                self.record_present(id);
            }
            PublisherEvent::SubscriberLeft(id) => self.record_departed(id),
            PublisherEvent::SubscriberSilent(id) => {
                self.record_departed(id);
                self.excused.insert(id);
            }
            PublisherEvent::SubscriberEvicted(id, _) => {
                self.record_eviction(id);
                self.excused.insert(id);
                self.evicted.extend(self.nodes.iter().position(|node| node.id == Some(id)));
            }
            PublisherEvent::Slowed { .. } => self.slowed += 1,
            _ => {}
        }
    }

    pub(super) fn send_from_publisher(&mut self) {
        let now = self.publisher_now();
        while let Some(transmit) = self.publisher.poll_transmit(ClockTime(now)) {
            match transmit {
                Transmit::Data { first, count } => self.send_data(first, count),
                Transmit::Repair { sequence, to } => {
                    let bytes = self.publisher.datagram(sequence).to_vec();
                    self.meter.repair(self.now, bytes.len());
                    self.send_to(to, &bytes);
                }
                Transmit::Control(control) => {
                    let bytes = control.bytes().to_vec();
                    self.meter.control(self.now, &bytes);
                    self.send_to(control.to, &bytes);
                    self.publisher.reuse(control);
                }
            }
        }
    }

    fn send_data(&mut self, first: Sequence, count: u64) {
        for path in 0..self.plan.paths {
            self.publisher.mark_path(first, count, path, false);
            for sequence in Sequence::each(first..first + count) {
                let bytes = self.publisher.datagram(sequence).to_vec();
                if path == 0 {
                    self.meter.data(self.now, bytes.len());
                    if DatagramView::parse(&bytes).is_ok_and(|view| view.header.kind == Kind::Manifest) {
                        self.verified_through = Some(sequence + 1);
                    }
                }
                self.reach_group(path, &bytes);
            }
        }
    }

    fn send_to(&mut self, to: Target, bytes: &[u8]) {
        match to {
            Target::Discovery => {}
            Target::Group => (0..self.plan.paths).for_each(|path| self.reach_group(path, bytes)),
            Target::Address(address) | Target::Aside(address) => {
                self.record(bytes);
                let index = usize::from(address.port() - 1);
                if index == self.nodes.len() {
                    self.intruder.answered += bytes.len() as u64;
                } else if let Some(at) = self.through_bottleneck(bytes) {
                    self.reach_node(index, 0, at, &Rc::from(bytes));
                }
            }
        }
    }
}

fn quorum(plan: AckPlan) -> Quorum {
    Quorum {
        acknowledgers: match plan.by {
            Acknowledge::Count(count) | Acknowledge::NamedCount(count) => Acknowledgers::Count(count),
            Acknowledge::All => Acknowledgers::All,
            Acknowledge::Named(count) => Acknowledgers::Named((0..count).map(name_of).collect()),
        },
        level: if plan.processed { AckLevel::Processed } else { AckLevel::Received },
        on_loss: if plan.blocks { QuorumLoss::Block } else { QuorumLoss::Report },
    }
}

pub(super) fn new_publisher(plan: &NetworkPlan, incarnation: u32, keys: &Keys, now: u64) -> PublisherMachine {
    let config = PublisherConfig::new(STREAM, Incarnation(incarnation)).with(|config| {
        config.datagram = plan.datagram;
        config.retransmission_buffer = plan.slots * plan.datagram;
        config.flow = match plan.waits {
            _ if plan.one_way => FlowControl::OneWay,
            true => FlowControl::Slowest,
            false => FlowControl::None,
        };
        config.fec = plan.fec;
        config.rate = if plan.auto { PublisherRate::Auto(AutoRate::default()) } else { plan.rate.into() };
        config.unix_offset = Some(SECOND);
        config.seed = plan.seed ^ u64::from(incarnation);
        config.keys = keys.clone();
        config.signer = plan.signed.then(|| signer::key(plan.seed, false) as _);
        config.paths = plan.paths;
        config.quorum = plan.acknowledge.map(quorum);
        config.most_subscribers = plan.subscribers.len().max(16_384);
    });
    PublisherMachine::new(config, ClockTime(now)).unwrap()
}
