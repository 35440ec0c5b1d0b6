//! The thread that captures, and what others see of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast::{Interface, InterfaceIndex};
use mcast_capture::{ErrorKind, Frame, SourceError};
use mcast_stream::seal::Keys;
use mcast_watch::{StreamKey, Time, Watch, WatchOptions};

use super::Arguments;
use super::feed::Feed;
use super::joined::Joiners;
use super::picture::{Picture, RecordingState};
use super::selection::Selection;
use super::source::{Frames, Source};

/// Frames that are taken in before it is asked whether others want to look.
const TOGETHER: usize = 512;
/// The longest wait for a frame: after it, whoever ends this is heard.
const WAIT: Duration = Duration::from_millis(50);

/// What is watched, and by whom.
#[derive(Clone)]
pub(super) struct Monitor {
    shared: Arc<Shared>,
    joiners: Option<Joiners>,
    begun: SystemTime,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// How many want to look; the thread that captures lets them.
    lookers: AtomicUsize,
    stop: AtomicBool,
}

struct State {
    feed: Feed,
    is_file: bool,
    /// The names of the interfaces that are captured on; `None` for a file.
    interfaces: Option<String>,
    /// All frames up to this time are in the table.
    caught_up: Time,
    /// How many packets were lost before they got here, where anybody counts.
    lost: Option<u64>,
    end: End,
}

/// Whether frames still come.
#[derive(Debug)]
enum End {
    NotYet,
    /// The file is over.
    Reached,
    /// The source failed; the error has yet to be told.
    Failed(Option<SourceError>),
}

impl Monitor {
    /// Starts to capture, on a thread of its own that lives in this one's network namespace.
    pub(super) fn start(
        arguments: &Arguments,
        selection: Selection,
        source: Source,
        keys: Keys,
        joiners: Option<Joiners>,
    ) -> anyhow::Result<Self> {
        let Source { frames, interfaces } = source;
        let is_file = arguments.read.is_some();
        let mut watch = Watch::new(WatchOptions {
            interval: arguments.rate_interval(),
            capacity: usize::try_from(arguments.streams).unwrap_or(usize::MAX),
            sequence: arguments.seq,
            keep: arguments.keep,
        });
        let begun = SystemTime::now();
        if !is_file {
            watch.begin(begun.into());
        }
        let state = State {
            feed: Feed::new(watch, selection, keys, arguments.seq.is_some(), loopbacks(&interfaces)),
            is_file,
            interfaces: (!is_file).then(|| names(&interfaces)),
            caught_up: Time::default(),
            lost: None,
            end: End::NotYet,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            lookers: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let capturing = Arc::clone(&shared);
        thread::Builder::new()
            .name("capture".into())
            .spawn(move || capturing.capture(frames))
            .context("cannot start the thread that captures")?;
        Ok(Self { shared, joiners, begun })
    }

    /// The names of the interfaces that are captured on; `None` for a file.
    pub(super) fn interfaces(&self) -> Option<String> {
        self.shared.look().interfaces.clone()
    }

    /// When the first interval began.
    pub(super) fn begun(&self) -> SystemTime {
        self.begun
    }

    /// What there is to be seen at this moment of the system's clock; for a file at its end so far.
    pub(super) fn picture(&self, now: SystemTime) -> Picture {
        let mut state = self.shared.look();
        let at = if state.is_file { state.feed.watch.latest() } else { now.into() };
        if !state.is_file {
            state.feed.announcements.forget_the_silent(at);
        }
        Picture {
            report: state.feed.watch.report(at),
            announced: state.feed.announcements.list(),
            announced_left_out: state.feed.announcements.left_out(),
            names: state.feed.names.clone(),
            joined: self.joiners.as_ref().map(Joiners::known).unwrap_or_default(),
            lost: state.lost,
            recording: state.feed.recording.as_ref().map(RecordingState::of),
            is_file: state.is_file,
            is_over: !matches!(state.end, End::NotYet),
        }
    }

    /// Waits until all that came before this moment is in the table, or nothing more comes; but not much
    /// longer than the moment itself.
    pub(super) fn wait_until_seen(&self, moment: SystemTime) {
        const AT_MOST: Duration = Duration::from_millis(500);
        let state = self.shared.look();
        let is_behind =
            |state: &mut State| matches!(state.end, End::NotYet) && state.caught_up < Time::from(moment);
        drop(self.shared.changed.wait_timeout_while(state, AT_MOST, is_behind));
    }

    /// Waits until the file is over, for at most so long; says whether it is.
    pub(super) fn wait_for_end(&self, at_most: Duration) -> bool {
        let state = self.shared.look();
        let goes_on = |state: &mut State| matches!(state.end, End::NotYet);
        let waited = self.shared.changed.wait_timeout_while(state, at_most, goes_on);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !matches!(state.end, End::NotYet)
    }

    /// Why the source failed, if it has and nobody was told yet.
    pub(super) fn failure(&self) -> Option<SourceError> {
        match &mut self.shared.look().end {
            End::Failed(error) => error.take(),
            End::NotYet | End::Reached => None,
        }
    }

    /// Why it is not known who has joined, if so.
    pub(super) fn joiners_failure(&self) -> Option<String> {
        self.joiners.as_ref().and_then(Joiners::failure)
    }

    pub(super) fn has_seen_streams(&self) -> bool {
        self.shared.look().feed.watch.has_seen_datagrams()
    }

    /// Begins to write a stream to a file.
    pub(super) fn record(&self, key: StreamKey, path: PathBuf) -> anyhow::Result<()> {
        self.shared.look().feed.record(key, path)
    }

    /// Ends the file, and says what is in it.
    pub(super) fn end_recording(&self) -> Option<RecordingState> {
        let mut recording = self.shared.look().feed.recording.take()?;
        recording.flush();
        Some(RecordingState::of(&recording))
    }

    /// Forgets everything and starts anew.
    pub(super) fn clear(&self) {
        let mut state = self.shared.look();
        state.feed.watch.clear(SystemTime::now().into());
        state.feed.announcements.clear();
    }

    /// Ends the capture and what is recorded.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.end_recording();
    }
}

