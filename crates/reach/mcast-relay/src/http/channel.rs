//! A group that is received for clients, in each form that they want, and which groups a server wants to receive.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mcast_group::{GroupAddr, Membership, SourceFilter};
use mcast_pace::ClockTime;
use mcast_packet::payload::{MpegTs, Rtp};

use super::HttpDatagram;
use super::encode::{self, GapReason};
use super::reorder::Reorder;
use super::resource::StreamKind;
use super::silence::Silence;
use crate::LegId;

/// What a channel is received from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelKey {
    pub(super) leg: LegId,
    pub(super) address: GroupAddr,
    pub(super) sources: SourceFilter,
}

impl ChannelKey {
    /// Whether nothing can be received, because the group is source-specific, and no source is named.
    pub(super) fn lacks_source(&self) -> bool {
        self.address.group.is_source_specific() && matches!(self.sources, SourceFilter::Exclude(_))
    }

    pub(super) fn membership(&self) -> Membership {
        Membership::new(self.address).from_sources(self.sources.clone())
    }
}

/// The time for which a stream is kept after its last client has left, so that one that returns misses nothing.
const LINGER: Duration = Duration::from_secs(2);
/// The time over which rates are measured.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The group from one leg, for one set of sources.
#[derive(Debug)]
pub(super) struct Channel {
    /// The number of the rule that names it.
    pub(super) rule: usize,
    /// Distinguishes its numbers from those of other channels and relays.
    epoch: u64,
    /// The number of the last datagram. The first one has 1.
    last: u64,
    streams: BTreeMap<StreamKind, Stream>,
    pub(super) counts: ChannelCounts,
    rate: RateMeter,
    pub(super) silence: Silence,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ChannelCounts {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    /// Datagrams that were lost on this host.
    pub(super) lost: u64,
}

/// The channel in one form.
#[derive(Debug)]
struct Stream {
    feed: Feed,
    clients: usize,
    /// When the last client has left.
    idle_since: Option<ClockTime>,
    reorder: Option<Reorder<Chunk>>,
    /// The position of the first chunk that a client lacks.
    needed: u64,
}

#[derive(Debug, Default)]
struct RateMeter {
    start: ClockTime,
    bytes: u64,
    rate: f64,
}

/// Where a new client starts.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) cursor: Cursor,
    /// The report of datagrams that are gone.
    pub(super) gap: Vec<u8>,
}

impl Channel {
    pub(super) fn new(now: ClockTime, rule: usize, epoch: u64) -> Self {
        let (counts, rate) = (ChannelCounts::default(), RateMeter::default());
        Self { rule, epoch, last: 0, streams: BTreeMap::new(), counts, rate, silence: Silence::new(now) }
    }

    pub(super) fn receive(&mut self, now: ClockTime, datagram: &HttpDatagram, capacity: usize) {
        let length = datagram.payload.len();
        self.counts.datagrams += 1;
        self.counts.bytes += length as u64;
        self.counts.lost += datagram.lost;
        self.rate.add(now, length);
        let before = self.last + datagram.lost;
        self.last = before + 1;
        for (kind, stream) in &mut self.streams {
            match kind {
                StreamKind::Udp => {
                    stream.feed.push(Chunk::whole(Arc::clone(&datagram.payload)), self.last, capacity);
                }
                StreamKind::Rtp => stream.receive_rtp(now, &datagram.payload, capacity),
                StreamKind::Sse | StreamKind::WebSocket | StreamKind::RawWebSocket => {
                    if datagram.lost > 0 {
                        let (id, lost) = (event_id(self.epoch, before), Some(datagram.lost));
                        let gap = encode::gap(*kind, &id, GapReason::Lost, lost);
                        stream.feed.push(Chunk::whole(gap), before, capacity);
                    }
                    let event = encode::datagram(*kind, &event_id(self.epoch, self.last), datagram);
                    stream.feed.push(Chunk::whole(event), self.last, capacity);
                }
            }
        }
    }

