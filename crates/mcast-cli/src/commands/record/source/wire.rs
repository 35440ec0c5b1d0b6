//! Records from the wire: memberships make the network forward the groups, a capture receives the frames.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use mcast::{Drops, InterfaceIndex, MembershipStatus};
use mcast_capture::{Capture, CaptureOptions, ErrorKind, Filter, Recorder, Statistics};

use super::super::Reception;
use super::memberships::MembershipIndex;
use super::{Losses, Next, RecordedFrame, Source, SourceKind};
use crate::capturing::HeldMemberships;

/// Memberships, and a capture where they are joined.
#[derive(Debug)]
pub(super) struct Wire {
    held: HeldMemberships,
    follow: bool,
    buffer: Option<usize>,
    index: MembershipIndex,
    capture: Capture,
    /// The statistics of earlier captures.
    earlier: Statistics,
    /// The statistics that are counted already.
    reported: BTreeMap<InterfaceIndex, Statistics>,
}

impl Wire {
    pub(super) fn open(reception: &Reception) -> anyhow::Result<Self> {
        let Reception { memberships, any_source, follow, buffer, .. } = reception;
        let held = HeldMemberships::join(memberships, *any_source, *follow)?;
        let statuses = held.statuses();
        Ok(Self {
            held,
            follow: *follow,
            buffer: *buffer,
            index: MembershipIndex::of(&statuses),
            capture: tap(&statuses, *buffer)?,
            earlier: Statistics::default(),
            reported: BTreeMap::new(),
        })
    }

    fn statistics(&mut self) -> mcast_capture::Result<Statistics> {
        let mut sum = self.earlier;
        sum += self.capture.statistics()?;
        Ok(sum)
    }
}

/// Opens a capture on the interfaces where the groups are joined now.
fn tap(statuses: &[MembershipStatus], buffer: Option<usize>) -> mcast_capture::Result<Capture> {
    let options = CaptureOptions::on_names(joined(statuses).into_values())
        .filter(Filter::Multicast)
        .loopback_once(true)
        .buffer_size(buffer.unwrap_or(CaptureOptions::DEFAULT_BUFFER_SIZE));
    Capture::open(options)
}

/// Returns the interfaces on which groups are joined, without duplicates.
fn joined(statuses: &[MembershipStatus]) -> BTreeMap<InterfaceIndex, &str> {
    let interfaces = statuses.iter().flat_map(|status| &status.interfaces);
    let joined = interfaces.filter(|interface| interface.failure.is_none());
    joined.map(|interface| (interface.index, interface.name.as_str())).collect()
}

impl Source for Wire {
    fn kind(&self) -> SourceKind {
        SourceKind::Wire
    }

    fn next(&mut self, timeout: Duration) -> anyhow::Result<Next<'_>> {
        let frame = match self.capture.next(Some(timeout)) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Next::Nothing),
            // Continues when the interface is up again or was replaced.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(Next::Nothing),
            Err(error) => return Err(error.into()),
        };
        let kind = self.index.admit(&frame.packet(), frame.interface);
        Ok(kind.map_or(Next::Passed, |kind| Next::Frame(RecordedFrame { frame, kind })))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        self.held.statuses()
    }

    fn buffer(&self) -> anyhow::Result<usize> {
        Ok(self.capture.buffer_size()?)
    }

    fn losses(&mut self) -> anyhow::Result<Losses> {
        let Statistics { dropped, unreadable, .. } = self.statistics()?;
        Ok(Losses { dropped: Drops::AtLeast(dropped), unreadable })
    }

    fn refresh(&mut self) -> anyhow::Result<bool> {
        if !self.follow {
            return Ok(false);
        }
        self.held.refresh()?;
        let statuses = self.held.statuses();
        if self.capture.interfaces().map(|interface| interface.index).eq(joined(&statuses).into_keys()) {
            return Ok(false);
        }
        self.earlier = self.statistics()?;
        self.reported.clear();
        self.index = MembershipIndex::of(&statuses);
        self.capture =
            tap(&statuses, self.buffer).context("cannot continue after interfaces have changed")?;
        Ok(true)
    }

    fn describe(&self, recorder: &mut Recorder) {
        recorder.describe(self.capture.interfaces());
    }

    fn count(&mut self, recorder: &mut Recorder) -> anyhow::Result<()> {
        for (interface, now) in self.capture.interface_statistics()? {
            let earlier = self.reported.insert(interface, now).unwrap_or_default();
            recorder.add_statistics(interface, now - earlier);
        }
        Ok(())
    }
}
