//! Which subscribers must acknowledge a message, by number or by the names that they claim, and what happens if they
//! cannot.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::PublisherMachine;
use super::members::Members;
use crate::wire::{MessageNumber, SubscriberId, SubscriberName};

/// What a publisher waits for before a message counts as acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Who must acknowledge it.
    pub acknowledgers: Acknowledgers,
    /// What acknowledges it.
    pub level: AckLevel,
    /// What happens if it can no longer be acknowledged.
    pub on_loss: QuorumLoss,
}

impl Quorum {
    /// Returns a quorum of subscribers that have received a message. The publisher blocks if it is lost.
    #[must_use]
    pub const fn new(acknowledgers: Acknowledgers) -> Self {
        Self { acknowledgers, level: AckLevel::Received, on_loss: QuorumLoss::Block }
    }
}

/// The subscribers that must acknowledge a message. Best-effort subscribers acknowledge nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgers {
    /// This number of subscribers, at least 1. Those with the same name count once.
    Count(usize),
    /// All subscribers that were present when it was published, at least one; if none was, one that has it. One that is first
    /// heard soon after the publisher has started, and has its messages from before, counts as present. A subscriber that departs without having
    /// acknowledged it may be replaced by one with the same name.
    All,
    /// The subscribers with these names, at least one.
    Named(Vec<SubscriberName>),
}

/// What acknowledges a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckLevel {
    /// The application was given it.
    #[default]
    Received,
    /// The application has processed it, and said so.
    Processed,
}

/// What a publisher does if a message can no longer be acknowledged as required, because subscribers are absent, were
/// evicted, or have lost it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuorumLoss {
    /// It publishes nothing until that changes.
    #[default]
    Block,
    /// It reports the message as unacknowledged, and continues. After it has started, absent subscribers have the time to appear
    /// after which a silent one [counts as departed](super::PublisherConfig::subscriber_timeout).
    Report,
}

/// Whether a message was acknowledged as required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckState {
    /// It may still be.
    Pending,
    /// It was.
    Acknowledged,
    /// It was given up, with [`QuorumLoss::Report`].
    Unacknowledged,
}

/// How far the messages of a publisher are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AckProgress {
    /// The number of the next message to be published.
    pub next: MessageNumber,
    /// All messages before this one were acknowledged, or given up.
    pub settled: MessageNumber,
    /// The number of messages that were acknowledged.
    pub acknowledged: u64,
    /// The number of messages that were given up.
    pub unacknowledged: u64,
    /// Whether the first message that is not settled, or the next one, cannot be acknowledged at present.
    pub is_lost: bool,
}

impl AckProgress {
    /// Returns whether every message was acknowledged as required, or given up.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled == self.next
    }

    /// Returns whether every message was acknowledged as required.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.settled == self.next && self.unacknowledged == 0
    }
}

/// What one subscriber has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watermarks {
    /// The subscriber.
    pub subscriber: SubscriberId,
    /// The name that it claims.
    pub name: Option<SubscriberName>,
    /// Its address.
    pub address: core::net::SocketAddr,
    /// How it takes part.
    pub presence: SubscriberPresence,
    /// It has acknowledged messages from this one on.
    pub since: MessageNumber,
    /// Its application was given the messages before this one.
    pub received: MessageNumber,
    /// Its application has processed the messages before this one.
    pub processed: MessageNumber,
    /// The number of messages that were published after those that it has received.
    pub missing: u64,
    /// The number of messages that it has lost.
    pub lost: u64,
}

/// How a subscriber takes part in acknowledging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriberPresence {
    /// It is present.
    Present,
    /// It was evicted, because it was too slow.
    Evicted,
    /// It left.
    Left,
    /// It left because of an error.
    Failed,
    /// It fell silent.
    Silent,
}

impl SubscriberPresence {
    /// Returns its name, as in the command's JSON and in Python. Names never change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Evicted => "evicted",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Silent => "silent",
        }
    }
}

/// What an acknowledgement waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckWait {
    /// The first message that is not settled: the next one to be published, if all are.
    pub message: MessageNumber,
    /// How many of the required subscribers have acknowledged it.
    pub acknowledged: usize,
    /// How many are required.
    pub required: usize,
    /// The subscribers that may still acknowledge it.
    pub waiting: Vec<SubscriberId>,
    /// Required subscribers that cannot acknowledge it at present: they have departed, were evicted, or have lost it.
    pub lacking: Vec<SubscriberId>,
    /// Required names of which no subscriber is present that can acknowledge it.
    pub absent: Vec<SubscriberName>,
}

/// Names that nobody uses any more, remembered beside those of the present subscribers.
const SPARE: usize = 64;

/// Who uses a name.
#[derive(Clone, Copy, Debug)]
struct Claim {
    holder: SubscriberId,
    /// Another subscriber that has used it since.
    other: Option<SubscriberId>,
}

