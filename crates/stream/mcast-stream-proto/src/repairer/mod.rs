//! A subscriber as a repairer: it retains what it has received, and answers the NAKs of other subscribers.
//!
//! A repairer sends only to an address that has proven itself, only what was requested from there, and only a part of
//! what it has received itself. What it does not have, or may not send now, it does not answer: the other subscriber
//! then requests it from the publisher.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use mcast_pace::TokenBucket;

use crate::ClockTime;
use crate::proof::Counts;
use crate::proof::NakLimit;
use crate::proof::{AddressProof, EchoLimit};
use crate::random::Random;
use crate::seal;
use crate::seal::{Ciphers, Keys, Purpose, Sealed};
use crate::span::amount;
use crate::wire::{
    AddressToken, DatagramView, Flags, Header, KeyEpoch, Kind, Nak, Probe, Ranges, Sequence, SubscriberId,
};

/// It repairs for at most this many subscribers. Further ones request repairs from another repairer, or the publisher.
const MAX_REQUESTERS: usize = 128;
/// Those at one IP address: an identifier is not proven, and a host could make up as many as it likes.
const MAX_PER_HOST: usize = 8;
/// A subscriber that is silent for this time may be replaced by another one. Its token has expired by then, so that what
/// it sent cannot be replayed.
const IDLE_TIME: Duration = Duration::from_secs(130);
/// All repairs together use at most one part in this many of the bytes that it received, and those for one subscriber half
/// of that; beyond a burst.
const SHARE: u64 = 4;
const REQUESTER_SHARE: u64 = 2 * SHARE;
const BURST: u64 = 131_072;
const REQUESTER_BURST: u64 = BURST / 4;
/// If the stream has a rate, a burst takes no longer than this at that rate, but it may always be `LEAST_BURST` bytes.
const BURST_TIME: Duration = Duration::from_millis(250);
const LEAST_BURST: u64 = 16_384;
/// Repairs that wait because of the rate for longer than this are dropped: they were requested from the publisher meanwhile.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Repairs that wait at most, and datagrams of one subscriber whose last repair is remembered.
const MAX_WAITING: usize = 1_024;
const MAX_ANSWERED: usize = 1_024;
/// Datagrams of one NAK that are looked at.
const MAX_PER_NAK: usize = 1_024;
/// The same datagram is not sent to the same subscriber again before this time, or a round trip.
const MIN_HOLDOFF: Duration = Duration::from_millis(1);
/// Echoes at once and per second: twice as many as there may be requesters.
const ECHOES: u64 = 256;

/// A subscriber that has requested repairs.
#[derive(Debug)]
struct Requester {
    heard_at: ClockTime,
    /// The counts of its control datagrams, to detect replays.
    counts: Counts,
    naks: NakLimit,
    /// Bytes that may be sent to it, and the bytes that all had been allowed when that was last increased.
    credit: TokenBucket,
    earned: u64,
    /// When datagrams were last sent to it, or queued.
    answered: BTreeMap<Sequence, ClockTime>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: ClockTime,
    to: SocketAddr,
    sequence: Sequence,
}

/// A datagram of another subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) now: ClockTime,
    pub(crate) subscriber: SubscriberId,
    pub(crate) from: SocketAddr,
    pub(crate) view: &'a DatagramView<'a>,
    pub(crate) datagram: &'a [u8],
}

/// What a datagram of another subscriber leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An echo with this clock and this token.
    Echo(u64, AddressToken),
    /// This number of datagrams is repaired, and this number is refused because of a limit.
    Repairs(u64, u64),
    /// Nothing: it is malformed, replayed, or beyond a limit.
    Refused,
}

/// The state of a repairer.
#[derive(Debug)]
pub(crate) struct Repairer {
    proof: AddressProof,
    echo_limit: EchoLimit,
    retained: Retained,
    /// The same identifier at another address is another requester, which cannot use up the counts of the first one.
    requesters: BTreeMap<(SocketAddr, SubscriberId), Requester>,
    waiting: VecDeque<Waiting>,
    /// Bytes that may be sent, and the bytes that were ever added because others arrived.
    allowance: TokenBucket,
    earned: u64,
    /// The stream's rate, if it has one.
    pace: Option<TokenBucket>,
    /// Kept apart from those of the publisher, which many requesters must not displace.
    ciphers: Ciphers,
    decrypted: Vec<u8>,
}

