//! What a publisher's threads share, and what each of them does.

#[cfg(feature = "tokio")]
use std::sync::TryLockError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::is_complete;
use crate::driver::clock::Clock;
use crate::driver::discovery::Announcement;
use crate::driver::health::PathHealth;
use crate::driver::repairs::Repairs;
use crate::driver::transmit::Ways;
use crate::sender::Transmit;

/// How long a thread that listens may take to see that it is to end.
pub(super) const LISTEN: Duration = Duration::from_millis(100);
/// So many are taken at once, before it is sent again.
const ANSWERS_AT_ONCE: usize = 64;
const LONGEST_ANSWER: usize = 65_536;
/// Datagrams of data that are sent before it is looked at what receivers say.
const LOOK_EVERY: u64 = 128;

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) ways: Ways,
    pub(super) core: Mutex<Core>,
    pub(super) announcement: Mutex<Option<Announcement>>,
    /// Told when there may be more room, or less to wait for.
    pub(super) progress: Condvar,
    /// Told when the next deadline comes sooner than the one that is slept until.
    pub(super) sooner: Condvar,
    /// How long dropping the publisher waits, beside the time that the rate takes.
    pub(super) drop_timeout: Duration,
    /// The caller knows how the stream ended.
    pub(super) is_settled: AtomicBool,
    pub(super) ends: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) sender: crate::Sender,
    /// Until when the timing thread sleeps.
    pub(super) sleeps_until: u64,
    pub(super) health: PathHealth,
    /// When so many datagrams of data were sent, it is time to see what receivers say.
    looks_at: u64,
    repairs: Repairs,
    answer: Box<[u8]>,
}

impl Core {
    pub(super) fn new(sender: crate::Sender, paths: usize) -> Self {
        let answer = vec![0; LONGEST_ANSWER].into_boxed_slice();
        let repairs = Repairs::default();
        let health = PathHealth::new(paths);
        Self { sender, sleeps_until: 0, health, looks_at: LOOK_EVERY, repairs, answer }
    }
}

