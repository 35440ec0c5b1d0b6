//! A connection: its request, then a response or a stream.

use std::io::IoSlice;
use std::net::SocketAddr;

use mcast_pace::ClockTime;

use super::channel::{Channel, ChannelKey, Chunk, Cursor, Feed};
use super::encode::FrameReader;
use super::resource::StreamKind;

/// The largest number of chunks that are written together.
const TOGETHER: usize = 64;
/// The most that is kept for a client beside the streams: more is only due if it does not take what it requests.
pub(super) const MAX_OWN: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) listener: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) state: ClientState,
    pub(super) outbox: Outbox,
    /// When it connected, and when something was sent to it.
    pub(super) since: ClockTime,
    pub(super) last_sent: ClockTime,
    /// Since when it takes nothing, although there is something.
    pub(super) blocked_since: Option<ClockTime>,
    pub(super) sent: u64,
}

#[derive(Debug)]
pub(super) enum ClientState {
    /// Its request is not complete.
    Request(Vec<u8>),
    Stream(Subscription),
    /// Its response is being sent since this time, and the connection ends after it.
    Ending(ClockTime),
    /// The connection ends now.
    Gone,
}

/// A client of a stream.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) channel: ChannelKey,
    pub(super) kind: StreamKind,
    pub(super) cursor: Cursor,
    /// Since when it has not caught up after it had fallen behind.
    pub(super) behind_since: Option<ClockTime>,
    pub(super) skipped: u64,
    pub(super) frames: FrameReader,
}

/// What is sent before the next chunk of a stream.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// A chunk of which some bytes have been sent.
    current: Option<(Chunk, usize)>,
    own: Vec<u8>,
    own_sent: usize,
}

impl Client {
    pub(super) fn new(now: ClockTime, listener: SocketAddr, address: SocketAddr) -> Self {
        Self {
            listener,
            address,
            state: ClientState::Request(Vec::new()),
            outbox: Outbox::default(),
            since: now,
            last_sent: now,
            blocked_since: None,
            sent: 0,
        }
    }

    pub(super) const fn subscription(&self) -> Option<&Subscription> {
        match &self.state {
            ClientState::Stream(subscription) => Some(subscription),
            ClientState::Request(_) | ClientState::Ending(_) | ClientState::Gone => None,
        }
    }

    /// Returns whether there is something to write.
    pub(super) fn has_pending(&self, feed: Option<&Feed>) -> bool {
        let has_chunks = || {
            let subscription = self.subscription();
            feed.zip(subscription).is_some_and(|(feed, own)| own.cursor.position < feed.end())
        };
        !self.outbox.is_empty() || has_chunks()
    }

    /// Returns what to write.
    pub(super) fn slices<'a>(&'a self, feed: Option<&'a Feed>) -> Vec<IoSlice<'a>> {
        let chunks = feed.zip(self.subscription()).map(|(feed, own)| feed.from(own.cursor));
        let chunks = chunks.into_iter().flatten().map(Chunk::bytes);
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
    pub(super) fn wrote(&mut self, now: ClockTime, count: usize, feed: Option<&Feed>) {
        self.sent += count as u64;
        (self.last_sent, self.blocked_since) = (now, None);
        let mut rest = self.outbox.advance(count);
        let (ClientState::Stream(subscription), Some(feed)) = (&mut self.state, feed) else { return };
        for chunk in feed.from(subscription.cursor) {
            if rest == 0 {
                break;
            }
            subscription.cursor = Cursor { position: subscription.cursor.position + 1, number: chunk.number };
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

    /// Moves on if it has fallen behind. Returns how many datagrams it misses.
    pub(super) fn catch_up(&mut self, now: ClockTime, channel: &Channel) -> u64 {
        let Self { state: ClientState::Stream(subscription), outbox, .. } = self else { return 0 };
        let Some((missed, gap)) = channel.catch_up(subscription.kind, &mut subscription.cursor) else {
            return 0;
        };
        subscription.skipped += missed;
        subscription.behind_since.get_or_insert(now);
        outbox.push(&gap);
        missed
    }
}

impl Outbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.own.extend(bytes);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.current.is_none() && self.own.is_empty()
    }

    /// Returns the number of bytes that are kept for this client alone.
    pub(super) const fn own_len(&self) -> usize {
        self.own.len()
    }

    /// Returns whether more than a request may cause is waiting.
    pub(super) const fn is_full(&self) -> bool {
        self.own.len() > MAX_OWN
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
