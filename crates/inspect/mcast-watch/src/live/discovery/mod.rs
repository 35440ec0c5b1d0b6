//! Discovery on live networks: a capture and sockets that fill a [`DiscoveryTable`] on a thread of its own.

mod groups;
#[cfg(feature = "json")]
mod json;
mod sockets;

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mcast::{GroupAddr, InterfaceIndex, InterfaceSelector};
use mcast_capture::{CaptureFile, ErrorKind, Frame, SourceError, Unwrapper};
use mcast_group::SafeText;

use super::frames::{InterfaceFollower, LiveFrames, SourceEnd};
use super::monitor::{discover, discover_stream, remove_vanished};
use super::{LiveError, is_transient};
use crate::clock::Time;
use crate::discovery::{
    Discovered, DiscoveryCounts, DiscoveryDatagram, DiscoveryEvent, DiscoveryProtocol, DiscoveryRequest,
    DiscoveryTable,
};
#[cfg(feature = "schema")]
pub use json::schemas as discovery_schemas;
#[cfg(feature = "json")]
pub use json::{DiscoveredFieldRecord, DiscoveredRecord, DiscoveryEventRecord, DiscoverySummaryRecord};
use sockets::DiscoverySockets;

/// The longest wait for a frame or datagram before questions, answers and lifetimes get their turn.
const WAIT: Duration = Duration::from_millis(50);
/// The number of frames handled before that.
const FRAMES_PER_TURN: usize = 512;

/// How often it looks which interfaces exist, and which of its groups others on this machine have joined.
const SYSTEM: Duration = Duration::from_secs(1);

/// For longer than this, no protocol gathers messages before it announces what they state.
const GATHERED: Duration = Duration::from_secs(1);

/// Where and how to look for what announces itself.
#[derive(Clone, Debug)]
pub struct DiscoveryOptions {
    /// The interfaces; none means all on which groups are joined by default, as they come and go.
    pub interfaces: Vec<InterfaceSelector>,
    /// Whether to send queries, in protocols that have them. Default: no, only listen.
    pub ask: bool,
    /// What to ask for, where a protocol can ask for one thing: a name, or a type of service such as `_ipp._tcp`.
    /// Default: everything.
    pub name: Option<String>,
    /// Whether to capture, where that is permitted. Without it, protocols without UDP are not seen. Default: yes.
    pub capture: bool,
    /// Whether to join the groups of the protocols also where a capture is permitted, so that switches with
    /// snooping forward them. This sends IGMP and MLD reports. Without a capture, they are always joined. Default: yes.
    pub join: bool,
    /// The protocols whose groups are joined; none means all.
    pub protocols: Vec<DiscoveryProtocol>,
    /// The DDS domains whose groups are joined, and in which it asks. A capture sees all. Default: 0 to 9, and that of
    /// the environment variable `ROS_DOMAIN_ID`, in which programs of ROS 2 are.
    pub domains: Vec<u8>,
    /// The sACN universes whose groups are joined. A capture sees all. Default: none; each source announces the list
    /// of its universes every 10 s.
    pub universes: Vec<u16>,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            ask: false,
            name: None,
            capture: true,
            join: true,
            protocols: Vec::new(),
            domains: (0..=9).chain(domain_of_ros()).collect(),
            universes: Vec::new(),
        }
    }
}

fn domain_of_ros() -> Option<u8> {
    std::env::var("ROS_DOMAIN_ID").ok()?.trim().parse().ok()
}

/// What a [`Discovery`] listens to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DiscoveryCoverage {
    /// Whether it captures.
    pub captures: bool,
    /// Whether it reads a file.
    pub is_file: bool,
    /// The names of the interfaces, escaped for a terminal.
    pub interfaces: Vec<String>,
    /// The groups that are joined.
    pub joined: Vec<(DiscoveryProtocol, GroupAddr)>,
    /// The groups that cannot be joined, and why.
    pub refused: Vec<(DiscoveryProtocol, GroupAddr, String)>,
    /// Why it does not capture, if it was to.
    pub capture_refusal: Option<String>,
}

impl DiscoveryCoverage {
    /// Returns the protocols of which nothing can be seen. PTP over Ethernet is never seen without a capture.
    #[must_use]
    pub fn unseen(&self) -> Vec<DiscoveryProtocol> {
        if self.captures || self.is_file {
            return Vec::new();
        }
        let is_joined = |protocol| self.joined.iter().any(|(joined, _)| *joined == protocol);
        let mut all = DiscoveryProtocol::ALL.to_vec();
        all.retain(|protocol| {
            let by = match protocol {
                DiscoveryProtocol::PtpV1 => DiscoveryProtocol::Ptp,
                // Broadcasts.
                DiscoveryProtocol::ArtNet => return false,
                other => *other,
            };
            !is_joined(by)
        });
        all
    }
}

