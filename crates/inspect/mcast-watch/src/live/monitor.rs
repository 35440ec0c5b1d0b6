//! The thread that captures, what it passes to the table, and access to its state.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{io, thread};

use mcast::interface::{Interface, InterfaceWatcher};
use mcast::{Family, InterfaceIndex};
use mcast_capture::{
    ErrorKind, FileError, Frame, PacketFilter, Part, SourceError, UnexaminedFrames, UnwrappedPacket,
    Unwrapper,
};
use mcast_group::SafeText;
use mcast_packet::{CookedKind, LinkType, MacAddress, Transport};
use mcast_stream_proto::dissect::opened;
use mcast_stream_proto::history::HistoryAnnouncement;
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{self, Announce, Flags, Heartbeat, KeyEpoch, Kind, WireError};

use super::frames::{LiveFrames, SourceEnd};
use super::memberships::{LocalMember, LocalMembers, LocalMembersWatcher};
use super::recording::Recording;
use crate::discovery::{
    Discovered, DiscoveryCounts, DiscoveryEvent, DiscoveryPacket, DiscoveryPlace, DiscoveryTable,
};
use crate::{
    AnnouncementContent, ObservedPacket, PacketState, Row, SequenceInfo, StreamAnnouncement, StreamIdentity,
    StreamKey, StreamRate, Time, Watch, WatchOptions, WatchReport,
};

/// The number of frames handled before other threads get access to the state.
const FRAMES_PER_TURN: usize = 512;
/// The longest wait for a frame before checking for the end.
const WAIT: Duration = Duration::from_millis(50);

/// A table that a thread fills with live traffic, or with that of a file. Its clones share the table.
#[derive(Clone, Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    local_members: Option<LocalMembersWatcher>,
    /// Watches the interfaces, where it reads what announces itself on a network.
    interfaces: Option<Arc<InterfaceWatcher>>,
    begun: SystemTime,
}

/// What a [`Monitor`] watches.
#[derive(Clone, Debug, Default)]
pub struct MonitorOptions {
    /// The configuration of the table.
    pub watch: WatchOptions,
    /// The streams to watch. Control messages and announcements are selected only by interface.
    pub filter: PacketFilter,
    /// The keys of sealed streams.
    pub keys: Keys,
    /// The members on this machine; `None` if reports need not contain them.
    pub local_members: Option<LocalMembersWatcher>,
    /// Whether to read what announces itself in the captured packets, too: see [`Monitor::discovered`].
    pub discovers: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of threads waiting for the state, for which the capturing thread makes way.
    waiting: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Debug)]
struct State {
    feed: Feed,
    is_file: bool,
    /// The names of the captured interfaces; `None` for a file.
    interfaces: Option<String>,
    /// All frames up to this time are in the table.
    caught_up: Time,
    /// The number of lost packets, if it is known.
    lost: Option<u64>,
    /// The number of frames of a file that cannot be decoded.
    skipped: u64,
    end: SourceEnd<SourceError>,
}

impl Monitor {
    /// Starts to fill the table, on a thread in the network namespace of this one.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(frames: LiveFrames, options: MonitorOptions) -> io::Result<Self> {
        let begun = SystemTime::now();
        let local_members = options.local_members.clone();
        let is_file = frames.is_file();
        // Without a watcher, entries of interfaces that vanish stay until their lifetime ends.
        let watcher = (options.discovers && !is_file).then(InterfaceWatcher::new);
        let interfaces = watcher.and_then(Result::ok).map(Arc::new);
        let mut state = State {
            feed: Feed::new(options),
            is_file,
            interfaces: names(&frames),
            caught_up: Time::default(),
            lost: None,
            skipped: 0,
            end: SourceEnd::NotYet,
        };
        if !is_file {
            state.feed.table.watch.begin(begun.into());
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let capturing = Arc::clone(&shared);
        thread::Builder::new().name("capture".into()).spawn(move || capturing.capture(frames))?;
        Ok(Self { shared, local_members, interfaces, begun })
    }

