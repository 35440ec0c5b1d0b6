//! Receiving a session in order, by what comes first of its paths, with re-requests.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mcast_packet::payload::MoldUdp64;

use super::{HEADER, Session, request};
use crate::receiver::gaps::Gaps;

/// Gaps that are asked for at once; those behind them wait until these are filled or given up.
const MOST_ASKED: usize = 64;

const MILLISECOND: u64 = 1_000_000;

/// Settings of a [`MoldReceiver`]. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoldConfig {
    /// Only this session. `None`: the first that is heard, and each that follows it.
    pub session: Option<Session>,
    /// The first message that is wanted; `None`: the first that comes.
    pub first: Option<u64>,
    /// Messages that are kept out of order. Default: 65,536.
    pub window: usize,
    /// After so long something is missing and not only out of order. Default: 1 ms.
    pub reordering: u64,
    /// What was asked for, and of which nothing came, is asked for again after so long. Default: 20 ms.
    pub again: u64,
    /// A gap of which nothing came for so long is given up. Default: 1 s.
    pub patience: u64,
    /// Whether to ask for what is missing. Default: yes.
    pub requests: bool,
    /// Messages in one request. Default: 1,000.
    pub most_at_once: u16,
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
        }
    }
}

/// What a receiver hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoldItem<'a> {
    /// A session begins: its first message that can come.
    Session(Session, u64),
    /// A message: its number and bytes.
    Message(u64, &'a [u8]),
    /// The messages from the first to before the second will not come.
    Lost(u64, u64),
    /// The session is over, and had messages up to before this number.
    Ended(u64),
}

/// What a receiver has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoldStatistics {
    /// Messages that were handed out.
    pub messages: u64,
    /// Messages that came before, by another path or a re-request.
    pub copies: u64,
    /// Messages that were given up.
    pub lost: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Datagrams that are none of MoldUDP64, or of another session.
    pub foreign: u64,
    /// Datagrams of each of four paths that had something new.
    pub first_by_path: [u64; 4],
}

/// The receiver of a session.
#[derive(Debug)]
pub struct MoldReceiver {
    config: MoldConfig,
    session: Option<Session>,
    next: u64,
    /// Behind the greatest that was heard of.
    known: u64,
    end: Option<u64>,
    ended: bool,
    /// What came before its turn.
    waiting: BTreeMap<u64, Vec<u8>>,
    gaps: Gaps,
    statistics: MoldStatistics,
}

impl MoldReceiver {
    /// A receiver with these settings.
    #[must_use]
    pub const fn new(config: MoldConfig) -> Self {
        Self {
            config,
            session: None,
            next: 1,
            known: 1,
            end: None,
            ended: false,
            waiting: BTreeMap::new(),
            gaps: Gaps::new(),
            statistics: MoldStatistics {
                messages: 0,
                copies: 0,
                lost: 0,
                requests: 0,
                foreign: 0,
                first_by_path: [0; 4],
            },
        }
    }

