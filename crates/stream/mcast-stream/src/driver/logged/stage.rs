//! The messages that are in the log and not sent yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast_log::{Confirmed, Files, LogError, LogTime, SyncPolicy, Writer};

use super::retention::{LogHold, Needs};
use super::waiting::Waiting;
use super::{content, load};
use crate::StreamError;
use crate::driver::publisher::Publisher;
use crate::history::HistoryContent;
use crate::publisher::{OutgoingMessage, Refusal};
use crate::seal::Keys;
use crate::wire::MessageNumber;

/// While more bytes wait to be sent, nothing is accepted.
pub(super) const MOST_WAITING: usize = 4 << 20;
/// Bytes after which a sync begins, whatever the policy says: what is left to sync at the end of a segment holds up
/// publishing.
const SYNC_AHEAD: u64 = 8 << 20;
/// How often it is recorded in the log how far subscribers are, at most.
const CONFIRMED_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for subscribers that have no room, or for the rate, before the next attempt.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// The state that the threads share. The lock of the stage comes before that of the publisher.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) publisher: Publisher,
    /// The length of the longest message that the publisher accepts.
    pub(super) longest: usize,
    pub(super) files: Arc<dyn Files>,
    pub(super) sync: SyncPolicy,
    pub(super) stage: Mutex<Stage>,
    /// The number before which everything may be sent.
    pub(super) sendable: Arc<AtomicU64>,
    /// Notified when anything of the stage changes that a thread may wait for, except the one that syncs.
    pub(super) changed: Condvar,
    /// Notified when a sync may be due.
    pub(super) sync_due: Condvar,
}

#[derive(Debug)]
pub(super) struct Stage {
    /// `None` after the end.
    writer: Option<Writer>,
    waiting: Waiting,
    /// The number of the next message to publish.
    next: MessageNumber,
    /// What was last recorded as confirmed, and when subscribers were last asked.
    confirmed: Confirmed,
    confirmed_at: Instant,
    /// What the log must retain.
    needs: Needs,
    /// The messages that were accepted, and their bytes.
    accepted: (u64, u64),
    /// When the first message was appended that is not synced.
    unsynced_since: Option<Instant>,
    /// Whether a thread waits for a sync, whatever the policy says.
    is_sync_wanted: bool,
    /// Whether a sync is running.
    is_syncing: bool,
    /// Why the publisher has no room at present.
    refusal: Option<Refusal>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing more is accepted; what was accepted is synced, and sent as far as possible.
    Closed,
    /// The thread ends.
    Ending,
    /// A sync failed.
    SyncFailed,
    /// Something was published without the log.
    Bypassed,
    /// The publisher refused a message permanently.
    Refused(Refusal),
}

/// What to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// For room, for at most this time, and then until the messages may be sent.
    UntilStored(Option<Duration>),
    ForRoom,
    Never,
}

impl Stage {
    /// Begins with the writer of a log, in which everything from this message on is needed, and with what is recorded there.
    pub(super) fn new(writer: Writer, needed: MessageNumber, confirmed: Confirmed) -> Self {
        Self {
            next: writer.next_number(),
            needs: Needs::new(needed, writer.next_number()),
            writer: Some(writer),
            waiting: Waiting::default(),
            confirmed,
            confirmed_at: Instant::now(),
            accepted: (0, 0),
            unsynced_since: None,
            is_sync_wanted: false,
            is_syncing: false,
            refusal: None,
            phase: Phase::Open,
        }
    }

