//! Sending a session, and answering those who ask for its messages again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mcast_packet::payload::MoldUdp64;

use super::{HEADER, Session, request};
use crate::sender::bucket::Bucket;

/// Between two heartbeats of a sender that has nothing to send.
const HEARTBEAT: u64 = 1_000_000_000;
/// Bytes of answers a second, and at once.
const ALLOWANCE: (u64, u64) = (12_500_000, 1 << 20);
const END_OF_SESSION: u16 = 0xffff;
/// As many as a count can tell.
const MOST_MESSAGES: usize = 0xfffe;

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoldError {
    /// Messages are not cut into pieces.
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
    /// Receivers would take nothing of it.
    #[error("a session's name is of ASCII letters and digits, filled up with spaces")]
    BadSession,
}

/// The sender of a session.
#[derive(Debug)]
pub struct MoldSender {
    session: Session,
    datagram: usize,
    history: usize,
    kept: VecDeque<Vec<u8>>,
    kept_bytes: usize,
    /// The number of the first that is kept, and of the next.
    first: u64,
    next: u64,
    open: Vec<u8>,
    open_count: u16,
    ready: VecDeque<Vec<u8>>,
    heartbeat_at: u64,
    ended: bool,
    allowance: Bucket,
}

impl MoldSender {
    /// A sender of datagrams of at most so many bytes, that keeps so many bytes of messages for those who ask.
    ///
    /// # Errors
    /// [`MoldError::BadSession`] when the name of the session is none.
    pub fn new(session: Session, datagram: usize, history: usize) -> Result<Self, MoldError> {
        // By the very rule of who reads.
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
            heartbeat_at: 0,
            ended: false,
            allowance: Bucket::new(ALLOWANCE.0, ALLOWANCE.1, 0),
        })
    }

    /// Answers no more than so many bytes a second, and so many at once: requests are twenty bytes in clear, and whoever forges
    /// where they come from aims the answers. Default: 12.5 MB a second, 1 MiB at once.
    #[must_use]
    pub const fn allow(mut self, rate: u64, at_once: u64) -> Self {
        self.allowance = Bucket::new(rate, at_once, 0);
        self
    }

    /// Publishes a message, and tells its number. It goes out with its datagram: when that is full, or by
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// When it is too long, or the session is over.
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

    /// Lets go out what was published.
    pub fn flush(&mut self) {
        if self.open_count > 0 {
            self.open[18..HEADER].copy_from_slice(&self.open_count.to_be_bytes());
            self.ready.push_back(core::mem::take(&mut self.open));
            self.open_count = 0;
        }
    }

    /// Ends the session: from now on every heartbeat says so.
    pub fn end(&mut self) {
        self.flush();
        (self.ended, self.heartbeat_at) = (true, 0);
    }

    /// The next datagram that is to be sent now.
    pub fn poll(&mut self, now: u64) -> Option<Vec<u8>> {
        if let Some(packet) = self.ready.pop_front() {
            self.heartbeat_at = if self.ended { 0 } else { now + HEARTBEAT };
            return Some(packet);
        }
        if now < self.heartbeat_at || self.open_count > 0 {
            return None;
        }
        self.heartbeat_at = now + HEARTBEAT;
        let count = if self.ended { END_OF_SESSION } else { 0 };
        Some(request(self.session, self.next, count).to_vec())
    }

    /// When to [`poll`](Self::poll) at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if self.ready.is_empty() { self.heartbeat_at } else { 0 }
    }

    /// The answer to a request: as many of the messages as one datagram holds. `None` if it is no request of this
    /// session, the first of them is no longer kept, or the [allowance](Self::allow) is used up.
    #[must_use]
    pub fn answer(&mut self, now: u64, asked: &[u8]) -> Option<Vec<u8>> {
        let session: Session = *asked.first_chunk()?;
        let first = u64::from_be_bytes(*asked.get(10..)?.first_chunk()?);
        let count = u16::from_be_bytes(*asked.get(18..)?.first_chunk()?);
        let start = usize::try_from(first.checked_sub(self.first)?).ok()?;
        if session != self.session || asked.len() != HEADER || count == 0 {
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
        self.allowance.pass(now);
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
