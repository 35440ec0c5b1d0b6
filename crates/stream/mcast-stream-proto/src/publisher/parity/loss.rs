//! What subscribers lose, as far as it decides on parity: each of them, and a crowd together.

use crate::ClockTime;
use crate::random::SMALL_GROUP;
use crate::span::per_second;
use crate::times::publisher::LOSSLESS_TIME;
use crate::wire::{CROWD_NAK_RATE, DATAGRAMS_PER_CROWD_NAK, Sequence};

/// With `Fec::Auto`, the largest number of symbols that are sent for a whole block without a request.
pub(super) const MOST_AHEAD: u64 = 16;
/// The losses of a crowd are known once its subscribers have reported this many datagrams, each for itself, and are an
/// average of up to twice `CROWD_WINDOW`.
const CROWD_SAMPLE: u64 = 2_048;
const CROWD_WINDOW: u64 = 16_384;
/// One subscriber counts with at most one in this many of its datagrams: a single bad link does not cause parity.
const MOST_OF_ONE: u64 = 8;
/// A crowd gets parity if at least one in four datagrams is requested, and is lost by somebody, or more than it may send NAKs
/// for; and until fewer than two fifths of that are lost for a while. In parts per million, like all shares of a crowd.
const LOSSY: u64 = 250_000;
const LOSSLESS_FIFTHS: u64 = 2;
/// If that many times the share that each loses is not requested, subscribers lose the same datagrams, and one repair to
/// the group serves all.
const INDEPENDENT: u64 = 4;
/// The least number of datagrams in a measurement of loss.
const SAMPLE: u64 = 64;

/// The share of datagrams that a subscriber loses, from its statuses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LossMeter {
    highest: Sequence,
    missed: u32,
    /// In parts per million, smoothed.
    pub(super) share: u64,
}

impl LossMeter {
    /// Notes how many datagrams the subscriber knows of, and how many of them it missed. Returns both numbers of a complete
    /// sample. In a crowd, where each reports rarely, the first one begins with the first report.
    pub(super) fn note(
        &mut self,
        highest: Sequence,
        missed: u32,
        is_large_group: bool,
    ) -> Option<(u64, u64)> {
        let sent = highest.ahead_of(self.highest);
        let is_first = self.highest == Sequence::default();
        if sent < SAMPLE && !(is_first && is_large_group) {
            return None;
        }
        let lost = u64::from(missed.saturating_sub(self.missed)).min(sent);
        (self.highest, self.missed) = (highest, missed);
        if is_first {
            return None;
        }
        self.share = (3 * self.share + lost * 1_000_000 / sent) / 4;
        Some((sent, lost))
    }
}

/// What the subscribers of a large group lose, all together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CrowdLoss {
    subscribers: u64,
    /// Datagrams that subscribers reported, each for itself, and what they lost of them.
    known: u64,
    lost: u64,
    /// The share of datagrams that was requested while no parity was sent, how many datagrams were sent per second, and the
    /// numbers and the time when both were measured.
    requested: u64,
    rate: u64,
    mark: (u64, u64),
    measured_at: ClockTime,
    /// When as much was last lost as makes parity worth its bytes.
    pub(super) lossy_at: Option<ClockTime>,
}

impl CrowdLoss {
    /// Returns the share that one subscriber loses on average.
    fn share(&self) -> u64 {
        (self.lost * 1_000_000).checked_div(self.known).unwrap_or_default()
    }

    /// Notes a sample of one subscriber.
    pub(super) fn note(&mut self, sent: u64, lost: u64) {
        self.known += sent;
        self.lost += lost.min(sent / MOST_OF_ONE);
        if self.known > 2 * CROWD_WINDOW {
            (self.known, self.lost) = (self.known / 2, self.lost / 2);
        }
    }

    /// Decides whether parity is worth its bytes, from how many datagrams were sent, and how many of them were requested.
    pub(super) fn adapt(&mut self, now: ClockTime, subscribers: usize, sent: u64, requested: u64) {
        self.subscribers = subscribers as u64;
        self.lossy_at = self.lossy_at.filter(|at| now.since(*at) < LOSSLESS_TIME);
        let (sent_before, requested_before) = self.mark;
        if sent >= sent_before + SAMPLE {
            let new = sent - sent_before;
            self.requested = (requested - requested_before) * 1_000_000 / new;
            self.rate = per_second(new, now.since(self.measured_at));
            (self.mark, self.measured_at) = ((sent, requested), now);
        }
        let share = self.share();
        let losers = share * self.subscribers;
        let enough = LOSSY.min(requestable(self.rate));
        let is_lossy = match self.lossy_at {
            Some(_) => losers >= enough * LOSSLESS_FIFTHS / 5,
            None => losers >= enough && self.requested >= enough && self.requested >= INDEPENDENT * share,
        };
        if is_lossy && self.known >= CROWD_SAMPLE && is_crowd(subscribers) {
            self.lossy_at = Some(now);
        }
    }

    /// Returns how many symbols are sent for a block of this many datagrams without a request: the fewest with which no more
    /// than one subscriber is expected to lack more of it.
    pub(super) fn symbols(&self, count: u8) -> u8 {
        let share = self.share() as f64 / 1e6;
        let lacking = |symbols: &u8| self.subscribers as f64 * losing_more(count + symbols, share, *symbols);
        (0..MOST_AHEAD as u8).find(|symbols| lacking(symbols) <= 1.0).unwrap_or(MOST_AHEAD as u8)
    }
}

/// Returns the share of the datagrams that a crowd can request with a NAK for each, at this number of datagrams per second.
/// Beyond that, messages would wait for NAKs.
fn requestable(rate: u64) -> u64 {
    let by_time = (CROWD_NAK_RATE * 1_000_000).checked_div(rate).unwrap_or(u64::MAX);
    by_time.max(1_000_000 / DATAGRAMS_PER_CROWD_NAK)
}

/// Returns whether the subscribers of a group of this size spread their requests.
pub(super) const fn is_crowd(subscribers: usize) -> bool {
    subscribers > SMALL_GROUP as usize
}

/// Returns the probability that of this many datagrams more than `most` are lost, if each is with probability `share`.
fn losing_more(datagrams: u8, share: f64, most: u8) -> f64 {
    let arriving = 1.0 - share;
    let mut exactly = (0..datagrams).fold(1.0, |product, _| product * arriving);
    let mut more = 1.0;
    for lost in 0..=most.min(datagrams) {
        more -= exactly;
        exactly *= share / arriving * f64::from(datagrams - lost) / f64::from(lost + 1);
    }
    more
}
