//! A connection: its request, then a response or a stream.

use std::io::IoSlice;
use std::net::SocketAddr;

use mcast_pace::ClockTime;

use crate::{Feed, FeedChunk, FeedCursor};

/// The largest number of chunks that are written together.
const TOGETHER: usize = 64;
/// The most that is kept for a client beside the streams: more is only due if it does not take what it requests.
const MAX_OWN: usize = 16 << 10;

/// A connection of a client.
#[derive(Debug)]
pub struct HttpConnection<T> {
    /// The address that the client is connected to.
    pub listener: SocketAddr,
    /// The client; for one of a trusted proxy, the client of that, with port 0.
    pub address: SocketAddr,
    /// When it connected.
    pub since: ClockTime,
    /// Bytes sent to it.
    pub sent: u64,
    pub(crate) state: ConnectionState<T>,
    pub(crate) outbox: Outbox,
    /// When something was sent to it.
    pub(crate) last_sent: ClockTime,
    /// Since when it takes nothing, although there is something.
    pub(crate) blocked_since: Option<ClockTime>,
}

#[derive(Debug)]
pub(crate) enum ConnectionState<T> {
    /// Its request is not complete.
    Request(Vec<u8>),
    Stream(Subscription<T>),
    /// Its response is being sent since this time, and the connection ends after it.
    Ending(ClockTime),
    /// The connection ends now.
    Gone,
}

/// A client of a stream.
#[derive(Debug)]
pub struct Subscription<T> {
    /// Which stream, for the service.
    pub of: T,
    /// Where the client is in the feed of the stream.
    pub cursor: FeedCursor,
    /// How many items it has missed because it had fallen behind.
    pub skipped: u64,
    /// Since when it has not caught up after it had fallen behind.
    pub(crate) behind_since: Option<ClockTime>,
}

/// What is sent before the next chunk of a stream.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// A chunk of which some bytes have been sent.
    current: Option<(FeedChunk, usize)>,
    own: Vec<u8>,
    own_sent: usize,
}

impl<T> Subscription<T> {
    /// Creates a client that starts at this place.
    pub const fn new(of: T, cursor: FeedCursor) -> Self {
        Self { of, cursor, skipped: 0, behind_since: None }
    }
}

impl<T> HttpConnection<T> {
    pub(crate) fn new(now: ClockTime, listener: SocketAddr, address: SocketAddr) -> Self {
        Self {
            listener,
            address,
            since: now,
            sent: 0,
            state: ConnectionState::Request(Vec::new()),
            outbox: Outbox::default(),
            last_sent: now,
            blocked_since: None,
        }
    }

    /// Returns the stream that it receives.
    #[must_use]
    pub const fn subscription(&self) -> Option<&Subscription<T>> {
        match &self.state {
            ConnectionState::Stream(subscription) => Some(subscription),
            ConnectionState::Request(_) | ConnectionState::Ending(_) | ConnectionState::Gone => None,
        }
    }

    /// Returns the stream that it receives, to change it.
    pub const fn subscription_mut(&mut self) -> Option<&mut Subscription<T>> {
        match &mut self.state {
            ConnectionState::Stream(subscription) => Some(subscription),
            ConnectionState::Request(_) | ConnectionState::Ending(_) | ConnectionState::Gone => None,
        }
    }

    /// Sends bytes before the next chunk of its stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.outbox.push(bytes);
    }

    /// Returns whether more waits for it than one request may cause.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.outbox.own.len() > MAX_OWN
    }

    /// Returns whether there is something to write, with the feed of its stream.
    #[must_use]
    pub fn has_pending(&self, feed: Option<&Feed>) -> bool {
        let has_chunks = || {
            let subscription = self.subscription();
            feed.zip(subscription).is_some_and(|(feed, own)| own.cursor.position < feed.end())
        };
        !self.outbox.is_empty() || has_chunks()
    }

    /// Records that it has fallen behind by this many items.
    pub fn fell_behind(&mut self, now: ClockTime, missed: u64) {
        if let Some(subscription) = self.subscription_mut() {
            subscription.skipped += missed;
            subscription.behind_since.get_or_insert(now);
        }
    }

    /// Returns what to write, with the feed of its stream.
    #[must_use]
    pub fn slices<'a>(&'a self, feed: Option<&'a Feed>) -> Vec<IoSlice<'a>> {
        let chunks = feed.zip(self.subscription()).map(|(feed, own)| feed.from(own.cursor));
        let chunks = chunks.into_iter().flatten().map(FeedChunk::bytes);
        self.outbox
            .parts()
            .into_iter()
            .chain(chunks)
            .filter(|part| !part.is_empty())
            .take(TOGETHER)
            .map(IoSlice::new)
            .collect()
    }

    /// Records that this many bytes have been written.
    pub(crate) fn wrote(&mut self, now: ClockTime, count: usize, feed: Option<&Feed>) {
        self.sent += count as u64;
        (self.last_sent, self.blocked_since) = (now, None);
        let mut rest = self.outbox.advance(count);
        let (ConnectionState::Stream(subscription), Some(feed)) = (&mut self.state, feed) else { return };
        for chunk in feed.from(subscription.cursor) {
            if rest == 0 {
                break;
            }
            let position = subscription.cursor.position + 1;
            subscription.cursor = FeedCursor { position, number: chunk.number };
            match rest.checked_sub(chunk.bytes().len()) {
                Some(left) => rest = left,
                None => {
                    self.outbox.current = Some((chunk.clone(), rest));
                    break;
                }
            }
        }
        // Only a client that has everything is no longer behind. One that takes nine tenths of the traffic never has.
        if subscription.cursor.position >= feed.end() {
            subscription.behind_since = None;
        }
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.own.extend(bytes);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.current.is_none() && self.own.is_empty()
    }

    /// Returns the number of bytes that are kept for this client alone.
    pub(crate) const fn own_len(&self) -> usize {
        self.own.len()
    }

    fn parts(&self) -> [&[u8]; 2] {
        let current =
            self.current.as_ref().map(|(chunk, sent)| chunk.bytes().get(*sent..).unwrap_or_default());
        [current.unwrap_or_default(), self.own.get(self.own_sent..).unwrap_or_default()]
    }

    /// Removes what has been sent. Returns how many bytes were of chunks after it.
    fn advance(&mut self, count: usize) -> usize {
        let mut rest = count;
        if let Some((chunk, sent)) = &mut self.current {
            let taken = rest.min(chunk.bytes().len() - *sent);
            *sent += taken;
            rest -= taken;
            if *sent == chunk.bytes().len() {
                self.current = None;
            }
        }
        let taken = rest.min(self.own.len() - self.own_sent);
        self.own_sent += taken;
        if self.own_sent == self.own.len() {
            self.own.clear();
            self.own_sent = 0;
        }
        rest - taken
    }
}
