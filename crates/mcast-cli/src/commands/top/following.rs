//! A capture that goes on where interfaces come and go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast::{Interface, InterfaceIndex, InterfaceSelector, InterfaceWatcher};
use mcast_capture::{Capture, Frame, FrameSource, SourceError};

use super::held::Held;
use super::source::{capture_on, present, show_next};
use crate::rights::{self, Capability};

/// To capture where interfaces come.
const RIGHTS: [Capability; 1] = [Capability::NetRaw];

/// A capture that is opened anew when an interface has come.
///
/// The new one is opened before the old one is given up, so that both have the frames of a moment: those stamped
/// before the change are taken from the old one, all later ones from the new one.
pub(super) struct Following {
    /// What was named; empty: all.
    selectors: Vec<InterfaceSelector>,
    capture: Capture,
    captured: HashSet<InterfaceIndex>,
    leaving: Option<Capture>,
    overlap: Option<Overlap>,
    /// From the thread that looks for changes.
    opened: Option<mpsc::Receiver<Opened>>,
    renewed: Option<Vec<Interface>>,
    /// What captures before this one have lost.
    lost_before: u64,
}

/// A capture where interfaces have come.
struct Opened {
    capture: Capture,
    interfaces: Vec<Interface>,
}

/// Which frames the capture before has, too: until all that both had has been handed out.
struct Overlap {
    /// Where the capture before saw frames.
    captured: HashSet<InterfaceIndex>,
    /// What was stamped later is taken from the new one.
    since: SystemTime,
}

impl Overlap {
    /// After so long, whatever was stamped before the change has reached its socket.
    const GRACE: Duration = Duration::from_millis(50);

    fn is_over(&self) -> bool {
        self.since.elapsed().is_ok_and(|elapsed| elapsed > Self::GRACE)
    }

    /// Whether a frame of the new capture is none that the one before has handed out.
    fn admits(&self, frame: &Frame<'_>) -> bool {
        frame.time > self.since || !self.captured.contains(&frame.interface)
    }
}

impl Following {
    pub(super) fn new(selectors: Vec<InterfaceSelector>, capture: Capture, interfaces: &[Interface]) -> Self {
        Self {
            selectors,
            capture,
            captured: indexes(interfaces),
            leaving: None,
            overlap: None,
            opened: None,
            renewed: None,
            lost_before: 0,
        }
    }

    /// Begins to look for changes, on a thread that lives in this one's network namespace. It keeps the right to
    /// capture, and looks at no frame.
    pub(super) fn follow(&mut self, held: Option<Held>) -> anyhow::Result<()> {
        let (sender, opened) = mpsc::channel();
        let (selectors, captured) = (self.selectors.clone(), self.captured.clone());
        let watcher = InterfaceWatcher::new()?;
        let work = move || {
            if rights::keep(&RIGHTS).is_ok() {
                look_out(&watcher, held.as_ref(), &selectors, captured, &sender);
            }
        };
        thread::Builder::new().name("interfaces".into()).spawn(work).context("cannot start a thread")?;
        self.opened = Some(opened);
        Ok(())
    }

    /// Shows the next frame, if there is one in time, and says whether there was one.
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
            // That an interface of it is gone may be why it leaves.
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

    /// The interfaces that are captured on, if they are others than when this was last asked.
    pub(super) fn renewed(&mut self) -> Option<Vec<Interface>> {
        self.renewed.take()
    }

    /// How many packets were lost before they got here, as far as anybody can tell.
    pub(super) fn lost(&mut self) -> Option<u64> {
        let leaving = self.leaving.as_mut().and_then(|leaving| leaving.lost().ok().flatten());
        let lost = self.capture.lost().ok().flatten()?;
        Some(lost + leaving.unwrap_or(0) + self.lost_before)
    }

    /// What the capture before has handed out was stamped before this moment, from which on the new one is asked.
    fn change_to(&mut self, Opened { capture, interfaces }: Opened) {
        let since = SystemTime::now();
        let capture = std::mem::replace(&mut self.capture, capture);
        let captured = std::mem::replace(&mut self.captured, indexes(&interfaces));
        (self.leaving, self.overlap) = (Some(capture), Some(Overlap { captured, since }));
        self.renewed = Some(interfaces);
    }
}

/// Joins and captures anew whenever an interface has come, until nobody wants it any more. One that is gone is no
/// more than silent.
fn look_out(
    watcher: &InterfaceWatcher,
    held: Option<&Held>,
    selectors: &[InterfaceSelector],
    mut captured: HashSet<InterfaceIndex>,
    sender: &mpsc::Sender<Opened>,
) {
    while let Ok(Some(_)) = watcher.wait(None) {
        if let Some(held) = held {
            // What cannot be joined again now may be after the next change.
            let _ = held.look_again();
        }
        let interfaces = present(selectors);
        let now = indexes(&interfaces);
        if now.is_subset(&captured) {
            continue;
        }
        // One that is already gone again is followed by another change.
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
