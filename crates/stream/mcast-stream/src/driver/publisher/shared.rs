//! The state that a publisher's threads share, the work of each thread, and how to wait for progress.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast_sys::trace::Span;

use crate::ClockTime;
use crate::driver::clock::Clock;
use crate::driver::discovery::Announcement;
use crate::driver::health::PathHealth;
use crate::driver::spinning::Spinning;
use crate::driver::transmit::Endpoint;
use crate::driver::transmit::{PublisherSockets, Repairs};
use crate::publisher::Transmit;

#[cfg(feature = "tokio")]
use std::sync::TryLockError;

/// How long a listening thread may take to notice that it must end.
pub(super) const LISTEN_INTERVAL: Duration = Duration::from_millis(100);
/// After this number of messages without a pause, the next ones wait for others.
const IN_SUCCESSION: u8 = 16;
/// Datagrams that wait are sent once there are this many.
const SEND_THRESHOLD: u64 = 256;
/// The most messages that are published between two reads of the clock.
const MESSAGES_PER_READ: u32 = 16;
const MAX_READ_AGE: Duration = Duration::from_millis(1);
/// How long the timer thread sleeps at least: waking every few microseconds would take the processor from other threads.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The most feedback datagrams that are handled before the publisher sends again.
const FEEDBACK_BATCH: usize = 64;
const MAX_FEEDBACK: usize = 65_536;
/// Feedback is handled after each this many data datagrams.
const FEEDBACK_EVERY: u64 = 128;

/// The state that the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) sockets: PublisherSockets,
    pub(super) core: Mutex<Core>,
    pub(super) announcement: Mutex<Option<Announcement>>,
    /// Advanced by feedback and by what the timers do.
    pub(super) progress: Progress,
    pub(super) span: Span,
    /// Notified when the next deadline is earlier than the one that the timer thread sleeps until.
    pub(super) timer: Condvar,
    /// How long dropping the publisher waits, in addition to the time that the rate takes.
    pub(super) drop_timeout: Duration,
    /// How long a listening thread polls in a loop.
    pub(super) spin: Duration,
    /// Whether the caller knows how the stream ended.
    pub(super) is_drained: AtomicBool,
    pub(super) is_ending: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) machine: crate::PublisherMachine,
    /// Until when the timer thread sleeps.
    pub(super) sleeps_until: ClockTime,
    pub(super) health: PathHealth,
    /// When the clock was last read for a message, and for how many messages more that will do.
    read_at: ClockTime,
    reads_left: u32,
    /// When data was last sent, and how long that took.
    sent_at: ClockTime,
    sending_took: Duration,
    /// The number of messages that were sent at once without a pause between them, up to [`IN_SUCCESSION`].
    in_succession: u8,
    /// When the first message was published that waits for others, or for the rate.
    waits_since: Option<ClockTime>,
    /// The number of messages published since then.
    waiting: u32,
    /// Feedback is handled when this number of data datagrams has been sent.
    feedback_due: u64,
    /// The events of the machine when that was last looked at.
    events: u64,
    /// The endpoint whose feedback is handled first.
    first_endpoint: usize,
    repairs: Repairs,
    buffer: Box<[u8]>,
}

impl Core {
    pub(super) fn new(machine: crate::PublisherMachine, endpoints: &[Endpoint], span: Span) -> Self {
        let buffer = vec![0; MAX_FEEDBACK].into_boxed_slice();
        let repairs = Repairs::default();
        let hosts = endpoints.iter().map(|each| (!each.is_group()).then_some(each.address));
        let health = PathHealth::new(hosts, span);
        Self {
            machine,
            sleeps_until: ClockTime(0),
            health,
            read_at: ClockTime(0),
            reads_left: 0,
            sent_at: ClockTime(0),
            sending_took: Duration::ZERO,
            in_succession: 0,
            waits_since: None,
            waiting: 0,
            feedback_due: FEEDBACK_EVERY,
            events: 0,
            first_endpoint: 0,
            repairs,
            buffer,
        }
    }
}

impl Core {
    /// Whether something is due before the timer thread wakes, and not just before.
    pub(super) fn oversleeps(&self) -> bool {
        let deadline = self.machine.poll_timeout().unwrap_or(ClockTime::NEVER);
        deadline + SHORTEST_SLEEP < self.sleeps_until
    }

