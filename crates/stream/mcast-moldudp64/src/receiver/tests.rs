//! The receiver against the sender, against loss, and against forged datagrams.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{MoldError, MoldSender};

const SESSION: SessionName = *b"SESSION  1";
const MILLISECOND: u64 = 1_000_000;

/// Returns the messages delivered, the ranges reported as lost, and whether the session ended.
fn run(seed: u64, loss: f64, messages: u64, ask: bool) -> (Vec<u64>, Vec<(u64, u64)>, bool) {
    let mut random = mcast_sim::Dice::new(seed);
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
        while let Some(packet) = sender.poll_transmit(ClockTime(now)) {
            // Two paths, both with the same loss.
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
            // Five consecutive heartbeats may be lost.
            MoldItem::Silent => {}
            MoldItem::Left(_) => panic!("{item:?}"),
        };
        while let Some(packet) = under_way.pop_front() {
            receiver.handle_datagram(ClockTime(now), packet[0], &packet[1..], &mut out);
        }
        receiver.handle_timeout(ClockTime(now), &mut out);
        while let Some(request) = receiver.poll_transmit(ClockTime(now)) {
            if let Some(answer) = sender.answer(ClockTime(now), &request)
                && random.unit() >= loss
            {
                receiver.handle_datagram(ClockTime(now), 3, &answer, &mut out);
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
    fn with_requests_every_message_is_delivered_in_order(seed: u64, loss in 0.0..0.3) {
        let (came, lost, ended) = run(seed, loss, 300, true);
        prop_assert!(ended && lost.is_empty(), "{lost:?}");
        prop_assert_eq!(came, (1..=300).collect::<Vec<_>>());
    }

    #[test]
    fn without_requests_losses_are_reported_exactly(seed: u64, loss in 0.0..0.6) {
        let (came, lost, ended) = run(seed, loss, 300, false);
        prop_assert!(ended);
        let mut all: Vec<u64> = came.clone();
        all.extend(lost.iter().flat_map(|(first, end)| *first..*end));
        all.sort_unstable();
        prop_assert_eq!(all, (1..=300).collect::<Vec<_>>());
        prop_assert!(came.is_sorted());
    }

    #[test]
    fn hostile_bytes_do_not_exceed_the_window(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..40)) {
        let mut receiver = MoldReceiver::new(MoldConfig { window: 16, ..MoldConfig::default() });
        for (now, mut datagram) in (0..).zip(datagrams) {
            if datagram.len() > 20 {
                datagram[..10].copy_from_slice(&SESSION);
                datagram[18] = 0;
            }
            receiver.handle_datagram(ClockTime(now * 100_000_000), 0, &datagram, |_| {});
            receiver.handle_timeout(ClockTime(now * 100_000_000), |_| {});
            let _ = receiver.poll_transmit(ClockTime(now * 100_000_000));
            prop_assert!(receiver.waiting.len() <= 16);
        }
    }
}

/// Returns this many messages, each in a datagram of its own.
fn datagrams(sender: &mut MoldSender, messages: u64) -> Vec<Vec<u8>> {
    let publish = |number: u64| {
        sender.publish(&number.to_be_bytes()).unwrap();
        sender.flush();
        sender.poll_transmit(ClockTime(1)).unwrap()
    };
    (1..=messages).map(publish).collect()
}

/// Returns when all messages are delivered, with a re-request server half a millisecond away.
fn repaired_at(receiver: &mut MoldReceiver, sender: &mut MoldSender, messages: u64) -> u64 {
    let mut answers: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    for now in (0..10_000).map(|step| step * MILLISECOND / 10) {
        while answers.front().is_some_and(|(at, _)| *at <= now) {
            let (_, answer) = answers.pop_front().unwrap();
            receiver.handle_datagram(ClockTime(now), 3, &answer, |item| {
                assert!(!matches!(item, MoldItem::Lost(..)));
            });
        }
        while let Some(request) = receiver.poll_transmit(ClockTime(now)) {
            answers.extend(
                sender.answer(ClockTime(now), &request).map(|answer| (now + MILLISECOND / 2, answer)),
            );
        }
        if receiver.next_message() > messages {
            return now;
        }
    }
    panic!("the gaps were not repaired: {receiver:?}");
}

#[test]
fn all_gaps_are_requested_at_once() {
    let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
    let mut receiver = MoldReceiver::new(MoldConfig::default());
    for (number, datagram) in (1..).zip(datagrams(&mut sender, 101)) {
        if number % 10 != 5 {
            receiver.handle_datagram(ClockTime(0), 0, &datagram, |_| {});
        }
    }
    assert!(repaired_at(&mut receiver, &mut sender, 101) < 3 * MILLISECOND);
    assert_eq!(receiver.statistics().requests, 10);
}

/// A datagram holds 138 messages of 8 bytes.
#[test]
fn a_gap_longer_than_a_reply_is_requested_in_parts_without_waiting() {
    let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
    let mut receiver = MoldReceiver::new(MoldConfig::default());
    for (number, datagram) in (1..).zip(datagrams(&mut sender, 1_002)) {
        if !(2..=1_001).contains(&number) {
            receiver.handle_datagram(ClockTime(0), 0, &datagram, |_| {});
        }
    }
    assert!(repaired_at(&mut receiver, &mut sender, 1_002) < 12 * MILLISECOND);
    assert_eq!(receiver.statistics().requests, 8);
}

#[test]
fn messages_beyond_the_window_are_requested_later() {
    let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap();
    let mut receiver = MoldReceiver::new(MoldConfig { window: 4, ..MoldConfig::default() });
    for (number, datagram) in (1..).zip(datagrams(&mut sender, 40)) {
        if number != 2 {
            receiver.handle_datagram(ClockTime(0), 0, &datagram, |_| {});
        }
    }
    assert!(receiver.waiting.len() <= 4);
    assert!(repaired_at(&mut receiver, &mut sender, 40) < 100 * MILLISECOND);
}

#[test]
fn replies_to_endless_requests_keep_to_the_allowance() {
    let mut sender = MoldSender::new(SESSION, 1400, 1 << 20).unwrap().allow(100_000, 10_000);
    let _ = datagrams(&mut sender, 1_000);
    let asked = request(SESSION, 1, 1_000);
    let answered = |sender: &mut MoldSender, now: u64| -> usize {
        let answers = std::iter::from_fn(|| sender.answer(ClockTime(now), &asked)).take(10_000);
        answers.map(|answer| answer.len()).sum()
    };
    let at_once = answered(&mut sender, 1);
    assert!((8_600..=10_000).contains(&at_once), "{at_once} bytes");
    // The allowance grows by 5,000 bytes in 50 ms.
    let later = answered(&mut sender, 50 * MILLISECOND + 1);
    assert!((2_800..=6_400).contains(&later), "{later} bytes");
}

#[test]
fn an_invalid_session_name_is_rejected() {
    for name in [b"20261120-A", b"          ", b"s\0\0\0\0\0\0\0\0\0"] {
        assert_eq!(MoldSender::new(*name, 1400, 1 << 16).unwrap_err(), MoldError::BadSession);
    }
}

#[test]
fn another_session_is_received_only_when_the_one_before_is_over() {
    let mut receiver = MoldReceiver::new(MoldConfig::default());
    let mut items = Vec::new();
    let packet = |session: &[u8; 10], end: bool| {
        let mut sender = MoldSender::new(*session, 1400, 1 << 16).unwrap();
        if end {
            sender.end();
        } else {
            sender.publish(b"m").map(|_| sender.flush()).unwrap();
        }
        sender.poll_transmit(ClockTime(0)).unwrap()
    };
    let (a, b) = (b"A         ", b"B         ");
    for (now, session, end) in
        [(0, a, false), (0, b, false), (0, a, true), (MILLISECOND, a, true), (MILLISECOND, b, false)]
    {
        receiver.handle_datagram(ClockTime(now), 0, &packet(session, end), |item| {
            if let MoldItem::Session(session, _) = item {
                items.push(session[0]);
            }
        });
    }
    assert_eq!((items, receiver.statistics().foreign), (vec![b'A', b'B'], 1));
}

/// A datagram of `SESSION`: one message (its number), none (a heartbeat), or the end of the session.
#[derive(Clone, Copy)]
enum Datagram {
    Message(u64),
    Heartbeat(u64),
    End(u64),
}

impl Datagram {
    fn of(self, session: SessionName) -> Vec<u8> {
        match self {
            Self::Message(number) => {
                let mut bytes = request(session, number, 1).to_vec();
                bytes.extend_from_slice(&8_u16.to_be_bytes());
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes
            }
            Self::Heartbeat(number) => request(session, number, 0).to_vec(),
            Self::End(number) => request(session, number, u16::MAX).to_vec(),
        }
    }
}

/// A receiver with a clock, and what it delivered.
struct Trial {
    receiver: MoldReceiver,
    now: u64,
    came: Vec<u64>,
    lost: Vec<(u64, u64)>,
    sessions: Vec<(SessionName, u64)>,
    left: Vec<u64>,
    silences: u64,
    ended: Option<u64>,
}

impl Trial {
    fn new(config: MoldConfig) -> Self {
        let receiver = MoldReceiver::new(config);
        Self {
            receiver,
            now: 0,
            came: Vec::new(),
            lost: Vec::new(),
            sessions: Vec::new(),
            left: Vec::new(),
            silences: 0,
            ended: None,
        }
    }

    fn take(&mut self, bytes: Option<&[u8]>) {
        let mut out = |item: MoldItem<'_>| match item {
            MoldItem::Message(number, _) => self.came.push(number),
            MoldItem::Lost(first, end) => self.lost.push((first, end)),
            MoldItem::Session(session, first) => self.sessions.push((session, first)),
            MoldItem::Left(next) => self.left.push(next),
            MoldItem::Silent => self.silences += 1,
            MoldItem::Ended(next) => self.ended = Some(next),
        };
        match bytes {
            Some(bytes) => self.receiver.handle_datagram(ClockTime(self.now), 0, bytes, &mut out),
            None => self.receiver.handle_timeout(ClockTime(self.now), &mut out),
        }
    }

    /// Handles the datagram after this time.
    fn after(&mut self, millis: u64, datagram: Datagram) {
        self.wait(millis);
        self.take(Some(&datagram.of(SESSION)));
    }

    fn wait(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += MILLISECOND;
            self.take(None);
            while self.receiver.poll_transmit(ClockTime(self.now)).is_some() {}
        }
    }
}

