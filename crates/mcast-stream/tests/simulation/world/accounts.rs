//! What was published, delivered and reported, compared: by each receiver to its application, and by the publisher
//! about each receiver.

use std::collections::HashSet;

use mcast_stream::receiver::Policy;
use mcast_stream::sender::Standing;
use mcast_stream::wire::ReceiverId;

use super::World;
use crate::audit::{Audit, Balance};

impl World<'_> {
    /// Of every life that a receiver followed, what it delivered and what it reported as lost is all there was.
    pub(super) fn judge_accounts(&self) -> Result<(), String> {
        for (index, node) in self.nodes.iter().enumerate() {
            for balance in node.audit.balances() {
                let Balance { life, accounted, is_unknown } = balance;
                let published = self.accepted.get(&life).copied().unwrap_or(0);
                // Nothing is due of a life in which it left.
                let may_lack_some = is_unknown || node.has_left && node.audit.life == Some(life);
                if accounted > published || accounted < published && !may_lack_some {
                    return Err(format!(
                        "receiver {index} accounts for {accounted} messages of life {life} (published {published}) and reports nothing as unknown"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Who is reported to have everything was handed everything since it joined; and who was, is reported so.
    pub(super) fn judge_reports(&self, had_ended: &[bool]) -> Result<(), String> {
        if !self.closed {
            return Ok(());
        }
        let claimed: HashSet<ReceiverId> = self.reported_complete().collect();
        let mut complete = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            let former = node.former.iter().map(|(id, audit)| (*id, audit));
            for (id, audit) in former.chain(node.id.map(|id| (id, &node.audit))) {
                let has_all = self.has_all(audit) || self.had_all(audit);
                complete += usize::from(has_all);
                if claimed.contains(&id) && !has_all {
                    return Err(format!(
                        "the publisher reports that receiver {index} has everything, which has {:?} of {} and lost {:?}",
                        audit.cursor, self.published, audit.lost
                    ));
                }
            }
            let plan = &self.plan.receivers[index];
            // A larger group needs more time to confirm the end than a network is given.
            // Whoever reads the end only when its application goes has no time to confirm it.
            let is_counted = self.nodes.len() <= 100
                && plan.stuck.is_none()
                && !plan.firewalled
                && !node.has_left
                && !matches!(plan.policy, Policy::BestEffort(_));
            let id = node.id.filter(|id| is_counted && !claimed.contains(id));
            if id.is_some() && self.has_all(&node.audit) && had_ended[index] {
                // Datagrams that were given up may have held nothing that it lacked; the publisher cannot know.
                let standing = self.sender.standings().find(|(known, ..)| Some(*known) == id);
                // Of one that could never prove its address, fell silent, or whose last word was lost, it does not know.
                let is_unknown = |standing| {
                    let zero = Standing::Behind { datagrams: 0 };
                    standing == zero
                        || matches!(standing, Standing::Unknown | Standing::Short { messages: 0, .. })
                };
                if standing.is_none_or(|(.., standing)| is_unknown(standing)) {
                    continue;
                }
                return Err(format!(
                    "receiver {index} has everything, and the publisher does not report that (but {standing:?})"
                ));
            }
        }
        let reported = self.reported_count();
        if reported > complete {
            return Err(format!(
                "the publisher reports {reported} receivers that have everything, not {complete}"
            ));
        }
        Ok(())
    }

    /// Whether it was handed all of the present life since it joined that.
    fn has_all(&self, audit: &Audit) -> bool {
        let has_lost = audit.lost.iter().any(|(life, ..)| *life == self.life);
        let is_at_end = audit.cursor == Some(self.published) || audit.policy == Policy::Latest && audit.ended;
        audit.life == Some(self.life) && is_at_end && !has_lost || self.had_all(audit)
    }

    /// Whether it was handed all of the present life before it went over to another.
    fn had_all(&self, audit: &Audit) -> bool {
        let has_lost = audit.lost.iter().any(|(life, ..)| *life == self.life);
        let is_whole = |balance: Balance| balance.life == self.life && balance.accounted == self.published;
        audit.life != Some(self.life) && !has_lost && audit.balances().any(is_whole)
    }

    /// The receivers that are there and are reported to have everything.
    fn reported_complete(&self) -> impl Iterator<Item = ReceiverId> {
        let complete = |standing: &Standing| *standing == Standing::Complete;
        self.sender.standings().filter(move |(.., standing)| complete(standing)).map(|(id, ..)| id)
    }

    /// How many are, with those that have left.
    fn reported_count(&self) -> usize {
        self.sender.audience().complete as usize
    }
}