    /// Returns the names of the captured interfaces; `None` for a file.
    #[must_use]
    pub fn interfaces(&self) -> Option<String> {
        self.shared.lock_first().interfaces.clone()
    }

    /// Returns when the first interval began.
    #[must_use]
    pub const fn begun(&self) -> SystemTime {
        self.begun
    }

    /// Returns the state at this time of the system's clock; for a file, after the frames read so far.
    #[must_use]
    pub fn report(&self, now: SystemTime) -> MonitorReport {
        let mut state = self.shared.lock_first();
        let is_file = state.is_file;
        if !is_file {
            state.feed.expire(now);
        }
        MonitorReport {
            watch: if is_file {
                state.feed.table.watch.report_latest()
            } else {
                state.feed.table.watch.report(now.into())
            },
            unexamined: state.feed.unwrapper.unexamined().clone(),
            names: state.feed.table.names.clone(),
            local_members: self.local_members.as_ref().map(LocalMembersWatcher::known).unwrap_or_default(),
            lost: state.lost,
            recording: state.feed.table.recording.as_ref().map(RecordingStatus::of),
            is_file: state.is_file,
            is_over: state.end.is_reached(),
        }
    }

    /// Waits until all frames before `moment` are in the table or the source has ended, but not much beyond `moment`.
    pub fn wait_until_seen(&self, moment: SystemTime) {
        const AT_MOST: Duration = Duration::from_millis(500);
        let state = self.shared.lock_first();
        let is_behind = |state: &mut State| !state.end.is_reached() && state.caught_up < Time::from(moment);
        drop(self.shared.changed.wait_timeout_while(state, AT_MOST, is_behind));
    }

    /// Waits at most `at_most` for the end of the file; returns whether it was reached.
    #[must_use]
    pub fn wait_for_end(&self, at_most: Duration) -> bool {
        let state = self.shared.lock_first();
        let is_running = |state: &mut State| !state.end.is_reached();
        let waited = self.shared.changed.wait_timeout_while(state, at_most, is_running);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.end.is_reached()
    }

    /// Returns, once, why the capture failed.
    #[must_use]
    pub fn failure(&self) -> Option<SourceError> {
        self.shared.lock_first().end.failure()
    }

    /// Returns how many frames of a file were skipped because their link layer cannot be decoded, once its end is reached.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.shared.lock_first().skipped
    }

    /// Returns why the members on this machine are no longer updated, if they are not.
    #[must_use]
    pub fn local_members_failure(&self) -> Option<String> {
        self.local_members.as_ref().and_then(LocalMembersWatcher::failure)
    }

    /// Returns whether any selected datagram has arrived.
    #[must_use]
    pub fn has_seen_streams(&self) -> bool {
        self.shared.lock_first().feed.table.watch.has_seen_datagrams()
    }

    /// Starts to record a stream to a new file. Another recording ends.
    ///
    /// # Errors
    /// If the file exists or cannot be created.
    pub fn record(&self, key: StreamKey, path: PathBuf) -> Result<(), FileError> {
        self.shared.lock_first().feed.table.record(key, path)
    }

    /// Ends the recording, and returns its state.
    #[must_use = "a recording may have failed"]
    pub fn end_recording(&self) -> Option<RecordingStatus> {
        let mut recording = self.shared.lock_first().feed.table.recording.take()?;
        recording.flush();
        Some(RecordingStatus::of(&recording))
    }

    /// Returns what has appeared, changed or departed since the last call, of what announces itself on the captured
    /// interfaces, and what was dropped so far. Whatever streams are selected, all of it is read; nothing unless
    /// [`MonitorOptions::discovers`] is set.
    #[must_use]
    pub fn discovered(&self, now: SystemTime) -> (Vec<DiscoveryEvent>, DiscoveryCounts) {
        if let Some(watcher) = &self.interfaces {
            // A failure leaves those that were known last.
            let _ = watcher.wait(Some(Duration::ZERO));
        }
        let mut state = self.shared.lock_first();
        let is_file = state.is_file;
        let Some(table) = &mut state.feed.table.discovery else { return Default::default() };
        self.interfaces.iter().for_each(|watcher| remove_vanished(table, watcher));
        if !is_file {
            table.handle_timeout(now.into());
        }
        (std::iter::from_fn(|| table.poll_event()).collect(), table.counts())
    }

    /// Returns all that announces itself at present, likewise.
    #[must_use]
    pub fn discovered_entries(&self) -> Vec<Discovered> {
        let state = self.shared.lock_first();
        let table = state.feed.table.discovery.as_ref();
        table.map(|table| table.entries().into_iter().cloned().collect()).unwrap_or_default()
    }

    /// Resets all counters.
    pub fn clear(&self) {
        self.shared.lock_first().feed.table.watch.clear(SystemTime::now().into());
    }

    /// Ends the capture and the recording.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        drop(self.end_recording());
    }
}

