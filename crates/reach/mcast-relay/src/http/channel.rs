//! A group that is received for clients, in each form that they want, and which groups a server wants to receive.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mcast_group::{GroupAddr, Membership, SourceFilter};
use mcast_http::{Feed, FeedChunk, FeedCursor, event_id, number_of};
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
    reorder: Option<Reorder<FeedChunk>>,
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
    pub(super) cursor: FeedCursor,
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
                    stream.feed.push(FeedChunk::whole(Arc::clone(&datagram.payload)), self.last, capacity);
                }
                StreamKind::Rtp => stream.receive_rtp(now, &datagram.payload, capacity),
                StreamKind::Sse | StreamKind::WebSocket | StreamKind::RawWebSocket => {
                    if datagram.lost > 0 {
                        let (id, lost) = (event_id(self.epoch, before), Some(datagram.lost));
                        let gap = encode::gap(*kind, &id, GapReason::Lost, lost);
                        stream.feed.push(FeedChunk::whole(gap), before, capacity);
                    }
                    let event = encode::datagram(*kind, &event_id(self.epoch, self.last), datagram);
                    stream.feed.push(FeedChunk::whole(event), self.last, capacity);
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
    pub(super) fn catch_up(&self, kind: StreamKind, cursor: &mut FeedCursor) -> Option<(u64, Vec<u8>)> {
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
                let chunk = FeedChunk::part(Arc::clone(payload), end..end + packet.payload.len());
                reorder.push(now, &packet, chunk, &mut out);
            }
            _ if MpegTs::parse(payload).is_some() => out.push(FeedChunk::whole(Arc::clone(payload))),
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
    fn send(&mut self, chunks: Vec<FeedChunk>, capacity: usize) {
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