    /// Adds a client. With the identifier of an event, it starts after that one.
    pub(super) fn subscribe(&mut self, kind: StreamKind, last_event_id: Option<&str>) -> Start {
        let (epoch, last) = (self.epoch, self.last);
        let stream = self.streams.entry(kind).or_insert_with(|| Stream::after(kind, last));
        stream.clients += 1;
        stream.idle_since = None;
        let live = stream.feed.live();
        let Some(given) = last_event_id else { return Start { cursor: live, gap: Vec::new() } };
        let number = number_of(epoch, given).filter(|number| *number <= last);
        let Some(number) = number else {
            let gap = encode::gap(kind, &event_id(epoch, last), GapReason::Unknown, None);
            return Start { cursor: live, gap };
        };
        let mut cursor = stream.feed.after_number(number);
        let gap = match stream.feed.catch_up(&mut cursor) {
            0 => Vec::new(),
            missed => encode::gap(kind, &event_id(epoch, cursor.number), GapReason::Expired, Some(missed)),
        };
        Start { cursor, gap }
    }

    pub(super) fn unsubscribe(&mut self, now: ClockTime, kind: StreamKind) {
        let Some(stream) = self.streams.get_mut(&kind) else { return };
        stream.clients = stream.clients.saturating_sub(1);
        stream.idle_since = (stream.clients == 0).then_some(now);
    }

    /// Moves a client that has fallen behind. Returns how many datagrams it misses, and the report for it.
    pub(super) fn catch_up(&self, kind: StreamKind, cursor: &mut Cursor) -> Option<(u64, Vec<u8>)> {
        let missed = self.streams.get(&kind)?.feed.catch_up(cursor);
        let gap = || encode::gap(kind, &event_id(self.epoch, cursor.number), GapReason::Slow, Some(missed));
        (missed > 0).then(|| (missed, gap()))
    }

    pub(super) fn feed(&self, kind: StreamKind) -> Option<&Feed> {
        self.streams.get(&kind).map(|stream| &stream.feed)
    }

    /// Sends what has been held back for too long, and forgets streams that nobody has received for a while. Returns
    /// whether any remains.
    pub(super) fn expire(&mut self, now: ClockTime, capacity: usize) -> bool {
        self.streams.retain(|_, stream| {
            stream.release(now, capacity);
            // With more streams, each of them keeps less.
            stream.feed.trim(capacity);
            stream.idle_since.is_none_or(|since| now < since + LINGER)
        });
        !self.streams.is_empty()
    }

    /// Starts to ask what clients lack: [`Self::need`] follows for each of them, then [`Self::forget_sent`].
    pub(super) fn need_nothing(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.needed = stream.feed.end());
    }

    /// Records that a client of this form lacks the chunk at this position.
    pub(super) fn need(&mut self, kind: StreamKind, position: u64) {
        if let Some(stream) = self.streams.get_mut(&kind) {
            stream.needed = stream.needed.min(position);
        }
    }

    /// Forgets what every client has, in the forms without identifiers by which somebody could request it again.
    pub(super) fn forget_sent(&mut self) {
        for (kind, stream) in &mut self.streams {
            if matches!(kind, StreamKind::Udp | StreamKind::Rtp) {
                stream.feed.forget_before(stream.needed);
            }
        }
    }

    /// Returns when to call [`Self::expire`] and, for clients, [`Silence::is_due`].
    pub(super) fn deadline(&self) -> Option<ClockTime> {
        let deadlines = |stream: &Stream| {
            let held = stream.reorder.as_ref().and_then(Reorder::deadline);
            [held, stream.idle_since.map(|since| since + LINGER)]
        };
        let silence = (self.clients() > 0).then(|| self.silence.due_at());
        self.streams.values().flat_map(deadlines).flatten().chain(silence).min()
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn clients(&self) -> usize {
        self.streams.values().map(|stream| stream.clients).sum()
    }

    /// Returns the packets of RTP that were missing, and those that were late or repeated.
    pub(super) fn rtp_counts(&self) -> (u64, u64) {
        let reorder = self.streams.get(&StreamKind::Rtp).and_then(|stream| stream.reorder.as_ref());
        reorder.map_or((0, 0), |reorder| (reorder.missing, reorder.discarded))
    }

    /// Returns the present rate in bits per second.
    pub(super) fn bit_rate(&self, now: ClockTime) -> f64 {
        self.rate.bits(now)
    }
}

impl Stream {
    fn after(kind: StreamKind, number: u64) -> Self {
        let reorder = (kind == StreamKind::Rtp).then(Reorder::new);
        Self { feed: Feed::after(number), clients: 0, idle_since: None, reorder, needed: 0 }
    }

