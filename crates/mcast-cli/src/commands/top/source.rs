//! The source of frames: interfaces, or a file.

use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use mcast::{Interface, InterfaceIndex, InterfaceSelector, InterfaceWatcher};
use mcast_capture::{
    Capture, CaptureFile, CaptureOptions, ErrorKind, Filter, Frame, FrameSource, SourceError,
};

use super::Arguments;
use crate::capturing::{HeldMemberships, open_file};
use crate::exit::Failure;
use crate::rights::{self, Capability};

/// The capability to capture on new interfaces.
const RIGHTS_TO_CAPTURE: [Capability; 1] = [Capability::NetRaw];

/// The source of frames.
pub(super) struct Source {
    pub(super) frames: Frames,
    /// The captured interfaces; empty for a file.
    pub(super) interfaces: Vec<Interface>,
}

/// The frames of interfaces, or of a file.
pub(super) enum Frames {
    File(Box<CaptureFile>),
    Live(Box<LiveCapture>),
}

/// A capture that follows interfaces that appear and vanish.
pub(super) struct LiveCapture {
    capture: Capture,
    /// From the thread that watches for changes.
    changes: Option<mpsc::Receiver<InterfaceChange>>,
    /// The interfaces after a change, until the caller has taken all frames that were buffered before it.
    changed: Option<Vec<Interface>>,
}

/// Interfaces have appeared.
struct InterfaceChange {
    /// A capture on them.
    added: Capture,
    /// All interfaces to capture on.
    interfaces: Vec<Interface>,
}

impl Frames {
    /// Follows interfaces that appear and vanish, with their memberships: starts to watch for changes, on a thread in
    /// the network namespace of this one. The thread keeps the capability to capture, and parses no frames.
    pub(super) fn follow(
        &mut self,
        selectors: Vec<InterfaceSelector>,
        memberships: Option<Arc<HeldMemberships>>,
    ) -> anyhow::Result<()> {
        let Self::Live(live) = self else { return Ok(()) };
        let captured = live.capture.interfaces().map(|interface| interface.index).collect();
        let (sender, changes) = mpsc::channel();
        let watcher = InterfaceWatcher::new()?;
        let work = move || {
            if rights::keep(&RIGHTS_TO_CAPTURE).is_ok() {
                watch(&watcher, memberships.as_deref(), &selectors, captured, &sender);
            }
        };
        thread::Builder::new().name("interfaces".into()).spawn(work).context("cannot start a thread")?;
        live.changes = Some(changes);
        Ok(())
    }

    /// Returns the next frame, if one arrives within the timeout.
    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<Frame<'_>>, SourceError> {
        if let Self::Live(live) = self {
            live.add_new_interfaces()?;
        }
        self.source().next_frame(Some(timeout))
    }

    /// Returns the captured interfaces, if they have changed since the last call. The caller must have taken all
    /// available frames: those of vanished interfaces are discarded.
    pub(super) fn changed_interfaces(&mut self) -> Option<Vec<Interface>> {
        let Self::Live(live) = self else { return None };
        let interfaces = live.changed.take()?;
        // If the counts of a vanished interface cannot be read, it stays in the capture, where it is silent.
        let _ = live.capture.retain(|index| interfaces.iter().any(|interface| interface.index == index));
        Some(interfaces)
    }

    pub(super) fn are_over(&mut self) -> bool {
        self.source().is_at_end()
    }

    /// Returns the number of lost packets; `None` if it is unknown.
    pub(super) fn lost(&mut self) -> Option<u64> {
        self.source().lost().ok().flatten()
    }

    fn source(&mut self) -> &mut dyn FrameSource {
        match self {
            Self::File(file) => &mut **file,
            Self::Live(live) => &mut live.capture,
        }
    }
}

impl LiveCapture {
    /// Adds interfaces that have appeared, one change after the other: an interface that went down and came back
    /// must have left the capture before it is added again.
    fn add_new_interfaces(&mut self) -> mcast_capture::Result<()> {
        if self.changed.is_none()
            && let Some(Ok(InterfaceChange { added, interfaces })) =
                self.changes.as_ref().map(mpsc::Receiver::try_recv)
        {
            self.capture.append(added)?;
            self.changed = Some(interfaces);
        }
        Ok(())
    }
}