impl Shared {
    /// Locks the state with priority over the capturing thread.
    fn lock_first(&self) -> MutexGuard<'_, State> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let state = self.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capture(&self, mut frames: LiveFrames) {
        let end = SourceEnd::of(&self.stop, || match self.take_in(&mut frames) {
            Err(error) if is_transient(&error) => Ok(true),
            taken => taken,
        });
        let mut state = self.lock();
        state.feed.finish();
        state.lost = frames.lost();
        state.skipped = frames.skipped();
        state.end = end;
        drop(state);
        self.changed.notify_all();
    }

    /// Handles available frames, or waits for some; returns `false` when the source has ended.
    ///
    /// The state is not locked while waiting for a frame, because reading a pipe may block for long.
    fn take_in(&self, frames: &mut LiveFrames) -> Result<bool, SourceError> {
        while self.waiting.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        let before = Time::from(SystemTime::now() - frames.longest_delay());
        for _ in 0..FRAMES_PER_TURN {
            if let Some(frame) = frames.next(Duration::ZERO)? {
                self.lock().feed.take(&frame);
                continue;
            }
            if frames.discard_vanished() {
                self.lock().interfaces = names(frames);
            }
            let lost = frames.lost();
            self.lock().has_taken_all(before, lost);
            self.changed.notify_all();
            if frames.are_over() {
                return Ok(false);
            }
            if let Some(frame) = frames.next(WAIT)? {
                self.lock().feed.take(&frame);
            }
            break;
        }
        Ok(true)
    }
}

impl State {
    /// Records that all frames before `moment` are in the table.
    fn has_taken_all(&mut self, moment: Time, lost: Option<u64>) {
        self.caught_up = moment;
        self.lost = lost;
        if let Some(recording) = &mut self.feed.table.recording {
            recording.flush();
        }
    }
}

/// Returns the names of the captured interfaces; `None` for a file.
fn names(frames: &LiveFrames) -> Option<String> {
    let names = frames.interfaces().iter().map(|interface| interface.name.as_str());
    (!frames.is_file()).then(|| names.collect::<Vec<_>>().join(", "))
}

/// Returns whether a capture continues after an error: an interface that is down may come back, and the others still
/// work.
pub(super) fn is_transient(error: &SourceError) -> bool {
    matches!(error, SourceError::Capture(error) if error.kind() == ErrorKind::InterfaceDown)
}

/// The state of a [`Monitor`](super::Monitor) at one moment.
#[derive(Debug)]
pub struct MonitorReport {
    /// The table.
    pub watch: WatchReport,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    pub(super) local_members: Arc<LocalMembers>,
    /// Frames with packets inside that were not decoded.
    pub unexamined: UnexaminedFrames,
    /// The number of packets that arrived too fast to be captured; `None` if it is unknown.
    pub lost: Option<u64>,
    /// The recording, if there is one.
    pub recording: Option<RecordingStatus>,
    /// Whether the frames are those of a file.
    pub is_file: bool,
    /// Whether the frames have ended.
    pub is_over: bool,
}