impl Repairer {
    /// Creates a repairer that retains this many bytes. Nobody must be able to guess the seed.
    pub(crate) fn new(bytes: usize, seed: u64, now: ClockTime) -> Self {
        Self {
            proof: AddressProof::new(&mut Random::new(seed)),
            echo_limit: EchoLimit::new(ECHOES, ECHOES, now),
            retained: Retained::new(bytes),
            requesters: BTreeMap::new(),
            waiting: VecDeque::new(),
            allowance: TokenBucket::new(0, BURST, now.0),
            earned: 0,
            pace: None,
            ciphers: Ciphers::default(),
            decrypted: Vec::new(),
        }
    }

    /// Begins with another incarnation of the publisher.
    pub(crate) fn begin(&mut self) {
        self.retained.clear();
        self.waiting.clear();
        self.ciphers.clear();
    }

    /// Forgets the ciphers, because the keys have changed.
    pub(crate) fn forget_keys(&mut self) {
        self.ciphers.clear();
    }

    /// Retains a datagram that has arrived.
    pub(crate) fn retain(&mut self, sequence: Sequence, datagram: &[u8]) {
        self.retained.insert(sequence, datagram);
        let bytes = datagram.len() as u64;
        self.earned += bytes;
        self.allowance.add(bytes / SHARE);
    }

    /// Drops a datagram that turned out to be forged.
    pub(crate) fn discard(&mut self, sequence: Sequence) {
        self.retained.remove(sequence);
    }

    /// Sends no faster than the publisher may, in bytes per second; 0 for no limit.
    pub(crate) fn set_rate(&mut self, now: ClockTime, rate: u64) {
        if rate == 0 {
            self.pace = None;
            self.allowance.set_capacity(BURST);
            return;
        }
        let burst = amount(rate, BURST_TIME).clamp(LEAST_BURST, BURST);
        self.allowance.set_capacity(burst);
        let pace = self.pace.get_or_insert_with(|| TokenBucket::new(rate, LEAST_BURST, now.0));
        pace.refill(now.0);
        pace.set_rate(rate);
    }

    /// Handles the probe or the NAK of a subscriber. What `is_doubtful`, because it is not verified yet, is not sent, and
    /// nothing is sent to the same subscriber twice within a round trip.
    pub(crate) fn handle(
        &mut self,
        request: &Request<'_>,
        keys: &Keys,
        round_trip: Duration,
        is_doubtful: impl Fn(Sequence) -> bool,
    ) -> Answer {
        let Request { now, subscriber, from, view, datagram } = *request;
        let header = &view.header;
        let requester = self.requesters.get(&(from, subscriber));
        if requester.is_some_and(|requester| !requester.counts.is_new(header.sequence)) {
            return Answer::Refused;
        }
        let mut bytes = core::mem::take(&mut self.decrypted);
        bytes.clear();
        bytes.extend_from_slice(datagram);
        let end = match header.epoch {
            KeyEpoch::CLEAR => Some(bytes.len()),
            _ => self
                .ciphers
                .find(keys, Purpose::of(header, Sealed::Subscriber(subscriber)))
                .and_then(|cipher| seal::open(cipher, header, &mut bytes)),
        };
        let body = end.and_then(|end| bytes.get(view.head.len()..end));
        let answer = match (header.kind, body) {
            (Kind::Probe, Some(body)) => match Probe::read(body) {
                Ok(probe) => Answer::Echo(probe.clock, self.proof.token(now, from)),
                Err(_) => Answer::Refused,
            },
            (Kind::Nak, Some(body)) => match Nak::read(body) {
                // An empty NAK is shorter than the echo that would answer it.
                Ok(nak) if nak.missing.clone().next().is_none() => Answer::Refused,
                Ok(nak) if !self.proof.is_valid(now, from, nak.token) => {
                    Answer::Echo(0, self.proof.token(now, from))
                }
                Ok(nak) => {
                    let holdoff = round_trip.max(MIN_HOLDOFF);
                    self.on_nak(request, nak.missing, holdoff, is_doubtful)
                }
                Err(_) => Answer::Refused,
            },
            _ => Answer::Refused,
        };
        self.decrypted = bytes;
        match answer {
            Answer::Echo(..) if !self.echo_limit.admits(now) => Answer::Refused,
            answer => answer,
        }
    }

