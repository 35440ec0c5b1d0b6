//! The thread that captures, and access to its state.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast::Interface;
use mcast_capture::{ErrorKind, SourceError};
use mcast_watch::{StreamKey, Time};

use super::feed::Feed;
use super::joined::JoinedWatcher;
use super::picture::{Picture, RecordingState};
use super::source::{Frames, Source};

/// The number of frames handled before other threads get access to the state.
const FRAMES_PER_TURN: usize = 512;
/// The longest wait for a frame before checking for the end.
const WAIT: Duration = Duration::from_millis(50);

/// The state of the capture, shared with the threads that show it.
#[derive(Clone)]
pub(super) struct Monitor {
    shared: Arc<Shared>,
    joined_watcher: Option<JoinedWatcher>,
    begun: SystemTime,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of threads waiting for the state, for which the capturing thread makes way.
    waiting: AtomicUsize,
    stop: AtomicBool,
}

struct State {
    feed: Feed,
    is_file: bool,
    /// The names of the captured interfaces; `None` for a file.
    interfaces: Option<String>,
    /// All frames up to this time are in the table.
    caught_up: Time,
    /// The number of lost packets, if it is known.
    lost: Option<u64>,
    end: End,
}

/// Whether the source has ended.
#[derive(Debug)]
enum End {
    NotYet,
    /// The end of the file was reached.
    Reached,
    /// The source failed. The error is there until it is reported.
    Failed(Option<SourceError>),
}

impl Monitor {
    /// Starts to capture, on a thread in the network namespace of this one.
    pub(super) fn start(
        feed: Feed,
        source: Source,
        is_file: bool,
        joined_watcher: Option<JoinedWatcher>,
    ) -> anyhow::Result<Self> {
        let Source { frames, interfaces } = source;
        let begun = SystemTime::now();
        let mut state = State {
            feed,
            is_file,
            interfaces: (!is_file).then(|| names(&interfaces)),
            caught_up: Time::default(),
            lost: None,
            end: End::NotYet,
        };
        if !is_file {
            state.feed.watch.begin(begun.into());
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let capturing = Arc::clone(&shared);
        thread::Builder::new()
            .name("capture".into())
            .spawn(move || capturing.capture(frames))
            .context("cannot start the thread that captures")?;
        Ok(Self { shared, joined_watcher, begun })
    }

    /// Returns the names of the captured interfaces; `None` for a file.
    pub(super) fn interfaces(&self) -> Option<String> {
        self.shared.lock_first().interfaces.clone()
    }

    /// Returns when the first interval began.
    pub(super) fn begun(&self) -> SystemTime {
        self.begun
    }

    /// Returns the state at this time of the system's clock; for a file, after the frames read so far.
    pub(super) fn picture(&self, now: SystemTime) -> Picture {
        let mut state = self.shared.lock_first();
        let at = if state.is_file { state.feed.watch.latest() } else { now.into() };
        Picture {
            report: state.feed.watch.report(at),
            names: state.feed.names.clone(),
            joined: self.joined_watcher.as_ref().map(JoinedWatcher::known).unwrap_or_default(),
            lost: state.lost,
            recording: state.feed.recording.as_ref().map(RecordingState::of),
            is_file: state.is_file,
            is_over: !matches!(state.end, End::NotYet),
        }
    }

    /// Waits until all frames before `moment` are in the table or the source has ended, but not much beyond `moment`.
    pub(super) fn wait_until_seen(&self, moment: SystemTime) {
        const AT_MOST: Duration = Duration::from_millis(500);
        let state = self.shared.lock_first();
        let is_behind =
            |state: &mut State| matches!(state.end, End::NotYet) && state.caught_up < Time::from(moment);
        drop(self.shared.changed.wait_timeout_while(state, AT_MOST, is_behind));
    }

    /// Waits at most `at_most` for the end of the file; returns whether it was reached.
    pub(super) fn wait_for_end(&self, at_most: Duration) -> bool {
        let state = self.shared.lock_first();
        let is_running = |state: &mut State| matches!(state.end, End::NotYet);
        let waited = self.shared.changed.wait_timeout_while(state, at_most, is_running);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !matches!(state.end, End::NotYet)
    }

    /// Returns, once, why the source failed.
    pub(super) fn failure(&self) -> Option<SourceError> {
        match &mut self.shared.lock_first().end {
            End::Failed(error) => error.take(),
            End::NotYet | End::Reached => None,
        }
    }

    /// Returns why memberships are unknown, if they are.
    pub(super) fn joiners_failure(&self) -> Option<String> {
        self.joined_watcher.as_ref().and_then(JoinedWatcher::failure)
    }

    pub(super) fn has_seen_streams(&self) -> bool {
        self.shared.lock_first().feed.watch.has_seen_datagrams()
    }

    /// Starts to record a stream to a file.
    pub(super) fn record(&self, key: StreamKey, path: PathBuf) -> anyhow::Result<()> {
        self.shared.lock_first().feed.record(key, path)
    }

    /// Ends the recording, and returns its state.
    pub(super) fn end_recording(&self) -> Option<RecordingState> {
        let mut recording = self.shared.lock_first().feed.recording.take()?;
        recording.flush();
        Some(RecordingState::of(&recording))
    }

    /// Resets all counters.
    pub(super) fn clear(&self) {
        self.shared.lock_first().feed.watch.clear(SystemTime::now().into());
    }

    /// Ends the capture and the recording.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.end_recording();
    }
}

impl Shared {
    /// Locks the state with priority over the capturing thread.
    fn lock_first(&self) -> MutexGuard<'_, State> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let state = self.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capture(&self, mut frames: Frames) {
        let end = loop {
            match self.take_in(&mut frames) {
                Ok(true) if self.stop.load(Ordering::Acquire) => break End::Reached,
                Ok(true) => {}
                Ok(false) => break End::Reached,
                Err(error) if is_transient(&error) => {}
                Err(error) => break End::Failed(Some(error)),
            }
        };
        let mut state = self.lock();
        state.lost = frames.lost();
        state.end = end;
        drop(state);
        self.changed.notify_all();
    }

    /// Handles available frames, or waits for some; returns `false` when the source has ended.
    ///
    /// The state is not locked while waiting for a frame, because reading a pipe may block for long.
    fn take_in(&self, frames: &mut Frames) -> Result<bool, SourceError> {
        while self.waiting.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        let before = Time::from(SystemTime::now());
        for _ in 0..FRAMES_PER_TURN {
            if let Some(frame) = frames.next(Duration::ZERO)? {
                self.lock().feed.take(&frame);
                continue;
            }
            if let Some(interfaces) = frames.changed_interfaces() {
                self.lock().interfaces = Some(names(&interfaces));
            }
            let lost = frames.lost();
            self.lock().has_taken_all(before, lost);
            self.changed.notify_all();
            if frames.are_over() {
                return Ok(false);
            }
            if let Some(frame) = frames.next(WAIT)? {
                self.lock().feed.take(&frame);
            }
            break;
        }
        Ok(true)
    }
}

impl State {
    /// Records that all frames before `moment` are in the table.
    fn has_taken_all(&mut self, moment: Time, lost: Option<u64>) {
        self.caught_up = moment;
        self.lost = lost;
        if let Some(recording) = &mut self.feed.recording {
            recording.flush();
        }
    }
}

fn names(interfaces: &[Interface]) -> String {
    interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns whether a capture continues after an error: an interface that is down may come back, and the others still
/// work.
fn is_transient(error: &SourceError) -> bool {
    matches!(error, SourceError::Capture(error) if error.kind() == ErrorKind::InterfaceDown)
}
