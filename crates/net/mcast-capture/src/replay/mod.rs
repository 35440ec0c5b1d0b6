//! Reads the datagrams of a capture file that can be sent again, with other groups and ports if these are replaced.

mod schedule;

use std::collections::HashMap;
use std::ops::AddAssign;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};
use std::{io, thread};

use mcast_group::{Destination, Group, GroupAddr, Membership, ParseError};
use mcast_packet::{ChecksumStatus, Packet, protocol};

use crate::{CaptureFile, FileError, FileErrorKind, Frame, Part, UnwrappedPacket, Unwrapper};
pub use schedule::{ReplaySchedule, TransmitTimes};

/// Reads the datagrams of a capture file, to send them again.
///
/// These are all complete UDP datagrams to groups, also those in fragments and in tunnels; other frames are counted in
/// [`SkippedFrames`]. Of packets inside each other, the outermost to a group is sent. The file is
/// read ahead on a separate thread, so that sending never waits for the disk. This type sends nothing:
/// [`ReplaySchedule`] computes when each datagram is due.
///
/// ```no_run
/// use std::time::{Duration, Instant};
///
/// use mcast_capture::{CaptureFile, Replay, ReplayEvent, ReplaySchedule};
///
/// let replay = Replay::of(CaptureFile::open("stream.pcapng")?);
/// let mut schedule = ReplaySchedule::new(2.0, Some(Duration::from_secs(1)));
/// let mut destinations = Vec::new();
/// let start = Instant::now();
/// for event in replay.start()? {
///     match event {
///         ReplayEvent::Batch(batch) => {
///             destinations.extend_from_slice(batch.new_destinations());
///             for datagram in batch.datagrams() {
///                 let due = start + schedule.due(datagram.time);
///                 println!("{due:?}: to {}: {:?}", destinations[datagram.to], batch.payload(datagram));
///             }
///         }
///         ReplayEvent::RoundEnded(round) => println!("skipped: {:?}", round.skipped),
///         ReplayEvent::Failed(error) => return Err(error.into()),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replay {
    file: CaptureFile,
    only: Vec<Membership>,
    mappings: Vec<AddressMapping>,
    rounds: u64,
}

/// An event of the thread that [`Replay::start`] starts.
#[derive(Debug)]
pub enum ReplayEvent {
    /// The next datagrams.
    Batch(DatagramBatch),
    /// The file was read to its end, or as far as possible; another round may follow.
    RoundEnded(ReplayRound),
    /// The file could not be opened again. Nothing follows.
    Failed(FileError),
}

/// Datagrams in the order of the file.
#[derive(Debug, Default)]
pub struct DatagramBatch {
    datagrams: Vec<RecordedDatagram>,
    new_destinations: Vec<Destination>,
    bytes: Vec<u8>,
}

/// A datagram of a file; [`DatagramBatch::payload`] returns its payload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedDatagram {
    /// The recorded time.
    pub time: SystemTime,
    /// The index of its destination among those of all batches: see [`DatagramBatch::new_destinations`].
    pub to: usize,
    /// The recorded hop limit.
    pub hop_limit: u8,
    /// The recorded DSCP.
    pub dscp: u8,
    start: usize,
    end: usize,
}

/// What a round has read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ReplayRound {
    /// The frames that are not sent.
    pub skipped: SkippedFrames,
    /// The number of datagrams with a wrong checksum; they are sent.
    pub bad_checksums: u64,
    /// The error that ended reading early.
    pub failure: Option<FileError>,
}

impl Replay {
    /// The number of batches that are read ahead.
    const READ_AHEAD: usize = 64;

    /// Creates a replay of all datagrams of this file, from where it is now, in one round.
    #[must_use]
    pub fn of(file: CaptureFile) -> Self {
        Self { file, only: Vec::new(), mappings: Vec::new(), rounds: 1 }
    }

