//! Frames from the wire: memberships make the network forward the groups, a capture receives the frames.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mcast::{Arrival, Drops, Group, GroupAddr, InterfaceIndex, InterfaceSelector, MembershipStatus};
use mcast_capture::{
    Capture, CaptureOptions, CaptureStatistics, ErrorKind, Filter, Frame, PacketFilter, Recorder,
};

use super::{FrameLosses, GroupFrameKind, GroupFrames, GroupFramesOptions, NextGroupFrame};
use crate::live::{HeldMemberships, LiveError};

/// Frames as they are on the wire: memberships, and a capture on the interfaces where they are joined. It needs the right
/// to capture.
#[derive(Debug)]
pub struct WireFrames {
    held: HeldMemberships,
    follow: bool,
    buffer_size: Option<usize>,
    filter: PacketFilter,
    capture: Capture,
    /// The statistics of earlier captures.
    earlier: CaptureStatistics,
    /// The statistics that are counted already.
    reported: BTreeMap<InterfaceIndex, CaptureStatistics>,
}

impl WireFrames {
    /// Joins the groups and starts to capture.
    ///
    /// # Errors
    /// [`LiveError::Capture`] without the right to capture, [`LiveError::Multicast`] if a group cannot be joined.
    pub fn open(options: &GroupFramesOptions) -> Result<Self, LiveError> {
        let GroupFramesOptions { memberships, any_source, follow, buffer_size } = options;
        let held = HeldMemberships::join(memberships, *any_source, *follow)?;
        let statuses = held.statuses();
        Ok(Self {
            held,
            follow: *follow,
            buffer_size: *buffer_size,
            filter: joined_filter(&statuses),
            capture: tap(&statuses, *buffer_size)?,
            earlier: CaptureStatistics::default(),
            reported: BTreeMap::new(),
        })
    }

    fn statistics(&mut self) -> mcast_capture::Result<CaptureStatistics> {
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

/// Returns a filter of the joined memberships, on the interfaces where they are joined.
fn joined_filter(statuses: &[MembershipStatus]) -> PacketFilter {
    statuses.iter().fold(PacketFilter::default(), |filter, status| {
        let joined = status.interfaces.iter().filter(|interface| interface.failure.is_none());
        let joined: Vec<_> = joined.map(|interface| InterfaceSelector::Index(interface.index)).collect();
        // No interface would mean every interface.
        if joined.is_empty() { filter } else { filter.membership(&status.membership, &joined) }
    })
}

/// Returns the kind of a frame, if the filter selects it.
fn kind_of(frame: &Frame<'_>, filter: &PacketFilter) -> Option<GroupFrameKind> {
    let packet = frame.packet();
    let ip = packet.ip_layer()?;
    let Some(udp) = packet.udp() else {
        return filter.admits_fragment(&packet, &frame.context(None)).then_some(GroupFrameKind::Fragment);
    };
    let port = udp.destination_port;
    if !filter.admits(&packet, &frame.context(Some(port))) {
        return None;
    }
    let address = GroupAddr::new(Group::new(ip.destination).ok()?, port);
    let mut arrival = Arrival::new(address, frame.interface, SocketAddr::new(ip.source, udp.source_port));
    arrival.length = udp.payload.len();
    arrival.hop_limit = Some(ip.hop_limit);
    Some(GroupFrameKind::Datagram(arrival))
}

impl GroupFrames for WireFrames {
    fn next(&mut self, timeout: Duration) -> Result<NextGroupFrame<'_>, LiveError> {
        let frame = match self.capture.next(Some(timeout)) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(NextGroupFrame::Nothing),
            // Continues when the interface is up again or was replaced.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(NextGroupFrame::Nothing),
            Err(error) => return Err(error.into()),
        };
        let kind = kind_of(&frame, &self.filter);
        Ok(kind.map_or(NextGroupFrame::Other, |kind| NextGroupFrame::Frame(frame, kind)))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        self.held.statuses()
    }

    fn buffer_size(&self) -> Result<usize, LiveError> {
        Ok(self.capture.buffer_size()?)
    }

    fn losses(&mut self) -> Result<FrameLosses, LiveError> {
        let CaptureStatistics { dropped, unreadable, .. } = self.statistics()?;
        Ok(FrameLosses { dropped: Drops::AtLeast(dropped), unreadable })
    }

    fn refresh(&mut self) -> Result<bool, LiveError> {
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
        self.filter = joined_filter(&statuses);
        self.capture = tap(&statuses, self.buffer_size)?;
        Ok(true)
    }

    fn describe(&self, recorder: &mut Recorder) {
        recorder.describe(self.capture.interfaces());
    }

    fn add_statistics(&mut self, recorder: &mut Recorder) -> Result<(), LiveError> {
        for (interface, now) in self.capture.interface_statistics()? {
            let earlier = self.reported.insert(interface, now).unwrap_or_default();
            recorder.add_statistics(interface, now - earlier);
        }
        Ok(())
    }
}