    /// Returns a requester that has proven its address; `None` if there are too many, in all or at its IP address.
    fn admit(&mut self, now: ClockTime, from: SocketAddr, id: SubscriberId) -> Option<&mut Requester> {
        let key = (from, id);
        if !self.requesters.contains_key(&key) {
            let host = from.ip().to_canonical();
            self.make_room(now, MAX_PER_HOST, |address| address.ip().to_canonical() == host)?;
            self.make_room(now, MAX_REQUESTERS, |_| true)?;
            let requester = Requester {
                heard_at: now,
                counts: Counts::default(),
                naks: NakLimit::new(now),
                credit: TokenBucket::new(0, REQUESTER_BURST, now.0),
                earned: self.earned,
                answered: BTreeMap::new(),
            };
            self.requesters.insert(key, requester);
            debug_assert!(self.requesters.len() <= MAX_REQUESTERS, "more requesters than are admitted");
        }
        self.requesters.get_mut(&key)
    }

    /// Makes room for one more among the requesters at certain addresses, of which there are at most this many. Returns
    /// `None` if none of them has been silent for long enough.
    fn make_room(
        &mut self,
        now: ClockTime,
        most: usize,
        is_concerned: impl Fn(&SocketAddr) -> bool,
    ) -> Option<()> {
        let concerned = || self.requesters.iter().filter(|((address, _), _)| is_concerned(address));
        if concerned().count() >= most {
            let (oldest, requester) = concerned().min_by_key(|(_, requester)| requester.heard_at)?;
            let oldest = Some(*oldest).filter(|_| now.since(requester.heard_at) >= IDLE_TIME)?;
            self.requesters.remove(&oldest);
        }
        Some(())
    }

    fn on_nak(
        &mut self,
        request: &Request<'_>,
        missing: Ranges<'_>,
        holdoff: Duration,
        is_doubtful: impl Fn(Sequence) -> bool,
    ) -> Answer {
        let Request { now, subscriber, from: to, view, .. } = *request;
        let earned = self.earned;
        let Some(requester) = self.admit(now, to, subscriber) else { return Answer::Refused };
        requester.counts.note(view.header.sequence);
        requester.heard_at = now;
        if !requester.naks.admits(now) {
            return Answer::Refused;
        }
        debug_assert!(earned >= requester.earned, "a requester has earned more than all");
        requester.credit.add((earned - requester.earned) / REQUESTER_SHARE);
        requester.earned = earned;
        requester.answered.retain(|_, at| now < *at + holdoff);
        let Some(requester) = self.requesters.get_mut(&(to, subscriber)) else { return Answer::Refused };
        let (mut repaired, mut refused) = (0, 0);
        let ranges = missing.map(|(first, count)| first..first + u64::from(count));
        let wanted = ranges.flat_map(|range| self.retained.range(range)).take(MAX_PER_NAK);
        for (sequence, length) in wanted {
            if requester.answered.contains_key(&sequence) || is_doubtful(sequence) {
                continue;
            }
            let length = length as u64;
            let has_room = requester.answered.len() < MAX_ANSWERED && self.waiting.len() < MAX_WAITING;
            // A longer datagram than a burst would never be repaired otherwise. What it takes beyond that is a debt.
            let admits = |bucket: &TokenBucket| bucket.has(length) || bucket.is_full();
            if !has_room || !admits(&requester.credit) || !admits(&self.allowance) {
                refused += 1;
                continue;
            }
            requester.credit.spend(length);
            self.allowance.spend(length);
            requester.answered.insert(sequence, now);
            self.waiting.push_back(Waiting { since: now, to, sequence });
            repaired += 1;
            debug_assert!(requester.answered.len() <= MAX_ANSWERED, "more answers than are remembered");
            debug_assert!(self.waiting.len() <= MAX_WAITING, "more repairs than may wait");
        }
        Answer::Repairs(repaired, refused)
    }

    /// Returns when the next repair is due; never if none waits.
    pub(crate) fn next_time(&self) -> ClockTime {
        let length = |waiting: &Waiting| self.retained.get(waiting.sequence).map_or(0, <[u8]>::len) as u64;
        match (self.waiting.front(), &self.pace) {
            (None, _) => ClockTime::NEVER,
            (Some(_), None) => ClockTime(0),
            (Some(waiting), Some(pace)) => ClockTime(pace.available_at(length(waiting).min(LEAST_BURST))),
        }
    }

    /// Returns the next repair that the rate admits, and its destination.
    pub(crate) fn next(&mut self, now: ClockTime) -> Option<(SocketAddr, &[u8])> {
        loop {
            let Waiting { since, to, sequence } = *self.waiting.front()?;
            let length = self.retained.get(sequence).map(|datagram| datagram.len() as u64);
            let Some(length) = length.filter(|_| now < since + LONGEST_WAIT) else {
                self.waiting.pop_front();
                continue;
            };
            if let Some(pace) = &mut self.pace {
                pace.refill(now.0);
                // A longer datagram than a burst would never be admitted otherwise.
                if !pace.has(length.min(LEAST_BURST)) {
                    return None;
                }
                pace.spend(length);
            }
            self.waiting.pop_front();
            return Some((to, self.retained.get(sequence)?));
        }
    }
}