    /// Selects the datagrams of these memberships, by group, port and source. None, the default, selects all.
    #[must_use]
    pub fn only(self, only: Vec<Membership>) -> Self {
        Self { only, ..self }
    }

    /// Sets replacements of groups and ports; the first that matches an address applies.
    #[must_use]
    pub fn map(self, mappings: Vec<AddressMapping>) -> Self {
        Self { mappings, ..self }
    }

    /// Sets how often the file is read. Before each round but the first it is opened again by its path.
    /// Reading ends early when the file is damaged, or has nothing to send.
    #[must_use]
    pub fn rounds(self, rounds: u64) -> Self {
        Self { rounds, ..self }
    }

    /// Starts to read. The thread ends when the returned receiver is dropped.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(self) -> io::Result<Receiver<ReplayEvent>> {
        let (events, receiver) = sync_channel(Self::READ_AHEAD);
        // An error means that the receiver was dropped.
        let read = move || drop(self.read(&events));
        thread::Builder::new().name("reading".into()).spawn(read)?;
        Ok(receiver)
    }

    fn read(mut self, events: &Events) -> Result<(), ReceiverDropped> {
        let mut destinations = HashMap::new();
        for round in 0..self.rounds {
            if round > 0 {
                self.file = match CaptureFile::open(self.file.path()) {
                    Ok(file) => file,
                    Err(error) => return send(events, ReplayEvent::Failed(error)),
                };
            }
            let ended = self.read_round(&mut destinations, events)?;
            // A file with nothing to send would be read forever.
            let is_over = ended.is_damaged() || destinations.is_empty();
            send(events, ReplayEvent::RoundEnded(ended))?;
            if is_over {
                break;
            }
        }
        Ok(())
    }

    fn read_round(
        &mut self,
        destinations: &mut HashMap<GroupAddr, usize>,
        events: &Events,
    ) -> Result<ReplayRound, ReceiverDropped> {
        let Self { file, only, mappings, .. } = self;
        let mut round = ReplayRound::default();
        let mut batch = DatagramBatch::default();
        let mut unwrapper = Unwrapper::new();
        loop {
            match file.next() {
                Ok(Some(frame)) => {
                    let mut outcome = FrameOutcome::default();
                    unwrapper.visit(&frame, &mut |packet| {
                        outcome
                            .take(packet, &frame, |packet| batch.take(packet, only, mappings, destinations));
                    });
                    round.add(outcome);
                }
                Ok(None) => break,
                Err(error) => {
                    round.failure = Some(error);
                    break;
                }
            }
            if batch.is_full() {
                send(events, ReplayEvent::Batch(std::mem::take(&mut batch)))?;
            }
        }
        let mut outcome = FrameOutcome::default();
        unwrapper.finish(&mut |packet| outcome.add_incomplete(packet));
        round.add(outcome);
        round.skipped.unsupported_link_type = file.statistics().skipped;
        send(events, ReplayEvent::Batch(batch))?;
        Ok(round)
    }
}

impl DatagramBatch {
    /// The bytes of payload in a batch, and the number of datagrams.
    const MAX_BYTES: usize = 256 << 10;
    const MAX_DATAGRAMS: usize = 4096;

    /// The recorded time span of a batch, so that with a slow recording the first datagram does not wait for
    /// the others.
    const MAX_SPAN: Duration = Duration::from_secs(1);

    /// Returns the datagrams.
    #[must_use]
    pub fn datagrams(&self) -> &[RecordedDatagram] {
        &self.datagrams
    }

    /// Returns the destinations that occur first in this batch, as mapped. [`RecordedDatagram::to`] counts
    /// those of all batches.
    #[must_use]
    pub fn new_destinations(&self) -> &[Destination] {
        &self.new_destinations
    }

    /// Returns the payload of a datagram of this batch.
    #[must_use]
    pub fn payload(&self, datagram: &RecordedDatagram) -> &[u8] {
        self.bytes.get(datagram.start..datagram.end).unwrap_or_default()
    }

