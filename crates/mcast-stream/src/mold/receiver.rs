//! Receiving a session in order, by what comes first of its paths, with re-requests.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mcast_packet::payload::MoldUdp64;

use super::extent::{Claim, Extent};
use super::{HEADER, Session, request};
use crate::receiver::gaps::{Gap, Gaps};

/// Gaps that are asked for at once; those behind them wait until these are filled or given up.
const MOST_ASKED: usize = 64;

/// A request for what may not exist waits up to so many times twice as long as the one before.
const MOST_DOUBLINGS: u32 = 6;

const MILLISECOND: u64 = 1_000_000;

/// Settings of a [`MoldReceiver`]. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoldConfig {
    /// Only this session. `None`: the first that arrives, and each that follows it when it is over, or silent.
    pub session: Option<Session>,
    /// The first message that is wanted; `None`: the first that comes.
    pub first: Option<u64>,
    /// Messages that are kept out of order. Default: 65,536.
    pub window: usize,
    /// After so long something is missing and not only out of order. Default: 1 ms.
    pub reordering: u64,
    /// What was asked for, and of which nothing came, is asked for again after so long. Default: 20 ms.
    pub again: u64,
    /// A gap of which nothing came for this long is given up, once a second datagram confirms that its messages exist.
    /// Default: 1 s.
    pub patience: u64,
    /// Whether to ask for what is missing. Default: yes.
    pub requests: bool,
    /// Messages in one request. Default: 1,000.
    pub most_at_once: u16,
    /// Report [`MoldItem::Silent`] after this time without a datagram of the session; senders send heartbeats every second. A
    /// session that is silent for this long is left when another is sent. Default: 5 s.
    pub silence: u64,
}

impl Default for MoldConfig {
    fn default() -> Self {
        Self {
            session: None,
            first: None,
            window: 65_536,
            reordering: MILLISECOND,
            again: 20 * MILLISECOND,
            patience: 1_000 * MILLISECOND,
            requests: true,
            most_at_once: 1_000,
            silence: 5_000 * MILLISECOND,
        }
    }
}

/// What a receiver delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoldItem<'a> {
    /// A session begins, with this message. It begins again when two datagrams show that the first one had a wrong number.
    Session(Session, u64),
    /// A message: its number and bytes.
    Message(u64, &'a [u8]),
    /// The messages from the first to before the second are lost.
    Lost(u64, u64),
    /// No datagram of the session has arrived for [`MoldConfig::silence`]: whether messages were sent meanwhile is unknown.
    Silent,
    /// The session was silent and another one is sent, so its end was missed: how many messages it had from this one on is
    /// unknown.
    Left(u64),
    /// The session is over, and had messages up to before this number.
    Ended(u64),
}

/// What a receiver has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoldStatistics {
    /// Messages that were delivered.
    pub messages: u64,
    /// Messages that came before, by another path or a re-request.
    pub copies: u64,
    /// Messages that were given up.
    pub lost: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Datagrams that are not MoldUDP64, or of another session.
    pub foreign: u64,
    /// Numbers far ahead that no other datagram confirmed: forged, or corrupt.
    pub strays: u64,
    /// Datagrams of each of four paths that had something new.
    pub first_by_path: [u64; 4],
}

/// What is known about the end of a session.
#[derive(Clone, Copy, Debug)]
enum End {
    Unknown,
    /// One datagram says that the session ends before this message.
    Claimed(Claim),
    /// A second one does, too.
    Confirmed(u64),
    /// All messages before it were delivered or given up.
    Reached,
}

/// How the session's first message was chosen.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// By the settings, or two datagrams agree on it.
    Confirmed,
    /// By one datagram. With the number that follows the last datagram from before it, if there was one.
    Unconfirmed { claim: Claim, expected: Option<u64> },
}

/// When something of the session last arrived.
#[derive(Clone, Copy, Debug)]
struct LastArrival {
    at: u64,
    is_silence_reported: bool,
}

/// The receiver of a session.
#[derive(Debug)]
pub struct MoldReceiver {
    config: MoldConfig,
    session: Option<Session>,
    start: Start,
    next: u64,
    extent: Extent,
    end: End,
    /// `None` before the first call.
    heard: Option<LastArrival>,
    /// When a message last arrived in its turn, or a heartbeat that named the next one.
    progress: u64,
    /// What came before its turn.
    waiting: BTreeMap<u64, Vec<u8>>,
    gaps: Gaps,
    /// The first datagram of another session since this one is silent.
    candidate: Option<Vec<u8>>,
    statistics: MoldStatistics,
}