    /// Returns whether the next message must be sent at once: no message waits before it, and fewer than [`IN_SUCCESSION`] were
    /// sent at once before it without a pause. A pause lasts as long as the last send, or an eighth of the longest delay if that
    /// is less: a caller with such a pause has the time to send each message.
    ///
    /// A few messages in succession do not mean that sending is too slow: a caller with a steady rate that was held up catches
    /// up, and does so fastest if each message is sent at once.
    #[inline]
    pub(super) fn sends_at_once(&mut self, now: ClockTime) -> bool {
        let longest = self.machine.config().linger;
        if now >= self.sent_at + self.sending_took.min(longest / 8) {
            self.in_succession = 0;
        }
        let at_once = (longest.is_zero() || self.in_succession < IN_SUCCESSION) && !self.machine.has_unsent();
        self.in_succession = self.in_succession.saturating_add(u8::from(at_once)).min(IN_SUCCESSION);
        at_once
    }

    /// Returns the time for a message: reading the clock for each would take a tenth of the time of publishing it.
    ///
    /// Until the timer thread wakes, which is soon after a message was published that waits, some messages have the time of an
    /// earlier one: the clock is read again after a quarter as many as wait.
    pub(super) fn time_of_message(&mut self, clock: &Clock) -> ClockTime {
        let is_recent = self.sleeps_until <= self.read_at + self.machine.config().linger.min(MAX_READ_AGE);
        if self.reads_left > 0 && is_recent {
            self.reads_left -= 1;
        } else {
            (self.read_at, self.reads_left) = (clock.now(), (self.waiting / 4).min(MESSAGES_PER_READ - 1));
        }
        self.read_at
    }
}

/// Returns the core, whose machine is halted if a thread has panicked with the lock.
pub(super) fn usable<'c>(core: LockResult<MutexGuard<'c, Core>>) -> MutexGuard<'c, Core> {
    core.unwrap_or_else(|poisoned| {
        let mut core = poisoned.into_inner();
        core.machine.halt();
        core
    })
}

