//! The publisher's process: its machine, its log, its history server, and how it ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mcast_disk::Disk;
use mcast_log::{
    Beginning, Confirmed, Files, FoundLog, LogError, LogOptions, LogReader, LogStart, LogTail, LogTime,
    Recall, Retention, SyncPolicy, TailItem, Writer,
};
use mcast_stream_proto::history::{
    AnnouncementSchedule, AnswerFrame, AnswerStatus, FrameWriter, HistoryContent, HistoryRecord, Position,
    RequestedStart,
};
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{
    AckLevel, AckProgress, Acknowledgers, Fec, LogNeeds, PublisherConfig, PublisherEvent, Quorum, QuorumLoss,
    SubscriberProgress, Transmit,
};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::sign::Signer;
use mcast_stream_proto::wire::{
    FlowControl, Incarnation, MessageKey, MessageNumber, Origin, ServedHistory, StreamId, SubscriberId,
    SubscriberName, VisitedEngines,
};
use mcast_stream_proto::{ClockTime, Target};

use crate::audit::{content, key_of};
use crate::link::SendBuffer;
use crate::plan::{FeedPlan, MILLISECOND, SECOND};
use crate::retention::Unsent;
use crate::signer;

pub(crate) const STREAM: StreamId = StreamId(0x636f_6d70);
const DATAGRAM: usize = 1_232;
/// How long a publisher waits after its disk was full.
const LOG_PAUSE: u64 = 50 * MILLISECOND;
/// How often it records how far subscribers are.
const CONFIRMED_INTERVAL: u64 = 100 * MILLISECOND;
/// The sockets for addresses that have not proven themselves.
const ASIDE_SOCKETS: usize = 4;
/// While more bytes wait to be sent, nothing is accepted.
const MOST_WAITING: usize = 4 << 20;
/// The least time for the last messages to subscribers that have everything.
const CLOSING: Duration = Duration::from_secs(2);

pub(crate) fn name_of(index: usize) -> SubscriberName {
    format!("s{index}").parse().unwrap()
}

/// What a datagram is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Everyone, on this path.
    Group(u8),
    One(SocketAddr),
}

/// How many messages a process stores at once that is killed meanwhile: more than a page of the disk.
const TORN_MESSAGES: u64 = 80;

/// How far the end of the publisher is, as the command sees it. What decides is in the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Publishing,
    /// Everything is published; subscribers get what they lack.
    Draining,
    /// The end was sent; applications read.
    Ending,
    Closing,
    /// The time is over, and the stream does not end, because something was not sent.
    Stopping,
}

/// How a publisher ended.
#[derive(Clone, Debug)]
pub(crate) struct FeedExit {
    pub(crate) at: u64,
    /// When it would have ended at the latest.
    pub(crate) deadline: u64,
    pub(crate) is_success: bool,
    pub(crate) has_ended_stream: bool,
    pub(crate) subscriber_progress: Vec<(SubscriberId, SocketAddr, SubscriberProgress)>,
    pub(crate) acknowledged: Option<AckProgress>,
}

pub(crate) struct Feed {
    pub(crate) plan: FeedPlan,
    pub(crate) disk: Disk,
    pub(crate) keys: Keys,
    /// Whether the second key signs.
    is_key_changed: bool,
    pub(crate) process: Option<Process>,
    lives: u32,
    /// Where the messages of each process begin that continues no log.
    pub(crate) bases: Bases,
    /// The number of messages that were accepted.
    pub(crate) accepted: u64,
    pub(crate) accepted_at: Vec<u64>,
    /// The same in the time of day, as the log has it.
    pub(crate) accepted_at_wall: Vec<u64>,
    /// Messages that the last process was storing when it was killed: how many, and when.
    in_doubt: Option<(u64, u64)>,
    /// How far the time of day is from that of the simulation.
    pub(crate) wall: i64,
    pub(crate) exit: Option<FeedExit>,
    /// The longest time from accepting a message to sending it, and the message.
    pub(crate) slowest: (u64, u64),
    /// The same of the first message that each process accepted.
    pub(crate) slowest_first: (u64, u64),
    unsent: Unsent,
    /// Messages of which nobody has the key any more.
    pub(crate) dropped_before: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) seed: u64,
}

/// Where the messages of each incarnation begin among all messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bases(Rc<RefCell<Vec<(Incarnation, u64)>>>);

