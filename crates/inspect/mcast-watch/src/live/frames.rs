//! The frames of interfaces that appear and vanish, or of a file.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use mcast::interface::{Interface, InterfaceChange, InterfaceWatcher};
use mcast::{InterfaceIndex, InterfaceSelector};
use mcast_capture::{Capture, CaptureFile, CaptureOptions, Filter, Frame, FrameSource, SourceError};

use super::{LiveError, selected_interfaces};

/// The maximum number of interfaces with a ring of 8 MiB each, which the kernel allocates in full. With more, each frame
/// takes a system call.
const MAX_RINGS: usize = 4;

/// How soon a follower ends after its capture.
const CHECK: Duration = Duration::from_secs(2);

/// The frames of interfaces, or of a file.
#[derive(Debug)]
pub struct LiveFrames(Origin);

#[derive(Debug)]
enum Origin {
    File(Box<CaptureFile>),
    Live(Box<LiveCapture>),
}

/// A capture that follows interfaces that appear and vanish.
#[derive(Debug)]
struct LiveCapture {
    capture: Capture,
    filter: Filter,
    interfaces: Vec<Interface>,
    /// From the follower.
    changes: Option<mpsc::Receiver<AddedCapture>>,
    /// The follower ends with it.
    exists: Arc<()>,
    /// When the interfaces changed, and those after it, until the caller has taken all frames that were buffered before.
    changed: Option<(Instant, Vec<Interface>)>,
}

/// Whether frames have ended.
#[derive(Debug)]
pub(super) enum SourceEnd<E> {
    NotYet,
    /// The end of the file was reached, or the reader was stopped.
    Reached,
    /// The error is there until it is reported.
    Failed(Option<E>),
}

impl<E> SourceEnd<E> {
    /// Reads until `read` fails or returns `false`, or a stop is requested.
    pub(super) fn of(stop: &AtomicBool, mut read: impl FnMut() -> Result<bool, E>) -> Self {
        loop {
            match read() {
                Ok(true) if !stop.load(Ordering::Acquire) => {}
                Ok(_) => return Self::Reached,
                Err(error) => return Self::Failed(Some(error)),
            }
        }
    }

    pub(super) const fn is_reached(&self) -> bool {
        !matches!(self, Self::NotYet)
    }

    /// Returns, once, why it failed.
    pub(super) fn failure(&mut self) -> Option<E> {
        match self {
            Self::Failed(error) => error.take(),
            Self::NotYet | Self::Reached => None,
        }
    }
}

/// Interfaces have appeared.
#[derive(Debug)]
struct AddedCapture {
    /// A capture on them.
    added: Capture,
    /// All interfaces to capture on.
    interfaces: Vec<Interface>,
}

/// Captures on interfaces that appear. [`Self::run`] it on a thread that has the right to capture; it parses no frames.
#[derive(Debug)]
pub struct InterfaceFollower {
    watcher: InterfaceWatcher,
    selectors: Vec<InterfaceSelector>,
    filter: Filter,
    captured: HashSet<InterfaceIndex>,
    changes: mpsc::Sender<AddedCapture>,
    capture: Weak<()>,
}