    /// Takes a packet of RTP, or a part of a transport stream without it, which some senders change to.
    fn receive_rtp(&mut self, now: ClockTime, payload: &Arc<[u8]>, capacity: usize) {
        let mut out = Vec::new();
        match (Rtp::parse(payload), &mut self.reorder) {
            (Some(packet), Some(reorder)) => {
                let end = packet.payload.as_ptr().addr() - payload.as_ptr().addr();
                let chunk = Chunk::part(Arc::clone(payload), end..end + packet.payload.len());
                reorder.push(now, &packet, chunk, &mut out);
            }
            _ if MpegTs::parse(payload).is_some() => out.push(Chunk::whole(Arc::clone(payload))),
            _ => {}
        }
        self.send(out, capacity);
    }

    fn release(&mut self, now: ClockTime, capacity: usize) {
        let mut out = Vec::new();
        if let Some(reorder) = &mut self.reorder {
            reorder.expire(now, &mut out);
        }
        self.send(out, capacity);
    }

    /// Adds chunks that have numbers of their own.
    fn send(&mut self, chunks: Vec<Chunk>, capacity: usize) {
        for chunk in chunks {
            self.feed.push(chunk, self.feed.last() + 1, capacity);
        }
    }
}

impl RateMeter {
    fn add(&mut self, now: ClockTime, bytes: usize) {
        let passed = now - self.start;
        if passed >= RATE_WINDOW {
            self.rate =
                if passed < 2 * RATE_WINDOW { self.bytes as f64 * 8.0 / passed.as_secs_f64() } else { 0.0 };
            (self.start, self.bytes) = (now, 0);
        }
        self.bytes += bytes as u64;
    }

    fn bits(&self, now: ClockTime) -> f64 {
        if now < self.start + 3 * RATE_WINDOW { self.rate } else { 0.0 }
    }
}

fn event_id(epoch: u64, number: u64) -> String {
    format!("{epoch:016x}-{number}")
}

/// Returns the number in an identifier of this epoch.
fn number_of(epoch: u64, id: &str) -> Option<u64> {
    let (given, number) = id.split_once('-')?;
    (u64::from_str_radix(given, 16).ok()? == epoch).then(|| number.parse().ok())?
}

/// The groups that clients receive, each with its sources and the number of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpDemand(BTreeMap<(LegId, GroupAddr), (SourceFilter, usize)>);

impl HttpDemand {
    /// Adds a group.
    pub(super) fn add(&mut self, leg: LegId, address: GroupAddr, sources: &SourceFilter, rule: usize) {
        let (known, _) = self.0.entry((leg, address)).or_insert((SourceFilter::NONE, rule));
        *known = known.union(sources);
    }

    /// Returns the rule by which a datagram is wanted.
    #[must_use]
    pub fn rule_for(&self, leg: LegId, address: GroupAddr, source: IpAddr) -> Option<usize> {
        let (sources, rule) = self.0.get(&(leg, address))?;
        sources.admits(source).then_some(*rule)
    }

    /// Returns the groups to receive on a leg.
    pub fn on(&self, leg: LegId) -> impl Iterator<Item = (GroupAddr, &SourceFilter)> {
        let of_leg = self.0.iter().filter(move |((known, _), _)| *known == leg);
        of_leg.map(|((_, address), (sources, _))| (*address, sources))
    }

    /// Returns the legs with groups to receive.
    pub fn legs(&self) -> impl Iterator<Item = LegId> {
        self.0.keys().map(|(leg, _)| *leg)
    }
}

/// What a chunk costs beside its bytes.
const OVERHEAD: usize = 128;

/// Bytes that are sent to clients: a datagram or a part of it, or an event.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    bytes: Arc<[u8]>,
    range: Range<usize>,
    /// The number of the last datagram that it contains or stands for.
    pub(super) number: u64,
}

impl Chunk {
    /// Creates a chunk of a part of these bytes, all of which are kept.
    pub(super) fn part(bytes: Arc<[u8]>, range: Range<usize>) -> Self {
        Self { bytes, range, number: 0 }
    }

