//! Sends a session, and answers re-requests for its messages.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use mcast_pace::TokenBucket;
use mcast_packet::payload::MoldUdp64;
use mcast_stream_proto::ClockTime;

use super::{HEADER, SessionName, request};

/// The time between the heartbeats of an idle sender.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The default bandwidth of replies in bytes per second, and their burst in bytes.
const ALLOWANCE: (u64, u64) = (12_500_000, 1 << 20);
const END_OF_SESSION: u16 = 0xffff;
/// The largest number of messages in a datagram: the next count marks the end of the session.
const MOST_MESSAGES: usize = 0xfffe;

/// The reason why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoldError {
    /// The message does not fit a datagram: there are no fragments.
    #[error("a message of {length} bytes does not fit a datagram of {datagram}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest datagram.
        datagram: usize,
    },
    /// The session is over.
    #[error("the session is over")]
    Ended,
    /// The name of the session is invalid.
    #[error("a session name consists of ASCII letters and digits, padded with spaces")]
    BadSession,
}

/// The sender of a session.
#[derive(Debug)]
pub struct MoldSender {
    session: SessionName,
    datagram: usize,
    history: usize,
    kept: VecDeque<Vec<u8>>,
    kept_bytes: usize,
    /// The number of the first message kept, and of the next message.
    first: u64,
    next: u64,
    open: Vec<u8>,
    open_count: u16,
    ready: VecDeque<Vec<u8>>,
    heartbeat_at: ClockTime,
    ended: bool,
    allowance: TokenBucket,
}

impl MoldSender {
    /// Creates a sender of datagrams of at most `datagram` bytes, which keeps `history` bytes of messages for
    /// re-requests.
    ///
    /// # Errors
    /// [`MoldError::BadSession`] when the name of the session is invalid.
    pub fn new(session: SessionName, datagram: usize, history: usize) -> Result<Self, MoldError> {
        // Apply the rule by which receivers parse it.
        MoldUdp64::parse(&request(session, 1, 0)).ok_or(MoldError::BadSession)?;
        Ok(Self {
            session,
            datagram: datagram.clamp(HEADER + 3, 65_507),
            history,
            kept: VecDeque::new(),
            kept_bytes: 0,
            first: 1,
            next: 1,
            open: Vec::new(),
            open_count: 0,
            ready: VecDeque::new(),
            heartbeat_at: ClockTime(0),
            ended: false,
            allowance: TokenBucket::new(ALLOWANCE.0, ALLOWANCE.1, 0),
        })
    }

    /// Limits the replies to `rate` bytes per second with bursts of `burst` bytes. Requests are 20 bytes in clear, so
    /// an attacker who forges their source address can direct replies at it. Default: 12.5 MB per second, 1 MiB.
    #[must_use]
    pub const fn allow(mut self, rate: u64, burst: u64) -> Self {
        self.allowance = TokenBucket::new(rate, burst, 0);
        self
    }

    /// Publishes a message, and returns its number. It is sent when its datagram is full, or after
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// When the message is too long, or the session is over.
    pub fn publish(&mut self, message: &[u8]) -> Result<u64, MoldError> {
        let (length, datagram) = (message.len(), self.datagram);
        if self.ended {
            return Err(MoldError::Ended);
        }
        let prefix = u16::try_from(length).ok().filter(|_| HEADER + 2 + length <= datagram);
        let prefix = prefix.ok_or(MoldError::TooLong { length, datagram })?;
        if self.open.len() + 2 + length > datagram || usize::from(self.open_count) == MOST_MESSAGES {
            self.flush();
        }
        if self.open.is_empty() {
            self.open.extend_from_slice(&request(self.session, self.next, 0));
        }
        self.open.extend_from_slice(&prefix.to_be_bytes());
        self.open.extend_from_slice(message);
        self.open_count += 1;
        self.keep(message);
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Completes the current datagram, so that it can be sent.
    pub fn flush(&mut self) {
        if self.open_count > 0 {
            self.open[18..HEADER].copy_from_slice(&self.open_count.to_be_bytes());
            self.ready.push_back(core::mem::take(&mut self.open));
            self.open_count = 0;
        }
    }

    /// Ends the session: heartbeats announce the end from now on.
    pub fn end(&mut self) {
        self.flush();
        (self.ended, self.heartbeat_at) = (true, ClockTime(0));
    }

    /// Returns the next datagram to send now.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<Vec<u8>> {
        if let Some(packet) = self.ready.pop_front() {
            self.heartbeat_at = if self.ended { ClockTime(0) } else { now + HEARTBEAT };
            return Some(packet);
        }
        if now < self.heartbeat_at || self.open_count > 0 {
            return None;
        }
        self.heartbeat_at = now + HEARTBEAT;
        let count = if self.ended { END_OF_SESSION } else { 0 };
        Some(request(self.session, self.next, count).to_vec())
    }

    /// Returns the time by which to call [`poll_transmit`](Self::poll_transmit).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        Some(if self.ready.is_empty() { self.heartbeat_at } else { ClockTime(0) })
    }

    /// Returns the reply to a request: as many of the messages as fit one datagram. `None` if `request` is not a
    /// request for this session, its first message is no longer kept, or the [allowance](Self::allow) is used up.
    #[must_use]
    pub fn answer(&mut self, now: ClockTime, request: &[u8]) -> Option<Vec<u8>> {
        let session: SessionName = *request.first_chunk()?;
        let first = u64::from_be_bytes(*request.get(10..)?.first_chunk()?);
        let count = u16::from_be_bytes(*request.get(18..)?.first_chunk()?);
        let start = usize::try_from(first.checked_sub(self.first)?).ok()?;
        if session != self.session || request.len() != HEADER || count == 0 {
            return None;
        }
        let mut length = HEADER;
        let mut messages = Vec::new();
        for message in self.kept.iter().skip(start).take(usize::from(count).min(MOST_MESSAGES)) {
            length += 2 + message.len();
            if length > self.datagram {
                break;
            }
            messages.push(&message[..]);
        }
        let mut packet = alloc::vec![0; self.datagram];
        let end = MoldUdp64::emit(session, first, &messages, &mut packet).ok()?;
        packet.truncate(end);
        self.allowance.refill(now.0);
        (!messages.is_empty() && self.allowance.take(end as u64)).then_some(packet)
    }

    fn keep(&mut self, message: &[u8]) {
        self.kept.push_back(message.to_vec());
        self.kept_bytes += message.len();
        while self.kept_bytes > self.history && self.kept.len() > 1 {
            self.kept_bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.len());
            self.first += 1;
        }
    }
}