impl MoldReceiver {
    /// A receiver with these settings.
    #[must_use]
    pub const fn new(config: MoldConfig) -> Self {
        Self {
            config,
            session: None,
            start: Start::Confirmed,
            next: 1,
            extent: Extent::new(1, 0),
            end: End::Unknown,
            heard: None,
            progress: 0,
            waiting: BTreeMap::new(),
            gaps: Gaps::new(),
            candidate: None,
            statistics: MoldStatistics {
                messages: 0,
                copies: 0,
                lost: 0,
                requests: 0,
                foreign: 0,
                strays: 0,
                first_by_path: [0; 4],
            },
        }
    }

    /// Takes a datagram that came on a path (0 to 3), or from the server of re-requests, and delivers what follows.
    pub fn handle(&mut self, now: u64, path: u8, datagram: &[u8], mut out: impl FnMut(MoldItem<'_>)) {
        let heard = *self.heard.get_or_insert(LastArrival { at: now, is_silence_reported: false });
        let Some(packet) = MoldUdp64::parse(datagram).filter(|packet| self.is_possible(packet)) else {
            self.statistics.foreign += 1;
            return;
        };
        match self.session {
            Some(session) if session == packet.session => {}
            Some(_) if self.has_ended() => self.begin(now, &packet, &mut out),
            Some(_) => return self.follow(now, heard, path, datagram, &mut out),
            None => self.begin(now, &packet, &mut out),
        }
        self.heard = Some(LastArrival { at: now, is_silence_reported: false });
        self.candidate = None;
        self.take_packet(now, path, packet, &mut out);
    }

    /// Gives up what has been missing for too long, delivers what follows, and reports silence.
    pub fn pass(&mut self, now: u64, mut out: impl FnMut(MoldItem<'_>)) {
        while let Some(gap) = self.gaps.first().copied().filter(|gap| now >= self.given_up_at(gap)) {
            self.give_up(now, &gap, &mut out);
        }
        self.deliver(now, &mut out);
        let heard = *self.heard.get_or_insert(LastArrival { at: now, is_silence_reported: false });
        if now < heard.at.saturating_add(self.config.silence) || heard.is_silence_reported {
            return;
        }
        match self.end {
            End::Reached => return,
            End::Claimed(claim) => self.end = End::Confirmed(claim.first),
            End::Confirmed(_) | End::Unknown => {}
        }
        self.deliver(now, &mut out);
        if !self.has_ended() {
            self.heard = Some(LastArrival { is_silence_reported: true, ..heard });
            out(MoldItem::Silent);
        }
    }

    /// Gives up what is missing and delivers what is kept behind it: for callers that stop, or that receive another session. What
    /// only one datagram mentions is not reported as lost.
    pub fn abandon(&mut self, mut out: impl FnMut(MoldItem<'_>)) {
        self.forget_stray(0);
        while let Some(gap) = self.gaps.first().copied() {
            self.give_up(0, &gap, &mut out);
        }
    }

    /// A request for what is missing, if one is due: to be sent to a server of re-requests. Ask again until there is none.
    pub fn poll(&mut self, now: u64) -> Option<[u8; HEADER]> {
        let session = self.session.filter(|_| self.config.requests)?;
        let believed = self.extent.believed;
        let gap = self.gaps.iter_mut().take(MOST_ASKED).find(|gap| gap.due <= now)?;
        // What may not exist is requested ever less often.
        let doublings = if gap.end <= believed { 0 } else { gap.tries.min(MOST_DOUBLINGS) };
        let again = self.config.again.saturating_mul(1 << doublings);
        (gap.due, gap.asked, gap.tries) = (now.saturating_add(again), now, gap.tries.saturating_add(1));
        let (first, count) = (gap.first, gap.end - gap.first);
        self.statistics.requests += 1;
        Some(request(session, first, count.min(u64::from(self.config.most_at_once.max(1))) as u16))
    }

    /// When to [`pass`](Self::pass) and to [`poll`](Self::poll) at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        let patience = self.gaps.first().map_or(u64::MAX, |gap| self.given_up_at(gap));
        let asked = self.gaps.iter().take(MOST_ASKED).map(|gap| gap.due).min();
        let asked = asked.filter(|_| self.config.requests).unwrap_or(u64::MAX);
        let silence = match self.heard {
            None => 0,
            Some(heard) if heard.is_silence_reported || self.has_ended() => u64::MAX,
            Some(heard) => heard.at.saturating_add(self.config.silence),
        };
        patience.min(asked).min(silence)
    }

    /// What it has seen so far.
    #[must_use]
    pub const fn statistics(&self) -> MoldStatistics {
        self.statistics
    }

    /// The number of the next message.
    #[must_use]
    pub const fn next_message(&self) -> u64 {
        self.next
    }

    /// Whether the session is over, and all of it was delivered or given up.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.end, End::Reached)
    }

    /// No session has as many messages as that; a number beyond would overflow.
    fn is_possible(&self, packet: &MoldUdp64<'_>) -> bool {
        self.config.session.is_none_or(|session| session == packet.session)
            && packet.sequence < (1 << 62) - packet.messages.len() as u64
    }

    fn begin(&mut self, now: u64, packet: &MoldUdp64<'_>, out: &mut impl FnMut(MoldItem<'_>)) {
        let first = if self.session.is_none() { self.config.first } else { Some(1) };
        let claim = Claim { first: packet.sequence, at: now };
        self.start = match first {
            Some(_) => Start::Confirmed,
            None => Start::Unconfirmed { claim, expected: None },
        };
        self.begin_at(now, packet.session, first.unwrap_or(packet.sequence).max(1), out);
    }

