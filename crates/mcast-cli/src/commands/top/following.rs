//! A capture that follows interfaces that appear and vanish.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast::{Interface, InterfaceIndex, InterfaceSelector, InterfaceWatcher};
use mcast_capture::{Capture, Frame, FrameSource, SourceError};

use super::memberships::HeldMemberships;
use super::source::{capture_on, present, show_next};
use crate::rights::{self, Capability};

/// The capability to capture on new interfaces.
const RIGHTS: [Capability; 1] = [Capability::NetRaw];

/// A capture that is reopened when an interface appears.
///
/// The new capture is opened before the old one is closed, so that for a moment both receive the same frames. Frames
/// with a timestamp before the change are taken from the old one, later ones from the new one.
pub(super) struct FollowingCapture {
    /// The interfaces in the arguments; empty means all.
    selectors: Vec<InterfaceSelector>,
    capture: Capture,
    captured: HashSet<InterfaceIndex>,
    leaving: Option<Capture>,
    overlap: Option<Overlap>,
    /// New captures from the thread that watches for changes.
    opened: Option<mpsc::Receiver<Opened>>,
    changed_interfaces: Option<Vec<Interface>>,
    /// The losses of earlier captures.
    lost_before: u64,
}

/// A new capture, with its interfaces.
struct Opened {
    capture: Capture,
    interfaces: Vec<Interface>,
}

/// The moment in which both captures receive the same frames.
struct Overlap {
    /// The interfaces of the old capture.
    captured: HashSet<InterfaceIndex>,
    /// Frames with a later timestamp are taken from the new capture.
    since: SystemTime,
}

impl Overlap {
    /// The time after which all frames with a timestamp before the change have reached their socket.
    const GRACE: Duration = Duration::from_millis(50);

    fn is_over(&self) -> bool {
        self.since.elapsed().is_ok_and(|elapsed| elapsed > Self::GRACE)
    }

    /// Returns whether a frame of the new capture has not been delivered by the old one.
    fn admits(&self, frame: &Frame<'_>) -> bool {
        frame.time > self.since || !self.captured.contains(&frame.interface)
    }
}

impl FollowingCapture {
    pub(super) fn new(selectors: Vec<InterfaceSelector>, capture: Capture, interfaces: &[Interface]) -> Self {
        Self {
            selectors,
            capture,
            captured: indexes(interfaces),
            leaving: None,
            overlap: None,
            opened: None,
            changed_interfaces: None,
            lost_before: 0,
        }
    }

    /// Starts to watch for changes, on a thread in the network namespace of this one. The thread keeps the capability
    /// to capture, and parses no frames.
    pub(super) fn follow(&mut self, memberships: Option<HeldMemberships>) -> anyhow::Result<()> {
        let (sender, opened) = mpsc::channel();
        let (selectors, captured) = (self.selectors.clone(), self.captured.clone());
        let watcher = InterfaceWatcher::new()?;
        let work = move || {
            if rights::keep(&RIGHTS).is_ok() {
                watch(&watcher, memberships.as_ref(), &selectors, captured, &sender);
            }
        };
        thread::Builder::new().name("interfaces".into()).spawn(work).context("cannot start a thread")?;
        self.opened = Some(opened);
        Ok(())
    }

    /// Passes the next frame to `show`, if one arrives within the timeout; returns whether one did.
    pub(super) fn next(
        &mut self,
        timeout: Duration,
        names: &mut HashMap<InterfaceIndex, Arc<str>>,
        show: impl FnOnce(&Frame<'_>, &Arc<str>),
    ) -> Result<bool, SourceError> {
        if self.overlap.is_none()
            && let Some(Ok(opened)) = self.opened.as_ref().map(mpsc::Receiver::try_recv)
        {
            self.change_to(opened);
        }
        let Some(overlap) = &self.overlap else {
            return show_next(&mut self.capture, timeout, names, |_| true, show);
        };
        let mut show = Some(show);
        let showing = |frame: &Frame<'_>, name: &Arc<str>| {
            if let Some(show) = show.take() {
                show(frame, name);
            }
        };
        if let Some(leaving) = &mut self.leaving {
            let mut is_past = false;
            let is_before = |frame: &Frame<'_>| {
                is_past = frame.time > overlap.since;
                !is_past
            };
            // Errors are ignored: the capture may be closing because an interface vanished.
            let shown = show_next(leaving, Duration::ZERO, names, is_before, showing);
            let has_frame = matches!(shown, Ok(true));
            if overlap.is_over() && (is_past || !has_frame) {
                self.lost_before += leaving.lost().ok().flatten().unwrap_or(0);
                self.leaving = None;
            }
            if has_frame {
                return Ok(true);
            }
        }
        let Some(show) = show else { return Ok(true) };
        let timeout = timeout.min(Overlap::GRACE);
        let shown = show_next(&mut self.capture, timeout, names, |frame| overlap.admits(frame), show);
        if matches!(shown, Ok(false)) && self.leaving.is_none() {
            self.overlap = None;
        }
        shown
    }

    /// Returns the captured interfaces, if they have changed since the last call.
    pub(super) fn changed_interfaces(&mut self) -> Option<Vec<Interface>> {
        self.changed_interfaces.take()
    }

    /// Returns the number of lost packets, if it is known.
    pub(super) fn lost(&mut self) -> Option<u64> {
        let leaving = self.leaving.as_mut().and_then(|leaving| leaving.lost().ok().flatten());
        let lost = self.capture.lost().ok().flatten()?;
        Some(lost + leaving.unwrap_or(0) + self.lost_before)
    }

    /// Replaces the capture. Frames delivered by the old one have earlier timestamps than this moment; from now on the
    /// new one is read.
    fn change_to(&mut self, Opened { capture, interfaces }: Opened) {
        let since = SystemTime::now();
        let capture = std::mem::replace(&mut self.capture, capture);
        let captured = std::mem::replace(&mut self.captured, indexes(&interfaces));
        (self.leaving, self.overlap) = (Some(capture), Some(Overlap { captured, since }));
        self.changed_interfaces = Some(interfaces);
    }
}

/// Joins again and opens a new capture whenever an interface appears, until the receiver is dropped. An interface that
/// vanishes is only silent.
fn watch(
    watcher: &InterfaceWatcher,
    memberships: Option<&HeldMemberships>,
    selectors: &[InterfaceSelector],
    mut captured: HashSet<InterfaceIndex>,
    sender: &mpsc::Sender<Opened>,
) {
    while let Ok(Some(_)) = watcher.wait(None) {
        if let Some(memberships) = memberships {
            // A join that fails now may succeed after the next change.
            let _ = memberships.refresh();
        }
        let interfaces = present(selectors);
        let now = indexes(&interfaces);
        if now.is_subset(&captured) {
            continue;
        }
        // If an interface has vanished again, another change follows.
        let Ok(capture) = capture_on(&interfaces) else { continue };
        captured = now;
        if sender.send(Opened { capture, interfaces }).is_err() {
            return;
        }
    }
}

fn indexes(interfaces: &[Interface]) -> HashSet<InterfaceIndex> {
    interfaces.iter().map(|interface| interface.index).collect()
}
