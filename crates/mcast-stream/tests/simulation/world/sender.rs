//! The sender's side: what it publishes, what befalls it, what it sends.

use mcast_stream::seal::Keys;
use mcast_stream::sender::{Refusal, SenderConfig, SenderEvent, Transmit};
use mcast_stream::wire::{FlowControl, Incarnation, KeyEpoch};
use mcast_stream::{Sender, Target};

use super::former::Former;
use super::{FIRST_LIFE, Happening, STREAM, World};
use crate::content;
use crate::plan::{MILLISECOND, NewLife, Plan, SECOND};

impl World<'_> {
    pub(super) fn sender_now(&self) -> u64 {
        self.now + self.sender_clock
    }

    pub(super) fn publish(&mut self) -> Result<(), String> {
        if self.closed {
            return Ok(());
        }
        let now = self.sender_now();
        if self.published == self.plan.messages {
            self.closed = true;
            self.sender.close(now);
            return Ok(());
        }
        let pause = self.publish_message()?;
        self.at(self.now + pause.max(1), Happening::Publish);
        Ok(())
    }

    /// Publishes the next message, if there is room; says when to publish again.
    pub(super) fn publish_message(&mut self) -> Result<u64, String> {
        let now = self.sender_now();
        let (key, bytes) = content::message(self.plan, self.life, self.published);
        let published = match key {
            Some(key) => self.sender.publish_keyed(now, key, &bytes),
            None => self.sender.publish(now, &bytes),
        };
        match published {
            Ok(number) if number != self.published => Err(format!("{number} follows {}", self.published)),
            Ok(_) => {
                self.take_note();
                Ok(self.plan.pause)
            }
            Err(refusal) if refusal.is_temporary() => {
                if let Refusal::WaitingFor { receiver, .. } = refusal {
                    self.note_waiting(receiver);
                }
                Ok(MILLISECOND)
            }
            Err(refusal) => Err(format!("message {} was refused: {refusal}", self.published)),
        }
    }

    /// A message was published; what is planned to come behind it comes.
    fn take_note(&mut self) {
        (self.published, self.progress_at) = (self.published + 1, self.now);
        self.accepted.insert(self.life, self.published);
        self.published_at.push(self.now);
        if self.plan.flush || self.dice.chance(0.1) {
            self.sender.flush(self.sender_now());
        }
        // Nothing more is planned once there is a second life.
        if self.life != FIRST_LIFE || self.accepted.len() > 1 {
            return;
        }
        if self.plan.rotate == Some(self.published) {
            self.rotate();
        }
        if let Some((_, forward)) = self.plan.jump.filter(|(at, _)| *at == self.published) {
            self.sender_clock += forward;
        }
        if let Some((_, life)) = self.plan.restart.filter(|(at, _)| *at == self.published) {
            self.restart(life);
        }
    }

    /// A new key, for the receivers first; some get it late.
    fn rotate(&mut self) {
        self.keys.add(KeyEpoch(2), self.notary.secret(self.plan.seed ^ 1));
        for index in 0..self.nodes.len() {
            match self.plan.receivers[index].key_late {
                0 => self.hand_key(index),
                late => self.at(self.now + late, Happening::GetsKey(index)),
            }
        }
        self.sender.set_keys(self.sender_now(), self.keys.clone());
    }

    fn restart(&mut self, life: NewLife) {
        let now = self.sender_now();
        let former = (self.life, self.published);
        self.life = life.after(self.life, self.now);
        let sender = std::mem::replace(&mut self.sender, new_sender(self.plan, self.life, &self.keys, now));
        self.accepted.insert(self.life, 0);
        self.former = self.plan.overlap.map(|left| Former::new(sender, former, left));
        if self.former.is_some() {
            self.at(self.now + 1, Happening::FormerSenderWakes);
        }
        (self.published, self.begun) = (0, self.now);
        self.meter.begin_anew();
        self.published_at.clear();
        self.waited_since.clear();
    }

    pub(super) fn serve_sender(&mut self) {
        self.send_from_sender();
        while let Some(event) = self.sender.poll_event() {
            self.note_event(event);
        }
        let at = self.sender.next_deadline().saturating_sub(self.sender_clock).max(self.now + 1_000);
        if at < self.sender_wakes_at {
            self.sender_wakes_at = at;
            self.at(at, Happening::SenderWakes);
        }
    }

    fn note_event(&mut self, event: SenderEvent) {
        match event {
            SenderEvent::ReceiverJoined(id, from) => {
                self.note_joined(id, from);
                self.waited_since.entry(id).or_insert(self.now);
            }
            SenderEvent::ReceiverSilent(id) => {
                self.excused.insert(id);
            }
            SenderEvent::ReceiverEvicted(id, _) => {
                self.note_eviction(id);
                self.excused.insert(id);
                self.evicted.extend(self.nodes.iter().position(|node| node.id == Some(id)));
            }
            SenderEvent::Slowed { .. } => self.slowed += 1,
            _ => {}
        }
    }

    pub(super) fn send_from_sender(&mut self) {
        let now = self.sender_now();
        while let Some(transmit) = self.sender.poll(now) {
            match transmit {
                Transmit::Data { first, count } => self.send_data(first, count),
                Transmit::Repair { sequence, to } => {
                    let bytes = self.sender.datagram(sequence).to_vec();
                    self.meter.repair(self.now, bytes.len());
                    self.send_to(to, &bytes);
                }
                Transmit::Control(control) => {
                    let bytes = control.bytes().to_vec();
                    self.meter.control(self.now, &bytes);
                    self.send_to(control.to, &bytes);
                    self.sender.reuse(control);
                }
            }
        }
    }

    fn send_data(&mut self, first: u64, count: u64) {
        for path in 0..self.plan.paths {
            self.sender.mark_path(first, count, path, false);
            for sequence in first..first + count {
                let bytes = self.sender.datagram(sequence).to_vec();
                if path == 0 {
                    self.meter.data(self.now, bytes.len());
                }
                self.reach_group(path, &bytes);
            }
        }
    }

    fn send_to(&mut self, to: Target, bytes: &[u8]) {
        match to {
            Target::Discovery => {}
            Target::Group => (0..self.plan.paths).for_each(|path| self.reach_group(path, bytes)),
            Target::Address(address) => {
                self.record(bytes);
                let index = usize::from(address.port() - 1);
                if index == self.nodes.len() {
                    self.intruder.answered += bytes.len() as u64;
                } else if let Some(at) = self.through_bottleneck(bytes) {
                    self.reach_node(index, 0, at, bytes);
                }
            }
        }
    }
}

pub(super) fn new_sender(plan: &Plan, life: u32, keys: &Keys, now: u64) -> Sender {
    let config = SenderConfig {
        datagram: plan.datagram,
        history: plan.slots * plan.datagram,
        flow: if plan.waits { FlowControl::Slowest } else { FlowControl::None },
        rate: plan.rate,
        unix_offset: Some(SECOND),
        seed: plan.seed ^ u64::from(life),
        keys: keys.clone(),
        paths: plan.paths,
        ..SenderConfig::new(STREAM, Incarnation(life))
    };
    Sender::new(config, now).unwrap()
}