    pub(super) fn whole(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let range = 0..bytes.len();
        Self::part(bytes, range)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The position of the next chunk.
    pub(super) position: u64,
    /// The number of the last datagram that was sent to the client, or reported as missed.
    pub(super) number: u64,
}

/// The latest chunks of a stream.
#[derive(Debug)]
pub(super) struct Feed {
    chunks: VecDeque<Chunk>,
    /// The position of the oldest one.
    first: u64,
    /// The number of the last datagram before it.
    gone: u64,
    /// The number of the last datagram.
    last: u64,
    cost: usize,
}

impl Feed {
    /// Creates a feed that starts after the datagram with this number.
    pub(super) const fn after(number: u64) -> Self {
        Self { chunks: VecDeque::new(), first: 0, gone: number, last: number, cost: 0 }
    }

    /// Adds a chunk, which stands for datagrams up to this number, and forgets the oldest ones above the capacity. An
    /// empty chunk is not kept.
    pub(super) fn push(&mut self, chunk: Chunk, number: u64, capacity: usize) {
        self.last = number;
        if chunk.bytes().is_empty() {
            return;
        }
        self.cost += chunk.cost();
        self.chunks.push_back(Chunk { number, ..chunk });
        self.trim(capacity);
    }

    /// Forgets the oldest chunks above the capacity, except for the latest chunk.
    pub(super) fn trim(&mut self, capacity: usize) {
        while self.cost > capacity && self.chunks.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Forgets the chunks before this position.
    fn forget_before(&mut self, position: u64) {
        while self.first < position && !self.chunks.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.chunks.pop_front() {
            self.cost -= oldest.cost();
            self.gone = oldest.number;
            self.first += 1;
        }
    }

    /// Returns the number of the last datagram.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Returns the position after the latest chunk.
    pub(super) fn end(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Returns a cursor after the latest chunk.
    pub(super) fn live(&self) -> Cursor {
        Cursor { position: self.end(), number: self.last }
    }

    /// Returns a cursor after the datagram with this number, or as close after it as chunks are kept.
    fn after_number(&self, number: u64) -> Cursor {
        let before = self.chunks.partition_point(|chunk| chunk.number <= number);
        Cursor { position: self.first + before as u64, number }
    }

    /// Moves a cursor that has fallen behind to the oldest chunk. Returns how many datagrams it misses.
    pub(super) fn catch_up(&self, cursor: &mut Cursor) -> u64 {
        let missed = self.gone.saturating_sub(cursor.number);
        if cursor.position < self.first || missed > 0 {
            *cursor =
                Cursor { position: cursor.position.max(self.first), number: cursor.number.max(self.gone) };
        }
        missed
    }

    /// Returns the chunks at a cursor and after it.
    pub(super) fn from(&self, cursor: Cursor) -> impl Iterator<Item = &Chunk> {
        let start = usize::try_from(cursor.position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.chunks.range(start.min(self.chunks.len())..)
    }

    #[cfg(test)]
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reader_gets_every_number_once_or_is_told_that_it_missed_it(
            steps in prop::collection::vec((0_usize..2_000, 0_usize..4), 1..200), capacity in 500_usize..5_000
        ) {
            let mut feed = Feed::after(10);
            let (mut cursor, mut read, mut missed) = (feed.live(), 0, 0);
            for (number, (length, reads)) in (11..).zip(&steps) {
                feed.push(Chunk::whole(vec![0; *length + 1]), number, capacity);
                prop_assert!(feed.cost() <= capacity.max(*length + 1 + OVERHEAD));
                for _ in 0..*reads {
                    missed += feed.catch_up(&mut cursor);
                    let Some(chunk) = feed.from(cursor).next() else { break };
                    prop_assert_eq!(chunk.number, cursor.number + 1);
                    cursor = Cursor { position: cursor.position + 1, number: chunk.number };
                    read += 1;
                }
            }
            missed += feed.catch_up(&mut cursor);
            let rest = feed.from(cursor).count() as u64;
            prop_assert_eq!(read + missed + rest, steps.len() as u64);
            prop_assert_eq!(feed.catch_up(&mut cursor), 0);
        }

        #[test]
        fn a_reader_resumes_after_any_number(kept in 1_u64..40, asked in 0_u64..60) {
            let mut feed = Feed::after(10);
            // Twenty chunks at most.
            (11..11 + kept).for_each(|number| feed.push(Chunk::whole([0]), number, 20 * (1 + OVERHEAD)));
            let mut cursor = feed.after_number(asked);
            let missed = feed.catch_up(&mut cursor);
            let first = feed.from(cursor).next().map(|chunk| chunk.number);
            prop_assert_eq!(first, (asked < feed.last()).then_some(asked + missed + 1));
        }
    }
}
