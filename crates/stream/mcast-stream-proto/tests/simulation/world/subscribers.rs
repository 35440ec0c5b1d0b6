//! The subscribers: their starts, their input and their output.

use mcast_stream_proto::ClockTime;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use mcast_stream_proto::Target;
use mcast_stream_proto::sign::PinnedKeys;
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Cause, Item, LocalRepair, Position, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{DatagramView, Kind, MessageNumber, SubscriberId};

use super::acknowledgements::name_of;
use super::{BUFFER, FIRST_INCARNATION, Happening, STREAM, World};
use crate::audit::Audit;
use crate::plan::{SECOND, Stuck};
use crate::signer;

pub(super) const PUBLISHER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 9);

pub(super) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1 + (index / 250) as u8, 1 + (index % 250) as u8], index as u16 + 1))
}

impl World<'_> {
    /// Starts a subscriber, for the first time or again.
    pub(super) fn start(&mut self, index: usize) {
        let plan = &self.plan.subscribers[index];
        let node = &mut self.nodes[index];
        node.starts += 1;
        let config = SubscriberConfig::new(STREAM).with(|config| {
            config.start = plan.start;
            config.policy = plan.policy;
            config.window = plan.window;
            config.socket_buffer = if plan.knows_buffer { BUFFER * self.plan.datagram } else { usize::MAX };
            config.paths = self.plan.paths;
            config.name = self.plan.acknowledge.filter(|plan| plan.has_names()).map(|_| name_of(index));
            config.keys = self.keys.clone();
            config.signed_by =
                if plan.verifies { signer::pinned(self.plan.seed) } else { PinnedKeys::none() };
            config.unix_offset = Some(SECOND);
            config.repair_for_others = plan.repairs.map(|_| LocalRepair {
                bytes: self.plan.slots * self.plan.datagram / 2,
                seed: self.plan.seed ^ (index as u64) << 40 ^ node.starts << 30 ^ 0x7365,
            });
            config.seed = self.plan.seed ^ (index as u64) << 32 ^ node.starts << 20;
        });
        node.subscriber = Some(SubscriberMachine::new(config, ClockTime(self.now + node.clock)));
        node.inbox.clear();
        node.busy_until = 0;
        node.unprocessed.clear();
        let former =
            std::mem::replace(&mut node.audit, Audit::new(plan.policy, plan.start, self.plan.one_way));
        if let Some(id) =
            node.id.replace(node.subscriber.as_ref().map_or(SubscriberId(0), SubscriberMachine::id))
        {
            node.former.push((id, former));
        }
        self.forget_exchanges(index);
    }

    /// Makes a subscriber leave the stream regularly.
    pub(super) fn leave(&mut self, index: usize) -> Result<(), String> {
        let node = &mut self.nodes[index];
        if let Some(subscriber) = &mut node.subscriber {
            subscriber.leave(ClockTime(self.now + node.clock));
        }
        self.send_from(index);
        self.nodes[index].has_left = true;
        self.stop_reading(index)
    }

    /// Stops the application: it reads what has arrived, and the losses are reported.
    pub(super) fn stop_reading(&mut self, index: usize) -> Result<(), String> {
        self.nodes[index].busy_until = 0;
        self.nodes[index].has_stopped = true;
        self.take_all(index, &[])?;
        if let Some(subscriber) = &mut self.nodes[index].subscriber {
            subscriber.abandon();
        }
        self.take_all(index, &[])?;
        if let Some(subscriber) = self.nodes[index].subscriber.take() {
            let statistics = subscriber.statistics();
            self.discarded += statistics.forged;
            self.without_room += statistics.beyond * self.plan.datagram as u64;
            self.local.naks += statistics.naks_to_repairers;
            self.local.repairs += statistics.local_repairs;
            self.local.used += statistics.repaired_locally;
            self.local.refused += statistics.local_refused;
            self.local.unrequested += statistics.unrequested;
        }
        Ok(())
    }

    pub(super) fn set_keys_of(&mut self, index: usize) {
        let keys = self.keys.clone();
        if let Some(subscriber) = &mut self.nodes[index].subscriber {
            subscriber.set_keys(keys);
        }
    }

    /// Makes a subscriber read its socket buffer and send what is due.
    pub(super) fn serve(&mut self, index: usize) -> Result<(), String> {
        let sleeps = self.plan.subscribers[index].sleeps;
        if sleeps.is_some_and(|(from, to)| (from..to).contains(&self.now)) {
            return Ok(());
        }
        self.take_all(index, &[])?;
        while let Some((path, from, bytes)) = self.take_from_buffer(index) {
            self.record_received(index, &bytes);
            let node = &mut self.nodes[index];
            let Some(subscriber) = &mut node.subscriber else { return Ok(()) };
            subscriber.handle_datagram(ClockTime(self.now + node.clock), path, from, &bytes);
            self.take_all(index, &bytes)?;
        }
        self.send_from(index);
        self.take_all(index, &[])?;
        self.wake_subscriber(index);
        Ok(())
    }

    /// Returns the next datagram, unless a slow subscriber must wait.
    fn take_from_buffer(&mut self, index: usize) -> Option<(u8, SocketAddr, Rc<[u8]>)> {
        let (now, node) = (self.now, &mut self.nodes[index]);
        let slow = self.plan.subscribers[index].slow.filter(|_| now < self.plan.good_from);
        let Some(pause) = slow else { return node.inbox.pop_front() };
        if now < node.takes_at {
            return None;
        }
        let taken = node.inbox.pop_front()?;
        node.takes_at = now + pause;
        self.at(now + pause, Happening::SubscriberWakes(index));
        Some(taken)
    }

    fn take_all(&mut self, index: usize, bytes: &[u8]) -> Result<(), String> {
        let (plan, now) = (self.plan, self.now);
        let (published, incarnation) = (self.published, self.incarnation);
        let processing = self.plan.acknowledge.filter(|plan| plan.processed).map(|plan| plan.processing);
        let node = &mut self.nodes[index];
        let clock = node.clock;
        let Some(subscriber) = &mut node.subscriber else { return Ok(()) };
        process(&mut node.unprocessed, &mut node.audit, subscriber, now, clock);
        let id = subscriber.id();
        let blame = |what: String| format!("subscriber {index} at {now}: {what}");
        let busy = self.plan.subscribers[index].busy.filter(|_| now < plan.good_from);
        let (mut lost, mut free_at, mut process_at) = (Vec::new(), None, None);
        while now >= node.busy_until {
            resume(&mut node.audit, subscriber, incarnation, published);
            let Some(item) = subscriber.poll_item(ClockTime(now + clock), bytes) else { break };
            self.progress_at = now;
            match item {
                Item::Message(message) => {
                    node.audit.message(plan, &message).map_err(blame)?;
                    if let Some(processing) = processing.filter(|_| !node.has_stopped) {
                        node.unprocessed.push_back((now + processing, message.position()));
                        process_at = Some(now + processing);
                    }
                    if let Some(at) = self.published_at.get(message.number.0 as usize) {
                        let latency = now.saturating_sub(*at);
                        self.slowest = self.slowest.max(latency);
                        node.latencies.push(latency);
                    }
                    node.delivered += 1;
                    let stuck = plan.subscribers[index].stuck.filter(|_| !node.has_stopped);
                    if let Some(Stuck { time, .. }) = stuck.filter(|stuck| stuck.after == node.delivered) {
                        subscriber.start_buffering(bytes);
                        node.busy_until = now.saturating_add(time);
                        free_at = Some(node.busy_until).filter(|at| *at < Stuck::FOREVER);
                    } else if let Some((_, pause)) =
                        busy.filter(|(every, _)| node.delivered.is_multiple_of(*every))
                    {
                        subscriber.start_buffering(bytes);
                        node.busy_until = now + pause;
                        free_at = Some(node.busy_until);
                    }
                }
                Item::Event(event) => {
                    node.audit.event(&event).map_err(blame)?;
                    if let SubscriberEvent::Joined { incarnation, .. } = event
                        && !self.accepted.contains_key(&incarnation.0)
                        && incarnation.0 != FIRST_INCARNATION
                    {
                        return Err(blame(format!("it joined incarnation {incarnation}, which is forged")));
                    }
                    // The evictions of a former publisher are not recorded.
                    let is_recorded = plan.overlap.is_none() && plan.restart.is_none();
                    if event == SubscriberEvent::Evicted && is_recorded && !self.evicted.contains(&index) {
                        return Err(blame("it takes a forged reset for an eviction".into()));
                    }
                    if let SubscriberEvent::Lost { first, cause, .. } = event {
                        lost.push((first, cause));
                    }
                }
            }
        }
        if subscriber.kept() > subscriber.config().window.max(128).next_power_of_two() {
            return Err(blame("it buffers more than its window".into()));
        }
        let audited = node.audit.incarnation;
        for at in free_at.into_iter().chain(process_at) {
            self.at(at, Happening::SubscriberWakes(index));
        }
        for (first, cause) in lost {
            self.check_excuse(index, id, audited, first, cause)?;
        }
        Ok(())
    }

    /// Checks that a subscriber under flow control loses nothing that was published since it joined.
    fn check_excuse(
        &self,
        index: usize,
        id: SubscriberId,
        incarnation: Option<u32>,
        first: MessageNumber,
        cause: Cause,
    ) -> Result<(), String> {
        let is_waited = self.plan.waits
            && self.plan.overlap.is_none()
            && incarnation == Some(self.incarnation)
            && !self.excused.contains(&id);
        let Some(since) = self.waited_since.get(&id).filter(|_| is_waited && cause == Cause::Unrecoverable)
        else {
            return Ok(());
        };
        match self.published_at.get(first.0 as usize) {
            Some(at) if at > since => Err(format!(
                "subscriber {index} lost {first} although it is under flow control since {since}"
            )),
            _ => Ok(()),
        }
    }

    fn send_from(&mut self, index: usize) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        let mut sent = Vec::new();
        if let Some(subscriber) = &mut node.subscriber {
            while let Some(control) = subscriber.poll_transmit(ClockTime(now + node.clock)) {
                sent.push((control.to, control.bytes().to_vec()));
                subscriber.reuse(control);
            }
        }
        for (to, bytes) in sent {
            let kind = DatagramView::parse(&bytes).map(|view| view.header.kind);
            self.traffic.extend(kind.ok().map(|kind| (now, kind)));
            if let Target::Address(to) | Target::Aside(to) = to
                && to != PUBLISHER
            {
                self.meter.aside(kind.ok());
                self.send_aside(index, usize::from(to.port() - 1), &bytes);
                continue;
            }
            self.naks += u64::from(kind == Ok(Kind::Nak));
            self.meter.feedback(now, kind.ok(), bytes.len());
            if self.plan.subscribers[index].firewalled || self.is_partitioned(index) {
                continue;
            }
            let arrivals = self.nodes[index].up.send(now, bytes.len());
            for (at, corrupt) in arrivals {
                let bytes = if corrupt { self.corrupted(&bytes) } else { bytes.clone() };
                self.at(at, Happening::ToPublisher(index, bytes));
            }
        }
    }

    fn wake_subscriber(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(subscriber) = &node.subscriber else { return };
        let at = subscriber
            .poll_timeout()
            .unwrap_or(ClockTime::NEVER)
            .0
            .saturating_sub(node.clock)
            .max(self.now + 1_000);
        if at < node.wakes_at {
            node.wakes_at = at;
            self.at(at, Happening::SubscriberWakes(index));
        }
    }
}

/// Processes what has been waiting for long enough, and acknowledges it.
fn process(
    unprocessed: &mut VecDeque<(u64, Position)>,
    audit: &mut Audit,
    subscriber: &mut SubscriberMachine,
    now: u64,
    clock: u64,
) {
    let mut last = None;
    while let Some((_, position)) = unprocessed.front().copied().filter(|(at, _)| *at <= now) {
        unprocessed.pop_front();
        audit.record_processed(position);
        last = Some(position);
    }
    // They may be of another incarnation than the one that the subscriber follows by now.
    if let Some(position) = last {
        subscriber.acknowledge(ClockTime(now + clock), position);
    }
}

/// Loads a requested snapshot at once, of everything published by now.
fn resume(audit: &mut Audit, subscriber: &mut SubscriberMachine, incarnation: u32, published: u64) {
    let is_possible = |message: &MessageNumber| {
        audit.incarnation == Some(incarnation) && MessageNumber(published) >= *message
    };
    if audit.wants_snapshot.filter(is_possible).is_some() {
        (audit.wants_snapshot, audit.cursor) = (None, Some(MessageNumber(published)));
        subscriber.resume(MessageNumber(published));
    }
}
