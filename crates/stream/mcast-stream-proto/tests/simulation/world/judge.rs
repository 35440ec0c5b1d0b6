//! The checks at the end of a run.

use mcast_stream_proto::publisher::PublisherStatistics;
use mcast_stream_proto::subscriber::Policy;
use mcast_stream_proto::wire::{Kind, MessageKey};

use super::delays::delivery;
use super::{Node, Outcome, World};
use crate::content;
use crate::plan::{MILLISECOND, SECOND, Stuck};

/// A round trip of more than a second is confirmed by another probe, which is repeated until its echo arrives: after 10 ms,
/// and after twice as long each time. In two seconds, these are as many as this. Each is answered.
const CONFIRMING_PROBES: usize = 8;

impl World<'_> {
    /// Whether everything is published, all subscribers have reached the end, and some time has passed.
    pub(super) fn is_over(&self) -> bool {
        if !self.closed || self.now < self.plan.good_from {
            return false;
        }
        // A subscriber that has just read the end needs a moment to confirm it.
        let is_confirmed = self.now > self.progress_at + SECOND;
        let last = self.data_at.max(self.plan.good_from);
        if !is_confirmed || self.now <= last + 3 * SECOND || !self.all_done() {
            return false;
        }
        // A subscriber of an incarnation that is over needs a while to notice.
        let is_left_behind = self
            .nodes
            .iter()
            .enumerate()
            .any(|(index, node)| !node.audit.ended && self.need_not_end(index, node));
        !is_left_behind || self.now > last + 9 * SECOND
    }

    pub(super) fn judge(mut self) -> Result<Outcome, String> {
        for (index, node) in self.nodes.iter().enumerate() {
            self.judge_subscriber(index, node)?;
        }
        let had_ended: Vec<bool> = self.nodes.iter().map(|node| node.audit.ended).collect();
        for index in 0..self.nodes.len() {
            self.stop_reading(index)?;
        }
        self.check_acknowledgements()?;
        self.judge_accounts()?;
        self.judge_reports(&had_ended)?;
        let statistics = self.publisher.statistics();
        if self.notary.saw_reuse() {
            return Err("a count was used twice for different texts".into());
        }
        self.judge_repairs(&statistics)?;
        self.judge_delays()?;
        self.judge_traffic()?;
        self.judge_wakes()?;
        self.judge_quiet()?;
        let messages = self.nodes.iter().map(|node| node.audit.messages).sum();
        let data = statistics.datagrams;
        Ok(Outcome {
            naks: self.naks,
            data,
            messages,
            statistics,
            finished: self.now,
            lost_in_trunk: self.lost_in_trunk,
            lost_in_links: self.lost_in_links,
            slowest: self.slowest,
            slowed: self.slowed,
            waited: self.waited,
            published: self.published_at.last().copied().unwrap_or(0),
            evicted: self.evicted,
            meter: self.meter,
            acks: self.acks,
            intruder: self.intruder,
            local: self.local,
            forged: (self.forger.datagrams, self.discarded),
            subscribers: self.nodes.into_iter().map(delivery).collect(),
        })
    }

    fn all_done(&self) -> bool {
        self.nodes.iter().enumerate().all(|(index, node)| node.audit.ended || self.need_not_end(index, node))
    }

    /// Whether it need not reach the end: a loss has stopped it, or it cannot know that its incarnation is over.
    fn need_not_end(&self, index: usize, node: &Node) -> bool {
        let cannot_end = self.plan.subscribers[index].firewalled || node.busy_until == Stuck::FOREVER;
        cannot_end
            || node.has_left
            || node.audit.may_have_stopped()
            || node.audit.incarnation.is_some_and(|incarnation| incarnation > self.incarnation)
    }

    fn judge_subscriber(&self, index: usize, node: &Node) -> Result<(), String> {
        if let Some(counted) =
            node.subscriber.as_ref().map(mcast_stream_proto::subscriber::SubscriberMachine::statistics)
            && counted.repaired < counted.recovered + counted.repaired_locally
        {
            return Err(format!("subscriber {index} counts more kinds of repairs than repairs: {counted:?}"));
        }
        if self.need_not_end(index, node) {
            return Ok(());
        }
        if !node.audit.ended {
            let statistics =
                node.subscriber.as_ref().map(mcast_stream_proto::subscriber::SubscriberMachine::statistics);
            let state =
                format!("{:?}\n{statistics:?}\n{:?}\n{:?}", node.subscriber, node.audit, self.publisher);
            return Err(format!("subscriber {index} has not ended by {}: {state}", self.now));
        }
        if node.audit.policy == Policy::Latest {
            for key in (0..7).map(MessageKey) {
                let last = (0..self.published)
                    .rev()
                    .find(|number| content::message(self.plan, self.incarnation, *number).0 == Some(key));
                let known = node.audit.latest(key);
                // If the message was lost, or from before it joined, it may have an older one or none.
                let excused = !node.audit.lost.is_empty() || known.is_none();
                if known != last && !excused {
                    return Err(format!("subscriber {index} has {known:?} of {key:?}, not {last:?}"));
                }
            }
        }
        Ok(())
    }

    fn judge_repairs(&self, statistics: &PublisherStatistics) -> Result<(), String> {
        let config = self.publisher.config();
        let elapsed = self.publisher_now() - self.begun + self.publisher_clock;
        let burst = (self.plan.slots * config.datagram / 4) as u64;
        let floor = config.repair_floor * (elapsed / MILLISECOND + 1) / 1_000;
        let share = statistics.datagram_bytes * u64::from(config.repair_percent) / 100;
        match statistics.repair_bytes <= burst + floor + share {
            true => Ok(()),
            false => Err(format!(
                "repairs took {} bytes, more than {burst} + {floor} + {share}",
                statistics.repair_bytes
            )),
        }
    }

    /// Checks that timers do not fire needlessly.
    fn judge_wakes(&self) -> Result<(), String> {
        let count = |name| self.tally.get(name).copied().unwrap_or(0);
        let seconds = self.now / SECOND + 1;
        // A paced publisher wakes for each datagram, also for those that a link drops.
        let from_publisher = count("to subscriber").max(self.meter.datagrams);
        let datagrams = from_publisher + count("to publisher") + count("aside") + count("publish");
        let most = 3 * datagrams + 400 * seconds * (self.nodes.len() as u64 + 1);
        match count("subscriber wakes") + count("publisher wakes") <= most {
            true => Ok(()),
            false => Err(format!("more than {most} wakes (limit): {:?}", self.tally)),
        }
    }

    /// Checks that after the end only heartbeats and statuses are sent.
    fn judge_quiet(&self) -> Result<(), String> {
        // A firewalled subscriber repeats its requests.
        if self.plan.subscribers.iter().any(|subscriber| subscriber.firewalled) {
            return Ok(());
        }
        let sent_from =
            |from: u64| self.traffic.iter().filter(move |(at, _)| *at > from).map(|(_, kind)| *kind);
        let from = self.now.saturating_sub(2 * SECOND);
        if let Some(loud) =
            sent_from(from).find(|kind| matches!(kind, Kind::Data | Kind::Parity | Kind::Nak | Kind::Ncf))
        {
            return Err(format!("{loud:?} when everything was over"));
        }
        // The stream may have ended since, long after its last datagram, if messages had to be acknowledged. Until then,
        // subscribers look for repairers.
        let late: Vec<Kind> = sent_from(from.max(self.progress_at)).collect();
        // A status reports each acknowledgement that is news, also after the end, and is answered: in a small group one in 5 ms
        // while the application processes messages.
        let each = match &self.plan.acknowledge {
            None => 8,
            Some(plan) if plan.processed => 8 + 2 * 400,
            Some(_) => 12,
        };
        let distant = self.plan.subscribers.iter().filter(|one| one.down.delay + one.up.delay > SECOND);
        let most = 12 * usize::from(self.plan.paths)
            + each * self.nodes.len()
            + 2 * CONFIRMING_PROBES * distant.count();
        match late.len() <= most {
            true => Ok(()),
            false => Err(format!(
                "{} datagrams (limit {most}) in the last two seconds, when everything was over: {}",
                late.len(),
                tally(&late)
            )),
        }
    }
}

/// Returns the number of each kind, as text.
fn tally(kinds: &[Kind]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for kind in kinds {
        *counts.entry(format!("{kind:?}")).or_insert(0) += 1;
    }
    format!("{counts:?}")
}