    /// Adds a datagram; returns whether its checksum is wrong.
    fn take(
        &mut self,
        unwrapped: &UnwrappedPacket<'_>,
        only: &[Membership],
        mappings: &[AddressMapping],
        destinations: &mut HashMap<GroupAddr, usize>,
    ) -> Result<bool, Reason> {
        let packet = unwrapped.packet;
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return Err(Reason::Malformed) };
        let group = Group::new(ip.destination).map_err(|_| Reason::NotMulticast)?;
        let address = GroupAddr::new(group, udp.destination_port);
        let admits = |wanted: &Membership| wanted.address == address && wanted.sources.admits(ip.source);
        if !only.is_empty() && !only.iter().any(admits) {
            return Err(Reason::NotSelected);
        }
        let next = destinations.len();
        let to = *destinations.entry(address).or_insert_with(|| {
            self.new_destinations.push(mapped(mappings, address));
            next
        });
        let start = self.bytes.len();
        self.bytes.extend_from_slice(udp.payload);
        let end = self.bytes.len();
        let (hop_limit, dscp) = (ip.hop_limit, ip.dscp);
        self.datagrams.push(RecordedDatagram { time: unwrapped.time, to, hop_limit, dscp, start, end });
        Ok(matches!(udp.checksum, ChecksumStatus::Invalid { .. }))
    }

    fn is_full(&self) -> bool {
        let span = match (self.datagrams.first(), self.datagrams.last()) {
            (Some(first), Some(last)) => last.time.duration_since(first.time).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        self.bytes.len() >= Self::MAX_BYTES
            || self.datagrams.len() >= Self::MAX_DATAGRAMS
            || span >= Self::MAX_SPAN
    }
}

/// What became of the packets of a frame.
#[derive(Clone, Copy, Debug, Default)]
struct FrameOutcome {
    /// Whether a datagram was taken, and whether its checksum is wrong.
    taken: Option<bool>,
    /// Why nothing was taken, of the innermost packet.
    reason: Option<Reason>,
    /// Fragments of datagrams that are not complete, to groups and to other addresses.
    fragments: (u64, u64),
}

impl FrameOutcome {
    fn take(
        &mut self,
        packet: &UnwrappedPacket<'_>,
        frame: &Frame<'_>,
        take: impl FnOnce(&UnwrappedPacket<'_>) -> Result<bool, Reason>,
    ) {
        match packet.part {
            // What becomes of it is known when its datagram is complete or given up.
            Part::Fragment => self.reason = None,
            Part::Incomplete { .. } => self.add_incomplete(packet),
            Part::Whole | Part::Reassembled { .. } if self.taken.is_some() => {}
            Part::Whole | Part::Reassembled { .. } => {
                let is_cut_off = frame.original_length > frame.bytes.len();
                let taken = match reason_not_to(packet.packet, is_cut_off) {
                    Some(reason) => Err(reason),
                    None => take(packet),
                };
                match taken {
                    Ok(has_bad_checksum) => (self.taken, self.reason) = (Some(has_bad_checksum), None),
                    Err(reason) => self.reason = Some(reason),
                }
            }
        }
    }

    fn add_incomplete(&mut self, packet: &UnwrappedPacket<'_>) {
        let Part::Incomplete { fragments } = packet.part else { return };
        let is_to_group = packet.packet.ip_layer().is_some_and(|ip| ip.destination.is_multicast());
        *(if is_to_group { &mut self.fragments.0 } else { &mut self.fragments.1 }) += u64::from(fragments);
    }
}

impl ReplayRound {
    fn add(&mut self, outcome: FrameOutcome) {
        let FrameOutcome { taken, reason, fragments } = outcome;
        self.bad_checksums += u64::from(taken == Some(true));
        self.skipped.fragments += fragments.0;
        self.skipped.not_multicast += fragments.1;
        if let Some(reason) = reason.filter(|_| taken.is_none()) {
            self.skipped.add(reason);
        }
    }