impl Bases {
    fn begin(&self, incarnation: Incarnation, base: u64) {
        self.0.borrow_mut().push((incarnation, base));
    }

    fn last(&self) -> u64 {
        self.0.borrow().last().map_or(0, |(_, base)| *base)
    }

    pub(crate) fn of(&self, incarnation: Incarnation) -> u64 {
        let bases = self.0.borrow();
        bases.iter().find(|(of, _)| *of == incarnation).map_or(0, |(_, base)| *base)
    }
}

pub(crate) struct Process {
    pub(crate) machine: PublisherMachine,
    writer: Writer,
    files: Arc<dyn Files>,
    /// What was recorded of the subscribers' progress, and when to look again.
    confirmed: Confirmed,
    confirm_at: u64,
    waiting: VecDeque<(u64, Box<[u8]>)>,
    waiting_bytes: usize,
    sendable: u64,
    pub(crate) inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    phase: Phase,
    refused_until: u64,
    has_recorded_end: bool,
    pub(crate) deadline: u64,
    pub(crate) announcements: AnnouncementSchedule,
    unicast: SendBuffer,
    aside: SendBuffer,
    /// Messages that are not known as sent: the number, and the count of datagrams by which it is.
    unsent: VecDeque<(u64, u64)>,
    pub(crate) started: u64,
    /// The first message that it accepts.
    first_new: u64,
}

impl Feed {
    pub(crate) fn new(plan: FeedPlan, keys: Keys, seed: u64) -> Self {
        Self {
            disk: Disk::new(seed),
            plan,
            keys,
            is_key_changed: false,
            process: None,
            lives: 0,
            bases: Bases::default(),
            accepted: 0,
            accepted_at: Vec::new(),
            accepted_at_wall: Vec::new(),
            in_doubt: None,
            wall: 0,
            exit: None,
            slowest: (0, 0),
            slowest_first: (0, 0),
            unsent: Unsent::default(),
            dropped_before: 0,
            violations: Vec::new(),
            seed,
        }
    }

    fn log_time(&self, now: u64) -> LogTime {
        LogTime((now as i64 + self.wall) as u64)
    }

    fn unix_offset(&self) -> Option<u64> {
        u64::try_from(1_700_000_000 * SECOND as i64 + self.wall).ok()
    }

    /// Returns how many processes have begun.
    pub(crate) const fn lives(&self) -> u32 {
        self.lives
    }

    /// Returns the first of all messages that the present stream has.
    fn base(&self) -> u64 {
        self.bases.last()
    }

