//! What must hold for what a receiver hands out.

use std::collections::HashMap;

use mcast_stream::receiver::{Cause, Event, Message, OnLoss, Policy, Start};

use crate::content;
use crate::plan::Plan;

/// What one receiver was handed so far.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) policy: Policy,
    start: Start,
    pub(crate) life: Option<u32>,
    /// The next message, or hole, begins here.
    pub(crate) cursor: Option<u64>,
    latest: HashMap<u64, u64>,
    pub(crate) ended: bool,
    pub(crate) wants_snapshot: Option<u64>,
    pub(crate) lost: Vec<(u32, u64, u64, Cause)>,
    pub(crate) messages: u64,
    pub(crate) restarted: bool,
    /// How often an unknown number was reported as perhaps lost.
    pub(crate) unknown: u64,
    /// It was told that it lacks an unknown number of messages of the present life.
    lacks_unknown: bool,
    former: Vec<Balance>,
    /// Where each former life was left.
    left_at: HashMap<u32, u64>,
}

/// What a receiver accounts for of a life of the sender: the number behind the last message that it was handed or told
/// to be lost, and whether it was told that more may be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    pub(crate) life: u32,
    pub(crate) accounted: u64,
    pub(crate) is_unknown: bool,
}

impl Audit {
    pub(crate) fn new(policy: Policy, start: Start) -> Self {
        Self {
            policy,
            start,
            life: None,
            cursor: None,
            latest: HashMap::new(),
            ended: false,
            wants_snapshot: None,
            lost: Vec::new(),
            messages: 0,
            restarted: false,
            unknown: 0,
            lacks_unknown: false,
            former: Vec::new(),
            left_at: HashMap::new(),
        }
    }

    pub(crate) fn message(&mut self, plan: &Plan, message: &Message<'_>) -> Result<(), String> {
        let life = self.life.ok_or("a message before the stream was joined")?;
        if self.may_have_stopped() {
            return Err(format!("message {} after it stopped", message.number));
        }
        if self.wants_snapshot.is_some() {
            return Err(format!("message {} while a snapshot is wanted", message.number));
        }
        let (key, bytes) = content::message(plan, life, message.number);
        if (message.key, message.bytes) != (key, &bytes[..]) {
            return Err(format!("message {} is not what was sent", message.number));
        }
        self.messages += 1;
        if self.policy == Policy::Latest {
            return self.latest_message(message);
        }
        if self.cursor != Some(message.number) {
            return Err(format!("message {} came when {:?} was due", message.number, self.cursor));
        }
        self.cursor = Some(message.number + 1);
        Ok(())
    }

    fn latest_message(&mut self, message: &Message<'_>) -> Result<(), String> {
        let Some(key) = message.key else { return Ok(()) };
        match self.latest.insert(key, message.number) {
            Some(known) if known >= message.number => {
                Err(format!("message {} of key {key} came after {known}", message.number))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn event(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Joined { incarnation, message, .. } => {
                self.life = Some(incarnation.0);
                // Who followed a former life is told of everything in this one, and of nothing twice.
                let wants_all = self.restarted && self.start != Start::Snapshot;
                let left_at = self.left_at.get(&incarnation.0).copied().unwrap_or(0);
                self.cursor = Some(if wants_all { left_at } else { message });
                self.latest.clear();
            }
            Event::Restarted { from, to } => {
                if self.life != Some(from.0) || to == from {
                    return Err(format!("from life {from} to {to}, but it was {:?}", self.life));
                }
                self.former.retain(|balance| balance.life != from.0);
                self.former.extend(self.balance());
                self.left_at.extend(self.life.zip(self.cursor));
                (self.restarted, self.ended, self.wants_snapshot, self.lacks_unknown) =
                    (true, false, None, false);
            }
            Event::Lost { first, end, cause } => return self.lost(first, end, cause),
            Event::LostUnknown { first } => {
                if self.policy != Policy::Latest && self.cursor != Some(first) {
                    return Err(format!("from {first} on some may be lost, but {:?} is due", self.cursor));
                }
                self.unknown += 1;
                self.lacks_unknown = true;
            }
            Event::Rival { .. } => self.lacks_unknown = true,
            Event::SnapshotWanted { message } => self.wants_snapshot = Some(message),
            Event::Ended { messages } => {
                if self.ended || self.policy != Policy::Latest && self.cursor != Some(messages) {
                    return Err(format!("it ended with {messages}, but {:?} is due", self.cursor));
                }
                self.ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn lost(&mut self, first: u64, end: u64, cause: Cause) -> Result<(), String> {
        if end <= first || self.policy != Policy::Latest && self.cursor != Some(first) {
            return Err(format!("{first} to {end} are said to be lost, but {:?} is due", self.cursor));
        }
        let fits = matches!(
            (self.policy, cause),
            (_, Cause::Unrecoverable | Cause::Restart | Cause::Abandoned | Cause::SenderGone)
                | (Policy::Deadline(_), Cause::Deadline)
                | (Policy::BestEffort(_), Cause::NotRepaired)
        );
        if !fits {
            return Err(format!("{:?} lost messages by {cause:?}", self.policy));
        }
        self.lost.push((self.life.unwrap_or(0), first, end, cause));
        self.cursor = Some(end);
        Ok(())
    }

    /// What it accounts for of each life that it has followed.
    pub(crate) fn balances(&self) -> impl Iterator<Item = Balance> {
        self.former.iter().copied().chain(self.balance())
    }

    /// Nothing is due of the present life where it was stopped, waits for a snapshot, or wants only the latest.
    fn balance(&self) -> Option<Balance> {
        let is_excused =
            self.may_have_stopped() || self.wants_snapshot.is_some() || self.policy == Policy::Latest;
        let (life, accounted) = self.life.zip(self.cursor).filter(|_| !is_excused)?;
        Some(Balance { life, accounted, is_unknown: self.lacks_unknown })
    }

    /// Whether a loss has stopped it, as it wished.
    pub(crate) fn may_have_stopped(&self) -> bool {
        self.policy == Policy::Reliable(OnLoss::Stop) && (!self.lost.is_empty() || self.unknown > 0)
    }

    pub(crate) fn latest(&self, key: u64) -> Option<u64> {
        self.latest.get(&key).copied()
    }
}
