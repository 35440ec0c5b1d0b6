//! The thread that forwards frames between the ends of a bad link.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use mcast_sys::lab::ethernet::{FrameBatch, FrameSocket};
use mcast_sys::readable::{is_readable, wait_for_any};

use crate::{
    Impairment, LinkDirection,
    lane::{Counters, Lane, LaneContext},
};

/// How many frames are received from one end before it is the other end's turn.
const MAX_BURST: usize = 64;

/// The state that the forwarder shares with the handles of its link.
#[derive(Debug)]
pub(crate) struct SharedState {
    /// One for each direction.
    impairments: Mutex<[Impairment; 2]>,
    /// How often `impairments` has changed. The forwarder takes the lock only when this differs.
    changes: AtomicU64,
    pub(crate) counters: [Counters; 2],
}

/// A running forwarder. Dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct Forwarder {
    thread: Option<JoinHandle<()>>,
    stop: Option<PipeWriter>,
}

/// The state of the thread.
struct ForwardingLoop {
    sockets: [FrameSocket; 2],
    lanes: [Lane; 2],
    impairments: CurrentImpairments,
    shared: Arc<SharedState>,
    /// The frames that are sent now; empty between bursts.
    batch: FrameBatch,
}

/// The forwarder's copy of the impairments.
struct CurrentImpairments {
    of_directions: [Impairment; 2],
    changes: u64,
}

impl SharedState {
    pub(crate) fn new(impairment: Impairment) -> Self {
        Self {
            impairments: Mutex::new([impairment; 2]),
            changes: AtomicU64::new(0),
            counters: Default::default(),
        }
    }

    pub(crate) fn set(&self, directions: &[LinkDirection], impairment: Impairment) {
        let mut impairments = self.impairments.lock().unwrap_or_else(PoisonError::into_inner);
        directions.iter().for_each(|direction| impairments[*direction as usize] = impairment);
        self.changes.fetch_add(1, Release);
    }

    fn impairments(&self) -> CurrentImpairments {
        let of_directions = self.impairments.lock().unwrap_or_else(PoisonError::into_inner);
        CurrentImpairments { of_directions: *of_directions, changes: self.changes.load(Acquire) }
    }
}

impl CurrentImpairments {
    fn update(&mut self, shared: &SharedState) {
        if self.changes != shared.changes.load(Acquire) {
            *self = shared.impairments();
        }
    }
}

impl Forwarder {
    /// Starts to forward frames between the sockets. The first socket is that of the end that was named first.
    pub(crate) fn start(sockets: [FrameSocket; 2], shared: Arc<SharedState>) -> io::Result<Self> {
        let (stop_signal, stop) = io::pipe()?;
        let lanes = [Lane::new(LinkDirection::Forward), Lane::new(LinkDirection::Reverse)];
        let impairments = shared.impairments();
        let mut forwarding =
            ForwardingLoop { sockets, lanes, impairments, shared, batch: FrameBatch::default() };
        let thread =
            thread::Builder::new().name("bad link".to_owned()).spawn(move || forwarding.run(&stop_signal))?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl ForwardingLoop {
    fn run(&mut self, stop_signal: &PipeReader) {
        while !is_readable(stop_signal).unwrap_or(true) {
            let mut busy = false;
            for direction in [LinkDirection::Forward, LinkDirection::Reverse] {
                busy |= self.forward(direction);
            }
            if !busy {
                self.count_overruns();
                self.wait(stop_signal);
            }
        }
    }

    /// Receives a burst of frames at one end, and sends at the other end the frames that are due. Returns false if
    /// there was nothing to receive.
    fn forward(&mut self, direction: LinkDirection) -> bool {
        let Self { sockets: [first, second], lanes, impairments, shared, batch, .. } = self;
        let (from, to) = match direction {
            LinkDirection::Forward => (first, &*second),
            LinkDirection::Reverse => (second, &*first),
        };
        let index = direction as usize;
        let (lane, counters) = (&mut lanes[index], &shared.counters[index]);
        let mut send = |frame: &[u8]| batch.push(frame);
        let now = Instant::now();
        let mut received = 0;
        while received < MAX_BURST
            && let Some(frame) = from.take_next()
        {
            received += 1;
            // A change applies to every frame that is sent after it, also in the middle of a burst.
            impairments.update(shared);
            if frame.is_complete {
                let impairment = &impairments.of_directions[index];
                lane.receive(&frame, &mut LaneContext { now, impairment, counters, send: &mut send });
            } else {
                counters.unsent.fetch_add(1, Relaxed);
            }
        }
        impairments.update(shared);
        lane.send_due(&mut LaneContext {
            now,
            impairment: &impairments.of_directions[index],
            counters,
            send,
        });
        let failed = to.send(batch);
        counters.unsent.fetch_add(failed as u64, Relaxed);
        batch.clear();
        received > 0
    }

    fn count_overruns(&self) {
        for (socket, counters) in self.sockets.iter().zip(&self.shared.counters) {
            if let Ok(overruns) = socket.overruns() {
                counters.overruns.fetch_add(overruns, Relaxed);
            }
        }
    }

    fn wait(&self, stop_signal: &PipeReader) {
        let deadline = self.lanes.iter().filter_map(Lane::next_deadline).min();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let watched = [self.sockets[0].as_fd(), self.sockets[1].as_fd(), stop_signal.as_fd()];
        if wait_for_any(&watched, left).unwrap_or(true) {
            self.sockets.iter().for_each(FrameSocket::clear_error);
        }
    }
}
