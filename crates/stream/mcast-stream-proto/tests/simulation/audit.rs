//! Checks everything that a subscriber delivers and reports.

use std::collections::{HashMap, HashSet};

use mcast_stream_proto::subscriber::{Cause, Message, OnLoss, Policy, Position, Start, SubscriberEvent};
use mcast_stream_proto::wire::{MessageKey, MessageNumber};

use crate::content;
use crate::plan::NetworkPlan;

/// What one subscriber delivered and reported so far.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) policy: Policy,
    one_way: bool,
    start: Start,
    pub(crate) incarnation: Option<u32>,
    /// The number of the next message or loss.
    pub(crate) cursor: Option<MessageNumber>,
    latest: HashMap<MessageKey, MessageNumber>,
    pub(crate) ended: bool,
    pub(crate) wants_snapshot: Option<MessageNumber>,
    pub(crate) lost: Vec<(u32, MessageNumber, MessageNumber, Cause)>,
    pub(crate) messages: u64,
    pub(crate) restarted: bool,
    /// The number of [`SubscriberEvent::LostUnknown`].
    pub(crate) unknown: u64,
    /// Whether it reported an unknown loss in the present incarnation.
    lacks_unknown: bool,
    former: Vec<Balance>,
    /// The cursor of each former incarnation when it was left.
    left_at: HashMap<u32, MessageNumber>,
    /// The former incarnations whose end it delivered.
    ended_before: Vec<u32>,
    /// The messages that were delivered, and those that were processed, by incarnation.
    received: HashSet<(u32, u64)>,
    processed: HashSet<(u32, u64)>,
}

/// What a subscriber accounts for of an incarnation: one past the last message that it delivered or reported as lost,
/// and whether it reported that more may be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    pub(crate) incarnation: u32,
    pub(crate) accounted: u64,
    pub(crate) is_unknown: bool,
}

impl Audit {
    pub(crate) fn new(policy: Policy, start: Start, one_way: bool) -> Self {
        Self {
            policy,
            one_way,
            start,
            incarnation: None,
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
            ended_before: Vec::new(),
            received: HashSet::new(),
            processed: HashSet::new(),
        }
    }

    pub(crate) fn message(&mut self, plan: &NetworkPlan, message: &Message<'_>) -> Result<(), String> {
        let incarnation = self.incarnation.ok_or("a message before the stream was joined")?;
        if self.may_have_stopped() {
            return Err(format!("message {} after it stopped", message.number));
        }
        if self.wants_snapshot.is_some() {
            return Err(format!("message {} while it waits for a snapshot", message.number));
        }
        let (key, bytes) = content::message(plan, incarnation, message.number.0);
        if (message.key, message.bytes) != (key, &bytes[..]) {
            return Err(format!("message {} is not what was sent", message.number));
        }
        self.messages += 1;
        if plan.acknowledge.is_some() {
            self.received.insert((incarnation, message.number.0));
        }
        if self.policy == Policy::Latest {
            return self.latest_message(message);
        }
        if self.cursor != Some(message.number) {
            return Err(format!("received message {}, expected {:?}", message.number, self.cursor));
        }
        self.cursor = Some(message.number + 1);
        Ok(())
    }

