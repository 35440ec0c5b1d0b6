//! Records from the wire: memberships make the network forward the groups, a capture receives the frames.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::Context;
use mcast::{Drops, InterfaceIndex, Membership, MembershipStatus, Receiver};
use mcast_capture::{Capture, CaptureOptions, CaptureStatistics, ErrorKind, Filter, Recorder};

use super::super::Reception;
use super::memberships::MembershipIndex;
use super::{Losses, Next, RecordedFrame, Source, SourceKind};
use crate::arguments::{build_receiver, unused_port};

/// Memberships, and a capture where they are joined.
#[derive(Debug)]
pub(super) struct Wire {
    /// Holds the memberships. It is bound to another port, so that datagrams do not fill its buffers.
    holder: Receiver,
    /// The requested ports of each membership of the holder.
    ports: Vec<Vec<u16>>,
    follow: bool,
    buffer: Option<usize>,
    index: MembershipIndex,
    capture: Option<Capture>,
    /// Loopback interfaces. Captures see their frames twice, as sent and as received.
    loopback: HashSet<InterfaceIndex>,
    /// The statistics of earlier captures.
    earlier: CaptureStatistics,
    /// The statistics that are counted already.
    reported: BTreeMap<InterfaceIndex, CaptureStatistics>,
}

impl Wire {
    pub(super) fn open(reception: &Reception) -> anyhow::Result<Self> {
        let (held, ports) = at_port(unused_port()?, &reception.memberships);
        let builder = Receiver::builder()
            .join_all(held)
            .follow(reception.follow)
            .allow_any_source(reception.any_source);
        let holder = build_receiver(builder)?;
        let mut wire = Self {
            holder,
            ports,
            follow: reception.follow,
            buffer: reception.buffer,
            index: MembershipIndex::default(),
            capture: None,
            loopback: HashSet::new(),
            earlier: CaptureStatistics::default(),
            reported: BTreeMap::new(),
        };
        wire.tap()?;
        Ok(wire)
    }

    /// Opens a capture on the interfaces where the groups are joined now.
    fn tap(&mut self) -> anyhow::Result<()> {
        self.index = MembershipIndex::of(&self.memberships());
        let known = mcast::interfaces()?;
        let is_loopback = known.iter().filter(|interface| interface.loopback);
        self.loopback = is_loopback.map(|interface| interface.index).collect();
        let mut joined = self.joined().into_values();
        self.capture = match joined.next() {
            Some(first) => {
                let options = joined.fold(CaptureOptions::on_name(first), CaptureOptions::and_on_name);
                let options = options.filter(Filter::Multicast);
                let options = match self.buffer {
                    Some(bytes) => options.buffer_size(bytes),
                    None => options,
                };
                Some(Capture::open(options)?)
            }
            None => None,
        };
        Ok(())
    }

    /// Returns the interfaces on which groups are joined, without duplicates.
    fn joined(&self) -> BTreeMap<InterfaceIndex, String> {
        let statuses = self.holder.memberships();
        let interfaces = statuses.into_iter().flat_map(|status| status.interfaces);
        let joined = interfaces.filter(|interface| interface.failure.is_none());
        joined.map(|interface| (interface.index, interface.name)).collect()
    }

    fn statistics(&mut self) -> anyhow::Result<CaptureStatistics> {
        let mut sum = self.earlier;
        if let Some(capture) = &mut self.capture {
            sum += capture.statistics()?;
        }
        Ok(sum)
    }
}

impl Source for Wire {
    fn kind(&self) -> SourceKind {
        SourceKind::Wire
    }

    fn next(&mut self, timeout: Duration) -> anyhow::Result<Next<'_>> {
        let Some(capture) = &mut self.capture else {
            std::thread::sleep(timeout);
            return Ok(Next::Nothing);
        };
        let frame = match capture.next(Some(timeout)) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Next::Nothing),
            // Continues when the interface is up again or was replaced.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(Next::Nothing),
            Err(error) => return Err(error.into()),
        };
        if frame.direction.is_outgoing() && self.loopback.contains(&frame.interface) {
            return Ok(Next::Passed);
        }
        let kind = self.index.admit(&frame.packet(), frame.interface);
        Ok(kind.map_or(Next::Passed, |kind| Next::Frame(RecordedFrame { frame, kind })))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        let held = self.holder.memberships().into_iter().zip(&self.ports);
        let at_each = held.flat_map(|(status, ports)| {
            ports.iter().map(move |port| {
                let mut status = status.clone();
                status.membership.address.port = *port;
                status
            })
        });
        at_each.collect()
    }

    fn buffer(&self) -> anyhow::Result<usize> {
        Ok(self.capture.as_ref().map_or(Ok(0), Capture::buffer_size)?)
    }

    fn losses(&mut self) -> anyhow::Result<Losses> {
        let CaptureStatistics { dropped, unreadable, .. } = self.statistics()?;
        Ok(Losses { dropped: Drops::AtLeast(dropped), unreadable })
    }

    fn refresh(&mut self) -> anyhow::Result<bool> {
        // A receiver follows its interfaces only while it receives, and this one gets no datagrams.
        while self.follow && self.holder.try_recv(&mut [0; 1])?.is_some() {}
        let captured = self.capture.iter().flat_map(Capture::interfaces).map(|interface| interface.index);
        if !self.follow || captured.eq(self.joined().into_keys()) {
            return Ok(false);
        }
        self.earlier = self.statistics()?;
        self.reported.clear();
        self.tap().context("cannot continue after interfaces have changed")?;
        Ok(true)
    }

    fn describe(&self, recorder: &mut Recorder) {
        recorder.describe(self.capture.iter().flat_map(Capture::interfaces));
    }

    fn count(&mut self, recorder: &mut Recorder) -> anyhow::Result<()> {
        let Some(capture) = &mut self.capture else { return Ok(()) };
        let interfaces: Vec<_> = capture.interfaces().map(|interface| interface.index).collect();
        for index in interfaces {
            let Some(now) = capture.interface_statistics(index)? else { continue };
            let earlier = self.reported.insert(index, now).unwrap_or_default();
            recorder.add_statistics(index, now - earlier);
        }
        Ok(())
    }
}

/// Returns the memberships with another port, without duplicates, and their original ports.
fn at_port(port: u16, memberships: &[Membership]) -> (Vec<Membership>, Vec<Vec<u16>>) {
    let mut places = HashMap::new();
    let (mut held, mut ports) = (Vec::new(), Vec::<Vec<u16>>::new());
    for membership in memberships {
        let mut elsewhere = membership.clone();
        elsewhere.address.port = port;
        let place = *places.entry(elsewhere).or_insert_with_key(|elsewhere| {
            held.push(elsewhere.clone());
            ports.push(Vec::new());
            ports.len() - 1
        });
        ports[place].push(membership.address.port);
    }
    (held, ports)
}