    /// Starts the process: opens the log, and what it sends again.
    pub(crate) fn start(&mut self, now: u64) {
        self.lives += 1;
        if self.plan.unlogged {
            // What the last process had is gone, as if it had been on a disk that nobody reads.
            self.disk = Disk::new(self.seed ^ u64::from(self.lives));
            self.bases.begin(Incarnation(100 + self.lives), self.accepted);
        }
        let base = self.base();
        let options = LogOptions {
            sync: if self.plan.syncs_each { SyncPolicy::Each } else { SyncPolicy::None },
            segment_bytes: if self.plan.is_pruned() { 1 << 12 } else { 1 << 16 },
            retention: Retention {
                bytes: self.plan.retained,
                age: self.plan.retained_age.map(Duration::from_nanos),
            },
            keys: self.keys.clone(),
            seed: Some(self.seed ^ u64::from(self.lives)),
        };
        let proposed = Incarnation(100 + self.lives);
        let files = self.disk.files();
        let begun = self.open(&files, proposed, options);
        let (found, beginning, tail) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.violations.push(format!("the publisher does not start at {now}: {error}"));
                return;
            }
        };
        let (incarnation, next) = (found.incarnation(), beginning.next.number);
        if let Some((count, at)) = self.in_doubt.take() {
            for _ in 0..count.min((base + next.0).saturating_sub(self.accepted)) {
                self.count_accepted(at);
            }
        }
        if base + next.0 != self.accepted {
            self.violations.push(format!("the log ends with {next}, {} were accepted", self.accepted));
        }
        if !matches!(beginning.start, LogStart::First | LogStart::Continued) {
            self.violations.push(format!("the stream is not continued at {now}: {:?}", beginning.start));
        }
        let first = tail.items.front().map_or(next, TailItem::first);
        let needed = beginning.first_needed(first);
        let config = PublisherConfig::new(STREAM, incarnation).with(|config| {
            config.datagram = DATAGRAM;
            config.retransmission_buffer = match tail.items.is_empty() {
                true => self.plan.buffer,
                // New messages have room beside it.
                false => self.plan.buffer.max(tail.bytes + self.plan.buffer / 4),
            };
            config.flow = match (self.plan.one_way, self.plan.waits) {
                (true, _) => FlowControl::OneWay,
                (_, true) => FlowControl::Slowest,
                _ => FlowControl::None,
            };
            config.rate = self.plan.rate.into();
            config.fec = match (self.plan.one_way, self.plan.parity) {
                (true, _) => Fec::Fixed { data: 8, parity: 4 },
                (_, true) => Fec::Auto,
                _ => Fec::Off,
            };
            config.paths = self.plan.paths;
            config.signer =
                self.plan.signed.then(|| signer::key(self.seed, self.is_key_changed) as Arc<dyn Signer>);
            config.unix_offset = self.unix_offset();
            config.seed = self.seed ^ u64::from(incarnation.0);
            config.keys = self.keys.clone();
            config.quorum = self.quorum();
            config.first_message = first;
            config.acknowledge_from = next;
            config.origin = (!self.plan.unlogged).then_some(Origin::new(
                STREAM,
                beginning.next.incarnation,
                self.lives,
                VisitedEngines::EMPTY,
            ));
        });
        let mut machine = PublisherMachine::new(config, ClockTime(now)).unwrap();
        for item in &tail.items {
            let recalled = match item {
                // Nobody can request it.
                TailItem::Message { key, bytes, .. } if self.plan.one_way => {
                    machine.publish(ClockTime(now), (*key, bytes)).is_ok()
                }
                TailItem::Message { key, bytes, .. } => machine.recall(ClockTime(now), *key, bytes).is_ok(),
                TailItem::Gap { .. } => false,
            };
            if !recalled && let Err(refusal) = machine.skip_to(ClockTime(now), item.end()) {
                self.violations.push(format!("{item:?} cannot be omitted: {refusal}"));
            }
        }
        if beginning.start == LogStart::Continued && !self.plan.one_way {
            machine.end_recall(ClockTime(now));
            machine.need_recalled_from(needed);
            if let Some(unsettled) = beginning.unsettled {
                machine.require_acknowledgements_from(unsettled);
            }
        }
        let (writer, confirmed) = match beginning.begin(found, needed) {
            Ok((writer, _, confirmed)) => (writer, confirmed),
            // The disk is full: a supervisor starts it again.
            Err(error) if error.is_temporary() => return,
            Err(error) => {
                self.violations.push(format!("the publisher does not start at {now}: {error}"));
                return;
            }
        };
        if !self.plan.unlogged {
            machine.serve_history(Some(ServedHistory::new(crate::world::FEED.port())));
        }
        self.process = Some(Process {
            machine,
            writer,
            files,
            confirmed,
            confirm_at: now + CONFIRMED_INTERVAL,
            waiting_bytes: 0,
            waiting: VecDeque::new(),
            sendable: base + next.0,
            inbox: VecDeque::new(),
            phase: Phase::Publishing,
            refused_until: 0,
            has_recorded_end: false,
            deadline: u64::MAX,
            announcements: AnnouncementSchedule::new(ClockTime(now), self.seed),
            unicast: SendBuffer::of(1),
            aside: SendBuffer::of(ASIDE_SOCKETS),
            unsent: VecDeque::new(),
            started: now,
            first_new: base + next.0,
        });
        self.unsent.begin(base + next.0);
        if let Some(unopened) = tail.unopened {
            self.unsent.give_up(base + unopened.first.0..base + unopened.end.0);
        }
        self.check_retention();
    }

    /// Opens the log, and decides what to begin with. Changes nothing.
    fn open(
        &self,
        files: &Arc<dyn Files>,
        proposed: Incarnation,
        options: LogOptions,
    ) -> Result<(FoundLog, Beginning, LogTail), LogError> {
        let sync = options.sync;
        let found = FoundLog::examine(Arc::clone(files), STREAM, "feed", proposed, options)?;
        let beginning = Beginning::plan(&found, Some("boot"), sync)?;
        let recall = Recall {
            next: beginning.next,
            unconfirmed: beginning.unconfirmed,
            least: self.plan.buffer,
            most: self.plan.buffer + self.plan.buffer / 3 + MOST_WAITING,
            unsent: beginning.unsent,
        };
        let tail = LogTail::read(Arc::clone(files), self.keys.clone(), recall)?;
        Ok((found, beginning, tail))
    }

    /// Records how far all subscribers are, for the next publisher.
    fn record_confirmed(&mut self, now: u64) {
        let time = self.log_time(now);
        let Some(process) = self.process.as_mut().filter(|process| process.confirm_at <= now) else { return };
        process.confirm_at = now + CONFIRMED_INTERVAL;
        let settled = process.machine.ack_progress().map(|progress| progress.settled);
        let received = process.machine.confirmed().or(process.confirmed.received);
        let needs = process.update_needs(time);
        let (sent, needed) = (Some(needs.unsent), Some(needs.needed));
        let confirmed = Confirmed { received, settled, sent, needed, ..process.confirmed };
        if confirmed != process.confirmed && confirmed.write(&*process.files).is_ok() {
            process.confirmed = confirmed;
        }
    }

    fn quorum(&self) -> Option<Quorum> {
        let plan = self.plan.acks?;
        Some(Quorum {
            acknowledgers: Acknowledgers::Named((0..plan.named).map(name_of).collect()),
            level: if plan.processed { AckLevel::Processed } else { AckLevel::Received },
            on_loss: if plan.blocks { QuorumLoss::Block } else { QuorumLoss::Report },
        })
    }

    /// Whether another process must be started after this one was killed.
    pub(crate) fn is_to_continue(&self) -> bool {
        self.exit.is_none() && self.process.as_ref().is_none_or(|process| !process.has_recorded_end)
    }

    /// The number of the message that is due next, and when; `None` at the end of the input.
    fn next_input(&self) -> Option<u64> {
        (self.accepted < self.plan.messages).then(|| crate::plan::BEGIN + self.accepted * self.plan.interval)
    }

    /// Does what is due, and returns what to send.
    pub(crate) fn run(&mut self, now: u64) -> Vec<(Destination, Vec<u8>)> {
        let mut sent = Vec::new();
        self.take_feedback(now);
        self.accept(now);
        self.publish(now);
        if let Some(process) = &mut self.process {
            process.machine.set_unix_offset(u64::try_from(1_700_000_000 * SECOND as i64 + self.wall).ok());
            process.send(now, &mut sent);
            while let Some(event) = process.machine.poll_event() {
                // A subscriber that is restarted is not another one.
                if matches!(event, PublisherEvent::NameShared { .. }) {
                    self.violations.push(format!("{event:?}, but no two subscribers share a name"));
                }
            }
        }
        self.record_sent(now);
        self.record_confirmed(now);
        self.end(now);
        if let Some(process) = &mut self.process {
            process.send(now, &mut sent);
        }
        sent
    }

    fn take_feedback(&mut self, now: u64) {
        let Some(process) = &mut self.process else { return };
        while let Some((from, bytes)) = process.inbox.pop_front() {
            process.machine.handle_datagram(ClockTime(now), from, &bytes);
        }
    }

    /// Appends messages that are due to the log.
    fn accept(&mut self, now: u64) {
        let base = self.base();
        while let Some(due) = self.next_input().filter(|due| *due <= now) {
            let _ = due;
            let time = self.log_time(now);
            let Some(process) = &mut self.process else { return };
            if process.waiting_bytes >= MOST_WAITING || now < process.refused_until || process.is_held(time) {
                return;
            }
            let bytes = content(self.accepted, self.plan.length);
            match process.writer.append(
                time,
                &[HistoryContent::Message {
                    key: Some(MessageKey(key_of(self.accepted))),
                    bytes: &bytes[..],
                }],
            ) {
                Ok(appended) => {
                    if base + appended.first.0 != self.accepted {
                        self.violations.push(format!("{} was stored as {}", self.accepted, appended.first));
                    }
                    process.waiting_bytes += bytes.len();
                    process.waiting.push_back((self.accepted, bytes.into()));
                    process.sendable = base + appended.next.0;
                    self.count_accepted(now);
                    self.check_retention();
                }
                Err(error) if error.is_temporary() => process.refused_until = now + LOG_PAUSE,
                Err(error) => {
                    self.violations.push(format!("message {} is not stored: {error}", self.accepted));
                    self.process = None;
                    return;
                }
            }
        }
    }

    /// Checks that the log has what was not sent.
    fn check_retention(&mut self) {
        let Some(process) = self.process.as_ref().filter(|_| self.plan.is_pruned()) else { return };
        let blocks = self.plan.acks.is_some_and(|acks| acks.blocks);
        let progress = process.machine.ack_progress().filter(|_| blocks);
        let wrong = self.unsent.check(self.disk.files(), progress.map(|progress| progress.settled.0));
        self.violations.extend(wrong);
    }

    /// Whether it waits without a limit, because the log has its size and acknowledgements are missing that block.
    pub(crate) fn waits_for_acknowledgements(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let settled = process.machine.ack_progress().map(|progress| progress.settled);
        let is_unsettled = |end| settled.is_some_and(|settled| settled < end);
        self.plan.acks.is_some_and(|acks| acks.blocks)
            && process.writer.held().is_some_and(|held| held.is_too_large && is_unsettled(held.end.number))
    }

    fn count_accepted(&mut self, now: u64) {
        self.unsent.accept(self.accepted);
        self.accepted += 1;
        self.accepted_at.push(now);
        self.accepted_at_wall.push((now as i64 + self.wall) as u64);
    }

    /// Ends the process: with `in_write`, while it stores the next messages.
    pub(crate) fn kill(&mut self, now: u64, in_write: bool) {
        let (base, time) = (self.base(), self.log_time(now));
        let count = TORN_MESSAGES.min(self.plan.messages - self.accepted);
        if let Some(mut process) = self.process.take().filter(|_| in_write && !self.plan.unlogged)
            && base + process.writer.next_number().0 == self.accepted
        {
            self.disk.kill_in_write();
            let contents: Vec<_> =
                (self.accepted..self.accepted + count).map(|n| (n, content(n, self.plan.length))).collect();
            let records: Vec<_> = contents
                .iter()
                .map(|(number, bytes)| HistoryContent::Message {
                    key: Some(MessageKey(key_of(*number))),
                    bytes: &bytes[..],
                })
                .collect();
            let stored = process.writer.append(time, &records);
            debug_assert!(stored.is_err() || count == 0, "the process was killed");
            self.in_doubt = Some((count, now));
        }
        self.disk.kill();
    }

    /// Publishes what may be sent, as far as there is room.
    fn publish(&mut self, now: u64) {
        let base = self.base();
        let Some(process) = &mut self.process else { return };
        while let Some((number, bytes)) =
            process.waiting.front().filter(|(number, _)| *number < process.sendable)
        {
            match process.machine.publish(ClockTime(now), (MessageKey(key_of(*number)), bytes)) {
                Ok(published) => {
                    if base + published.0 != *number {
                        self.violations.push(format!("{number} was published as {published}"));
                    }
                    let due = process.machine.statistics().datagrams + process.machine.unsent() + 1;
                    process.unsent.push_back((*number, due));
                    process.waiting_bytes -= bytes.len();
                    process.waiting.pop_front();
                }
                Err(refusal) if refusal.is_temporary() => break,
                Err(refusal) => {
                    self.violations.push(format!("message {number} is refused: {refusal}"));
                    break;
                }
            }
        }
        process.machine.flush(ClockTime(now));
    }

    fn record_sent(&mut self, now: u64) {
        let Some(process) = &mut self.process else { return };
        let sent = process.machine.statistics().datagrams;
        let is_all = process.machine.is_sent();
        while let Some((number, _)) = process.unsent.front().filter(|(_, due)| *due <= sent || is_all) {
            let accepted = self.accepted_at.get(*number as usize).copied().unwrap_or(now);
            // What was accepted by an earlier process is not new.
            if accepted >= process.started {
                let delay = now.saturating_sub(accepted);
                self.slowest = self.slowest.max((delay, *number));
                if *number == process.first_new {
                    self.slowest_first = self.slowest_first.max((delay, *number));
                }
            }
            self.unsent.send(*number);
            process.unsent.pop_front();
        }
        if !process.machine.awaits_claims() {
            self.unsent.end_claims();
        }
    }

    /// Ends as the command does.
    fn end(&mut self, now: u64) {
        let is_input_over = self.accepted == self.plan.messages;
        let (time, at) = (self.log_time(now), ClockTime(now));
        let Some(process) = &mut self.process else { return };
        let machine = &mut process.machine;
        let left = machine.left_at_end(at);
        match process.phase {
            Phase::Publishing if is_input_over => {
                machine.wait_at_end(at, Duration::from_nanos(self.plan.linger));
                process.phase = Phase::Draining;
            }
            Phase::Publishing => {}
            Phase::Draining => {
                process.deadline = now + left.as_nanos() as u64;
                if process.waiting.is_empty() && machine.is_sent() {
                    machine.close(at);
                    process.record_end(time);
                    process.phase = Phase::Ending;
                } else if left == Duration::ZERO {
                    process.finish(at, Duration::ZERO, time);
                }
            }
            Phase::Ending => {
                process.deadline = process.deadline.max(now + left.as_nanos() as u64);
                let is_settled = machine.ack_progress().is_none_or(|progress| progress.is_settled());
                if is_settled && machine.is_read() {
                    process.finish(at, left.max(CLOSING), time);
                } else if left == Duration::ZERO {
                    process.finish(at, Duration::ZERO, time);
                }
            }
            Phase::Closing if machine.is_over(at) => self.exit(now),
            Phase::Closing => {}
            Phase::Stopping => self.exit(now),
        }
    }

    fn exit(&mut self, now: u64) {
        let Some(process) = self.process.take() else { return };
        let machine = &process.machine;
        let acknowledged = machine.ack_progress();
        let audience = machine.audience();
        let unsent = machine.unsent() + process.waiting.len() as u64;
        let is_success = match acknowledged {
            Some(progress) => progress.is_complete() && unsent == 0,
            None => audience.complete == audience.total() && unsent == 0,
        };
        self.exit = Some(FeedExit {
            at: now,
            deadline: process.deadline,
            is_success,
            has_ended_stream: process.has_recorded_end,
            subscriber_progress: machine.subscriber_progress().collect(),
            acknowledged,
        });
    }

    /// Returns when to run it again.
    pub(crate) fn wakes_at(&self, now: u64) -> u64 {
        let Some(process) = &self.process else { return u64::MAX };
        let poll = match process.phase {
            Phase::Publishing if process.waiting.is_empty() => u64::MAX,
            Phase::Publishing => now + 5 * MILLISECOND,
            _ => now + 20 * MILLISECOND,
        };
        let input = self.next_input().unwrap_or(u64::MAX).max(process.refused_until);
        let input = if self.next_input().is_some() { input } else { u64::MAX };
        // Room in the log comes with what is sent and acknowledged.
        let input = if process.writer.held().is_some() { input.max(now + 5 * MILLISECOND) } else { input };
        let announcement = process.announcements.poll_timeout().unwrap_or(ClockTime::NEVER).0;
        poll.min(input).min(process.machine.poll_timeout().unwrap_or(ClockTime::NEVER).0).min(announcement)
    }

    /// Returns the number of messages of this incarnation that the state of the publisher has, if it has this many.
    pub(crate) fn state(&self, incarnation: Incarnation, least: u64) -> Option<u64> {
        let machine = &self.process.as_ref()?.machine;
        let has = machine.next_message().0;
        (machine.config().incarnation == incarnation && has >= least).then_some(has)
    }

    /// Answers a request of a history client.
    pub(crate) fn answer(&mut self, start: RequestedStart, count: u32) -> Vec<Vec<u8>> {
        let Some(process) = &self.process else { return Vec::new() };
        let incarnation = process.writer.position().incarnation;
        let sendable = Position::new(incarnation, MessageNumber(process.sendable));
        let mut frames = Vec::new();
        let read = || -> Result<Vec<HistoryRecord<Arc<[u8]>>>, LogError> {
            let mut reader = LogReader::open_files(self.disk.files(), self.keys.clone())?;
            let from = match start {
                RequestedStart::At(position) => Some(position),
                RequestedStart::Latest(number) => Some(Position::new(incarnation, number)),
                RequestedStart::Oldest | RequestedStart::Time(_) => reader.seek(start)?,
            };
            let Some(mut from) = from else { return Ok(Vec::new()) };
            let mut records = Vec::new();
            while records.len() < count as usize {
                let more = reader.read(from, count as usize - records.len())?;
                let Some(last) = more.last() else { break };
                from = match last.content {
                    HistoryContent::End | HistoryContent::OpenGap { .. } => last.first.following(),
                    _ => last.end(),
                };
                records.extend(more);
            }
            Ok(records)
        };
        let records = match read() {
            Ok(records) => records,
            Err(error) => return vec![AnswerFrame::end(AnswerStatus::Unavailable, &error.to_string())],
        };
        let is_sent = |record: &&HistoryRecord<Arc<[u8]>>| match record.content {
            HistoryContent::Message { .. } => record.first < sendable,
            _ => record.first <= sendable,
        };
        let mut writer = FrameWriter::default();
        let mut sent = 0;
        for record in records.iter().take_while(is_sent) {
            if !writer.push(record) {
                frames.extend(writer.take());
                let _ = writer.push(record);
            }
            sent += 1;
        }
        frames.extend(writer.take());
        let status = if sent == count { AnswerStatus::More } else { AnswerStatus::Edge };
        frames.push(AnswerFrame::end(status, ""));
        frames
    }

    /// Adds a key, which seals from now on.
    pub(crate) fn set_keys(&mut self, now: u64, keys: Keys) {
        self.keys = keys.clone();
        self.is_key_changed = true;
        if let Some(process) = &mut self.process {
            if let Err(error) = process.writer.set_keys(keys.clone()) {
                self.violations.push(format!("the keys of the log cannot be changed: {error}"));
            }
            process.machine.set_keys(ClockTime(now), keys);
            if self.plan.signed {
                process.machine.set_signer(ClockTime(now), signer::key(self.seed, true));
            }
        }
    }
}