    /// Returns why nothing can be accepted any more.
    fn check(&self) -> Result<(), StreamError> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Closed | Phase::Ending => Err(Refusal::Closed.into()),
            Phase::SyncFailed => Err(LogError::SyncFailed.into()),
            Phase::Bypassed => Err(StreamError::LogBypassed),
            Phase::Refused(refusal) => Err(refusal.into()),
        }
    }

    const fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::SyncFailed | Phase::Bypassed | Phase::Refused(_))
    }

    /// Returns how long it is until subscribers are asked how far they are. While nothing is missing, they are not.
    fn next_record(&self) -> Duration {
        match self.confirmed.received == Some(self.next) && self.waiting.is_empty() {
            true => Duration::from_secs(1),
            false => CONFIRMED_INTERVAL.saturating_sub(self.confirmed_at.elapsed()),
        }
    }

    /// Whether the thread that sends sleeps for longer than it may when there is a message. It is not woken for each: it has
    /// nothing to do with those that are on their way.
    fn is_idle(&self) -> bool {
        self.confirmed.received == Some(self.next)
    }

    fn has_room(&self) -> bool {
        self.waiting.size() < MOST_WAITING && self.is_within_limits().is_ok()
    }

    /// Returns why nothing may be appended while the log is too large because of what is in it.
    fn is_within_limits(&self) -> Result<(), Refusal> {
        self.writer.as_ref().and_then(|writer| self.needs.refusal(writer)).map_or(Ok(()), Err)
    }

    /// Appends messages to the log: all of them, or none. Returns the number of the first one.
    fn append(&mut self, messages: &[OutgoingMessage<'_>]) -> Result<MessageNumber, StreamError> {
        let writer = self.writer.as_mut().ok_or(Refusal::Closed)?;
        let appended = match messages {
            [message] => writer.append(LogTime::now(), &[content(message)]),
            messages => {
                let batch: Vec<_> = messages.iter().map(content).collect();
                writer.append(LogTime::now(), &batch)
            }
        }?;
        let bytes: usize = messages.iter().map(|message| message.bytes.len()).sum();
        self.accepted = (self.accepted.0 + messages.len() as u64, self.accepted.1 + bytes as u64);
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(appended.first)
    }
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, stage: MutexGuard<'a, Stage>, time: Duration) -> MutexGuard<'a, Stage> {
        self.changed.wait_timeout(stage, time).map_or_else(|error| error.into_inner().0, |(stage, _)| stage)
    }

    /// Accepts messages; returns the number of the last one.
    pub(super) fn accept(
        &self,
        messages: &[OutgoingMessage<'_>],
        wait: Wait,
    ) -> Result<MessageNumber, StreamError> {
        if let Some(length) =
            messages.iter().map(|message| message.bytes.len()).find(|length| *length > self.longest)
        {
            return Err(Refusal::TooLong { length, longest: self.longest }.into());
        }
        let mut stage = self.wait_for_room(wait)?;
        let wakes_others = stage.is_idle() || !stage.waiting.is_empty();
        let was_synced = stage.unsynced_since.is_none();
        let first = stage.append(messages)?;
        let last = MessageNumber(first.0 + messages.len().saturating_sub(1) as u64);
        let syncs_each = self.sync == SyncPolicy::Each;
        let mut sent = 0;
        if !syncs_each {
            self.sendable.store(last.0 + 1, Ordering::Release);
            self.send(&mut stage);
            // Without a copy, as far as there is room.
            if stage.waiting.is_empty() {
                sent = self.queue(&mut stage, first, messages.iter().copied());
            }
        }
        stage.waiting.extend(MessageNumber(first.0 + sent as u64), &messages[sent..]);
        if !stage.is_syncing && (was_synced || self.time_to_sync(&stage).is_zero()) {
            self.sync_due.notify_one();
        }
        // What is not on the disk yet is sent after its sync.
        if !syncs_each && (wakes_others || sent < messages.len()) {
            self.changed.notify_all();
        }
        // Another thread syncs. What is appended meanwhile shares the next sync.
        while syncs_each && matches!(wait, Wait::UntilStored(_)) && load(&self.sendable) <= last {
            if stage.has_failed() {
                stage.check()?;
            }
            stage = self.wait(stage, Duration::from_secs(1));
        }
        Ok(last)
    }

    fn wait_for_room(&self, wait: Wait) -> Result<MutexGuard<'_, Stage>, StreamError> {
        let deadline = match wait {
            Wait::UntilStored(timeout) => timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            Wait::ForRoom => None,
            Wait::Never => Some(Instant::now()),
        };
        let mut stage = self.stage();
        loop {
            stage.check()?;
            if !stage.has_room() {
                self.send(&mut stage);
                self.update_needs(&mut stage);
            }
            if stage.has_room() {
                return Ok(stage);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                stage.is_within_limits()?;
                return Err(stage.refusal.unwrap_or(Refusal::Unsent).into());
            }
            stage = self.wait(stage, left.unwrap_or(Duration::MAX).min(ROOM_WAIT));
        }
    }

    /// Publishes what may be sent, as far as the publisher has room; returns whether that was anything.
    fn send(&self, stage: &mut Stage) -> bool {
        let sendable = load(&self.sendable);
        stage.refusal = None;
        if stage.waiting.is_empty() || stage.waiting.first() >= sendable {
            return false;
        }
        let mut waiting = std::mem::take(&mut stage.waiting);
        let sent = self.queue(stage, waiting.first(), waiting.before(sendable));
        waiting.remove_before(MessageNumber(waiting.first().0.saturating_add(sent as u64)));
        stage.waiting = waiting;
        sent > 0
    }

    /// Publishes messages, the first of which has this number; returns how many: the rest stays unsent.
    fn queue<'m>(
        &self,
        stage: &mut Stage,
        first: MessageNumber,
        messages: impl Iterator<Item = OutgoingMessage<'m>>,
    ) -> usize {
        if stage.has_failed() {
            return 0;
        }
        let (mut next, mut is_bypassed) = (first, false);
        let queued = self.publisher.try_publish_each(messages, |published| {
            is_bypassed = published != next;
            next.0 = next.0.saturating_add(u64::from(!is_bypassed));
            !is_bypassed
        });
        if next > first {
            stage.next = next;
        }
        match queued {
            Ok(()) if is_bypassed => stage.phase = Phase::Bypassed,
            Ok(()) => {}
            Err(refusal) if refusal.is_temporary() => stage.refusal = Some(refusal),
            Err(refusal) => stage.phase = Phase::Refused(refusal),
        }
        usize::try_from(next.ahead_of(first)).unwrap_or(usize::MAX)
    }

    /// Sends, and records how far subscribers are, until the publisher ends.
    pub(super) fn run(&self) {
        let mut stage = self.stage();
        loop {
            if stage.confirmed_at.elapsed() >= CONFIRMED_INTERVAL {
                stage = self.record_confirmed(stage);
                continue;
            }
            let progress = self.publisher.progress();
            if self.send(&mut stage) {
                self.publisher.flush();
                self.changed.notify_all();
            }
            if stage.phase == Phase::Ending {
                return;
            }
            if stage.refusal.is_some() && !stage.has_failed() {
                drop(stage);
                self.publisher.wait_for_room(progress, ROOM_WAIT);
                stage = self.stage();
                continue;
            }
            let left = stage.next_record().min(CONFIRMED_INTERVAL);
            stage = self.wait(stage, left);
        }
    }

    /// Syncs when that is due, until the publisher ends. What is sent meanwhile, and appended, does not wait for it.
    pub(super) fn run_sync(&self) {
        let mut stage = self.stage();
        while stage.phase != Phase::Ending {
            let left = self.time_to_sync(&stage);
            if left.is_zero() {
                stage = self.sync_now(stage);
                self.changed.notify_all();
                continue;
            }
            let waited = self.sync_due.wait_timeout(stage, left);
            stage = waited.map_or_else(|error| error.into_inner().0, |(stage, _)| stage);
        }
    }

    /// Records in the log how far subscribers are, if that has changed, without the lock.
    fn record_confirmed<'a>(&'a self, mut stage: MutexGuard<'a, Stage>) -> MutexGuard<'a, Stage> {
        stage.confirmed_at = Instant::now();
        let (received, settled) = self.publisher.confirmed();
        // What the former publisher knew counts until more is known.
        let received = received.or(stage.confirmed.received);
        self.update_needs(&mut stage);
        let confirmed = stage.needs.add_to(Confirmed { received, settled, ..stage.confirmed });
        if confirmed == stage.confirmed {
            return stage;
        }
        stage.confirmed = confirmed;
        drop(stage);
        // Without it, the next publisher retains more than subscribers lack.
        let is_recorded = confirmed.write(&*self.files).is_ok();
        let mut stage = self.stage();
        if !is_recorded {
            stage.confirmed = Confirmed::unknown(confirmed.incarnation);
        }
        stage
    }

    /// Determines which messages must stay in the log by now.
    fn update_needs(&self, stage: &mut Stage) {
        if let Some(writer) = &mut stage.writer {
            stage.needs.update(self.publisher.log_needs(), writer);
        }
    }

    /// Returns how far the log exceeds its limits.
    pub(super) fn hold(&self) -> Option<LogHold> {
        self.stage().needs.hold()
    }

    /// Returns how long it is until a sync is due: zero if one is.
    fn time_to_sync(&self, stage: &Stage) -> Duration {
        let Some(since) = stage.unsynced_since.filter(|_| !stage.has_failed()) else { return Duration::MAX };
        let is_far_behind = stage.writer.as_ref().is_some_and(|writer| writer.unsynced() >= SYNC_AHEAD);
        match self.sync {
            _ if stage.is_sync_wanted || is_far_behind => Duration::ZERO,
            SyncPolicy::Each => Duration::ZERO,
            SyncPolicy::Interval(interval) => interval.saturating_sub(since.elapsed()),
            SyncPolicy::None => Duration::MAX,
        }
    }

    /// Syncs everything that was appended, without the lock.
    fn sync_now<'a>(&'a self, mut stage: MutexGuard<'a, Stage>) -> MutexGuard<'a, Stage> {
        let pending = stage.writer.as_mut().map(Writer::begin_sync);
        (stage.unsynced_since, stage.is_sync_wanted) = (None, false);
        let pending = match pending {
            Some(Ok(Some(pending))) => pending,
            // A segment was closed, and everything synced with it.
            Some(Ok(None)) => {
                self.let_send(&mut stage);
                return stage;
            }
            Some(Err(_)) => {
                stage.phase = Phase::SyncFailed;
                return stage;
            }
            None => return stage,
        };
        stage.is_syncing = true;
        drop(stage);
        let done = pending.run();
        let mut stage = self.stage();
        stage.is_syncing = false;
        match stage.writer.as_mut().map(|writer| writer.complete_sync(done)) {
            Some(Ok(_)) => self.let_send(&mut stage),
            Some(Err(_)) => stage.phase = Phase::SyncFailed,
            None => {}
        }
        stage
    }

    /// Lets be sent what has become durable. It is sent here unless another sync is due: then the disk does not wait.
    fn let_send(&self, stage: &mut Stage) {
        if let (SyncPolicy::Each, Some(writer)) = (self.sync, &stage.writer) {
            self.sendable.fetch_max(writer.durable().0, Ordering::AcqRel);
            if !self.time_to_sync(stage).is_zero() {
                self.send(stage);
                self.publisher.flush();
            }
        }
    }

    /// Returns the number before which everything is synced.
    pub(super) fn durable(&self) -> MessageNumber {
        let stage = self.stage();
        stage.writer.as_ref().map_or(stage.next, Writer::durable)
    }

    /// Waits until everything that was appended is synced.
    pub(super) fn wait_stored(&self, deadline: Option<Instant>) -> Result<bool, StreamError> {
        let next = self.stage().writer.as_ref().map(Writer::next_number);
        next.map_or(Ok(true), |next| self.wait_synced(next, deadline))
    }

    /// Waits until everything before this number is synced; returns `false` when the time is over.
    pub(super) fn wait_synced(
        &self,
        end: MessageNumber,
        deadline: Option<Instant>,
    ) -> Result<bool, StreamError> {
        let mut stage = self.stage();
        loop {
            if stage.has_failed() {
                return stage.check().map(|()| false);
            }
            if stage.writer.as_ref().is_none_or(|writer| writer.durable() >= end) {
                return Ok(true);
            }
            let left = super::left_until(deadline);
            if left.is_zero() {
                return Ok(false);
            }
            stage.is_sync_wanted = true;
            self.sync_due.notify_one();
            stage = self.wait(stage, left.min(Duration::from_secs(1)));
        }
    }

    /// Waits until everything that was accepted is published; returns `false` when the time is over.
    pub(super) fn wait_sent(&self, deadline: Option<Instant>) -> bool {
        let mut stage = self.stage();
        while !stage.waiting.is_empty() && !stage.has_failed() {
            let left = super::left_until(deadline);
            if left.is_zero() {
                return false;
            }
            stage = self.wait(stage, left.min(Duration::from_secs(1)));
        }
        stage.waiting.is_empty()
    }

    /// Accepts nothing more; returns the number of messages that were accepted and not published.
    pub(super) fn refuse_more(&self) -> u64 {
        let mut stage = self.stage();
        if stage.phase == Phase::Open {
            stage.phase = Phase::Closed;
        }
        stage.waiting.len() as u64
    }

    /// Records in the log that the stream has ended.
    pub(super) fn append_end(&self) -> Result<(), StreamError> {
        let mut stage = self.stage();
        let Some(writer) = stage.writer.as_mut() else { return Ok(()) };
        writer.append(LogTime::now(), &[HistoryContent::End])?;
        Ok(writer.sync().map(drop)?)
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage().phase == Phase::Open
    }

    /// Closes the log and ends the thread; returns the number of the next message, if everything before it is synced.
    pub(super) fn end(&self) -> Result<MessageNumber, LogError> {
        let mut stage = self.stage();
        let has_failed = stage.phase == Phase::SyncFailed;
        stage.phase = Phase::Ending;
        stage.waiting.clear();
        let writer = stage.writer.take();
        drop(stage);
        self.changed.notify_all();
        self.sync_due.notify_one();
        match writer {
            Some(_) | None if has_failed => Err(LogError::SyncFailed),
            Some(writer) => {
                let next = writer.next_number();
                writer.close().map(|()| next)
            }
            None => Err(LogError::SyncFailed),
        }
    }

    pub(super) fn set_keys(&self, keys: Keys) -> Result<(), StreamError> {
        let mut stage = self.stage();
        if let Some(writer) = stage.writer.as_mut() {
            writer.set_keys(keys.clone())?;
        }
        drop(stage);
        self.publisher.set_keys(keys);
        Ok(())
    }

    pub(super) fn next_message(&self) -> MessageNumber {
        let stage = self.stage();
        stage.writer.as_ref().map_or(stage.next, Writer::next_number)
    }

    pub(super) fn accepted(&self) -> (u64, u64) {
        self.stage().accepted
    }

    pub(super) fn unsent(&self) -> usize {
        self.stage().waiting.len()
    }
}