/// Runs a feed with a message every 100 ms and a heartbeat every second in pauses; the forged datagram arrives before
/// message 6.
fn feed_with(forged: Datagram, requests: bool) -> Trial {
    let mut trial = Trial::new(MoldConfig { requests, ..MoldConfig::default() });
    for number in 1..=60 {
        trial.after(100, Datagram::Message(number));
        if number == 5 {
            trial.after(0, forged);
        }
        if number % 20 == 0 {
            for _ in 0..4 {
                trial.after(1_000, Datagram::Heartbeat(number + 1));
            }
        }
    }
    trial
}

#[test]
fn one_forged_number_costs_no_message() {
    for number in [7, 30, 1_000, 1 << 24, 1 << 50, (1 << 62) - 2] {
        for forged in [Datagram::Message(number), Datagram::Heartbeat(number), Datagram::End(number)] {
            for requests in [false, true] {
                let trial = feed_with(forged, requests);
                assert_eq!(trial.lost, [], "{number}");
                let real: Vec<u64> = trial.came.iter().copied().filter(|came| *came <= 60).collect();
                assert_eq!(real, (1..=60).collect::<Vec<_>>(), "{number}");
                assert_eq!((trial.ended, trial.sessions.len()), (None, 1), "{number}");
            }
        }
    }
}

