//! Checks what the publisher reports as acknowledged: by a subscriber, and as the plan requires.

use std::collections::{BTreeMap, BTreeSet};

use mcast_stream_proto::publisher::{AckState, Watermarks};
use mcast_stream_proto::subscriber::{Policy, Start};
use mcast_stream_proto::wire::{MessageNumber, SubscriberId, SubscriberName};

use super::World;
use crate::audit::Audit;
use crate::plan::{AckPlan, Acknowledge};

/// What was checked of the publisher's present incarnation.
#[derive(Debug, Default)]
pub(crate) struct AckAudit {
    incarnation: u32,
    /// The messages that were reported as received and processed by each subscriber, without those checked before.
    checked: BTreeMap<SubscriberId, (MessageNumber, MessageNumber)>,
    settled: u64,
    /// The number of messages that were acknowledged as required, and of those that were given up.
    pub(crate) acknowledged: u64,
    pub(crate) given_up: u64,
    /// When the first message was given up.
    pub(crate) gave_up_at: Option<u64>,
    /// The times from publishing to acknowledgement.
    pub(crate) latencies: Vec<u64>,
}

/// Returns the name of a subscriber, which it keeps when it restarts.
pub(super) fn name_of(index: usize) -> SubscriberName {
    format!("s{index}").parse().unwrap()
}

impl World<'_> {
    /// Checks the reports that are new.
    pub(super) fn check_acknowledgements(&mut self) -> Result<(), String> {
        let Some(plan) = self.plan.acknowledge else { return Ok(()) };
        let Some(progress) = self.publisher.ack_progress() else { return Ok(()) };
        let mut audit = std::mem::take(&mut self.acks);
        if audit.incarnation != self.incarnation {
            audit = AckAudit { incarnation: self.incarnation, ..AckAudit::default() };
        }
        for watermarks in self.publisher.watermarks().collect::<Vec<_>>() {
            self.check_watermarks(&mut audit, watermarks)?;
        }
        let settled = progress.settled.0;
        if settled < audit.settled || progress.settled > progress.next {
            return Err(format!("settled until {settled} after {}", audit.settled));
        }
        for number in audit.settled..settled {
            match self.publisher.ack_state(MessageNumber(number)) {
                Some(AckState::Acknowledged) => {
                    self.check_quorum(plan, number)?;
                    audit.acknowledged += 1;
                    audit.latencies.extend(
                        self.published_at.get(number as usize).map(|at| self.now.saturating_sub(*at)),
                    );
                }
                Some(AckState::Unacknowledged) => {
                    audit.given_up += 1;
                    audit.gave_up_at.get_or_insert(self.now);
                }
                state => return Err(format!("message {number} is settled and {state:?}")),
            }
        }
        audit.settled = settled;
        if (audit.acknowledged, audit.given_up) != (progress.acknowledged, progress.unacknowledged) {
            return Err(format!(
                "{} acknowledged, {} given up, {progress:?}",
                audit.acknowledged, audit.given_up
            ));
        }
        self.acks = audit;
        Ok(())
    }

    /// A subscriber has received and processed what the publisher reports that it has.
    fn check_watermarks(&self, audit: &mut AckAudit, report: Watermarks) -> Result<(), String> {
        let Watermarks { subscriber, since, received, processed, .. } = report;
        let own = self.audits().find(|(id, ..)| *id == subscriber).map(|(.., audit)| audit);
        let Some(own) = own else { return Err(format!("{subscriber} acknowledges and is unknown")) };
        let (known_received, known_processed) = audit.checked.get(&subscriber).copied().unwrap_or_default();
        for number in since.max(known_received).0..received.0 {
            if !own.has_received(self.incarnation, number) {
                return Err(format!(
                    "subscriber {subscriber} is reported to have message {number}, and has not"
                ));
            }
        }
        for number in since.max(known_processed).0..processed.0 {
            if !own.has_processed(self.incarnation, number) {
                return Err(format!(
                    "subscriber {subscriber} is reported to have processed {number}, and has not"
                ));
            }
        }
        audit.checked.insert(subscriber, (received, processed));
        Ok(())
    }

    /// A message that is reported as acknowledged was received, or processed, by those who must.
    fn check_quorum(&self, plan: AckPlan, number: u64) -> Result<(), String> {
        let has = |audit: &Audit| match plan.processed {
            true => audit.has_processed(self.incarnation, number),
            false => audit.has_received(self.incarnation, number),
        };
        let by: BTreeSet<_> = self.audits().filter(|(.., audit)| has(audit)).map(|(id, ..)| id).collect();
        let by_index: BTreeSet<_> =
            self.audits().filter(|(.., audit)| has(audit)).map(|(_, index, _)| index).collect();
        let is_acknowledged = match plan.by {
            Acknowledge::Count(count) => by.len() >= count,
            Acknowledge::NamedCount(count) => by_index.len() >= count,
            Acknowledge::Named(count) => (0..count).all(|index| by_index.contains(&index)),
            Acknowledge::All => !by.is_empty() && self.all_have(number, &by),
        };
        match is_acknowledged {
            true => Ok(()),
            false => Err(format!("message {number} is reported as acknowledged, and only {by:?} have it")),
        }
    }

    /// Notes that a subscriber joined.
    pub(super) fn record_present(&mut self, id: SubscriberId) {
        self.present.entry(id).or_default().push((self.now, u64::MAX));
    }

    /// Notes that a subscriber departed.
    pub(super) fn record_departed(&mut self, id: SubscriberId) {
        if let Some(last) = self.present.entry(id).or_default().last_mut() {
            last.1 = self.now;
        }
    }

    /// Whether all who were present when this message was published have it. A snapshot may cover it.
    fn all_have(&self, number: u64, by: &BTreeSet<SubscriberId>) -> bool {
        let Some(published) = self.published_at.get(number as usize) else { return false };
        let is_exempt =
            |audit: &Audit| matches!(audit.policy, Policy::BestEffort(_)) || audit.start() == Start::Snapshot;
        let was_present = |id: &SubscriberId| {
            self.present.get(id).into_iter().flatten().any(|(from, to)| from < published && published < to)
        };
        self.audits().all(|(id, _, audit)| !was_present(&id) || is_exempt(audit) || by.contains(&id))
    }

    /// All subscribers, with those before a restart.
    fn audits(&self) -> impl Iterator<Item = (SubscriberId, usize, &Audit)> {
        self.nodes.iter().enumerate().flat_map(|(index, node)| {
            let former = node.former.iter().map(move |(id, audit)| (*id, index, audit));
            former.chain(node.id.map(|id| (id, index, &node.audit)))
        })
    }
}
