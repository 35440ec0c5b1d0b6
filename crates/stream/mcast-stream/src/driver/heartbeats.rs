//! Listening to the heartbeats of a stream's publishers without subscribing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast::{Batch, Cursor, ErrorKind, Membership, Waker};

use super::build_following;
use super::clock::Clock;
use super::error::StreamError;
use crate::seal::Keys;
use crate::wire::{
    DatagramView, Flags, HEADER_LENGTH, Header, Heartbeat, Incarnation, KeyEpoch, Kind, Origin, StreamId,
};

/// The number of buffers in a batch, and the size of each, which holds any coalesced buffer (GRO).
const BUFFERS: usize = 32;
const BYTES: usize = 65_536;
/// The most batches without a heartbeat in one call that does not wait, so that a flooded group does not block the
/// caller.
const MAX_BATCHES: usize = 64;
/// Enough for what a fast publisher sends while this process does not run.
const RECEIVE_BUFFER: usize = 4 << 20;
/// A sealed heartbeat of a publisher whose clock is off by more than this may be replayed, in nanoseconds.
const MAX_SKEW: u64 = 120_000_000_000;
/// The most publishers whose counts are remembered.
const MAX_PUBLISHERS: usize = 64;

/// Receives the heartbeats of a stream from all its publishers, including older incarnations and publishers on this
/// host. It sends nothing.
///
/// In a sealed stream, it accepts heartbeats that the keys open and that were sent recently.
#[derive(Debug)]
pub struct HeartbeatListener {
    receiver: mcast::Receiver,
    batch: Batch,
    next: Cursor,
    stream: StreamId,
    keys: Keys,
    clock: Clock,
    /// The greatest count of each publisher's control datagrams, so that copies and replays are not taken for news.
    counts: Vec<(Incarnation, Option<Origin>, u64)>,
}

/// A heartbeat of one of the publishers of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardHeartbeat {
    /// The publisher's incarnation.
    pub incarnation: Incarnation,
    /// Its state.
    pub heartbeat: Heartbeat,
    /// Whether it has closed the stream.
    pub is_end: bool,
    /// Where its messages come from, if it reads them from an engine.
    pub origin: Option<Origin>,
    /// The address that it sends from.
    pub publisher: SocketAddr,
}

impl HeartbeatListener {
    /// Joins the groups of a stream.
    ///
    /// # Errors
    /// If a group cannot be joined.
    pub fn join(
        memberships: impl IntoIterator<Item = Membership>,
        stream: StreamId,
        keys: Keys,
    ) -> Result<Self, StreamError> {
        let builder = mcast::Receiver::builder().receive_buffer(RECEIVE_BUFFER);
        Ok(Self {
            receiver: build_following(builder, memberships.into_iter().collect())?,
            batch: Batch::new(BUFFERS, BYTES),
            next: Cursor::default(),
            stream,
            keys,
            clock: Clock::new(),
            counts: Vec::new(),
        })
    }

    /// Waits for the next heartbeat for at most `timeout`; `None` if the time is over, or a [`Waker`] ended the wait.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<HeardHeartbeat>, StreamError> {
        let until = Instant::now() + timeout;
        let mut batches = 0;
        loop {
            while let Some(datagram) = self.batch.next_at(&mut self.next) {
                let (payload, source) = (datagram.payload(), datagram.arrival().source);
                let Some((heard, count)) = read(&self.keys, self.stream, payload, source) else { continue };
                let is_sealed = !self.keys.is_empty();
                if is_new(&mut self.counts, &heard, count) && !(is_sealed && is_stale(&self.clock, &heard)) {
                    return Ok(Some(heard));
                }
            }
            self.next = Cursor::default();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && batches == MAX_BATCHES {
                return Ok(None);
            }
            batches += 1;
            let received = match self.receiver.recv_batch(&mut self.batch, Some(Duration::ZERO)) {
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(0) => self.receiver.recv_batch(&mut self.batch, Some(left)),
                received => received,
            };
            match received {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Woken => {
                    self.batch.clear();
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Replaces the secrets of sealed streams.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Returns a waker, which ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.receiver.waker()
    }
}

/// Returns a heartbeat of this stream, and its count, if the datagram is one.
fn read(
    keys: &Keys,
    stream: StreamId,
    datagram: &[u8],
    publisher: SocketAddr,
) -> Option<(HeardHeartbeat, u64)> {
    let (header, head) = Header::read(datagram).ok()?;
    if header.kind != Kind::Heartbeat || header.stream != stream {
        return None;
    }
    let mut bytes = [0; HEADER_LENGTH * 8 + Heartbeat::LENGTH * 2];
    let bytes = bytes.get_mut(..datagram.len())?;
    bytes.copy_from_slice(datagram);
    let end = match (keys.is_empty(), header.epoch) {
        (true, KeyEpoch::CLEAR) => bytes.len(),
        (true, _) => return None,
        (false, _) => keys.open(bytes)?,
    };
    let heard = HeardHeartbeat {
        incarnation: header.incarnation,
        heartbeat: Heartbeat::read(bytes.get(head..end)?).ok()?,
        is_end: header.flags.has(Flags::END_OF_STREAM),
        origin: Origin::of(&DatagramView::parse(datagram).ok()?),
        publisher,
    };
    Some((heard, header.sequence))
}

/// Whether the publisher has not sent this count before.
fn is_new(counts: &mut Vec<(Incarnation, Option<Origin>, u64)>, heard: &HeardHeartbeat, count: u64) -> bool {
    let key = (heard.incarnation, heard.origin);
    match counts.iter_mut().find(|(incarnation, origin, _)| (*incarnation, *origin) == key) {
        Some((.., known)) if *known >= count => false,
        Some((.., known)) => {
            *known = count;
            true
        }
        None => {
            if counts.len() == MAX_PUBLISHERS {
                counts.remove(0);
            }
            counts.push((key.0, key.1, count));
            true
        }
    }
}

/// Whether a heartbeat may be a replayed recording, by its time of day.
fn is_stale(clock: &Clock, heard: &HeardHeartbeat) -> bool {
    match (clock.unix_offset(), heard.heartbeat.unix_time) {
        (None, _) | (_, 0) => false,
        (Some(offset), theirs) => offset.wrapping_add(clock.now().0).abs_diff(theirs) > MAX_SKEW,
    }
}