    /// Returns whether the file is invalid, and not just cut off.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let kind = self.failure.as_ref().map(FileError::kind);
        kind.is_some_and(|kind| !matches!(kind, FileErrorKind::Truncated { .. }))
    }
}

type Events = SyncSender<ReplayEvent>;

/// The receiver of events was dropped.
#[derive(Debug)]
struct ReceiverDropped;

fn send(events: &Events, event: ReplayEvent) -> Result<(), ReceiverDropped> {
    events.send(event).map_err(|_| ReceiverDropped)
}

/// Counts of the frames of a file that cannot be sent as a datagram to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedFrames {
    /// Not UDP: for example IGMP, ARP or TCP.
    pub not_udp: u64,
    /// UDP to a unicast or broadcast address.
    pub not_multicast: u64,
    /// Fragments of datagrams that are not complete.
    pub fragments: u64,
    /// Frames that the file contains only in part.
    pub truncated: u64,
    /// Malformed frames.
    pub malformed: u64,
    /// Frames with an unsupported link type.
    pub unsupported_link_type: u64,
    /// Datagrams of groups or sources that are not selected.
    pub not_selected: u64,
}

/// Why a frame is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NotUdp,
    NotMulticast,
    Fragment,
    Truncated,
    Malformed,
    NotSelected,
}

impl SkippedFrames {
    fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::NotUdp => &mut self.not_udp,
            Reason::NotMulticast => &mut self.not_multicast,
            Reason::Fragment => &mut self.fragments,
            Reason::Truncated => &mut self.truncated,
            Reason::Malformed => &mut self.malformed,
            Reason::NotSelected => &mut self.not_selected,
        } += 1;
    }
}

/// Adds the counts of another round.
impl AddAssign for SkippedFrames {
    fn add_assign(&mut self, other: Self) {
        self.not_udp += other.not_udp;
        self.not_multicast += other.not_multicast;
        self.fragments += other.fragments;
        self.truncated += other.truncated;
        self.malformed += other.malformed;
        self.unsupported_link_type += other.unsupported_link_type;
        self.not_selected += other.not_selected;
    }
}

/// Returns why a frame cannot be sent as one datagram to a group; `None` if it can.
fn reason_not_to(packet: &Packet<'_>, is_cut_off: bool) -> Option<Reason> {
    let Some(ip) = packet.ip_layer() else {
        return Some(match packet.malformed {
            _ if is_cut_off => Reason::Truncated,
            Some(_) => Reason::Malformed,
            None => Reason::NotUdp,
        });
    };
    let is_udp = ip.protocol == protocol::UDP;
    match packet.udp() {
        _ if !is_udp => Some(Reason::NotUdp),
        _ if !ip.destination.is_multicast() => Some(Reason::NotMulticast),
        _ if ip.fragment.is_some() => Some(Reason::Fragment),
        _ if is_cut_off || ip.truncated => Some(Reason::Truncated),
        None => Some(Reason::Malformed),
        Some(udp) if udp.payload.len() + 8 < usize::from(udp.length) => Some(Reason::Malformed),
        Some(_) if packet.malformed.is_some() => Some(Reason::Malformed),
        Some(_) => None,
    }
}

/// A replacement of a group, a port, or both: `FROM=TO`. Both are `GROUP:PORT`, `GROUP` or `:PORT`; `TO` may
/// also name an interface to send on, as `GROUP%INTERFACE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressMapping {
    from: AddressPattern,
    to: Target,
}

/// Why a text is not an [`AddressMapping`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// It contains no `=`.
    #[error("write FROM=TO, such as 239.1.1.1:5000=239.2.2.2:6000")]
    NoEqualsSign,
    /// One side is neither an address, nor a group, nor a port.
    #[error(transparent)]
    Address(#[from] ParseError),
}

/// A group, a port, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressPattern {
    group: Option<Group>,
    port: Option<u16>,
}