/// The state of a recording.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordingStatus {
    /// Its file.
    pub path: PathBuf,
    /// The number of frames written.
    pub frames: u64,
    /// Why it ended early, if it did.
    pub failure: Option<String>,
}

impl MonitorReport {
    /// Returns the name of an interface, or its index. The name is escaped for a terminal.
    #[must_use]
    pub fn interface(&self, index: InterfaceIndex) -> String {
        self.names.get(&index).map_or_else(|| index.to_string(), ToString::to_string)
    }

    /// Returns the local members of the stream's group on its interface.
    #[must_use]
    pub fn local_members(&self, row: &Row) -> &[LocalMember] {
        self.local_members.of(row.key.group, row.key.interface)
    }

    /// Returns the rate of a stream to show: the latest, or for a file the mean.
    #[must_use]
    pub const fn rate(&self, row: &Row) -> StreamRate {
        if self.is_file { row.mean } else { row.now }
    }

    /// Returns the sum of the rates of all streams.
    #[must_use]
    pub fn total_rate(&self) -> StreamRate {
        let rates = self.watch.streams.iter().map(|row| self.rate(row));
        rates.fold(StreamRate::default(), |sum, rate| StreamRate {
            datagrams_per_second: sum.datagrams_per_second + rate.datagrams_per_second,
            bits_per_second: sum.bits_per_second + rate.bits_per_second,
        })
    }

    /// Returns whether a stream has fallen silent: no datagrams arrived in the last interval.
    #[must_use]
    pub fn is_quiet(&self, row: &Row) -> bool {
        !self.is_file && row.now.datagrams_per_second == 0.0 && row.quiet >= Duration::from_secs(1)
    }
}

impl RecordingStatus {
    pub(super) fn of(recording: &Recording) -> Self {
        Self { path: recording.path.clone(), frames: recording.frames(), failure: recording.failure.clone() }
    }
}

/// The table, and the state for filling it.
#[derive(Debug)]
pub(super) struct Feed {
    unwrapper: Unwrapper,
    pub(super) table: FeedTable,
}

/// The table, and what decides which packets are in it.
#[derive(Debug)]
pub(super) struct FeedTable {
    pub(super) watch: Watch,
    discovery: Option<DiscoveryTable>,
    legs: OutgoingLegs,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    /// The interface of the latest frame, whose name is known.
    latest_interface: Option<InterfaceIndex>,
    pub(super) recording: Option<Recording>,
    keys: Keys,
    filter: PacketFilter,
    /// Whether the position of sequence numbers is given.
    has_field: bool,
}

/// A datagram of the message layer. Its header is clear even if its body is sealed.
pub(super) struct StreamPacket<'a> {
    payload: &'a [u8],
    view: wire::DatagramView<'a>,
}

impl Feed {
    pub(super) fn new(options: MonitorOptions) -> Self {
        let MonitorOptions { watch, filter, keys, discovers, .. } = options;
        let table = FeedTable {
            watch: Watch::new(watch),
            discovery: discovers.then(DiscoveryTable::new),
            legs: OutgoingLegs::default(),
            names: HashMap::new(),
            latest_interface: None,
            recording: None,
            keys,
            filter,
            has_field: watch.sequence.is_some(),
        };
        Self { unwrapper: Unwrapper::new(), table }
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>) {
        let table = &mut self.table;
        table.add_name(frame);
        if !table.filter.watches(&frame.context(None)) {
            return;
        }
        self.unwrapper.visit(frame, &mut |packet| table.take(packet, Some(frame)));
    }