/// An open capture and sockets, from which a [`Discovery`] starts. A program that drops capabilities does so between
/// the two, because packets from the network may be hostile.
#[derive(Debug)]
pub struct DiscoverySources {
    frames: Option<LiveFrames>,
    sockets: Option<DiscoverySockets>,
    coverage: DiscoveryCoverage,
    ask: bool,
    request: DiscoveryRequest,
}

impl DiscoverySources {
    /// Opens a capture, if that is wanted and permitted, and joins the groups that can be joined.
    ///
    /// # Errors
    /// [`LiveError::NoInterface`] and [`LiveError::Multicast`] if there is no such interface;
    /// [`LiveError::Capture`] if a capture fails for another reason than a missing permission.
    pub fn open(options: &DiscoveryOptions) -> Result<Self, LiveError> {
        let mut coverage = DiscoveryCoverage::default();
        let mut frames = None;
        if options.capture {
            match LiveFrames::capture_group_addressed(&options.interfaces) {
                Ok(capture) => frames = Some(capture),
                Err(LiveError::Capture(error)) if is_refusal(error.kind()) => {
                    coverage.capture_refusal = Some(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        let sockets = DiscoverySockets::open(options, frames.is_some())?;
        coverage.captures = frames.is_some();
        let names: BTreeSet<_> = sockets.names().map(|(_, name)| escaped(name)).collect();
        coverage.interfaces = names.into_iter().collect();
        coverage.joined.clone_from(&sockets.joined);
        let refused = sockets.refused.iter();
        coverage.refused =
            refused.map(|(protocol, group, error)| (*protocol, *group, error.to_string())).collect();
        let request = DiscoveryRequest {
            name: options.name.clone(),
            domains: options.domains.clone(),
            ..DiscoveryRequest::default()
        };
        Ok(Self { frames, sockets: Some(sockets), coverage, ask: options.ask, request })
    }

    /// Follows the interfaces of the capture as they come and go, once the follower runs; `None` without a capture.
    /// `selectors` are those of the options.
    ///
    /// # Errors
    /// If the system cannot watch interfaces.
    pub fn follower(
        &mut self,
        selectors: Vec<InterfaceSelector>,
    ) -> mcast::Result<Option<InterfaceFollower>> {
        self.frames.as_mut().map(|frames| frames.follower(selectors)).transpose()
    }

    /// Returns what they listen to.
    #[must_use]
    pub const fn coverage(&self) -> &DiscoveryCoverage {
        &self.coverage
    }
}

impl From<CaptureFile> for DiscoverySources {
    fn from(file: CaptureFile) -> Self {
        let coverage = DiscoveryCoverage { is_file: true, ..DiscoveryCoverage::default() };
        let request = DiscoveryRequest::default();
        Self { frames: Some(file.into()), sockets: None, coverage, ask: false, request }
    }
}

/// A list of what announces itself on the networks of this machine, which a thread keeps up to date until it is dropped.
///
/// As an iterator it waits for changes. Asynchronous programs await [`Self::event`], on tokio or any other runtime.
///
/// ```no_run
/// use mcast_watch::{Discovery, discovery::DiscoveryEvent, live::DiscoveryOptions};
///
/// let mut discovery = Discovery::open(&DiscoveryOptions { ask: true, ..Default::default() })?;
/// for event in &mut discovery {
///     if let DiscoveryEvent::Appeared(entry) = event {
///         println!("{} {} {:?}", entry.kind, entry.name, entry.addresses);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
    coverage: DiscoveryCoverage,
    /// Ends the thread when it is dropped.
    stop: Stop,
    thread: thread::JoinHandle<()>,
}

/// Asks a thread to end when it is dropped.
#[derive(Debug)]
struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Debug)]
struct State {
    table: DiscoveryTable,
    names: HashMap<InterfaceIndex, Arc<str>>,
    /// Asks again, when the thread has its next turn.
    asks: bool,
    wakers: Vec<Waker>,
    lost: Option<u64>,
    end: SourceEnd<LiveError>,
}

impl Discovery {
    /// Begins to look, and follows interfaces that come and go.
    ///
    /// # Errors
    /// As [`DiscoverySources::open`], and if the system cannot start a thread.
    pub fn open(options: &DiscoveryOptions) -> Result<Self, LiveError> {
        let mut sources = DiscoverySources::open(options)?;
        if let Some(follower) = sources.follower(options.interfaces.clone())? {
            let run = move || follower.run(|| {});
            thread::Builder::new().name("interfaces".into()).spawn(run).map_err(LiveError::Thread)?;
        }
        Self::start(sources)
    }