    /// Takes a datagram that came on a path (0 to 3), or from the server of re-requests, and hands out what follows.
    pub fn handle(&mut self, now: u64, path: u8, datagram: &[u8], mut out: impl FnMut(MoldItem<'_>)) {
        let Some(packet) = MoldUdp64::parse(datagram).filter(|packet| self.is_mine(packet.session)) else {
            self.statistics.foreign += 1;
            return;
        };
        let count = packet.messages.len() as u64;
        // No session has so many messages; a number beyond would overflow.
        let Some(end) = packet.sequence.checked_add(count).filter(|end| *end < 1 << 62) else {
            self.statistics.foreign += 1;
            return;
        };
        if self.session != Some(packet.session) {
            self.begin(packet.session, packet.sequence, &mut out);
        }
        self.notice(now, packet.sequence, end);
        if packet.end_of_session {
            self.end = Some(packet.sequence);
        }
        let mut is_first = false;
        for (number, message) in (packet.sequence..).zip(packet.messages) {
            is_first |= self.take(now, number, message, &mut out);
        }
        self.ask_for_the_rest(now, end);
        if let Some(first) = self.statistics.first_by_path.get_mut(usize::from(path)) {
            *first += u64::from(is_first);
        }
        self.hand_out(now, &mut out);
    }

    /// Gives up what has been missing for too long, and hands out what follows.
    pub fn pass(&mut self, now: u64, mut out: impl FnMut(MoldItem<'_>)) {
        while let Some(gap) = self.gaps.first().copied()
            && now >= gap.noticed.saturating_add(self.config.patience)
        {
            // There is more of it where gaps are not told apart any more.
            let end = self.waiting.keys().next().map_or(gap.end, |came| gap.end.min(*came));
            self.statistics.lost += end - self.next;
            out(MoldItem::Lost(self.next, end));
            self.next = end;
            self.hand_out(now, &mut out);
        }
        self.hand_out(now, &mut out);
    }

    /// A request for what is missing, if one is due: to be sent to a server of re-requests. Ask again until there is none.
    pub fn poll(&mut self, now: u64) -> Option<[u8; HEADER]> {
        let session = self.session.filter(|_| self.config.requests)?;
        let again = now.saturating_add(self.config.again);
        let gap = self.gaps.iter_mut().take(MOST_ASKED).find(|gap| gap.due <= now)?;
        (gap.due, gap.asked, gap.tries) = (again, now, gap.tries.saturating_add(1));
        let (first, count) = (gap.first, gap.end - gap.first);
        self.statistics.requests += 1;
        Some(request(session, first, count.min(u64::from(self.config.most_at_once.max(1))) as u16))
    }

    /// When to [`pass`](Self::pass) and to [`poll`](Self::poll) at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        let patience =
            self.gaps.first().map_or(u64::MAX, |gap| gap.noticed.saturating_add(self.config.patience));
        let asked = self.gaps.iter().take(MOST_ASKED).map(|gap| gap.due).min();
        patience.min(asked.filter(|_| self.config.requests).unwrap_or(u64::MAX))
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

    /// Whether the session is over, and all of it was handed out or given up.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    fn is_mine(&self, session: Session) -> bool {
        match (self.config.session, self.session) {
            (Some(wanted), _) => wanted == session,
            // Another session follows only one that is over: on a shared group others may be heard.
            (None, Some(current)) => current == session || self.ended,
            (None, None) => true,
        }
    }

    fn begin(&mut self, session: Session, sequence: u64, out: &mut impl FnMut(MoldItem<'_>)) {
        let first = if self.session.is_none() { self.config.first } else { Some(1) };
        self.session = Some(session);
        self.next = first.unwrap_or(sequence).max(1);
        (self.known, self.end, self.ended) = (self.next, None, false);
        self.waiting.clear();
        self.gaps.clear();
        out(MoldItem::Session(session, self.next));
    }

    /// Messages up to here were sent, and those from `first` on have come.
    fn notice(&mut self, now: u64, first: u64, end: u64) {
        if first > self.known {
            self.gaps.open(self.known, first, now, now.saturating_add(self.config.reordering));
        }
        self.known = self.known.max(end);
    }

    /// Hands out a message whose turn it is, or keeps it; `false` if it is none that is new.
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

    fn hand_out(&mut self, now: u64, out: &mut impl FnMut(MoldItem<'_>)) {
        while let Some(message) = self.waiting.remove(&self.next) {
            out(MoldItem::Message(self.next, &message));
            self.next += 1;
            self.statistics.messages += 1;
        }
        self.gaps.trim(self.next);
        if self.next < self.known && self.gaps.first().is_none_or(|gap| gap.first > self.next) {
            // There was no room for it, nor for the gap that it was in.
            self.gaps.reopen(self.next, now, now);
        }
        if self.end.is_some_and(|end| self.next >= end) && !self.ended {
            self.ended = true;
            out(MoldItem::Ended(self.next));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::mold::{MoldError, MoldSender};

    const SESSION: Session = *b"SESSION  1";

    /// Messages as they were handed out, and what was told to be lost.
    fn run(seed: u64, loss: f64, messages: u64, ask: bool) -> (Vec<u64>, Vec<(u64, u64)>, bool) {
        let mut random = crate::random::Random::new(seed);
        let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
        let config = MoldConfig { first: Some(1), requests: ask, ..MoldConfig::default() };
        let mut receiver = MoldReceiver::new(config);
        let (mut came, mut lost, mut ended, mut now) = (Vec::new(), Vec::new(), false, 0);
        let mut under_way: VecDeque<Vec<u8>> = VecDeque::new();
        let mut left = messages;
        for _ in 0..40_000 {
            now += 500_000;
            if left > 0 {
                sender.publish(&(messages - left + 1).to_be_bytes()).unwrap();
                left -= 1;
                if random.below(3) == 0 || left == 0 {
                    sender.flush();
                }
                if left == 0 {
                    sender.end();
                }
            }
            while let Some(packet) = sender.poll(now) {
                // Two paths, each as bad as the other.
                for path in 0..2 {
                    if random.unit() >= loss {
                        under_way.push_back([&[path], &packet[..]].concat());
                    }
                }
            }
            if random.below(10) == 0 {
                under_way.rotate_left(under_way.len().min(1));
            }
            let mut out = |item: MoldItem<'_>| match item {
                MoldItem::Message(number, bytes) => {
                    assert_eq!(bytes, number.to_be_bytes());
                    came.push(number);
                }
                MoldItem::Lost(first, end) => lost.push((first, end)),
                MoldItem::Ended(_) => ended = true,
                MoldItem::Session(session, _) => assert_eq!(session, SESSION),
            };
            while let Some(packet) = under_way.pop_front() {
                receiver.handle(now, packet[0], &packet[1..], &mut out);
            }
            receiver.pass(now, &mut out);
            while let Some(request) = receiver.poll(now) {
                if let Some(answer) = sender.answer(now, &request)
                    && random.unit() >= loss
                {
                    receiver.handle(now, 3, &answer, &mut out);
                }
            }
            if ended {
                break;
            }
        }
        (came, lost, ended)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn with_requests_every_message_comes_in_order(seed: u64, loss in 0.0..0.3) {
            let (came, lost, ended) = run(seed, loss, 300, true);
            prop_assert!(ended && lost.is_empty(), "{lost:?}");
            prop_assert_eq!(came, (1..=300).collect::<Vec<_>>());
        }

        #[test]
        fn without_requests_what_is_lost_is_told_exactly(seed: u64, loss in 0.0..0.6) {
            let (came, lost, ended) = run(seed, loss, 300, false);
            prop_assert!(ended);
            let mut all: Vec<u64> = came.clone();
            all.extend(lost.iter().flat_map(|(first, end)| *first..*end));
            all.sort_unstable();
            prop_assert_eq!(all, (1..=300).collect::<Vec<_>>());
            prop_assert!(came.is_sorted());
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..40)) {
            let mut receiver = MoldReceiver::new(MoldConfig { window: 16, ..MoldConfig::default() });
            for (now, mut datagram) in (0..).zip(datagrams) {
                if datagram.len() > 20 {
                    datagram[..10].copy_from_slice(&SESSION);
                    datagram[18] = 0;
                }
                receiver.handle(now * 100_000_000, 0, &datagram, |_| {});
                receiver.pass(now * 100_000_000, |_| {});
                let _ = receiver.poll(now * 100_000_000);
                prop_assert!(receiver.waiting.len() <= 16);
            }
        }
    }

    /// So many messages, each in a datagram of its own.
    fn datagrams(sender: &mut MoldSender, messages: u64) -> Vec<Vec<u8>> {
        let publish = |number: u64| {
            sender.publish(&number.to_be_bytes()).unwrap();
            sender.flush();
            sender.poll(1).unwrap()
        };
        (1..=messages).map(publish).collect()
    }

    /// When all messages have come, with a server that is half a millisecond away.
    fn repaired_at(receiver: &mut MoldReceiver, sender: &mut MoldSender, messages: u64) -> u64 {
        let mut answers: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
        for now in (0..10_000).map(|step| step * MILLISECOND / 10) {
            while answers.front().is_some_and(|(at, _)| *at <= now) {
                let (_, answer) = answers.pop_front().unwrap();
                receiver.handle(now, 3, &answer, |item| assert!(!matches!(item, MoldItem::Lost(..))));
            }
            while let Some(request) = receiver.poll(now) {
                answers.extend(sender.answer(now, &request).map(|answer| (now + MILLISECOND / 2, answer)));
            }
            if receiver.next_message() > messages {
                return now;
            }
        }
        panic!("it is not repaired: {receiver:?}");
    }

    #[test]
    fn all_gaps_are_asked_for_at_once() {
        let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
        let mut receiver = MoldReceiver::new(MoldConfig::default());
        for (number, datagram) in (1..).zip(datagrams(&mut sender, 101)) {
            if number % 10 != 5 {
                receiver.handle(0, 0, &datagram, |_| {});
            }
        }
        assert!(repaired_at(&mut receiver, &mut sender, 101) < 3 * MILLISECOND);
        assert_eq!(receiver.statistics().requests, 10);
    }

    /// 8 bytes each: a datagram holds 138 of them.
    #[test]
    fn a_gap_longer_than_an_answer_is_asked_for_piece_by_piece_without_waiting() {
        let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
        let mut receiver = MoldReceiver::new(MoldConfig::default());
        for (number, datagram) in (1..).zip(datagrams(&mut sender, 1_002)) {
            if !(2..=1_001).contains(&number) {
                receiver.handle(0, 0, &datagram, |_| {});
            }
        }
        assert!(repaired_at(&mut receiver, &mut sender, 1_002) < 12 * MILLISECOND);
        assert_eq!(receiver.statistics().requests, 8);
    }

    #[test]
    fn what_the_window_did_not_hold_is_asked_for_later() {
        let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
        let mut receiver = MoldReceiver::new(MoldConfig { window: 4, ..MoldConfig::default() });
        for (number, datagram) in (1..).zip(datagrams(&mut sender, 40)) {
            if number != 2 {
                receiver.handle(0, 0, &datagram, |_| {});
            }
        }
        assert!(receiver.waiting.len() <= 4);
        assert!(repaired_at(&mut receiver, &mut sender, 40) < 100 * MILLISECOND);
    }

    #[test]
    fn who_asks_without_end_gets_no_more_than_is_allowed() {
        let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap().allow(100_000, 10_000);
        let _ = datagrams(&mut sender, 1_000);
        let asked = request(SESSION, 1, 1_000);
        let answered = |sender: &mut MoldSender, now: u64| -> usize {
            let answers = std::iter::from_fn(|| sender.answer(now, &asked)).take(10_000);
            answers.map(|answer| answer.len()).sum()
        };
        let at_once = answered(&mut sender, 1);
        assert!((8_600..=10_000).contains(&at_once), "{at_once} bytes");
        // In 50 ms there are 5,000 more.
        let later = answered(&mut sender, 50 * MILLISECOND + 1);
        assert!((2_800..=6_400).contains(&later), "{later} bytes");
    }

    #[test]
    fn a_session_that_nobody_would_read_is_refused() {
        for name in [b"20261120-A", b"          ", b"s\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(MoldSender::new(*name, 1400, 1 << 16).unwrap_err(), MoldError::BadSession);
        }
    }

    #[test]
    fn another_session_is_heard_only_when_the_one_before_is_over() {
        let mut receiver = MoldReceiver::new(MoldConfig::default());
        let mut items = Vec::new();
        let packet = |session: &[u8; 10], end: bool| {
            let mut sender = MoldSender::new(*session, 1400, 1 << 16).unwrap();
            if end {
                sender.end();
            } else {
                sender.publish(b"m").map(|_| sender.flush()).unwrap();
            }
            sender.poll(0).unwrap()
        };
        for (session, end) in
            [(b"A         ", false), (b"B         ", false), (b"A         ", true), (b"B         ", false)]
        {
            receiver.handle(0, 0, &packet(session, end), |item| {
                if let MoldItem::Session(session, _) = item {
                    items.push(session[0]);
                }
            });
        }
        assert_eq!((items, receiver.statistics().foreign), (vec![b'A', b'B'], 1));
    }
}