impl Shared {
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        usable(self.core.lock())
    }

    /// Locks the core, unless another thread has it.
    #[cfg(feature = "tokio")]
    pub(super) fn try_core(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(poisoned)) => Some(usable(Err(poisoned))),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Wakes the timer thread if something is due before it would wake.
    pub(super) fn wake_timer(&self, core: &mut Core) {
        if core.oversleeps() {
            self.notify_timer(core);
        }
    }

    /// Wakes the timer thread, once until it has run.
    fn notify_timer(&self, core: &mut Core) {
        core.sleeps_until = ClockTime(0);
        self.timer.notify_one();
    }

    /// Sends a message that was just published: at once, or when it has waited for others to share its datagram for as long as it
    /// may, either by a thread that publishes then, or by the timer thread.
    #[inline]
    pub(super) fn send_in_time(&self, core: &mut Core, now: ClockTime, at_once: bool) {
        if at_once {
            core.machine.flush(now);
            self.send(core);
            return;
        }
        core.waiting += 1;
        let due = *core.waits_since.get_or_insert(now) + core.machine.config().linger;
        if now >= due {
            self.send(core);
        } else if !self.send_many(core) && core.sleeps_until > due {
            self.notify_timer(core);
        }
    }

    /// Sends the complete datagrams if they are many; returns whether they were.
    #[inline]
    pub(super) fn send_many(&self, core: &mut Core) -> bool {
        let are_many = core.machine.unsent() >= SEND_THRESHOLD;
        if are_many {
            self.send(core);
        }
        are_many
    }

    /// Sends everything that is due; returns the number of data datagrams that were sent.
    ///
    /// A thread that sends much holds the lock for long. It therefore handles feedback itself meanwhile; otherwise
    /// repairs would wait until everything is sent.
    pub(super) fn send(&self, core: &mut Core) -> u64 {
        let before = core.machine.datagrams_sent();
        let mut has_sent = false;
        // No message may be older for the machine than what is sent.
        core.reads_left = 0;
        let began = self.clock.now();
        let mut now = began;
        while let Some(transmit) = core.machine.poll_transmit(now) {
            self.send_one(core, transmit);
            now = self.clock.now();
            has_sent = true;
            let sent = core.machine.datagrams_sent();
            if sent >= core.feedback_due {
                core.feedback_due = sent + FEEDBACK_EVERY;
                self.receive_feedback(core);
            }
        }
        self.send_repairs(core);
        (core.waits_since, core.waiting) = (None, 0);
        if core.machine.datagrams_sent() > before {
            (core.sent_at, core.sending_took) = (now, now.since(began));
        }
        self.wake_timer(core);
        // An eviction makes room, too.
        let events = core.machine.events_pushed();
        let new_events = events - std::mem::replace(&mut core.events, events);
        if new_events > 0 {
            self.trace_events(core, new_events);
        }
        if new_events > 0 || has_sent {
            self.progress.advance(core);
        }
        core.machine.datagrams_sent() - before
    }

    /// Records the last events of the machine for the feature `tracing`, whether the caller fetches them or not.
    fn trace_events(&self, core: &Core, count: u64) {
        for event in core.machine.latest_events(count) {
            crate::trace::publisher_event(&self.span, event);
        }
    }

    /// Sends one item; repairs are collected and sent together.
    fn send_one(&self, core: &mut Core, transmit: Transmit) {
        match transmit {
            Transmit::Repair { sequence, to } => {
                if core.repairs.add(sequence, to) {
                    self.send_repairs(core);
                }
            }
            Transmit::Data { first, count } => {
                self.send_repairs(core);
                self.sockets.send_data(&mut core.machine, first, count, &mut core.health);
            }
            Transmit::Control(control) => {
                self.send_repairs(core);
                self.sockets.send_control(&mut core.machine, &control, &mut core.health);
                core.machine.reuse(control);
            }
        }
    }

    fn send_repairs(&self, core: &mut Core) {
        self.sockets.send_repairs(&mut core.machine, &mut core.repairs, &mut core.health);
    }

    /// Handles the feedback that has arrived; returns whether there was any. Each endpoint has its share and takes its turn
    /// as the first one, so that one that is flooded does not delay the others.
    pub(super) fn receive_feedback(&self, core: &mut Core) -> bool {
        let endpoints = self.sockets.all.len();
        let share = FEEDBACK_BATCH.div_ceil(endpoints.max(1));
        core.first_endpoint = (core.first_endpoint + 1) % endpoints.max(1);
        let mut received = 0;
        for endpoint in (core.first_endpoint..endpoints).chain(0..core.first_endpoint) {
            received += self.receive_from(core, endpoint, share);
        }
        if received > 0 {
            self.progress.advance(core);
        }
        received > 0
    }

    /// Handles at most this many datagrams of an endpoint; returns how many there were.
    fn receive_from(&self, core: &mut Core, endpoint: usize, most: usize) -> usize {
        let Some(socket) = self.sockets.all.get(endpoint) else { return 0 };
        for received in 0..most {
            let answer = socket.sender.recv_answer(self.sockets.family, &mut core.buffer, Duration::ZERO);
            let Ok(Some(answer)) = answer else { return received };
            core.health.record_feedback(endpoint);
            core.reads_left = 0;
            core.machine.handle_datagram(self.clock.now(), answer.source, answer.payload);
        }
        most
    }

    /// Handles the feedback on one of the sockets while no thread is sending.
    pub(super) fn listen(&self, endpoint: usize) {
        let Some(socket) = self.sockets.all.get(endpoint) else { return };
        let mut spinning = Spinning::default();
        while !self.is_ending.load(Ordering::Acquire) {
            let wait = if spinning.lasts(self.spin) { Duration::ZERO } else { LISTEN_INTERVAL };
            match socket.sender.wait_answer(self.sockets.family, Some(wait)) {
                // The lock comes first: feedback that was read earlier would wait for it.
                Ok(true) => {
                    let mut core = self.core();
                    if self.receive_feedback(&mut core) {
                        self.send(&mut core);
                    }
                    spinning = Spinning::default();
                }
                Ok(false) => {}
                // Without a pause it would fail again at once.
                Err(_) => std::thread::sleep(LISTEN_INTERVAL),
            }
        }
    }

    /// Announces the stream if an announcement is due; returns when the next one is.
    fn announce(&self, core: &mut Core) -> ClockTime {
        self.announcement().as_mut().map_or(ClockTime::NEVER, |announcement| {
            announcement.announce_if_due(&mut core.machine, self.clock.now())
        })
    }

    /// Returns what is announced, if the stream has a name.
    pub(super) fn announcement(&self) -> MutexGuard<'_, Option<Announcement>> {
        self.announcement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due while no other thread does.
    pub(super) fn run_timer(&self) {
        let mut core = self.core();
        while !self.is_ending.load(Ordering::Acquire) {
            let announce_at = self.announce(&mut core);
            // The system's clock may have been stepped.
            core.machine.set_unix_offset(self.clock.unix_offset());
            self.send(&mut core);
            let deadline = core.machine.poll_timeout().unwrap_or(ClockTime::NEVER).min(announce_at);
            let now = self.clock.now();
            // Not when the sleep ends, which is a little later: each datagram that is sent would wake it then.
            core.sleeps_until = deadline.min(now + LONGEST_SLEEP);
            let sleep = core.sleeps_until.since(now).max(SHORTEST_SLEEP);
            let woken = self.timer.wait_timeout(core, sleep);
            core =
                usable(woken.map(|(core, _)| core).map_err(|error| PoisonError::new(error.into_inner().0)));
            core.sleeps_until = ClockTime(0);
        }
    }

    /// Waits until `done` returns `true`, for at most `timeout`; returns whether it did. A publisher that has failed
    /// makes no progress.
    pub(super) fn wait_until(
        &self,
        timeout: Duration,
        mut done: impl FnMut(&crate::PublisherMachine) -> bool,
    ) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut core = self.core();
        loop {
            if done(&core.machine) {
                return true;
            }
            let left = deadline
                .map_or(LISTEN_INTERVAL, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() || core.machine.is_halted() {
                return false;
            }
            core = self.progress.wait(core, left.min(LISTEN_INTERVAL));
        }
    }
}