impl Process {
    /// Determines which messages must stay in the log.
    fn update_needs(&mut self, time: LogTime) -> LogNeeds {
        let needs = self.machine.log_needs();
        self.writer.set_needed(needs.needed, time);
        needs
    }

    /// Whether the log is too large because of what was not sent, or not settled.
    fn is_held(&mut self, time: LogTime) -> bool {
        if self.writer.held().is_none() {
            return false;
        }
        let needs = self.update_needs(time);
        self.writer.held().is_some_and(|held| held.is_too_large && needs.unfinished < held.end.number)
    }

    fn record_end(&mut self, time: LogTime) {
        if !self.has_recorded_end {
            self.has_recorded_end =
                self.writer.append(time, &[HistoryContent::End]).and_then(|_| self.writer.sync()).is_ok();
        }
    }

    /// Ends the stream, or only the process if something was not sent.
    fn finish(&mut self, now: ClockTime, timeout: Duration, time: LogTime) {
        if self.waiting.is_empty() {
            self.machine.finish(now, timeout);
            self.record_end(time);
            self.phase = Phase::Closing;
        } else {
            self.phase = Phase::Stopping;
        }
    }

    /// Sends what is due, as far as the sockets let it.
    fn send(&mut self, now: u64, sent: &mut Vec<(Destination, Vec<u8>)>) {
        while let Some(transmit) = self.machine.poll_transmit(ClockTime(now)) {
            match transmit {
                Transmit::Data { first, count } => {
                    for path in 0..self.machine.config().paths {
                        self.machine.mark_path(first, count, path, false);
                        for sequence in (first.0..first.0 + count).map(mcast_stream_proto::wire::Sequence) {
                            sent.push((Destination::Group(path), self.machine.datagram(sequence).to_vec()));
                        }
                    }
                }
                Transmit::Repair { sequence, to } => {
                    let bytes = self.machine.datagram(sequence).to_vec();
                    self.send_to(now, to, bytes, sent);
                }
                Transmit::Control(control) => {
                    self.send_to(now, control.to, control.bytes().to_vec(), sent);
                    self.machine.reuse(control);
                }
            }
        }
    }

    fn send_to(&mut self, now: u64, to: Target, bytes: Vec<u8>, sent: &mut Vec<(Destination, Vec<u8>)>) {
        // A datagram that a socket does not accept counts as lost on the network.
        let is_sent = match to {
            Target::Group => {
                let paths = 0..self.machine.config().paths;
                sent.extend(paths.map(|path| (Destination::Group(path), bytes.clone())));
                true
            }
            Target::Discovery => true,
            Target::Address(address) => self.unicast.send(now, address, bytes, sent),
            Target::Aside(address) => self.aside.send(now, address, bytes, sent),
        };
        self.machine.on_not_sent(u64::from(!is_sent));
    }
}