    fn begin_at(&mut self, now: u64, session: Session, first: u64, out: &mut impl FnMut(MoldItem<'_>)) {
        (self.session, self.next, self.progress) = (Some(session), first, now);
        (self.extent, self.end) = (Extent::new(first, now), End::Unknown);
        self.waiting.clear();
        self.gaps.clear();
        out(MoldItem::Session(session, first));
    }

    /// Another session: followed when the current one is silent and a second datagram of the other arrives.
    fn follow(
        &mut self,
        now: u64,
        heard: LastArrival,
        path: u8,
        datagram: &[u8],
        out: &mut impl FnMut(MoldItem<'_>),
    ) {
        if now < heard.at.saturating_add(self.config.silence) {
            self.statistics.foreign += 1;
            return;
        }
        let Some(first) = self.candidate.take().filter(|first| first[..10] == datagram[..10]) else {
            self.statistics.foreign += 1;
            self.candidate = Some(datagram.to_vec());
            return;
        };
        self.abandon(&mut *out);
        out(MoldItem::Left(self.next));
        self.statistics.foreign -= 1;
        self.heard = Some(LastArrival { at: now, is_silence_reported: false });
        for (is_first, packet) in [(true, MoldUdp64::parse(&first)), (false, MoldUdp64::parse(datagram))] {
            let Some(packet) = packet else { continue };
            if is_first {
                self.begin(now, &packet, out);
            }
            self.take_packet(now, path, packet, out);
        }
    }

    fn take_packet(&mut self, now: u64, path: u8, packet: MoldUdp64<'_>, out: &mut impl FnMut(MoldItem<'_>)) {
        let (first, end) = (packet.sequence, packet.sequence + packet.messages.len() as u64);
        self.confirm_start(now, packet.session, first, end, out);
        if self.extent.refutes(now, first, self.config.patience) {
            self.statistics.strays += 1;
            self.forget_stray(now);
        }
        self.notice(now, first, end);
        self.note_end(now, &packet);
        if first == self.next {
            self.progress = now;
        }
        let mut is_first = false;
        for (number, message) in (first..).zip(packet.messages) {
            is_first |= self.take(now, number, message, out);
        }
        self.ask_for_the_rest(now, end);
        if let Some(first) = self.statistics.first_by_path.get_mut(usize::from(path)) {
            *first += u64::from(is_first);
        }
        self.deliver(now, out);
    }

    /// A session that begins with whatever comes may have begun with a forged number: two datagrams in a row before it tell where it
    /// really is.
    fn confirm_start(
        &mut self,
        now: u64,
        session: Session,
        first: u64,
        end: u64,
        out: &mut impl FnMut(MoldItem<'_>),
    ) {
        let Start::Unconfirmed { claim, expected } = self.start else { return };
        if first > claim.first {
            self.start = Start::Confirmed;
        } else if first < claim.first && now >= claim.at.saturating_add(self.config.reordering) {
            self.start = Start::Unconfirmed { claim, expected: Some(end) };
            if expected == Some(first) {
                self.statistics.strays += 1;
                self.start = Start::Confirmed;
                self.begin_at(now, session, first.max(1), out);
            }
        }
    }

    /// Messages up to the end exist, and those from `first` on have come.
    fn notice(&mut self, now: u64, first: u64, end: u64) {
        let due = now.saturating_add(self.config.reordering);
        let before = self.extent.believed;
        let known = self.extent.known;
        self.extent.claim(now, first, end, self.config.reordering);
        let believed = self.extent.believed;
        if believed > before {
            // Their time begins when they are known to exist.
            let confirmed = |gap: &&mut Gap| gap.end > before && gap.end <= believed;
            for gap in self.gaps.iter_mut().filter(confirmed) {
                (gap.noticed, gap.due) = (now, gap.due.min(due));
            }
        }
        if first > known {
            self.gaps.open(known, first, now, due);
        }
    }

    /// An end counts when a second datagram repeats it, and nothing contradicts it meanwhile.
    fn note_end(&mut self, now: u64, packet: &MoldUdp64<'_>) {
        let (first, count) = (packet.sequence, packet.messages.len() as u64);
        let claim = match self.end {
            End::Reached | End::Confirmed(_) => return,
            End::Claimed(claim) => Some(claim),
            End::Unknown => None,
        };
        self.end = match claim {
            Some(claim) if !packet.end_of_session => {
                let goes_on = count == 0 || first + count > claim.first;
                if goes_on { End::Unknown } else { End::Claimed(claim) }
            }
            Some(claim) if claim.first == first => {
                let is_repeated = now >= claim.at.saturating_add(self.config.reordering);
                if is_repeated { End::Confirmed(first) } else { End::Claimed(claim) }
            }
            _ if packet.end_of_session => End::Claimed(Claim { first, at: now }),
            _ => End::Unknown,
        };
    }

    /// Delivers a message whose turn it is, or keeps it; `false` if it is not new.
    fn take(&mut self, now: u64, number: u64, message: &[u8], out: &mut impl FnMut(MoldItem<'_>)) -> bool {
        if number < self.next || self.waiting.contains_key(&number) {
            self.statistics.copies += 1;
            return false;
        }
        if number == self.next {
            self.next += 1;
            self.statistics.messages += 1;
            self.gaps.fill(number);
            out(MoldItem::Message(number, message));
            return true;
        }
        if self.waiting.len() < self.config.window {
            self.gaps.fill(number);
            self.waiting.insert(number, message.to_vec());
        } else {
            // It is asked for again when there is room.
            self.gaps.reopen(number, now, now.saturating_add(self.config.again));
        }
        true
    }

    /// An answer holds no more than a datagram does: where one ends within a gap that was asked for, its rest is due, too.
    fn ask_for_the_rest(&mut self, now: u64, end: u64) {
        let reordering = self.config.reordering;
        if let Some(rest) = self.gaps.iter_mut().find(|gap| gap.first >= end)
            && rest.first == end
            && rest.tries > 0
        {
            // Not at once: it may be what came late, and more of that.
            rest.due = rest.due.min(rest.asked.saturating_add(reordering));
            rest.noticed = now;
        }
    }

    /// When the first gap is given up: never while only one datagram says that its messages exist.
    fn given_up_at(&self, gap: &Gap) -> u64 {
        let since = gap.noticed.max(self.progress);
        let since = match self.extent.believed {
            believed if believed <= gap.first => return u64::MAX,
            believed if believed < gap.end => since.max(self.extent.believed_at),
            _ => since,
        };
        since.saturating_add(self.config.patience)
    }

    fn give_up(&mut self, now: u64, gap: &Gap, out: &mut impl FnMut(MoldItem<'_>)) {
        // More of it may have come where gaps are not told apart any more.
        let came = self.waiting.keys().next().copied().unwrap_or(u64::MAX);
        let end = gap.end.min(came).min(self.extent.believed.max(self.next + 1));
        self.statistics.lost += end - self.next;
        out(MoldItem::Lost(self.next, end));
        self.next = end;
        self.deliver(now, out);
    }

    /// Forgets what only a stray datagram mentioned.
    fn forget_stray(&mut self, now: u64) {
        self.extent.forget_stray(now);
        let known = self.extent.known.max(self.next);
        self.waiting.split_off(&known);
        let left: Vec<Gap> = self.gaps.iter().filter(|gap| gap.first < known).copied().collect();
        self.gaps.clear();
        for gap in left {
            self.gaps.open(gap.first, gap.end.min(known), gap.noticed, gap.due);
        }
    }

    fn deliver(&mut self, now: u64, out: &mut impl FnMut(MoldItem<'_>)) {
        while let Some(message) = self.waiting.remove(&self.next) {
            out(MoldItem::Message(self.next, &message));
            self.next += 1;
            self.statistics.messages += 1;
        }
        self.gaps.trim(self.next);
        if self.next < self.extent.known && self.gaps.first().is_none_or(|gap| gap.first > self.next) {
            // There was no room for it, nor for the gap that it was in.
            self.gaps.reopen(self.next, now, now);
        }
        if matches!(self.end, End::Confirmed(end) if self.next >= end) {
            self.end = End::Reached;
            out(MoldItem::Ended(self.next));
        }
    }
}

#[cfg(test)]
mod tests;