#[cfg(test)]
mod tests;

/// What a datagram takes beside its bytes: many short ones must not exceed the limit.
const EXTRA: usize = 64;

/// Datagrams by sequence, in any order and with gaps: what a subscriber receives has both, unlike what a publisher sends.
#[derive(Debug)]
pub(super) struct Retained {
    datagrams: BTreeMap<Sequence, Vec<u8>>,
    bytes: usize,
    most_bytes: usize,
}

impl Retained {
    pub(super) const fn new(most_bytes: usize) -> Self {
        Self { datagrams: BTreeMap::new(), bytes: 0, most_bytes }
    }

    /// Keeps a copy as it is sent to others, and drops the oldest ones for it. One that is older than all of them is not kept.
    pub(super) fn insert(&mut self, sequence: Sequence, datagram: &[u8]) {
        self.remove(sequence);
        let needed = datagram.len() + EXTRA;
        let mut copy = Vec::new();
        while self.bytes + needed > self.most_bytes {
            match self.datagrams.first_entry() {
                Some(oldest) if *oldest.key() < sequence => {
                    copy = oldest.remove();
                    self.bytes -= copy.len() + EXTRA;
                }
                _ => return,
            }
        }
        copy.clear();
        copy.extend_from_slice(datagram);
        if let Some(flags) = copy.get_mut(Header::FLAGS_AT) {
            *flags = Flags(*flags).without(Flags::MUTABLE).with(Flags::REPAIR).0;
        }
        self.bytes += needed;
        self.datagrams.insert(sequence, copy);
    }

    pub(super) fn remove(&mut self, sequence: Sequence) {
        if let Some(copy) = self.datagrams.remove(&sequence) {
            self.bytes -= copy.len() + EXTRA;
        }
    }

    pub(super) fn clear(&mut self) {
        self.datagrams.clear();
        self.bytes = 0;
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&[u8]> {
        self.datagrams.get(&sequence).map(Vec::as_slice)
    }

    /// Returns those of a range, with their lengths.
    pub(super) fn range(&self, range: Range<Sequence>) -> impl Iterator<Item = (Sequence, usize)> {
        self.datagrams.range(range).map(|(sequence, copy)| (*sequence, copy.len()))
    }
}

#[cfg(test)]
mod retained_tests {
    use std::vec;

    use super::*;
    use crate::random::Random;

    #[test]
    fn the_latest_datagrams_are_retained_within_the_limit() {
        const MOST: usize = 50_000;
        let (mut retained, mut random) = (Retained::new(MOST), Random::new(3));
        for turn in 0..20_000_u64 {
            let sequence = Sequence(1 + turn + random.next() % 40);
            retained.insert(sequence, &vec![0; 32 + (random.next() % 1_000) as usize]);
            if random.next().is_multiple_of(16) {
                retained.remove(Sequence(1 + turn));
            }
            let bytes: usize = retained.datagrams.values().map(|copy| copy.len() + EXTRA).sum();
            assert_eq!(bytes, retained.bytes);
            assert!(bytes <= MOST && (bytes > MOST / 2 || turn < 100), "{bytes} bytes");
        }
        let oldest = retained.range(Sequence(0)..Sequence::MAX).next().unwrap().0;
        retained.insert(Sequence(1), &[0; 32]);
        assert!(oldest.0 > 19_000 && retained.get(Sequence(1)).is_none());
    }

    #[test]
    fn a_copy_is_marked_as_a_repair_and_otherwise_unchanged() {
        let mut retained = Retained::new(1_000);
        let datagram: Vec<u8> = (0..64).map(|byte| byte | 3).collect();
        retained.insert(Sequence(1), &datagram);
        let copy = retained.get(Sequence(1)).unwrap();
        let flags = Flags(copy[Header::FLAGS_AT]);
        assert!(flags.has(Flags::REPAIR) && flags.path() == 0);
        assert_eq!(flags.without(Flags::MUTABLE), Flags(datagram[Header::FLAGS_AT]).without(Flags::MUTABLE));
        let others = |bytes: &[u8]| [&bytes[..Header::FLAGS_AT], &bytes[Header::FLAGS_AT + 1..]].concat();
        assert_eq!(others(copy), others(&datagram));
    }
}
