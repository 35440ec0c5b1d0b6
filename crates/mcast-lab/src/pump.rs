//! The thread that carries frames from one end of a bad link to the other.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    Direction, Impairment,
    lane::{Counters, Lane, Moment},
    sys::{
        ethernet::{FrameSocket, Outbox},
        poll,
    },
};

/// How many frames are taken from one end before the other has its turn.
const TURN: usize = 64;

/// What the pump and the handles of its link share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// For each direction.
    impairments: Mutex<[Impairment; 2]>,
    /// How often `impairments` has changed.
    changes: AtomicU64,
    pub(crate) counters: [Counters; 2],
}

/// A running pump; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pump {
    thread: Option<JoinHandle<()>>,
    stop: Option<PipeWriter>,
}

/// What the thread owns.
struct Carrier {
    sockets: [FrameSocket; 2],
    lanes: [Lane; 2],
    impairments: [Impairment; 2],
    seen_changes: u64,
    shared: Arc<Shared>,
    /// What goes now; empty between turns.
    outbox: Outbox,
}

impl Shared {
    pub(crate) fn new(impairment: Impairment) -> Self {
        Self {
            impairments: Mutex::new([impairment; 2]),
            changes: AtomicU64::new(0),
            counters: Default::default(),
        }
    }

    pub(crate) fn set(&self, directions: &[Direction], impairment: Impairment) {
        let mut impairments = self.impairments.lock().unwrap_or_else(PoisonError::into_inner);
        directions.iter().for_each(|direction| impairments[*direction as usize] = impairment);
        self.changes.fetch_add(1, Relaxed);
    }

    fn impairments(&self) -> [Impairment; 2] {
        *self.impairments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pump {
    /// Starts to carry frames between the sockets; the first is the end that was named first.
    pub(crate) fn start(sockets: [FrameSocket; 2], shared: Arc<Shared>) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let lanes = [Lane::new(Direction::Forth), Lane::new(Direction::Back)];
        let impairments = shared.impairments();
        let mut carrier =
            Carrier { sockets, lanes, impairments, seen_changes: 0, shared, outbox: Outbox::default() };
        let thread =
            thread::Builder::new().name("bad link".to_owned()).spawn(move || carrier.run(&stopped))?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Carrier {
    fn run(&mut self, stopped: &PipeReader) {
        while !is_closed(stopped) {
            self.refresh();
            let mut busy = false;
            for way in [0, 1] {
                busy |= self.carry(way);
            }
            if !busy {
                self.count_overruns();
                self.wait(stopped);
            }
        }
    }

    fn refresh(&mut self) {
        let changes = self.shared.changes.load(Relaxed);
        if changes != self.seen_changes {
            self.seen_changes = changes;
            self.impairments = self.shared.impairments();
        }
    }

    /// Takes the frames that have come in at one end, and hands on at the other what is to go now; false if
    /// nothing has come in.
    fn carry(&mut self, way: usize) -> bool {
        let Self { sockets: [first, second], lanes, impairments, shared, outbox, .. } = self;
        let (from, to) = if way == 0 { (first, &*second) } else { (second, &*first) };
        let (lane, impairment, counters) = (&mut lanes[way], &impairments[way], &shared.counters[way]);
        let send = |frame: &[u8]| outbox.push(frame);
        let mut moment = Moment { now: Instant::now(), impairment, counters, send };
        let mut taken = 0;
        while taken < TURN
            && let Some(frame) = from.next()
        {
            taken += 1;
            if frame.is_complete {
                lane.take(&frame, &mut moment);
            } else {
                counters.unsent.fetch_add(1, Relaxed);
            }
        }
        lane.due(&mut moment);
        let failed = to.send(outbox);
        counters.unsent.fetch_add(failed as u64, Relaxed);
        outbox.clear();
        taken > 0
    }

    fn count_overruns(&self) {
        for (socket, counters) in self.sockets.iter().zip(&self.shared.counters) {
            if let Ok(overruns) = socket.overruns() {
                counters.overruns.fetch_add(overruns, Relaxed);
            }
        }
    }

    fn wait(&self, stopped: &PipeReader) {
        let due = self.lanes.iter().filter_map(Lane::next_due).min();
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let watched = [self.sockets[0].as_fd(), self.sockets[1].as_fd(), stopped.as_fd()];
        if poll::wait_readable(&watched, left).unwrap_or(true) {
            self.sockets.iter().for_each(FrameSocket::clear_error);
        }
    }
}

fn is_closed(stopped: &PipeReader) -> bool {
    poll::wait_readable(&[stopped.as_fd()], Some(Duration::ZERO)).unwrap_or(true)
}
