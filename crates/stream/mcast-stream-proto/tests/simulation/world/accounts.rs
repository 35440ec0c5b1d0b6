//! Compares what was published and delivered with the reports: of each subscriber to its application, and of the
//! publisher about each subscriber.

use std::collections::BTreeSet;

use mcast_stream_proto::publisher::SubscriberProgress;
use mcast_stream_proto::subscriber::Policy;
use mcast_stream_proto::wire::{MessageNumber, SubscriberId};

use super::World;
use crate::audit::{Audit, Balance};

impl World<'_> {
    /// A subscriber has delivered or reported as lost everything of each incarnation that it followed.
    pub(super) fn judge_accounts(&self) -> Result<(), String> {
        for (index, node) in self.nodes.iter().enumerate() {
            for balance in node.audit.balances() {
                let Balance { incarnation, accounted, is_unknown } = balance;
                let published = self.accepted.get(&incarnation).copied().unwrap_or(0);
                // An incarnation in which it left need not be complete, nor one that is over and of which it only
                // heard a replay: it knows that it has not seen the end.
                let is_present = node.audit.incarnation == Some(incarnation);
                let has_strayed = incarnation > self.incarnation && !node.audit.ended;
                let may_lack_some = is_unknown || is_present && (node.has_left || has_strayed);
                if accounted > published || accounted < published && !may_lack_some {
                    return Err(format!(
                        "subscriber {index} accounts for {accounted} messages of incarnation {incarnation} (published {published}) and reports nothing as unknown"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A subscriber is reported to have everything if and only if it delivered everything since it joined.
    pub(super) fn judge_reports(&self, had_ended: &[bool]) -> Result<(), String> {
        if !self.closed {
            return Ok(());
        }
        let claimed: BTreeSet<SubscriberId> = self.reported_complete().collect();
        let mut complete = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            let former = node.former.iter().map(|(id, audit)| (*id, audit));
            for (id, audit) in former.chain(node.id.map(|id| (id, &node.audit))) {
                let has_all = self.has_all(audit) || self.had_all(audit);
                complete += usize::from(has_all);
                if claimed.contains(&id) && !has_all {
                    return Err(format!(
                        "the publisher reports that subscriber {index} has everything, which has {:?} of {} and lost {:?}",
                        audit.cursor, self.published, audit.lost
                    ));
                }
            }
            let plan = &self.plan.subscribers[index];
            // A larger group needs more time to confirm the end than a run has. A subscriber whose application reads
            // the end only when it stops has no time to confirm it.
            let is_counted = self.nodes.len() <= 100
                && plan.stuck.is_none()
                && !plan.firewalled
                && !node.has_left
                && !matches!(plan.policy, Policy::BestEffort(_));
            let id = node.id.filter(|id| is_counted && !claimed.contains(id));
            if id.is_some() && self.has_all(&node.audit) && had_ended[index] {
                // Datagrams that were given up may have contained nothing new; the publisher cannot know.
                let standing = self.publisher.subscriber_progress().find(|(known, ..)| Some(*known) == id);
                // The publisher does not know of a subscriber that never proved its address, fell silent, or whose last
                // status was lost.
                let is_unknown = |standing| {
                    let zero = SubscriberProgress::Behind { datagrams: 0 };
                    standing == zero
                        || matches!(
                            standing,
                            SubscriberProgress::Unknown | SubscriberProgress::Incomplete { messages: 0, .. }
                        )
                };
                if standing.is_none_or(|(.., standing)| is_unknown(standing)) {
                    continue;
                }
                return Err(format!(
                    "subscriber {index} has everything, and the publisher does not report that (but {standing:?})"
                ));
            }
        }
        let reported = self.reported_count();
        if reported > complete {
            return Err(format!(
                "the publisher reports {reported} subscribers that have everything, not {complete}"
            ));
        }
        Ok(())
    }

    /// Whether it delivered all of the present incarnation since it joined.
    fn has_all(&self, audit: &Audit) -> bool {
        let has_lost = audit.lost.iter().any(|(incarnation, ..)| *incarnation == self.incarnation);
        let is_at_end = audit.cursor == Some(MessageNumber(self.published))
            || audit.policy == Policy::Latest && audit.ended;
        audit.incarnation == Some(self.incarnation) && is_at_end && !has_lost || self.had_all(audit)
    }

    /// Whether it delivered all of the present incarnation before it changed to another.
    fn had_all(&self, audit: &Audit) -> bool {
        let has_lost = audit.lost.iter().any(|(incarnation, ..)| *incarnation == self.incarnation);
        let is_whole =
            |balance: Balance| balance.incarnation == self.incarnation && balance.accounted == self.published;
        // With the latest value of each key only, a subscriber counts no messages.
        let has_ended = audit.policy == Policy::Latest && audit.ended_before(self.incarnation);
        let was_complete = has_ended || audit.balances().any(is_whole);
        audit.incarnation != Some(self.incarnation) && !has_lost && was_complete
    }

    /// The present subscribers that are reported to have everything.
    fn reported_complete(&self) -> impl Iterator<Item = SubscriberId> {
        let complete = |standing: &SubscriberProgress| *standing == SubscriberProgress::Complete;
        self.publisher
            .subscriber_progress()
            .filter(move |(.., standing)| complete(standing))
            .map(|(id, ..)| id)
    }

    /// The number of subscribers that are reported to have everything, with those that have left.
    fn reported_count(&self) -> usize {
        self.publisher.audience().complete as usize
    }
}
