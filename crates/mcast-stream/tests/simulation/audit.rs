//! What must hold for what a receiver hands out.

use std::collections::HashMap;

use mcast_stream::receiver::{Cause, Event, Message, OnLoss, Policy};

use crate::content;
use crate::plan::Plan;

/// What one receiver was handed so far.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) policy: Policy,
    pub(crate) life: Option<u32>,
    /// The next message, or hole, begins here.
    pub(crate) cursor: Option<u64>,
    latest: HashMap<u64, u64>,
    pub(crate) ended: bool,
    pub(crate) wants_snapshot: Option<u64>,
    pub(crate) lost: Vec<(u32, u64, u64, Cause)>,
    pub(crate) messages: u64,
    pub(crate) restarted: bool,
}

impl Audit {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            life: None,
            cursor: None,
            latest: HashMap::new(),
            ended: false,
            wants_snapshot: None,
            lost: Vec::new(),
            messages: 0,
            restarted: false,
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
                // Who followed a former life is told of everything in this one.
                self.cursor = Some(if self.restarted && self.wants_snapshot.is_none() { 0 } else { message });
                self.latest.clear();
            }
            Event::Restarted { from, to } => {
                if self.life != Some(from.0) || to <= from {
                    return Err(format!("from life {from} to {to}, but it was {:?}", self.life));
                }
                (self.restarted, self.ended, self.wants_snapshot) = (true, false, None);
            }
            Event::Lost { first, end, cause } => return self.lost(first, end, cause),
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
            (_, Cause::Unrecoverable | Cause::Restart)
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

    /// Whether a loss has stopped it, as it wished.
    pub(crate) fn may_have_stopped(&self) -> bool {
        let is_final = |cause: &Cause| *cause == Cause::Unrecoverable;
        self.policy == Policy::Reliable(OnLoss::Stop) && self.lost.iter().any(|(.., cause)| is_final(cause))
    }

    pub(crate) fn latest(&self, key: u64) -> Option<u64> {
        self.latest.get(&key).copied()
    }
}