/// The replacement: a part of an address, or a whole one, perhaps with an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Part(AddressPattern),
    Whole(Destination),
}

impl AddressMapping {
    /// Returns the new destination of an address; `None` if the mapping does not match it.
    fn apply(&self, address: GroupAddr) -> Option<Destination> {
        let AddressPattern { group, port } = self.from;
        let matches =
            group.is_none_or(|group| group == address.group) && port.is_none_or(|port| port == address.port);
        matches.then(|| match &self.to {
            Target::Whole(destination) => destination.clone(),
            Target::Part(AddressPattern { group, port }) => {
                GroupAddr::new(group.unwrap_or(address.group), port.unwrap_or(address.port)).into()
            }
        })
    }
}

/// Returns the new destination of an address by the first mapping that matches it, otherwise the same
/// address.
fn mapped(mappings: &[AddressMapping], address: GroupAddr) -> Destination {
    mappings.iter().find_map(|mapping| mapping.apply(address)).unwrap_or_else(|| address.into())
}

impl FromStr for AddressMapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (from, to) = text.split_once('=').ok_or(MappingError::NoEqualsSign)?;
        let to = match to.parse::<Destination>() {
            Ok(destination) => Target::Whole(destination),
            Err(error) => Target::Part(AddressPattern::parse(to, error)?),
        };
        let from = match from.parse::<GroupAddr>() {
            Ok(address) => AddressPattern { group: Some(address.group), port: Some(address.port) },
            Err(error) => AddressPattern::parse(from, error)?,
        };
        Ok(Self { from, to })
    }
}

impl AddressPattern {
    /// Parses a group or a port alone. `wrong` is the error for texts that are neither.
    fn parse(text: &str, wrong: ParseError) -> Result<Self, ParseError> {
        if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return Ok(Self { group: None, port: Some(port) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(group) => Ok(Self { group: Some(group), port: None }),
            Err(_) => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(mappings: &[&str], from: &str) -> String {
        let mappings: Vec<AddressMapping> = mappings.iter().map(|text| text.parse().unwrap()).collect();
        mapped(&mappings, from.parse().unwrap()).to_string()
    }

    #[test]
    fn groups_ports_or_both_are_replaced() {
        assert_eq!(goes(&["239.1.1.1:5000=239.2.2.2:6000"], "239.1.1.1:5000"), "239.2.2.2:6000");
        assert_eq!(goes(&["239.1.1.1:5000=239.2.2.2:6000"], "239.1.1.1:5001"), "239.1.1.1:5001");
        assert_eq!(goes(&["239.1.1.1=239.2.2.2"], "239.1.1.1:5001"), "239.2.2.2:5001");
        assert_eq!(goes(&["239.1.1.1=:7000"], "239.1.1.1:5001"), "239.1.1.1:7000");
        assert_eq!(goes(&[":5000=:6000"], "[ff15::1]:5000"), "[ff15::1]:6000");
        assert_eq!(goes(&["[ff15::1]=ff15::2"], "[ff15::1]:5000"), "[ff15::2]:5000");
        assert_eq!(goes(&["239.1.1.1=[ff15::2%eth1]:5000"], "239.1.1.1:5000"), "[ff15::2%eth1]:5000");
    }

    #[test]
    fn the_first_match_applies() {
        let both = ["239.1.1.1:5000=:1", ":5000=:2"];
        assert_eq!(goes(&both, "239.1.1.1:5000"), "239.1.1.1:1");
        assert_eq!(goes(&both, "239.1.1.2:5000"), "239.1.1.2:2");
    }

    #[test]
    fn invalid_mappings_are_refused() {
        for text in
            ["", "=", "239.1.1.1", "10.0.0.1=239.1.1.1", "239.1.1.1=10.0.0.1", ":x=:1", ":5000=:70000"]
        {
            text.parse::<AddressMapping>().unwrap_err();
        }
    }
}