impl LiveFrames {
    /// Captures multicast on these interfaces; none means all on which groups are joined by default.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn capture(selectors: &[InterfaceSelector]) -> Result<Self, LiveError> {
        Self::open(selectors, Filter::Multicast)
    }

    /// Captures multicast, broadcasts, and frames to groups of Ethernet without IP, such as LLDP.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn capture_group_addressed(selectors: &[InterfaceSelector]) -> Result<Self, LiveError> {
        Self::open(selectors, Filter::GroupAddressed)
    }

    fn open(selectors: &[InterfaceSelector], filter: Filter) -> Result<Self, LiveError> {
        let mut interfaces = interfaces(selectors)?;
        let mut capture = capture_on(&interfaces, filter, interfaces.len() <= MAX_RINGS)?;
        let ports = ports_without_ip(filter, &interfaces);
        if !ports.is_empty() {
            capture.append(capture_on(&ports, Filter::OtherProtocols, false)?)?;
            interfaces.extend(ports);
        }
        let live =
            LiveCapture { capture, filter, interfaces, changes: None, exists: Arc::new(()), changed: None };
        Ok(Self(Origin::Live(Box::new(live))))
    }

    /// Follows interfaces that appear and vanish, once the follower runs. `selectors` are those of [`Self::capture`].
    ///
    /// # Errors
    /// If the system cannot watch interfaces.
    pub fn follower(&mut self, selectors: Vec<InterfaceSelector>) -> mcast::Result<InterfaceFollower> {
        let watcher = InterfaceWatcher::new()?;
        let (sender, receiver) = mpsc::channel();
        let captured = self.interfaces().iter().map(|interface| interface.index).collect();
        let mut filter = Filter::Multicast;
        let mut capture = Weak::new();
        if let Origin::Live(live) = &mut self.0 {
            live.changes = Some(receiver);
            capture = Arc::downgrade(&live.exists);
            filter = live.filter;
        }
        Ok(InterfaceFollower { watcher, selectors, filter, captured, changes: sender, capture })
    }

    /// Returns whether the frames are those of a file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        matches!(self.0, Origin::File(_))
    }

    /// Returns the captured interfaces; none for a file.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        match &self.0 {
            Origin::File(_) => &[],
            Origin::Live(live) => &live.interfaces,
        }
    }

    /// Returns the next frame, if one arrives within the timeout.
    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<Frame<'_>>, SourceError> {
        if let Origin::Live(live) = &mut self.0 {
            live.add_new_interfaces()?;
        }
        self.source().next_frame(Some(timeout))
    }

    /// Adapts to interfaces that have changed since the last call, and returns whether any have. The caller must have
    /// taken all available frames: those of vanished interfaces are discarded.
    pub(super) fn discard_vanished(&mut self) -> bool {
        let delay = self.longest_delay();
        let Origin::Live(live) = &mut self.0 else { return false };
        let settled = live.changed.take_if(|(since, _)| since.elapsed() >= delay);
        let Some((_, interfaces)) = settled else { return false };
        // If the counts of a vanished interface cannot be read, it stays in the capture, where it is silent.
        let _ = live.capture.retain(|index| interfaces.iter().any(|interface| interface.index == index));
        live.interfaces = interfaces;
        true
    }

    /// Returns how long the system may keep a frame before it delivers it.
    pub(super) fn longest_delay(&self) -> Duration {
        match &self.0 {
            Origin::Live(live) if live.capture.is_in_blocks() => CaptureOptions::MAX_BLOCK_DELAY,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn are_over(&mut self) -> bool {
        self.source().is_at_end()
    }

    /// Returns the number of lost packets; `None` if it is unknown.
    pub(super) fn lost(&mut self) -> Option<u64> {
        self.source().lost().ok().flatten()
    }

    /// Returns the number of frames of a file that cannot be decoded.
    pub(super) fn skipped(&self) -> u64 {
        match &self.0 {
            Origin::File(file) => file.statistics().skipped,
            Origin::Live(_) => 0,
        }
    }

    fn source(&mut self) -> &mut dyn FrameSource {
        match &mut self.0 {
            Origin::File(file) => &mut **file,
            Origin::Live(live) => &mut live.capture,
        }
    }
}

impl From<CaptureFile> for LiveFrames {
    fn from(file: CaptureFile) -> Self {
        Self(Origin::File(Box::new(file)))
    }
}

impl LiveCapture {
    /// Adds interfaces that have appeared, one change after the other: an interface that went down and came back
    /// must have left the capture before it is added again.
    fn add_new_interfaces(&mut self) -> mcast_capture::Result<()> {
        if self.changed.is_none()
            && let Some(Ok(AddedCapture { added, interfaces })) =
                self.changes.as_ref().map(mpsc::Receiver::try_recv)
        {
            self.capture.append(added)?;
            self.changed = Some((Instant::now(), interfaces));
        }
        Ok(())
    }
}

impl InterfaceFollower {
    /// Captures on further interfaces whenever some appear, until the [`LiveFrames`] are dropped. An interface that
    /// vanishes is only silent, and is captured again when it returns. Calls `changed` after each change of interfaces, before it
    /// captures.
    pub fn run(mut self, mut changed: impl FnMut()) {
        while let Ok(changes) = self.watcher.wait(Some(CHECK)) {
            if self.capture.strong_count() == 0 {
                return;
            }
            let Some(changes) = changes else { continue };
            changed();
            // One that returns from another network namespace may have its index again, and its capture has ended.
            for change in &changes {
                if let InterfaceChange::Vanished(before) | InterfaceChange::Recreated { before, .. } = change
                {
                    self.captured.remove(&before.index);
                }
            }
            let mut interfaces = present(&self.selectors);
            let ports = ports_without_ip(self.filter, &interfaces);
            let is_new = |interface: &&Interface| !self.captured.contains(&interface.index);
            let new: Vec<_> = interfaces.iter().filter(is_new).cloned().collect();
            let new_ports: Vec<_> = ports.iter().filter(is_new).cloned().collect();
            if new.is_empty() && new_ports.is_empty() {
                continue;
            }
            interfaces.extend(ports);
            // If an interface has vanished again, another change follows.
            let added = match (new.is_empty(), new_ports.is_empty()) {
                (false, true) => capture_on(&new, self.filter, false),
                (true, _) => capture_on(&new_ports, Filter::OtherProtocols, false),
                (false, false) => capture_on(&new, self.filter, false).and_then(|mut added| {
                    added.append(capture_on(&new_ports, Filter::OtherProtocols, false)?)?;
                    Ok(added)
                }),
            };
            let Ok(added) = added else { continue };
            self.captured = interfaces.iter().map(|interface| interface.index).collect();
            if self.changes.send(AddedCapture { added, interfaces }).is_err() {
                return;
            }
        }
    }
}

/// Returns the ports of these bridges and bonds, if frames without IP are wanted: LLDP and the like stay on a port.
fn ports_without_ip(filter: Filter, interfaces: &[Interface]) -> Vec<Interface> {
    if filter != Filter::GroupAddressed {
        return Vec::new();
    }
    let is_port = |interface: &Interface| {
        let bridge = interface.port_of.filter(|_| interface.up);
        bridge.is_some_and(|bridge| interfaces.iter().any(|captured| captured.index == bridge))
            && interfaces.iter().all(|captured| captured.index != interface.index)
    };
    // Without a list, the bridge alone is captured.
    mcast::interface::list().unwrap_or_default().into_iter().filter(is_port).collect()
}

/// Starts to capture on these interfaces: in blocks, or one frame per system call.
fn capture_on(interfaces: &[Interface], filter: Filter, in_blocks: bool) -> mcast_capture::Result<Capture> {
    let options = CaptureOptions::on_names(interfaces.iter().map(|interface| &interface.name));
    let options = options.filter(filter).all_multicast(true).loopback_once(true);
    Capture::open(options.in_blocks(in_blocks))
}

/// Returns the selected interfaces without duplicates, in the order in which they were selected.
fn interfaces(selectors: &[InterfaceSelector]) -> Result<Vec<Interface>, LiveError> {
    let selectors = if selectors.is_empty() { &[InterfaceSelector::All] } else { selectors };
    let mut interfaces: Vec<Interface> = Vec::new();
    for selector in selectors {
        for found in selected_interfaces(selector, None)? {
            if interfaces.iter().all(|known| known.index != found.index) {
                interfaces.push(found);
            }
        }
    }
    Ok(interfaces)
}

/// Returns the selected interfaces that exist and are up, without duplicates.
fn present(selectors: &[InterfaceSelector]) -> Vec<Interface> {
    let selectors = if selectors.is_empty() { &[InterfaceSelector::All] } else { selectors };
    let found = selectors.iter().filter_map(|selector| selected_interfaces(selector, None).ok()).flatten();
    let mut all: Vec<Interface> = found.filter(|interface| interface.up).collect();
    all.sort_by_key(|interface| interface.index);
    all.dedup_by_key(|interface| interface.index);
    all
}