impl Shared {
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core, if nobody has it.
    #[cfg(feature = "tokio")]
    pub(super) fn try_core(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Lets the thread that keeps time do what is due.
    pub(super) fn leave_to_time(&self, core: &Core) {
        if core.sender.next_deadline() < core.sleeps_until {
            self.sooner.notify_one();
        }
    }

    /// Sends all that is due; says how many datagrams of data went.
    ///
    /// Who has much to send holds the lock for long. So it takes what receivers say itself meanwhile: who waits for a
    /// repair would wait for all of it.
    pub(super) fn send(&self, core: &mut Core) -> u64 {
        let before = core.sender.statistics().datagrams;
        while let Some(transmit) = core.sender.poll(self.clock.now()) {
            self.send_one(core, transmit);
            let sent = core.sender.statistics().datagrams;
            if sent >= core.looks_at {
                core.looks_at = sent + LOOK_EVERY;
                self.take_answers(core);
            }
        }
        self.send_repairs(core);
        self.leave_to_time(core);
        core.sender.statistics().datagrams - before
    }

    /// Sends this; a repair, together with others.
    fn send_one(&self, core: &mut Core, transmit: Transmit) {
        match transmit {
            Transmit::Repair { sequence, to } => {
                if core.repairs.add(sequence, to) {
                    self.send_repairs(core);
                }
            }
            Transmit::Data { first, count } => {
                self.send_repairs(core);
                self.ways.send_data(&mut core.sender, first, count, &mut core.health);
            }
            Transmit::Control(control) => {
                self.send_repairs(core);
                self.ways.send_control(&control, &mut core.health);
                core.sender.reuse(control);
            }
        }
    }

    fn send_repairs(&self, core: &mut Core) {
        self.ways.send_repairs(&mut core.sender, &mut core.repairs, &mut core.health);
    }

    /// Takes what receivers have said by now; says whether that was anything.
    fn take_answers(&self, core: &mut Core) -> bool {
        let mut taken = 0;
        for socket in &self.ways.paths {
            while taken < ANSWERS_AT_ONCE {
                let answer = socket.recv_answer(self.ways.family, &mut core.answer, Duration::ZERO);
                let Ok(Some(answer)) = answer else { break };
                core.sender.handle(self.clock.now(), answer.source, answer.payload);
                taken += 1;
            }
        }
        if taken > 0 {
            self.progress.notify_all();
        }
        taken > 0
    }

    /// Takes what receivers send to one of the sockets when nobody is sending.
    pub(super) fn listen(&self, path: usize) {
        let Some(socket) = self.ways.paths.get(path) else { return };
        while !self.ends.load(Ordering::Acquire) {
            match socket.wait_answer(self.ways.family, Some(LISTEN)) {
                // Nothing is taken before the lock is: it would have to wait for it.
                Ok(true) => {
                    let mut core = self.core();
                    if self.take_answers(&mut core) {
                        self.send(&mut core);
                    }
                }
                Ok(false) => {}
                // It would fail again at once.
                Err(_) => std::thread::sleep(LISTEN),
            }
        }
    }

    /// Tells the stream's name when it is time; says when it is next.
    fn announce(&self, core: &mut Core) -> u64 {
        let mut announcement = self.announcement.lock().unwrap_or_else(PoisonError::into_inner);
        announcement
            .as_mut()
            .map_or(u64::MAX, |announcement| announcement.tell(&mut core.sender, self.clock.now()))
    }

    /// Does what is due when nobody else happens to.
    pub(super) fn keep_time(&self) {
        let mut core = self.core();
        while !self.ends.load(Ordering::Acquire) {
            let announce_at = self.announce(&mut core);
            // The clock of the system may have been corrected.
            core.sender.set_unix_offset(self.clock.unix_offset());
            self.send(&mut core);
            let deadline = core.sender.next_deadline().min(announce_at);
            // Who is woken every few microseconds keeps others from their work.
            let sleep = self.clock.until(deadline).max(Duration::from_micros(50)).min(Duration::from_secs(1));
            core.sleeps_until = self.clock.now() + sleep.as_nanos() as u64;
            let woken = self.sooner.wait_timeout(core, sleep);
            core = woken.map_or_else(|error| error.into_inner().0, |(core, _)| core);
            core.sleeps_until = 0;
        }
    }

    /// Waits until this holds, and for at most `timeout`; returns whether it does.
    pub(super) fn wait_until(&self, timeout: Duration, mut done: impl FnMut(&crate::Sender) -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut core = self.core();
        loop {
            if done(&core.sender) {
                return true;
            }
            let left = deadline.map_or(LISTEN, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            let waited = self.progress.wait_timeout(core, left.min(LISTEN));
            core = waited.map_or_else(|error| error.into_inner().0, |(core, _)| core);
        }
    }

    /// Sends what was accepted, and waits until all receivers have it: for the time that the rate takes to send it,
    /// and then for at most the drop timeout.
    pub(super) fn drain(&self) {
        if self.is_settled.load(Ordering::Acquire) || self.drop_timeout.is_zero() {
            return;
        }
        let timeout = {
            let mut core = self.core();
            core.sender.flush(self.clock.now());
            self.send(&mut core);
            self.drop_timeout.saturating_add(time_to_send(&core.sender))
        };
        self.wait_until(timeout, is_complete);
    }

    /// Lets the threads end.
    pub(super) fn end_threads(&self) {
        self.ends.store(true, Ordering::Release);
        drop(self.core());
        self.sooner.notify_all();
    }
}

/// How long the configured rate takes for what is not sent yet.
fn time_to_send(sender: &crate::Sender) -> Duration {
    let config = sender.config();
    let bytes = sender.unsent().saturating_mul(config.datagram as u64);
    let rate = config.rate.unwrap_or(u64::MAX).max(1);
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}
