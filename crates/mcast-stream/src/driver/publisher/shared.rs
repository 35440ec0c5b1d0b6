//! What a publisher's threads share, and what each of them does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::driver::clock::Clock;
use crate::driver::discovery::Announcement;
use crate::driver::transmit::Ways;

/// How long a thread that listens may take to see that it is to end.
pub(super) const LISTEN: Duration = Duration::from_millis(100);
/// What listens takes so many at once, before it sends.
const ANSWERS_AT_ONCE: usize = 64;

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
    pub(super) ends: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) sender: crate::Sender,
    /// Until when the timing thread sleeps.
    pub(super) sleeps_until: u64,
    pub(super) failure: Option<mcast::Error>,
}

impl Shared {
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all that is due; says how many datagrams of data went.
    pub(super) fn send(&self, core: &mut Core) -> u64 {
        let before = core.sender.statistics().datagrams;
        if let Some(failure) = self.ways.send_all(&mut core.sender, self.clock.now()) {
            core.failure = Some(failure);
        }
        if core.sender.next_deadline() < core.sleeps_until {
            self.sooner.notify_one();
        }
        core.sender.statistics().datagrams - before
    }

    /// Takes what receivers send to one of the sockets.
    pub(super) fn listen(&self, path: usize) {
        let mut buffer = vec![0; 65_536];
        let Some(socket) = self.ways.paths.get(path) else { return };
        while !self.ends.load(Ordering::Acquire) {
            let mut wait = LISTEN;
            let mut core = None;
            for _ in 0..ANSWERS_AT_ONCE {
                let Ok(Some(answer)) = socket.recv_answer(self.ways.family, &mut buffer, wait) else { break };
                let core = core.get_or_insert_with(|| self.core());
                core.sender.handle(self.clock.now(), answer.source, answer.payload);
                wait = Duration::ZERO;
            }
            if let Some(mut core) = core {
                self.send(&mut core);
                self.progress.notify_all();
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
}