#[test]
fn a_forged_number_is_requested_at_growing_intervals() {
    let trial = feed_with(Datagram::Message(1 << 24), true);
    let requests = trial.receiver.statistics().requests;
    assert!(requests < 20, "{requests} requests in 18 s");
}

#[test]
fn a_loss_that_a_later_datagram_or_heartbeat_confirms_is_reported() {
    for confirming in [Datagram::Message(21), Datagram::Heartbeat(21), Datagram::End(21)] {
        let mut trial = Trial::new(MoldConfig { requests: false, ..MoldConfig::default() });
        trial.after(10, Datagram::Message(1));
        trial.after(10, Datagram::Message(20));
        trial.after(10, confirming);
        trial.wait(1_000);
        assert_eq!(trial.lost, [(2, 20)]);
    }
}

#[test]
fn a_loss_at_the_tail_is_confirmed_by_a_second_heartbeat() {
    let mut trial = Trial::new(MoldConfig { requests: false, ..MoldConfig::default() });
    trial.after(10, Datagram::Message(1));
    trial.after(1_000, Datagram::Heartbeat(4));
    trial.wait(1_000);
    assert_eq!(trial.lost, []);
    trial.after(1, Datagram::Heartbeat(4));
    trial.wait(1_000);
    assert_eq!(trial.lost, [(2, 4)]);
}

/// A real loss while a forged number is pending is reported after the timeout, neither at once nor never.
#[test]
fn a_forged_number_does_not_hide_a_loss() {
    let mut trial = Trial::new(MoldConfig { requests: false, ..MoldConfig::default() });
    trial.after(1, Datagram::Message(1));
    trial.after(1, Datagram::Message(1_000));
    for number in (2..=30).filter(|number| *number != 21) {
        trial.after(100, Datagram::Message(number));
    }
    assert_eq!(trial.lost, []);
    // The loss was confirmed when message 23 arrived, 700 ms before message 30.
    trial.wait(299);
    assert_eq!(trial.lost, []);
    trial.wait(2);
    assert_eq!((trial.lost, trial.came.last()), (vec![(21, 22)], Some(&30)));
}