impl Shared {
    /// The state, for which the thread that captures makes way.
    fn look(&self) -> MutexGuard<'_, State> {
        self.lookers.fetch_add(1, Ordering::AcqRel);
        let state = self.lock();
        self.lookers.fetch_sub(1, Ordering::AcqRel);
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
                Err(error) if is_passing(&error) => {}
                Err(error) => break End::Failed(Some(error)),
            }
        };
        let mut state = self.lock();
        state.lost = frames.lost();
        state.end = end;
        drop(state);
        self.changed.notify_all();
    }

    /// Takes in what is there, or waits for it; `false` when nothing more will come.
    ///
    /// The state is free whenever a frame is waited for: a pipe that is read as a file lets everybody wait.
    fn take_in(&self, frames: &mut Frames) -> Result<bool, SourceError> {
        while self.lookers.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        let take = |frame: &Frame<'_>, interface: &Arc<str>| self.lock().feed.take(frame, interface);
        let before = Time::from(SystemTime::now());
        for _ in 0..TOGETHER {
            if frames.next(Duration::ZERO, take)? {
                continue;
            }
            if let Some(interfaces) = frames.renewed() {
                self.lock().watch_others(&interfaces);
            }
            let lost = frames.lost();
            self.lock().has_taken_all(before, lost);
            self.changed.notify_all();
            if frames.are_over() {
                return Ok(false);
            }
            frames.next(WAIT, take)?;
            break;
        }
        Ok(true)
    }
}

impl State {
    /// Interfaces have come or gone.
    fn watch_others(&mut self, interfaces: &[Interface]) {
        self.interfaces = Some(names(interfaces));
        self.feed.loopbacks = loopbacks(interfaces);
    }

    /// All that came before this moment is in the table.
    fn has_taken_all(&mut self, moment: Time, lost: Option<u64>) {
        self.caught_up = moment;
        self.lost = lost;
        if let Some(recording) = &mut self.feed.recording {
            recording.flush();
        }
    }
}

fn names(interfaces: &[Interface]) -> String {
    let names: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    names.join(", ")
}

/// Those on which everything that is sent is heard as well.
fn loopbacks(interfaces: &[Interface]) -> Vec<InterfaceIndex> {
    interfaces.iter().filter(|each| each.loopback).map(|each| each.index).collect()
}

/// An interface that goes down may come back; the others go on meanwhile.
fn is_passing(error: &SourceError) -> bool {
    matches!(error, SourceError::Capture(error) if error.kind() == ErrorKind::InterfaceDown)
}
