//! Receives a session in order, with re-requests, from the first copy of each message on several paths.

use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mcast_packet::payload::MoldUdp64;

use super::extent::{Claim, Extent};
use super::{HEADER, SessionName, request};
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::gaps::{Gap, Gaps};

/// Gaps that are requested at a time; later ones wait until these are filled or given up.
const MAX_REQUESTED_GAPS: usize = 64;

/// How often the interval between requests for messages that may not exist doubles.
const MAX_DOUBLINGS: u32 = 6;

/// Settings of a [`MoldReceiver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoldConfig {
    /// The only session to receive. `None`: the first that arrives, and its successor when it is over or silent.
    pub session: Option<SessionName>,
    /// The first message to deliver. `None`: the first that arrives.
    pub first: Option<u64>,
    /// The largest number of messages buffered out of order. Default: 65,536.
    pub window: usize,
    /// The time after which a message counts as missing and not only as reordered. Default: 1 ms.
    pub reordering: Duration,
    /// The time after which an unanswered request is repeated. Default: 20 ms.
    pub again: Duration,
    /// The time after which a gap without progress is given up, once a second datagram confirms that its messages
    /// exist. Default: 1 s.
    pub timeout: Duration,
    /// Whether to request missing messages. Default: yes.
    pub requests: bool,
    /// The largest number of messages in one request. Default: 1,000.
    pub most_at_once: u16,
    /// Report [`MoldItem::Silent`] after this time without a datagram of the session; senders send heartbeats every
    /// second. A session that is silent for this long is left when another is sent. Default: 5 s.
    pub silence: Duration,
}

impl Default for MoldConfig {
    fn default() -> Self {
        Self {
            session: None,
            first: None,
            window: 65_536,
            reordering: Duration::from_millis(1),
            again: Duration::from_millis(20),
            timeout: Duration::from_secs(1),
            requests: true,
            most_at_once: 1_000,
            silence: Duration::from_secs(5),
        }
    }
}

/// What a receiver delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoldItem<'a> {
    /// A session begins, with this message. It begins again when two datagrams show that the first one had a wrong
    /// number.
    Session(SessionName, u64),
    /// A message: its number and bytes.
    Message(u64, &'a [u8]),
    /// The messages from the first to before the second are lost.
    Lost(u64, u64),
    /// No datagram of the session has arrived for [`MoldConfig::silence`]: whether messages were sent meanwhile is
    /// unknown.
    Silent,
    /// The session was silent and another one is sent, so its end was missed: how many messages it had from this one on
    /// is unknown.
    Left(u64),
    /// The session is over, and had messages up to before this number.
    Ended(u64),
}

/// Counters of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoldStatistics {
    /// Messages delivered.
    pub messages: u64,
    /// Copies of messages received before, on another path or in a reply.
    pub copies: u64,
    /// Messages given up.
    pub lost: u64,
    /// Requests sent.
    pub requests: u64,
    /// Datagrams that are not MoldUDP64, or of another session.
    pub foreign: u64,
    /// Numbers far ahead that no other datagram confirmed: forged, or corrupt.
    pub strays: u64,
    /// Datagrams of each of four paths that contained a new message.
    pub first_by_path: [u64; 4],
}

/// What is known about the end of a session.
#[derive(Clone, Copy, Debug)]
enum End {
    Unknown,
    /// One datagram announces that the session ends before this message.
    Claimed(Claim),
    /// A second datagram repeats it.
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
    at: ClockTime,
    is_silence_reported: bool,
}

/// The receiver of a session.
#[derive(Debug)]
pub struct MoldReceiver {
    config: MoldConfig,
    session: Option<SessionName>,
    start: Start,
    next: u64,
    extent: Extent,
    end: End,
    /// `None` before the first call.
    last_arrival: Option<LastArrival>,
    /// When a message last arrived in order, or a heartbeat that named the next one.
    progress: ClockTime,
    /// Messages that arrived before their turn.
    waiting: BTreeMap<u64, Vec<u8>>,
    gaps: Gaps<u64>,
    /// The first datagram of another session since this one fell silent.
    candidate: Option<Vec<u8>>,
    statistics: MoldStatistics,
}

