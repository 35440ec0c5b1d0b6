//! Receiving a session in order, by what comes first of its paths, with re-requests.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mcast_packet::payload::MoldUdp64;

use super::{HEADER, Session, request};

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
    /// What was asked for is asked for again after so long. Default: 20 ms.
    pub again: u64,
    /// What is missing for so long is given up. Default: 1 s.
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
    /// What came before its turn, and when.
    waiting: BTreeMap<u64, (u64, Vec<u8>)>,
    missing_since: Option<u64>,
    asked_at: Option<u64>,
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
            missing_since: None,
            asked_at: None,
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
        self.known = self.known.max(end);
        if packet.end_of_session {
            self.end = Some(packet.sequence);
        }
        let mut is_first = false;
        for (number, message) in (packet.sequence..).zip(packet.messages) {
            is_first |= self.take(now, number, message, &mut out);
        }
        if let Some(first) = self.statistics.first_by_path.get_mut(usize::from(path)) {
            *first += u64::from(is_first);
        }
        self.hand_out(now, &mut out);
    }

    /// Gives up what has been missing for too long, and hands out what follows.
    pub fn pass(&mut self, now: u64, mut out: impl FnMut(MoldItem<'_>)) {
        let is_over = |since: u64| now >= since.saturating_add(self.config.patience);
        if self.missing_since.is_some_and(is_over) {
            let end = self.waiting.keys().next().copied().unwrap_or(self.known);
            self.statistics.lost += end - self.next;
            out(MoldItem::Lost(self.next, end));
            self.next = end;
            self.missing_since = None;
        }
        self.hand_out(now, &mut out);
    }

    /// A request for what is missing, if one is due: to be sent to a server of re-requests.
    pub fn poll(&mut self, now: u64) -> Option<[u8; HEADER]> {
        let due = self.request_due()?;
        let session = self.session.filter(|_| now >= due)?;
        let end = self.waiting.keys().next().copied().unwrap_or(self.known);
        let count = (end - self.next).min(u64::from(self.config.most_at_once.max(1))) as u16;
        self.asked_at = Some(now);
        self.statistics.requests += 1;
        Some(request(session, self.next, count))
    }

    /// When to [`pass`](Self::pass) and to [`poll`](Self::poll) at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        let patience =
            self.missing_since.map_or(u64::MAX, |since| since.saturating_add(self.config.patience));
        patience.min(self.request_due().unwrap_or(u64::MAX))
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
        (self.missing_since, self.asked_at) = (None, None);
        self.waiting.clear();
        out(MoldItem::Session(session, self.next));
    }

    /// Hands out a message whose turn it is, or keeps it; `false` if it is none that is new.
    fn take(&mut self, now: u64, number: u64, message: &[u8], out: &mut impl FnMut(MoldItem<'_>)) -> bool {
        if number < self.next || self.waiting.contains_key(&number) {
            self.statistics.copies += 1;
            return false;
        }
        if number == self.next {
            self.next += 1;
            self.missing_since = None;
            self.statistics.messages += 1;
            out(MoldItem::Message(number, message));
            return true;
        }
        if self.waiting.len() < self.config.window {
            self.waiting.insert(number, (now, message.to_vec()));
        }
        true
    }

    fn hand_out(&mut self, now: u64, out: &mut impl FnMut(MoldItem<'_>)) {
        while let Some((_, message)) = self.waiting.remove(&self.next) {
            out(MoldItem::Message(self.next, &message));
            self.next += 1;
            self.statistics.messages += 1;
            self.missing_since = None;
        }
        if self.next < self.known {
            // What came behind the gap has shown it when it came.
            let noticed = self.waiting.first_key_value().map_or(now, |(_, (came, _))| *came);
            self.missing_since.get_or_insert(noticed);
        }
        if self.end.is_some_and(|end| self.next >= end) && !self.ended {
            self.ended = true;
            out(MoldItem::Ended(self.next));
        }
    }

    fn request_due(&self) -> Option<u64> {
        let since = self.missing_since.filter(|_| self.config.requests)?;
        let first = since.saturating_add(self.config.reordering);
        // What was asked for before this gap says nothing of it.
        let again = self.asked_at.filter(|asked| *asked >= since);
        Some(again.map_or(first, |asked| asked.saturating_add(self.config.again)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::mold::MoldSender;

    const SESSION: Session = *b"SESSION  1";

    /// Messages as they were handed out, and what was told to be lost.
    fn run(seed: u64, loss: f64, messages: u64, ask: bool) -> (Vec<u64>, Vec<(u64, u64)>, bool) {
        let mut random = crate::random::Random::new(seed);
        let mut sender = MoldSender::new(SESSION, 1400, 1 << 20);
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
            if let Some(request) = receiver.poll(now)
                && let Some(answer) = sender.answer(&request)
                && random.unit() >= loss
            {
                receiver.handle(now, 3, &answer, &mut out);
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

    #[test]
    fn another_session_is_heard_only_when_the_one_before_is_over() {
        let mut receiver = MoldReceiver::new(MoldConfig::default());
        let mut items = Vec::new();
        let packet = |session: &[u8; 10], end: bool| {
            let mut sender = MoldSender::new(*session, 1400, 1 << 16);
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