    fn latest_message(&mut self, message: &Message<'_>) -> Result<(), String> {
        let Some(key) = message.key else { return Ok(()) };
        match self.latest.insert(key, message.number) {
            Some(known) if known >= message.number => {
                Err(format!("delivered message {} of key {key:?} after {known}", message.number))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn event(&mut self, event: &SubscriberEvent) -> Result<(), String> {
        match *event {
            SubscriberEvent::Joined { incarnation, message, .. } => {
                self.incarnation = Some(incarnation.0);
                // A subscriber of the former incarnation accounts for everything in this one, and for nothing twice.
                let wants_all = self.restarted && self.start != Start::Snapshot;
                let left_at = self.left_at.get(&incarnation.0).copied().unwrap_or_default();
                self.cursor = Some(if wants_all { left_at } else { message });
                self.latest.clear();
            }
            SubscriberEvent::Restarted { from, to } => {
                if self.incarnation != Some(from.0) || to == from {
                    return Err(format!(
                        "from incarnation {from} to {to}, but it was {:?}",
                        self.incarnation
                    ));
                }
                self.former.retain(|balance| balance.incarnation != from.0);
                self.former.extend(self.balance());
                self.left_at.extend(self.incarnation.zip(self.cursor));
                self.ended_before.extend(self.incarnation.filter(|_| self.ended));
                (self.restarted, self.ended, self.wants_snapshot, self.lacks_unknown) =
                    (true, false, None, false);
            }
            SubscriberEvent::Lost { first, end, cause } => return self.lost(first, end, cause),
            SubscriberEvent::LostUnknown { first } => {
                if self.policy != Policy::Latest && self.cursor != Some(first) {
                    return Err(format!("an unknown loss from {first} on, expected {:?}", self.cursor));
                }
                self.unknown += 1;
                self.lacks_unknown = true;
            }
            SubscriberEvent::SecondPublisher { .. } => self.lacks_unknown = true,
            SubscriberEvent::SnapshotWanted { message } => self.wants_snapshot = Some(message),
            SubscriberEvent::Ended { messages } => {
                if self.ended || self.policy != Policy::Latest && self.cursor != Some(MessageNumber(messages))
                {
                    return Err(format!("it ended with {messages}, expected {:?}", self.cursor));
                }
                self.ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn lost(&mut self, first: MessageNumber, end: MessageNumber, cause: Cause) -> Result<(), String> {
        if end <= first || self.policy != Policy::Latest && self.cursor != Some(first) {
            return Err(format!("a loss from {first} to {end}, expected {:?}", self.cursor));
        }
        let fits = matches!(
            (self.policy, cause),
            (_, Cause::Unrecoverable | Cause::Restart | Cause::Abandoned | Cause::PublisherGone)
                | (Policy::Deadline(_), Cause::Deadline)
                | (Policy::BestEffort(_), Cause::NotRepaired)
        );
        // Without feedback, a gap is given up when the publisher is silent.
        let is_one_way_loss = self.one_way && cause == Cause::NotRepaired;
        if !(fits || is_one_way_loss) {
            return Err(format!("{:?} lost messages by {cause:?}", self.policy));
        }
        self.lost.push((self.incarnation.unwrap_or(0), first, end, cause));
        self.cursor = Some(end);
        Ok(())
    }

    pub(crate) const fn start(&self) -> Start {
        self.start
    }

    pub(crate) fn record_processed(&mut self, position: Position) {
        self.processed.insert((position.incarnation.0, position.number.0));
    }

    /// Whether it received a message; with [`Policy::Latest`], a later one of the same key may have superseded it.
    pub(crate) fn has_received(&self, incarnation: u32, number: u64) -> bool {
        let is_lost = |(of, first, end, _): &(u32, MessageNumber, MessageNumber, Cause)| {
            *of == incarnation && (first.0..end.0).contains(&number)
        };
        match self.policy {
            Policy::Latest => !self.lost.iter().any(is_lost),
            _ => self.received.contains(&(incarnation, number)),
        }
    }

    /// Whether it processed a message, if it was given that.
    pub(crate) fn has_processed(&self, incarnation: u32, number: u64) -> bool {
        match self.policy {
            Policy::Latest => {
                self.has_received(incarnation, number)
                    && (self.processed.contains(&(incarnation, number))
                        || !self.received.contains(&(incarnation, number)))
            }
            _ => self.processed.contains(&(incarnation, number)),
        }
    }

    /// Returns what it accounts for of each incarnation that it followed.
    pub(crate) fn balances(&self) -> impl Iterator<Item = Balance> {
        self.former.iter().copied().chain(self.balance())
    }

    /// The balance of the present incarnation; `None` if it stopped, waits for a snapshot, or delivers only the latest.
    fn balance(&self) -> Option<Balance> {
        let is_excused =
            self.may_have_stopped() || self.wants_snapshot.is_some() || self.policy == Policy::Latest;
        let (incarnation, accounted) = self.incarnation.zip(self.cursor).filter(|_| !is_excused)?;
        Some(Balance { incarnation, accounted: accounted.0, is_unknown: self.lacks_unknown })
    }

    /// Whether a loss has stopped it, with `OnLoss::Stop`.
    pub(crate) fn may_have_stopped(&self) -> bool {
        self.policy == Policy::Reliable(OnLoss::Stop) && (!self.lost.is_empty() || self.unknown > 0)
    }

    /// Whether it delivered the end of this incarnation before it changed to another.
    pub(crate) fn ended_before(&self, incarnation: u32) -> bool {
        self.ended_before.contains(&incarnation)
    }

    pub(crate) fn latest(&self, key: MessageKey) -> Option<u64> {
        self.latest.get(&key).map(|number| number.0)
    }
}