/// How far a publisher was, as [`Publisher::progress`](crate::Publisher::progress) returns it: a number that grows with
/// everything that may make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherProgress(u64);

/// Counts what may change what callers wait for, and wakes them.
#[derive(Debug, Default)]
pub(super) struct Progress {
    count: AtomicU64,
    /// The threads that wait. They change it with the lock held, so that a thread that has the lock wakes all of them.
    waiting: AtomicUsize,
    changed: Condvar,
    #[cfg(feature = "tokio")]
    notify: tokio::sync::Notify,
}

impl Progress {
    /// Returns how far it is.
    pub(super) fn now(&self) -> PublisherProgress {
        PublisherProgress(self.count.load(Ordering::Acquire))
    }

    /// Wakes all that wait. The caller holds the lock of `_core`.
    pub(super) fn advance(&self, _core: &Core) {
        self.count.fetch_add(1, Ordering::Release);
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_all();
        }
        #[cfg(feature = "tokio")]
        self.notify.notify_waiters();
    }

    /// Waits for progress, for at most `timeout`.
    pub(super) fn wait<'c>(&self, core: MutexGuard<'c, Core>, timeout: Duration) -> MutexGuard<'c, Core> {
        let since = self.now();
        self.wait_since(core, since, timeout)
    }

    /// Waits until it is further than `since`, for at most `timeout`.
    pub(super) fn wait_since<'c>(
        &self,
        core: MutexGuard<'c, Core>,
        since: PublisherProgress,
        timeout: Duration,
    ) -> MutexGuard<'c, Core> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let waited = self.changed.wait_timeout_while(core, timeout, |_| self.now() == since);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        usable(
            waited.map(|(core, _)| core).map_err(|error| std::sync::PoisonError::new(error.into_inner().0)),
        )
    }

    /// Returns a future that is ready at the first progress after this call.
    #[cfg(feature = "tokio")]
    pub(super) fn next(&self) -> impl Future<Output = ()> + '_ {
        self.notify.notified()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use mcast_sys::trace_span;

    use super::*;
    use crate::PublisherMachine;
    use crate::publisher::PublisherConfig;
    use crate::wire::{Incarnation, StreamId};

    const LINGER: Duration = Duration::from_micros(80);

    fn core(linger: Duration) -> Core {
        let config = PublisherConfig::new(StreamId::named("prices"), Incarnation(1));
        let machine =
            PublisherMachine::new(config.with(|config| config.linger = linger), ClockTime(0)).unwrap();
        let mut core = Core::new(machine, &[], trace_span!("publisher"));
        (core.sent_at, core.sending_took) = (ClockTime(1_000), Duration::from_micros(50));
        core
    }

    #[test]
    fn after_some_messages_without_a_pause_the_next_ones_wait_for_others() {
        let mut core = core(LINGER);
        let now = core.sent_at;
        for number in 0..IN_SUCCESSION {
            assert!(core.sends_at_once(now), "{number}");
        }
        assert!(!core.sends_at_once(now));
        // A pause is an eighth of the longest delay, here shorter than the last send.
        let pause = now + LINGER / 8;
        assert!(!core.sends_at_once(ClockTime(pause.0 - 1)));
        assert!(core.sends_at_once(pause));
    }

    #[test]
    fn a_message_never_waits_if_none_may_and_never_overtakes_one_that_waits() {
        let mut zero = core(Duration::ZERO);
        let now = zero.sent_at;
        assert!((0..100).all(|_| zero.sends_at_once(now)));
        let mut waiting = core(LINGER);
        waiting.machine.publish(now, b"oil 81").unwrap();
        assert!(!waiting.sends_at_once(now + LINGER));
        waiting.machine.flush(now);
        while waiting.machine.poll_transmit(now).is_some() {}
        assert!(waiting.sends_at_once(now + LINGER));
    }
}