/// The names in use.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<SubscriberName, Claim>);

impl Names {
    /// Notes a status of a present subscriber that uses a name. Returns two subscribers that use the name at the same time from
    /// different addresses, the first of them once in its life, so that names which change all the time fill no queue of events.
    /// A subscriber that was restarted sends no more statuses as the one that it was, and is not returned.
    pub(super) fn note(
        &mut self,
        name: SubscriberName,
        id: SubscriberId,
        members: &mut Members,
    ) -> Option<(SubscriberId, SubscriberId)> {
        let uses = |name: SubscriberName, id: SubscriberId| {
            members.get(id).is_some_and(|member| member.progress.acknowledgements.name == Some(name))
        };
        if self.0.len() > members.len() + SPARE {
            self.0.retain(|name, claim| uses(*name, claim.holder));
        }
        let claim = self.0.entry(name).or_insert(Claim { holder: id, other: None });
        if claim.holder != id {
            if !uses(name, claim.holder) {
                *claim = Claim { holder: id, other: None };
            } else if claim.other.is_none_or(|other| !uses(name, other)) {
                claim.other = Some(id);
            }
            return None;
        }
        let other = claim.other.filter(|other| uses(name, *other))?;
        let elsewhere = members.get(other)?.address;
        let holder = members.get_mut(id).filter(|holder| holder.address != elsewhere)?;
        let is_reported = &mut holder.progress.acknowledgements.is_name_reported;
        (!core::mem::replace(is_reported, true)).then_some((id, other))
    }
}

impl PublisherMachine {
    /// Returns the name that a subscriber claims, if it has one.
    #[must_use]
    pub fn name_of(&self, subscriber: SubscriberId) -> Option<SubscriberName> {
        let present = self.members.get(subscriber).map(|member| &member.progress);
        present.or_else(|| self.members.departed_progress(subscriber))?.acknowledgements.name
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::ClockTime;
    use crate::publisher::members::Departure;
    use crate::publisher::repair_flow::RepairFlow;
    use crate::wire::Sequence;

    fn join(members: &mut Members, id: u64) -> SubscriberId {
        let address = SocketAddr::from(([10, 0, 0, id as u8], 7000));
        let repairs = RepairFlow::new(1_000, 1_000, 0, ClockTime(1));
        members.join(SubscriberId(id), address, ClockTime(1), repairs, Sequence(1));
        SubscriberId(id)
    }

    /// Notes a status that claims a name.
    fn note(
        names: &mut Names,
        name: SubscriberName,
        id: SubscriberId,
        members: &mut Members,
    ) -> Option<(SubscriberId, SubscriberId)> {
        members.get_mut(id).unwrap().progress.acknowledgements.name = Some(name);
        names.note(name, id, members)
    }

    fn name(text: &str) -> SubscriberName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_that_two_subscribers_use_is_reported_once() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let (one, two) = (join(&mut members, 1), join(&mut members, 2));
        assert_eq!(note(&mut names, name("db"), one, &mut members), None);
        assert_eq!(
            note(&mut names, name("db"), two, &mut members),
            None,
            "the first may have been restarted"
        );
        assert_eq!(note(&mut names, name("db"), one, &mut members), Some((one, two)));
        for id in [one, two, one] {
            assert_eq!(note(&mut names, name("db"), id, &mut members), None);
        }
        // The first is not reported again because of a third one.
        let three = join(&mut members, 3);
        for id in [three, one, two, three, one] {
            assert_eq!(note(&mut names, name("db"), id, &mut members), None);
        }
    }

    #[test]
    fn a_subscriber_that_is_restarted_with_its_name_is_not_reported() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let one = join(&mut members, 1);
        assert_eq!(note(&mut names, name("db"), one, &mut members), None);
        let two = join(&mut members, 2);
        assert_eq!(note(&mut names, name("db"), two, &mut members), None);
        members.depart(one, Departure::Silent);
        for _ in 0..2 {
            assert_eq!(note(&mut names, name("db"), two, &mut members), None);
        }
        assert_eq!(note(&mut names, name("audit"), two, &mut members), None, "it has another name now");
    }

    #[test]
    fn a_subscriber_that_keeps_changing_its_name_fills_nothing() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let one = join(&mut members, 1);
        for number in 0..1_000 {
            let name = name(&alloc::format!("n{number}"));
            assert_eq!(note(&mut names, name, one, &mut members), None);
        }
        assert!(names.0.len() <= SPARE + 2, "{} names", names.0.len());
    }

    #[test]
    fn names_are_remembered_within_bounds() {
        let (mut names, mut members) = (Names::default(), Members::new());
        for number in 0..1_000 {
            let id = join(&mut members, number);
            assert_eq!(note(&mut names, name(&alloc::format!("n{number}")), id, &mut members), None);
            members.depart(id, Departure::Left);
        }
        assert!(names.0.len() <= SPARE + 2, "{} names", names.0.len());
    }
}