    /// Gives up datagrams whose fragments have not come by this time.
    fn expire(&mut self, now: SystemTime) {
        let table = &mut self.table;
        self.unwrapper.expire(now, &mut |packet| table.take(packet, None));
    }

    /// Gives up all datagrams whose fragments have not come.
    fn finish(&mut self) {
        let table = &mut self.table;
        self.unwrapper.finish(&mut |packet| table.take(packet, None));
    }
}

impl FeedTable {
    /// Starts to record a stream to a file.
    pub(super) fn record(&mut self, key: StreamKey, path: PathBuf) -> Result<(), FileError> {
        self.recording = Some(Recording::start(key, path)?);
        Ok(())
    }

    fn add_name(&mut self, frame: &Frame<'_>) {
        if self.latest_interface != Some(frame.interface) {
            self.names.entry(frame.interface).or_insert_with(|| name_of(frame));
            self.latest_interface = Some(frame.interface);
        }
    }

    /// Adds a packet, which is in `frame` unless it was given up.
    fn take(&mut self, unwrapped: &UnwrappedPacket<'_>, frame: Option<&Frame<'_>>) {
        let packet = unwrapped.packet;
        if let Some(discovery) = &mut self.discovery {
            discover(discovery, unwrapped.time.into(), unwrapped);
        }
        let state = match unwrapped.part {
            Part::Whole => PacketState::Whole,
            Part::Reassembled { .. } => PacketState::Reassembled,
            Part::Incomplete { .. } => PacketState::Incomplete,
            Part::Fragment => {
                if let (Some(recording), Some(frame)) = (&mut self.recording, frame) {
                    recording.write(frame, packet, None);
                }
                return;
            }
        };
        let of_stream = packet.udp().and_then(|udp| StreamPacket::read(udp.payload));
        let is_whole = state != PacketState::Incomplete;
        if let (Some(ip), Some(Transport::Udp(udp))) = (packet.ip_layer(), &packet.transport) {
            // Before the selection, because announcements contain the names of selected streams.
            if let Some(stream) = of_stream.as_ref().filter(|_| is_whole) {
                let source = SocketAddr::new(ip.source, udp.source_port);
                let (time, interface) = (unwrapped.time.into(), unwrapped.interface);
                stream
                    .announcement(time, interface, source, &self.keys)
                    .into_iter()
                    .for_each(|announced| self.watch.announce(announced));
            }
            if !self.filter.admits(packet, &unwrapped.context(Some(udp.destination_port))) {
                return;
            }
        }
        let key = self.watch.observe(&ObservedPacket {
            time: Time::from(unwrapped.time),
            interface: self.legs.interface(unwrapped, &mut self.names),
            outgoing: unwrapped.direction.is_outgoing(),
            length: unwrapped.length,
            packet,
            state,
            tunnel: unwrapped.tunnel,
            sequence_info: of_stream
                .filter(|_| !self.has_field)
                .and_then(|stream| stream.sequence_info(&self.keys)),
        });
        if let (Some(recording), Some(frame)) = (&mut self.recording, frame) {
            recording.write(frame, packet, key);
        }
    }
}

/// Removes what was announced on interfaces that are gone, also by frames that were captured before.
pub(super) fn remove_vanished(table: &mut DiscoveryTable, watcher: &InterfaceWatcher) {
    let indices = |interface: &Interface| [Family::V4, Family::V6].map(|family| interface.index_for(family));
    let known: HashSet<InterfaceIndex> = watcher.known().iter().flat_map(indices).collect();
    table.retain_interfaces(|index| known.contains(&index));
}