#[test]
fn a_forged_start_is_corrected_to_the_position_of_the_session() {
    for forged in [200, 1 << 60] {
        let mut trial = Trial::new(MoldConfig::default());
        trial.after(0, Datagram::Message(forged));
        for number in 100..=120 {
            trial.after(10, Datagram::Message(number));
        }
        assert_eq!(trial.sessions.len(), 2);
        assert_eq!(trial.came[1..], (101..=120).collect::<Vec<_>>());
        assert_eq!(trial.lost, []);
    }
}

#[test]
fn a_contradicted_end_is_ignored() {
    let mut trial = Trial::new(MoldConfig::default());
    for number in 1..=50 {
        trial.after(100, Datagram::Message(number));
        if number == 10 {
            trial.after(0, Datagram::End(11));
        }
    }
    assert_eq!((trial.came.len(), trial.ended), (50, None));
    trial.after(1, Datagram::End(51));
    assert_eq!(trial.ended, None);
    trial.after(1_000, Datagram::End(51));
    assert_eq!(trial.ended, Some(51));
}

#[test]
fn one_announcement_of_the_end_followed_by_silence_is_the_end() {
    let mut trial = Trial::new(MoldConfig::default());
    trial.after(0, Datagram::Message(1));
    trial.after(1, Datagram::End(2));
    trial.wait(6_000);
    assert_eq!((trial.ended, trial.silences), (Some(2), 0));
}

#[test]
fn silence_is_reported_once_until_a_datagram_arrives() {
    let mut trial = Trial::new(MoldConfig::default());
    trial.wait(4_999);
    assert_eq!(trial.silences, 0);
    trial.wait(20_000);
    assert_eq!(trial.silences, 1);
    trial.after(0, Datagram::Message(1));
    trial.wait(4_000);
    assert_eq!(trial.silences, 1);
    assert!(
        trial.receiver.poll_timeout().unwrap_or(ClockTime::NEVER)
            <= ClockTime(trial.now + 1_001 * MILLISECOND)
    );
    trial.wait(4_000);
    assert_eq!(trial.silences, 2);
}

/// The end of the previous session was not received.
#[test]
fn a_session_whose_end_was_missed_is_followed_by_the_next() {
    const NEXT: SessionName = *b"SESSION  2";
    let mut trial = Trial::new(MoldConfig { requests: false, ..MoldConfig::default() });
    for number in [1, 2, 4, 5] {
        trial.after(10, Datagram::Message(number));
    }
    // Another session has no effect while the current one is active.
    for number in 1..=3 {
        trial.take(Some(&Datagram::Message(number).of(NEXT)));
    }
    trial.wait(6_000);
    for number in 1..=3 {
        trial.take(Some(&Datagram::Message(number).of(NEXT)));
    }
    assert_eq!(trial.sessions, [(SESSION, 1), (NEXT, 1)]);
    assert_eq!((trial.lost, trial.left), (vec![(3, 4)], vec![6]));
    assert_eq!(trial.came, [1, 2, 4, 5, 1, 2, 3]);
    assert_eq!(trial.silences, 1);
}

#[test]
fn one_stray_datagram_of_another_session_is_not_followed() {
    let mut trial = Trial::new(MoldConfig::default());
    trial.after(0, Datagram::Message(1));
    trial.wait(10_000);
    trial.take(Some(&Datagram::Message(1).of(*b"STRAY     ")));
    trial.after(10, Datagram::Message(2));
    trial.take(Some(&Datagram::Message(2).of(*b"STRAY     ")));
    assert_eq!((trial.came, trial.sessions.len()), (vec![1, 2], 1));
}

#[test]
fn abandon_delivers_buffered_messages_and_reports_missing_ones() {
    let mut trial = Trial::new(MoldConfig::default());
    for number in [1, 2, 5, 6, 9] {
        trial.after(0, Datagram::Message(number));
    }
    let (mut came, mut lost) = (Vec::new(), Vec::new());
    trial.receiver.abandon(|item| match item {
        MoldItem::Message(number, _) => came.push(number),
        MoldItem::Lost(first, end) => lost.push((first, end)),
        _ => {}
    });
    // Nothing confirms message 9.
    assert_eq!((came, lost), (vec![5, 6], vec![(3, 5)]));
}