impl MoldReceiver {
    /// Creates a receiver with these settings.
    #[must_use]
    pub const fn new(config: MoldConfig) -> Self {
        Self {
            config,
            session: None,
            start: Start::Confirmed,
            next: 1,
            extent: Extent::new(1, ClockTime(0)),
            end: End::Unknown,
            last_arrival: None,
            progress: ClockTime(0),
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

    /// Handles a datagram received on a path (0 to 3), or from the re-request server, and delivers the messages that
    /// are next in order.
    pub fn handle_datagram(
        &mut self,
        now: ClockTime,
        path: u8,
        datagram: &[u8],
        mut out: impl FnMut(MoldItem<'_>),
    ) {
        let last_arrival =
            *self.last_arrival.get_or_insert(LastArrival { at: now, is_silence_reported: false });
        let Some(packet) = MoldUdp64::parse(datagram).filter(|packet| self.is_possible(packet)) else {
            self.statistics.foreign += 1;
            return;
        };
        match self.session {
            Some(session) if session == packet.session => {}
            Some(_) if self.has_ended() => self.begin(now, &packet, &mut out),
            Some(_) => return self.follow(now, last_arrival, path, datagram, &mut out),
            None => self.begin(now, &packet, &mut out),
        }
        self.last_arrival = Some(LastArrival { at: now, is_silence_reported: false });
        self.candidate = None;
        self.take_packet(now, path, packet, &mut out);
    }

    /// Gives up messages that have been missing for too long, delivers the ones after them, and reports silence.
    pub fn handle_timeout(&mut self, now: ClockTime, mut out: impl FnMut(MoldItem<'_>)) {
        while let Some(gap) = self.gaps.first().copied().filter(|gap| now >= self.given_up_at(gap)) {
            self.give_up(now, &gap, &mut out);
        }
        self.deliver(now, &mut out);
        let last_arrival =
            *self.last_arrival.get_or_insert(LastArrival { at: now, is_silence_reported: false });
        if now < last_arrival.at + self.config.silence || last_arrival.is_silence_reported {
            return;
        }
        match self.end {
            End::Reached => return,
            End::Claimed(claim) => self.end = End::Confirmed(claim.first),
            End::Confirmed(_) | End::Unknown => {}
        }
        self.deliver(now, &mut out);
        if !self.has_ended() {
            self.last_arrival = Some(LastArrival { is_silence_reported: true, ..last_arrival });
            out(MoldItem::Silent);
        }
    }

    /// Gives up all gaps and delivers the buffered messages after them, for callers that stop or receive another
    /// session. Messages that only one datagram mentions are not reported as lost.
    pub fn abandon(&mut self, mut out: impl FnMut(MoldItem<'_>)) {
        self.drop_stray(ClockTime(0));
        while let Some(gap) = self.gaps.first().copied() {
            self.give_up(ClockTime(0), &gap, &mut out);
        }
    }

    /// Returns a request for missing messages, if one is due: send it to a re-request server, and call again until
    /// there is none.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<[u8; HEADER]> {
        let session = self.session.filter(|_| self.config.requests)?;
        let believed = self.extent.believed;
        let gap = self.gaps.iter_mut().take(MAX_REQUESTED_GAPS).find(|gap| gap.due <= now)?;
        // Messages that may not exist are requested at growing intervals.
        let doublings = if gap.end <= believed { 0 } else { gap.tries.min(MAX_DOUBLINGS) };
        let again = (1 << doublings) * self.config.again;
        (gap.due, gap.asked, gap.tries) = (now + again, now, gap.tries.saturating_add(1));
        let (first, count) = (gap.first, gap.end - gap.first);
        self.statistics.requests += 1;
        Some(request(session, first, count.min(u64::from(self.config.most_at_once.max(1))) as u16))
    }

    /// Returns the time by which to call [`handle_timeout`](Self::handle_timeout) and [`poll_transmit`](Self::poll_transmit).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let timeout = self.gaps.first().map_or(ClockTime::NEVER, |gap| self.given_up_at(gap));
        let request = self.gaps.iter().take(MAX_REQUESTED_GAPS).map(|gap| gap.due).min();
        let request = request.filter(|_| self.config.requests).unwrap_or(ClockTime::NEVER);
        let silence = match self.last_arrival {
            None => ClockTime(0),
            Some(last_arrival) if last_arrival.is_silence_reported || self.has_ended() => ClockTime::NEVER,
            Some(last_arrival) => last_arrival.at + self.config.silence,
        };
        timeout.min(request).min(silence).unless_never()
    }

    /// Returns the counters.
    #[must_use]
    pub const fn statistics(&self) -> MoldStatistics {
        self.statistics
    }

    /// Returns the number of the next message.
    #[must_use]
    pub const fn next_message(&self) -> u64 {
        self.next
    }

    /// Returns whether the session is over, and all of it was delivered or given up.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.end, End::Reached)
    }

    /// Returns whether a packet belongs to the configured session, and its numbers are small enough not to overflow.
    fn is_possible(&self, packet: &MoldUdp64<'_>) -> bool {
        self.config.session.is_none_or(|session| session == packet.session)
            && packet.sequence < (1 << 62) - packet.messages.len() as u64
    }

    fn begin(&mut self, now: ClockTime, packet: &MoldUdp64<'_>, out: &mut impl FnMut(MoldItem<'_>)) {
        let first = if self.session.is_none() { self.config.first } else { Some(1) };
        let claim = Claim { first: packet.sequence, at: now };
        self.start = match first {
            Some(_) => Start::Confirmed,
            None => Start::Unconfirmed { claim, expected: None },
        };
        self.begin_at(now, packet.session, first.unwrap_or(packet.sequence).max(1), out);
    }

    fn begin_at(
        &mut self,
        now: ClockTime,
        session: SessionName,
        first: u64,
        out: &mut impl FnMut(MoldItem<'_>),
    ) {
        (self.session, self.next, self.progress) = (Some(session), first, now);
        (self.extent, self.end) = (Extent::new(first, now), End::Unknown);
        self.waiting.clear();
        self.gaps.clear();
        out(MoldItem::Session(session, first));
    }

    /// Another session: followed when the current one is silent and a second datagram of the other arrives.
    fn follow(
        &mut self,
        now: ClockTime,
        last_arrival: LastArrival,
        path: u8,
        datagram: &[u8],
        out: &mut impl FnMut(MoldItem<'_>),
    ) {
        if now < last_arrival.at + self.config.silence {
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
        self.last_arrival = Some(LastArrival { at: now, is_silence_reported: false });
        for (is_first, packet) in [(true, MoldUdp64::parse(&first)), (false, MoldUdp64::parse(datagram))] {
            let Some(packet) = packet else { continue };
            if is_first {
                self.begin(now, &packet, out);
            }
            self.take_packet(now, path, packet, out);
        }
    }

    fn take_packet(
        &mut self,
        now: ClockTime,
        path: u8,
        packet: MoldUdp64<'_>,
        out: &mut impl FnMut(MoldItem<'_>),
    ) {
        let (first, end) = (packet.sequence, packet.sequence + packet.messages.len() as u64);
        self.confirm_start(now, packet.session, first, end, out);
        if self.extent.refutes(now, first, self.config.timeout) {
            self.statistics.strays += 1;
            self.drop_stray(now);
        }
        self.notice(now, first, end);
        self.record_end(now, &packet);
        if first == self.next {
            self.progress = now;
        }
        let mut is_first = false;
        for (number, message) in (first..).zip(packet.messages) {
            is_first |= self.take(now, number, message, out);
        }
        self.request_rest(now, end);
        if let Some(first) = self.statistics.first_by_path.get_mut(usize::from(path)) {
            *first += u64::from(is_first);
        }
        self.deliver(now, out);
    }

    /// Confirms or corrects the first message of a session that began with any number, which may have been forged: two
    /// consecutive datagrams before it show the real position.
    fn confirm_start(
        &mut self,
        now: ClockTime,
        session: SessionName,
        first: u64,
        end: u64,
        out: &mut impl FnMut(MoldItem<'_>),
    ) {
        let Start::Unconfirmed { claim, expected } = self.start else { return };
        if first > claim.first {
            self.start = Start::Confirmed;
        } else if first < claim.first && now >= claim.at + self.config.reordering {
            self.start = Start::Unconfirmed { claim, expected: Some(end) };
            if expected == Some(first) {
                self.statistics.strays += 1;
                self.start = Start::Confirmed;
                self.begin_at(now, session, first.max(1), out);
            }
        }
    }

    /// Records that messages up to `end` exist, and that those from `first` on have arrived.
    fn notice(&mut self, now: ClockTime, first: u64, end: u64) {
        let due = now + self.config.reordering;
        let before = self.extent.believed;
        let known = self.extent.known;
        self.extent.claim(now, first, end, self.config.reordering);
        let believed = self.extent.believed;
        if believed > before {
            // Their timers begin when they are known to exist.
            let confirmed = |gap: &&mut Gap<u64>| gap.end > before && gap.end <= believed;
            for gap in self.gaps.iter_mut().filter(confirmed) {
                (gap.noticed, gap.due) = (now, gap.due.min(due));
            }
        }
        if first > known {
            self.gaps.open(known..first, now, due);
        }
    }

    /// Records the end of the session. It counts when a second datagram repeats it, and none contradicts it meanwhile.
    fn record_end(&mut self, now: ClockTime, packet: &MoldUdp64<'_>) {
        let (first, count) = (packet.sequence, packet.messages.len() as u64);
        let claim = match self.end {
            End::Reached | End::Confirmed(_) => return,
            End::Claimed(claim) => Some(claim),
            End::Unknown => None,
        };
        self.end = match claim {
            Some(claim) if !packet.end_of_session => {
                let continues = count == 0 || first + count > claim.first;
                if continues { End::Unknown } else { End::Claimed(claim) }
            }
            Some(claim) if claim.first == first => {
                let is_repeated = now >= claim.at + self.config.reordering;
                if is_repeated { End::Confirmed(first) } else { End::Claimed(claim) }
            }
            _ if packet.end_of_session => End::Claimed(Claim { first, at: now }),
            _ => End::Unknown,
        };
    }

    /// Delivers a message that is next in order, or buffers it; returns `false` if it is not new.
    fn take(
        &mut self,
        now: ClockTime,
        number: u64,
        message: &[u8],
        out: &mut impl FnMut(MoldItem<'_>),
    ) -> bool {
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
            // It is requested again when there is room.
            self.gaps.reopen(number, now, now + self.config.again);
        }
        true
    }

    /// Makes the rest of a gap due when a reply ends within it: a reply is at most one datagram.
    fn request_rest(&mut self, now: ClockTime, end: u64) {
        let reordering = self.config.reordering;
        if let Some(rest) = self.gaps.iter_mut().find(|gap| gap.first >= end)
            && rest.first == end
            && rest.tries > 0
        {
            // Not at once: this may be late data and not a reply, and more of it may follow.
            rest.due = rest.due.min(rest.asked + reordering);
            rest.noticed = now;
        }
    }

    /// Returns when the first gap is given up: never while only one datagram claims that its messages exist.
    fn given_up_at(&self, gap: &Gap<u64>) -> ClockTime {
        let since = gap.noticed.max(self.progress);
        let since = match self.extent.believed {
            believed if believed <= gap.first => return ClockTime::NEVER,
            believed if believed < gap.end => since.max(self.extent.believed_at),
            _ => since,
        };
        since + self.config.timeout
    }

    fn give_up(&mut self, now: ClockTime, gap: &Gap<u64>, out: &mut impl FnMut(MoldItem<'_>)) {
        // Gaps may have been merged: some messages of this one may be buffered.
        let buffered = self.waiting.keys().next().copied().unwrap_or(u64::MAX);
        let end = gap.end.min(buffered).min(self.extent.believed.max(self.next + 1));
        self.statistics.lost += end - self.next;
        out(MoldItem::Lost(self.next, end));
        self.next = end;
        self.deliver(now, out);
    }

    /// Drops what only a stray datagram mentioned.
    fn drop_stray(&mut self, now: ClockTime) {
        self.extent.drop_stray(now);
        let known = self.extent.known.max(self.next);
        self.waiting.split_off(&known);
        let remaining: Vec<Gap<u64>> = self.gaps.iter().filter(|gap| gap.first < known).copied().collect();
        self.gaps.clear();
        for gap in remaining {
            self.gaps.open(gap.first..gap.end.min(known), gap.noticed, gap.due);
        }
    }

    fn deliver(&mut self, now: ClockTime, out: &mut impl FnMut(MoldItem<'_>)) {
        while let Some(message) = self.waiting.remove(&self.next) {
            out(MoldItem::Message(self.next, &message));
            self.next += 1;
            self.statistics.messages += 1;
        }
        self.gaps.trim(self.next);
        if self.next < self.extent.known && self.gaps.first().is_none_or(|gap| gap.first > self.next) {
            // There was no room for the message, nor for its gap.
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