/// Adds a packet to the table. Fragments are added when they are whole.
pub(super) fn discover(table: &mut DiscoveryTable, now: Time, unwrapped: &UnwrappedPacket<'_>) {
    if !matches!(unwrapped.part, Part::Whole | Part::Reassembled { .. }) {
        return;
    }
    // Identifier 0 means that the tag carries only a priority.
    let vlan = unwrapped.packet.vlans().map(|tag| tag.id).find(|id| *id != 0);
    let place = DiscoveryPlace { interface: unwrapped.interface, vlan };
    let outgoing = unwrapped.direction.is_outgoing();
    table.handle_packet(now, &DiscoveryPacket { place, outgoing, packet: unwrapped.packet });
    if let (Some(ip), Some(udp)) = (unwrapped.packet.ip_layer(), unwrapped.packet.udp()) {
        discover_stream(table, now, place, SocketAddr::new(ip.source, udp.source_port), udp.payload);
    }
}

/// Adds a stream of the message layer, or its history, if a datagram announces it.
pub(super) fn discover_stream(
    table: &mut DiscoveryTable,
    now: Time,
    place: DiscoveryPlace,
    source: SocketAddr,
    payload: &[u8],
) {
    let Some(stream) = StreamPacket::read(payload) else { return };
    if let Some(announced) = stream.announcement(now, place.interface, source, &Keys::none()) {
        table.handle_stream(now, place.vlan, &announced);
    } else if let Some((stream, server)) = stream.history() {
        table.handle_history(now, place, source, stream, server);
    }
}

/// Separates the interfaces on which a machine sends, in captures on all its interfaces at once that do not state them
/// (`LINKTYPE_LINUX_SLL`): by the hardware address of the interface, which is that of the sender. Copies that are forwarded
/// would otherwise hide what others of them lack.
#[derive(Debug, Default)]
struct OutgoingLegs(HashMap<(InterfaceIndex, [u8; 8]), InterfaceIndex>);

impl OutgoingLegs {
    /// Addresses can be forged: those beyond are not separated.
    const MAX: usize = 256;
    /// More than a file can describe.
    const FIRST: u32 = 0x6000_0000;

    fn interface(
        &mut self,
        packet: &UnwrappedPacket<'_>,
        names: &mut HashMap<InterfaceIndex, Arc<str>>,
    ) -> InterfaceIndex {
        let captured = packet.interface;
        let Some(cooked) = packet.packet.cooked.filter(|cooked| {
            cooked.kind == CookedKind::Outgoing && cooked.link_type() == LinkType::LinuxCooked
        }) else {
            return captured;
        };
        let key = (captured, cooked.address);
        if let Some(known) = self.0.get(&key) {
            return *known;
        }
        let number =
            u32::try_from(self.0.len()).ok().and_then(|number| InterfaceIndex::new(Self::FIRST + number));
        let Some(number) = number.filter(|_| self.0.len() < Self::MAX) else { return captured };
        self.0.insert(key, number);
        let of = names.get(&captured).cloned().unwrap_or_else(|| format!("#{captured}").into());
        let [a, b, c, d, e, f, ..] = cooked.address;
        names.insert(number, format!("{of} out {}", MacAddress([a, b, c, d, e, f])).into());
        number
    }
}

/// Returns the sequence information of a payload of the message layer, as far as it is readable without a key; `None`
/// for other payloads.
#[must_use]
pub fn sequence_info(payload: &[u8]) -> Option<SequenceInfo> {
    StreamPacket::read(payload)?.sequence_info(&Keys::none())
}

/// Returns the name of the frame's interface to show, or its number if it has none. A name in a file is untrusted.
fn name_of(frame: &Frame<'_>) -> Arc<str> {
    match frame.interface_name {
        Some(name) => SafeText::new(name.as_bytes()).to_string().into(),
        None => format!("#{}", frame.interface).into(),
    }
}

impl<'a> StreamPacket<'a> {
    pub(super) fn read(payload: &'a [u8]) -> Option<Self> {
        Some(Self { payload, view: wire::DatagramView::parse(payload).ok()? })
    }

    fn is(&self, kind: Kind) -> bool {
        self.view.header.kind == kind
    }