    /// Starts to read these sources, on a thread in the network namespace of this one.
    ///
    /// # Errors
    /// [`LiveError::Thread`].
    pub fn start(sources: DiscoverySources) -> Result<Self, LiveError> {
        let DiscoverySources { frames, sockets, coverage, ask, request } = sources;
        let state = State {
            table: DiscoveryTable::new(),
            names: HashMap::new(),
            asks: ask,
            wakers: Vec::new(),
            lost: None,
            end: SourceEnd::NotYet,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let mut driver = Driver {
            shared: Arc::clone(&shared),
            frames,
            sockets,
            request,
            has_asked: false,
            system_due: Time::default(),
            unwrapper: Unwrapper::new(),
            clock: DriverClock::new(),
        };
        let thread = thread::Builder::new()
            .name("discovery".into())
            .spawn(move || driver.run())
            .map_err(LiveError::Thread)?;
        Ok(Self { stop: Stop(Arc::clone(&shared)), shared, coverage, thread })
    }

    /// Ends it, and waits until its sockets are closed, which takes about 50 ms; a pipe that it reads may take longer. Dropping it does
    /// not wait.
    pub fn close(self) {
        drop(self.stop);
        // A thread that panicked has closed them, too.
        let _ = self.thread.join();
    }

    /// Returns the next change. Waits at most `timeout` (`None`: without limit), and then returns `None`; also at the end
    /// of a file, and after a failure.
    #[must_use]
    pub fn next_event(&self, timeout: Option<Duration>) -> Option<DiscoveryEvent> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.shared.lock();
        loop {
            if let Some(event) = state.table.poll_event() {
                return Some(event);
            }
            if state.end.is_reached() {
                return None;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    let waited = self.shared.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Returns the next change, if there is one; otherwise the task is woken when there is. `None` at the end of a
    /// file, and after a failure.
    pub fn poll_event(&self, context: &mut Context<'_>) -> Poll<Option<DiscoveryEvent>> {
        let mut state = self.shared.lock();
        if let Some(event) = state.table.poll_event() {
            return Poll::Ready(Some(event));
        }
        if state.end.is_reached() {
            return Poll::Ready(None);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for the next change, in asynchronous programs; `None` at the end of a file, and after a failure. It may be
    /// cancelled; no change is lost.
    pub async fn event(&self) -> Option<DiscoveryEvent> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// Sends queries again, in all protocols that have them.
    pub fn ask(&self) {
        self.shared.lock().asks = true;
    }

    /// Returns copies of all entries, ordered by place, protocol and name.
    #[must_use]
    pub fn entries(&self) -> Vec<Discovered> {
        self.shared.lock().table.entries().into_iter().cloned().collect()
    }

    /// Returns what was dropped to keep memory bounded, and what could not be read.
    #[must_use]
    pub fn counts(&self) -> DiscoveryCounts {
        self.shared.lock().table.counts()
    }

    /// Returns the number of frames that arrived too fast to be captured; `None` if it is unknown.
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        self.shared.lock().lost
    }

    /// Returns the name of an interface, escaped for a terminal, or its index.
    #[must_use]
    pub fn interface(&self, index: InterfaceIndex) -> String {
        self.shared.lock().names.get(&index).map_or_else(|| index.to_string(), ToString::to_string)
    }

    /// Returns what it listens to.
    #[must_use]
    pub const fn coverage(&self) -> &DiscoveryCoverage {
        &self.coverage
    }

    /// Returns whether the file has ended, or a failure has ended it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.lock().end.is_reached()
    }

    /// Returns, once, why it has ended.
    #[must_use]
    pub fn failure(&self) -> Option<LiveError> {
        self.shared.lock().end.failure()
    }
}

impl Iterator for Discovery {
    type Item = DiscoveryEvent;

    fn next(&mut self) -> Option<DiscoveryEvent> {
        self.next_event(None)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait for changes.
    fn wake(&self, state: &mut State) {
        state.wakers.drain(..).for_each(Waker::wake);
        self.changed.notify_all();
    }
}

/// The thread that reads the sources.
#[derive(Debug)]
struct Driver {
    shared: Arc<Shared>,
    frames: Option<LiveFrames>,
    sockets: Option<DiscoverySockets>,
    /// What to ask for.
    request: DiscoveryRequest,
    /// Whether it asks, on interfaces that appear, too.
    has_asked: bool,
    /// When to look at the interfaces and memberships of the system.
    system_due: Time,
    unwrapper: Unwrapper,
    clock: DriverClock,
}

/// The time of day, which does not jump when the system's clock is set.
#[derive(Debug)]
struct DriverClock {
    start: (Time, Instant),
    /// The time of the latest frame of a file.
    of_file: Time,
}

impl DriverClock {
    fn new() -> Self {
        Self { start: (SystemTime::now().into(), Instant::now()), of_file: Time::default() }
    }

    fn now(&self) -> Time {
        let (time, since) = self.start;
        time.after(since.elapsed())
    }
}

impl Driver {
    fn run(&mut self) {
        if let Some(sockets) = &self.sockets {
            add_names(&mut self.shared.lock().names, sockets);
        }
        self.note_system();
        let shared = Arc::clone(&self.shared);
        let end = SourceEnd::of(&shared.stop, || self.turn());
        let end_of_file = self.now().after(GATHERED);
        let mut state = self.shared.lock();
        if self.frames.as_ref().is_some_and(LiveFrames::is_file) {
            state.table.handle_timeout(end_of_file);
        }
        state.end = end;
        self.shared.wake(&mut state);
    }

    /// Reads what has arrived, and does what is due; returns `false` when the source has ended.
    fn turn(&mut self) -> Result<bool, LiveError> {
        let is_over = self.read_frames()?;
        self.serve_sockets()?;
        let now = self.now();
        if now >= self.system_due {
            self.note_system();
        }
        let mut state = self.shared.lock();
        if !self.frames.as_ref().is_some_and(LiveFrames::is_file) {
            state.table.handle_timeout(now);
        }
        state.lost = self.frames.as_mut().and_then(LiveFrames::lost);
        self.shared.wake(&mut state);
        Ok(!is_over)
    }

    /// Notes which interfaces exist, and what it has joined itself, of which a capture shows the reports.
    fn note_system(&mut self) {
        self.system_due = self.clock.now().after(SYSTEM);
        let Some(sockets) = &self.sockets else { return };
        let own = self.frames.is_some().then(|| sockets.own_memberships());
        let table = &mut self.shared.lock().table;
        remove_vanished(table, &sockets.watcher);
        own.into_iter().for_each(|own| table.set_own_memberships(own));
    }

    /// Reads the frames that have arrived, or waits for some; returns whether they have ended.
    fn read_frames(&mut self) -> Result<bool, LiveError> {
        let Some(frames) = &mut self.frames else { return Ok(false) };
        let is_file = frames.is_file();
        for turn in 0..FRAMES_PER_TURN {
            let wait = if turn == 0 { WAIT } else { Duration::ZERO };
            let frame = match frames.next(wait) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    frames.discard_vanished();
                    return Ok(frames.are_over());
                }
                Err(error) if is_transient(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let now = if is_file {
                self.clock.of_file = self.clock.of_file.max(frame.time.into());
                self.clock.of_file
            } else {
                self.clock.now()
            };
            let mut state = self.shared.lock();
            state.add_name(&frame);
            let table = &mut state.table;
            // On a live network every turn does what is due.
            if is_file && table.poll_timeout().is_some_and(|due| due <= now) {
                table.handle_timeout(now);
            }
            self.unwrapper.visit(&frame, &mut |packet| discover(table, now, packet));
        }
        Ok(false)
    }

    /// Receives datagrams and answers, and sends questions.
    fn serve_sockets(&mut self) -> Result<(), LiveError> {
        let now = self.now();
        let Some(sockets) = &mut self.sockets else { return Ok(()) };
        if sockets.refresh()? {
            let mut state = self.shared.lock();
            add_names(&mut state.names, sockets);
            state.asks |= self.has_asked;
            self.system_due = Time::default();
        }
        let shared = &self.shared;
        let handle = |datagram: &DiscoveryDatagram<'_>| {
            let table = &mut shared.lock().table;
            table.handle_datagram(now, datagram);
            discover_stream(table, now, datagram.place, datagram.source, datagram.payload);
        };
        sockets.receive(WAIT, handle)?;
        let mut state = self.shared.lock();
        if std::mem::take(&mut state.asks) {
            self.has_asked = true;
            self.request.places = sockets.places();
            state.table.ask_for(now, &self.request);
        }
        while let Some(question) = state.table.poll_transmit(now) {
            drop(state);
            sockets.send(&question);
            state = self.shared.lock();
        }
        Ok(())
    }

    fn now(&self) -> Time {
        match &self.frames {
            Some(frames) if frames.is_file() => self.clock.of_file,
            _ => self.clock.now(),
        }
    }
}

impl State {
    fn add_name(&mut self, frame: &Frame<'_>) {
        if let Some(name) = frame.interface_name
            && !self.names.contains_key(&frame.interface)
        {
            self.names.insert(frame.interface, escaped(name).into());
        }
    }
}

fn add_names(names: &mut HashMap<InterfaceIndex, Arc<str>>, sockets: &DiscoverySockets) {
    names.extend(sockets.names().map(|(index, name)| (index, escaped(name).into())));
}

fn escaped(name: &str) -> String {
    SafeText::new(name.as_bytes()).to_string()
}

/// Returns whether a capture is refused to this process or on this system, so that sockets must do.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Permission | ErrorKind::Unsupported(_))
}

impl From<SourceError> for LiveError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Capture(error) => Self::Capture(error),
            error => Self::Source(error),
        }
    }
}