/// Joins again and captures on further interfaces whenever some appear, until the receiver is dropped. An interface
/// that vanishes is only silent.
fn watch(
    watcher: &InterfaceWatcher,
    memberships: Option<&HeldMemberships>,
    selectors: &[InterfaceSelector],
    mut captured: HashSet<InterfaceIndex>,
    sender: &mpsc::Sender<InterfaceChange>,
) {
    while let Ok(Some(_)) = watcher.wait(None) {
        if let Some(memberships) = memberships {
            // A join that fails now may succeed after the next change.
            let _ = memberships.refresh();
        }
        let interfaces = present(selectors);
        let new: Vec<_> =
            interfaces.iter().filter(|interface| !captured.contains(&interface.index)).cloned().collect();
        if new.is_empty() {
            continue;
        }
        // If an interface has vanished again, another change follows.
        let Ok(added) = capture_on(&new) else { continue };
        captured = interfaces.iter().map(|interface| interface.index).collect();
        if sender.send(InterfaceChange { added, interfaces }).is_err() {
            return;
        }
    }
}

pub(super) fn open(arguments: &Arguments) -> anyhow::Result<Source> {
    match &arguments.input.read {
        Some(path) => {
            let frames = Frames::File(Box::new(open_file(path)?));
            Ok(Source { frames, interfaces: Vec::new() })
        }
        None => {
            let interfaces = interfaces(&arguments.interfaces)?;
            if interfaces.is_empty() {
                return Err(Failure::environment("no interface is up and can multicast")
                    .remedy("name one with -i; `mcast interfaces` lists them")
                    .into());
            }
            let capture = capture_on(&interfaces).map_err(refused)?;
            let live = LiveCapture { capture, changes: None, changed: None };
            Ok(Source { frames: Frames::Live(Box::new(live)), interfaces })
        }
    }
}

/// Starts to capture on these interfaces.
fn capture_on(interfaces: &[Interface]) -> mcast_capture::Result<Capture> {
    let options = CaptureOptions::on_names(interfaces.iter().map(|interface| &interface.name));
    Capture::open(options.filter(Filter::Multicast).all_multicast(true).loopback_once(true))
}

/// Returns the selected interfaces without duplicates, or by default all on which groups are joined by default.
fn interfaces(selectors: &[InterfaceSelector]) -> anyhow::Result<Vec<Interface>> {
    if selectors.is_empty() {
        let mut interfaces = mcast::interfaces()?;
        interfaces.retain(Interface::is_joined_by_default);
        return Ok(interfaces);
    }
    let mut interfaces: Vec<Interface> = Vec::new();
    for selector in selectors {
        let found = mcast::find(selector)?;
        if interfaces.iter().all(|known| known.index != found.index) {
            interfaces.push(found);
        }
    }
    Ok(interfaces)
}

/// Returns the selected interfaces that exist and are up.
fn present(selectors: &[InterfaceSelector]) -> Vec<Interface> {
    if selectors.is_empty() {
        return interfaces(selectors).unwrap_or_default();
    }
    let found = selectors.iter().filter_map(|selector| mcast::find(selector).ok());
    let mut all: Vec<Interface> = found.filter(|interface| interface.up).collect();
    all.sort_by_key(|interface| interface.index);
    all.dedup_by_key(|interface| interface.index);
    all
}

/// Adds a remedy for users who may not capture.
fn refused(error: mcast_capture::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Permission => Failure::permission(error.to_string())
            .remedy(format!(
                "{}\nWithout it, `mcast recv --discard GROUP:PORT` counts the datagrams of a group, `mcast \
                 groups` shows which processes have joined groups, and `mcast top -r FILE` reads a capture",
                error.remedy().unwrap_or_default()
            ))
            .into(),
        _ => error.into(),
    }
}