    fn is_sealed(&self) -> bool {
        self.view.header.epoch != KeyEpoch::CLEAR
    }

    fn identity(&self) -> StreamIdentity {
        let header = &self.view.header;
        StreamIdentity {
            stream: header.stream.0,
            incarnation: header.incarnation.0,
            sealed: self.is_sealed(),
        }
    }

    /// Returns the body; `None` if it is sealed and none of the keys opens it.
    fn body(&self, keys: &Keys) -> Option<Cow<'a, [u8]>> {
        if !self.is_sealed() {
            return Some(Cow::Borrowed(self.view.body));
        }
        let mut bytes = opened(self.payload, keys)?;
        Some(Cow::Owned(bytes.split_off(self.view.head.len().min(bytes.len()))))
    }

    /// Returns what it announces, if it is an announcement of a stream that can be read.
    pub(super) fn announcement(
        &self,
        time: Time,
        interface: InterfaceIndex,
        source: SocketAddr,
        keys: &Keys,
    ) -> Option<StreamAnnouncement> {
        let content = self.is(Kind::Announce).then(|| self.announced(keys))?.ok()?;
        Some(StreamAnnouncement { time, interface, source, identity: self.identity(), content })
    }

    /// Returns the stream whose history it announces, and the address of its server, if it is such an announcement.
    pub(super) fn history(&self) -> Option<(u64, SocketAddr)> {
        let announced = self.is(Kind::History).then(|| HistoryAnnouncement::read(self.view.body))?.ok()?;
        Some((self.view.header.stream.0, announced.address))
    }

    /// Returns the content of an announcement; `None` if it cannot be opened.
    fn announced(&self, keys: &Keys) -> Result<Option<AnnouncementContent>, WireError> {
        let Some(body) = self.body(keys) else { return Ok(None) };
        let announce = Announce::read(&body)?;
        Ok(Some(AnnouncementContent {
            name: announce.name.to_owned(),
            paths: announce.paths.iter().flatten().map(|path| (path.source, path.group)).collect(),
            snapshot: announce.snapshot,
            rate: (announce.rate > 0).then_some(announce.rate),
        }))
    }

    /// Returns the sequence information; `None` for an invalid datagram. A key is only needed for the current end of
    /// the stream, which is in the body.
    fn sequence_info(&self, keys: &Keys) -> Option<SequenceInfo> {
        let header = &self.view.header;
        let is_data = header.kind.is_in_sequence();
        let body = if self.is(Kind::Heartbeat) { self.body(keys) } else { None };
        let end = match body {
            Some(body) => Some(Heartbeat::read(&body).ok()?.next.0),
            None => None,
        };
        Some(SequenceInfo {
            identity: self.identity(),
            number: is_data.then_some(header.sequence),
            repair: is_data && header.flags.has(Flags::REPAIR),
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use mcast_stream_proto::wire::{AnnouncedPath, DatagramWriter, Header, Incarnation, StreamId};

    use super::*;

    #[test]
    fn sealed_announcements_have_no_content_without_the_key() {
        let group = ([239, 1, 2, 3], 5000).into();
        let mut announce = Announce::new("prices");
        announce.paths[0] = Some(AnnouncedPath::new(group, None));
        let header = Header::new(Kind::Announce, StreamId(1), Incarnation(5), 1);
        let mut buffer = vec![0; 400];
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        announce.write(&mut writer).unwrap();
        let length = writer.finish();
        buffer.truncate(length);
        let content = StreamPacket::read(&buffer).unwrap().announced(&Keys::none()).unwrap().unwrap();
        assert_eq!((content.name.as_str(), content.paths), ("prices", vec![(None, group)]));

        buffer[7] = 3;
        let sealed = StreamPacket::read(&buffer).unwrap();
        assert!(sealed.identity().sealed);
        assert_eq!(sealed.announced(&Keys::none()), Ok(None));
    }
}
