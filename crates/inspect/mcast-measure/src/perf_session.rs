//! The datagrams of a sender of `mcast perf`, the session around them, and the reports of its receivers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::wire::{
    HEADER_LENGTH, MessageType, ReceiverReport, SessionHeader, SessionId, SessionMessage, SessionSettings,
    UnixNanos,
};
use crate::{Inquiry, Question, Recipient};

/// The number of opening messages, so that hardly any receiver misses all of them.
const OPENINGS: u32 = 5;
const BETWEEN_OPENINGS: Duration = Duration::from_millis(2);
/// The pauses in milliseconds after which the closing message is repeated. Receivers end a session half a
/// second after the last one.
const PAUSES: [u64; 12] = [10, 20, 30, 40, 100, 200, 300, 300, 300, 300, 300, 300];
/// After this many pauses without news, all receivers have reported.
const QUIET_PAUSES: u32 = 3;
/// Maximum number of receivers tracked.
const MAX_RECEIVERS: usize = 1_024;

/// The session around the data of a sender, which goes as fast as it can and past this machine: opens each stream, and
/// [closes](Self::close_streams) it until the receivers have reported.
///
/// ```
/// use mcast_measure::wire::{SessionId, SessionSettings, UnixNanos};
/// use mcast_measure::{ClockTime, Inquiry, PerfSession};
///
/// fn run(session: &mut PerfSession, now: &mut ClockTime) {
///     while let Some(next) = session.poll_timeout() {
///         *now = next.max(*now);
///         while let Some(question) = session.poll_transmit(*now, UnixNanos(5)) {
///             // Send it here, and pass what arrives until `poll_timeout` to `handle_datagram`.
///         }
///     }
/// }
///
/// let (mut session, mut now) = (PerfSession::new(SessionId(7), SessionSettings::default(), [0, 1]), ClockTime(0));
/// run(&mut session, &mut now);
/// // Send the data here.
/// session.close_streams(now, true, [1_000, 1_000]);
/// run(&mut session, &mut now);
/// assert!(session.reports().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct PerfSession {
    settings: SessionSettings,
    reports: ReceiverReports,
    /// The number of each stream, and how many datagrams it has sent.
    streams: Vec<(u16, u64)>,
    phase: PerfPhase,
    /// The stream whose message is next in this round.
    turn: usize,
    /// When the next round begins; `None` if there is none.
    next: Option<ClockTime>,
    /// The pause after this round.
    pause: Duration,
    message: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PerfPhase {
    /// This many rounds of opening messages are left.
    Opening(u32),
    /// Closing messages ask for reports.
    Closing,
    /// This many rounds of closing messages are left, after which no reports are expected.
    Ending(u32),
}

impl PerfSession {
    /// Creates a session of the streams with these numbers.
    #[must_use]
    pub fn new(id: SessionId, settings: SessionSettings, streams: impl IntoIterator<Item = u16>) -> Self {
        Self {
            settings,
            reports: ReceiverReports::new(id),
            streams: streams.into_iter().map(|number| (number, 0)).collect(),
            phase: PerfPhase::Opening(OPENINGS),
            turn: usize::MAX,
            next: Some(ClockTime(0)),
            pause: Duration::ZERO,
            message: Vec::new(),
        }
    }

    /// Closes the streams, which have sent this number of datagrams each, with segmentation offload or without.
    pub fn close_streams(&mut self, now: ClockTime, gso: bool, sent: impl IntoIterator<Item = u64>) {
        self.settings.gso = gso;
        self.streams.iter_mut().zip(sent).for_each(|(stream, sent)| stream.1 = sent);
        self.begin(PerfPhase::Closing, now);
    }

    fn begin(&mut self, phase: PerfPhase, now: ClockTime) {
        (self.phase, self.turn, self.next) = (phase, usize::MAX, Some(now));
    }

    /// Begins a round of messages if there is another one; returns the pause after it.
    fn next_round(&mut self) -> Option<Duration> {
        match &mut self.phase {
            PerfPhase::Opening(left) | PerfPhase::Ending(left) => {
                *left = left.checked_sub(1)?;
                Some(BETWEEN_OPENINGS)
            }
            PerfPhase::Closing => self.reports.next_pause(),
        }
    }

    /// Returns the id, which all messages carry.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.reports.session
    }

    /// Returns what is announced to the receivers.
    #[must_use]
    pub const fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// Returns the reports of the receivers.
    #[must_use]
    pub const fn reports(&self) -> &ReceiverReports {
        &self.reports
    }
}

impl Inquiry for PerfSession {
    type Event = Infallible;

    fn poll_transmit(&mut self, now: ClockTime, time: UnixNanos) -> Option<Question<'_>> {
        if self.turn >= self.streams.len() {
            self.next.filter(|next| now >= *next)?;
            let Some(pause) = self.next_round() else {
                self.next = None;
                return None;
            };
            (self.pause, self.turn) = (pause, 0);
        }
        let (stream, sequence) = *self.streams.get(self.turn)?;
        let header = SessionHeader { kind: MessageType::Opening, stream, session: self.id(), sequence, time };
        self.message = match self.phase {
            PerfPhase::Opening(_) => self.settings.opening(header),
            PerfPhase::Closing | PerfPhase::Ending(_) => self.settings.closing(header),
        };
        self.turn += 1;
        // Counted from the last message: with many streams, a round may take longer than its pause.
        self.next = Some(now + self.pause);
        Some(Question { to: Recipient::Stream(self.turn - 1), message: &self.message })
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        self.next
    }

    fn handle_datagram(&mut self, _now: ClockTime, message: &[u8], source: SocketAddr, _peer: Option<usize>) {
        self.reports.handle_datagram(source.ip(), message);
    }

    /// Announces that no further session follows, without asking for reports.
    fn close(&mut self, now: ClockTime) {
        self.settings.more_follows = false;
        self.begin(PerfPhase::Ending(OPENINGS), now);
    }
}

/// A receiver and its latest report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportingReceiver {
    /// The address that it reports from.
    pub address: IpAddr,
    /// Its latest report.
    pub report: ReceiverReport,
}

/// The latest report of each receiver of a session, in bounded memory, and when to ask for reports again.
#[derive(Clone, Debug)]
pub struct ReceiverReports {
    session: SessionId,
    receivers: Vec<ReportingReceiver>,
    rejected: u64,
    foreign: u64,
    pauses: usize,
    quiet: u32,
    /// The number of receivers, and of the datagrams that they have received, at the last pause.
    known: (usize, u64),
}

impl ReceiverReports {
    const fn new(session: SessionId) -> Self {
        Self { session, receivers: Vec::new(), rejected: 0, foreign: 0, pauses: 0, quiet: 0, known: (0, 0) }
    }

    /// Returns how long to wait for reports after the next closing message; `None` when no more are expected:
    /// nothing was reported for long enough, or what was reported no longer changes.
    fn next_pause(&mut self) -> Option<Duration> {
        let known = (self.len(), self.receivers.iter().map(|receiver| receiver.report.received).sum());
        // The first call precedes the first closing message.
        self.quiet = if known == self.known && self.pauses > 0 { self.quiet + 1 } else { 0 };
        self.known = known;
        if !self.is_empty() && self.quiet >= QUIET_PAUSES {
            return None;
        }
        let pause = PAUSES.get(self.pauses)?;
        self.pauses += 1;
        Some(Duration::from_millis(*pause))
    }

    /// Handles a message to the sender. What is not a report of this session is foreign.
    fn handle_datagram(&mut self, address: IpAddr, message: &[u8]) {
        match SessionMessage::decode(message) {
            Some((header, SessionMessage::Report(report))) if header.session == self.session => {
                self.record_report(address, *report);
            }
            _ => self.foreign += 1,
        }
    }

    /// Records a report, which replaces an earlier one of the same receiver; one that arrives out of order is
    /// discarded.
    fn record_report(&mut self, address: IpAddr, report: ReceiverReport) {
        let same = |receiver: &ReportingReceiver| {
            receiver.address == address && receiver.report.receiver == report.receiver
        };
        if let Some(index) = self.receivers.iter().position(same) {
            let latest = &mut self.receivers[index].report;
            if report.number >= latest.number {
                *latest = report;
            }
        } else if self.receivers.len() < MAX_RECEIVERS {
            self.receivers.push(ReportingReceiver { address, report });
        } else {
            self.rejected += 1;
        }
    }

    /// Returns the receivers, sorted by address.
    #[must_use]
    pub fn sorted(&self) -> Vec<&ReportingReceiver> {
        let mut receivers: Vec<_> = self.receivers.iter().collect();
        receivers.sort_by_key(|receiver| (receiver.address, receiver.report.receiver));
        receivers
    }

    /// Returns the receiver with the highest loss.
    #[must_use]
    pub fn worst(&self) -> Option<&ReportingReceiver> {
        self.receivers
            .iter()
            .max_by(|one, other| one.report.lost_percent().total_cmp(&other.report.lost_percent()))
    }

    /// Returns the loss of the worst receiver in percent; `None` without a report.
    #[must_use]
    pub fn worst_loss(&self) -> Option<f64> {
        self.worst().map(|receiver| receiver.report.lost_percent())
    }

    /// Returns the number of receivers that have reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receivers.len()
    }

    /// Returns whether no receiver has reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Returns the number of messages that were not reports of this session.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the number of reports from more receivers than are tracked.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

/// The maximum buffer size: it should stay in the processor's cache.
const MAX_BYTES: usize = 768 << 10;
/// The maximum number of datagrams in the buffer.
const MAX_DATAGRAMS: usize = 1_024;

/// Numbered datagrams of one size for the streams of a session, in one buffer that is filled once and then only
/// renumbered.
#[derive(Clone, Debug)]
pub struct NumberedDatagrams {
    bytes: Vec<u8>,
    size: usize,
    session: SessionId,
    streams: Vec<OutgoingStream>,
    /// The index of the current stream, and the number of its datagrams before the next stream's turn.
    turn: usize,
    turn_left: usize,
    /// The number of datagrams still to send, of all streams together.
    left: u64,
}

#[derive(Clone, Copy, Debug)]
struct OutgoingStream {
    number: u16,
    sent: u64,
    left: u64,
}

impl NumberedDatagrams {
    /// Creates datagrams of `size` bytes (at least [`HEADER_LENGTH`]) for the streams with these numbers.
    #[must_use]
    pub fn new(size: usize, streams: impl IntoIterator<Item = u16>) -> Self {
        let size = size.max(HEADER_LENGTH);
        let capacity = (MAX_BYTES / size).clamp(1, MAX_DATAGRAMS);
        // Not zeroes, which some links compress.
        let bytes = (0..capacity * size).map(|index| (index % 251) as u8).collect();
        let streams = streams.into_iter().map(|number| OutgoingStream { number, sent: 0, left: 0 }).collect();
        Self { bytes, size, session: SessionId::default(), streams, turn: 0, turn_left: 0, left: 0 }
    }

    /// Begins a session with at most `count` datagrams per stream.
    pub fn begin(&mut self, session: SessionId, count: Option<u64>) {
        let each = count.unwrap_or(u64::MAX);
        self.streams.iter_mut().for_each(|stream| (stream.sent, stream.left) = (0, each));
        self.left = each.saturating_mul(self.streams.len() as u64);
        (self.session, self.turn, self.turn_left) = (session, 0, 0);
        let stream = self.streams.first().map_or(0, |stream| stream.number);
        let header = SessionHeader { stream, ..SessionHeader::new(MessageType::Data, session) };
        self.bytes.chunks_exact_mut(self.size).for_each(|datagram| header.write(datagram));
    }

    /// Passes the next `count` datagrams, or fewer if fewer are left or fit in the buffer, to `send` with the
    /// indices of their streams. Streams take turns, with `at_a_time` datagrams each.
    pub fn take_next<'a>(
        &'a mut self,
        count: usize,
        at_a_time: usize,
        time: UnixNanos,
        mut send: impl FnMut(usize, &'a [u8]),
    ) {
        let is_single = self.streams.len() == 1;
        let count = usize::try_from(self.left).map_or(count, |left| left.min(count));
        for datagram in self.bytes.chunks_exact_mut(self.size).take(count) {
            if self.turn_left == 0 || self.streams[self.turn].left == 0 {
                self.turn = next_turn(&self.streams, self.turn);
                self.turn_left = at_a_time.max(1);
            }
            self.turn_left -= 1;
            self.left -= 1;
            let stream = &mut self.streams[self.turn];
            stream.left = stream.left.saturating_sub(1);
            let sequence = stream.sent;
            stream.sent += 1;
            if is_single {
                SessionHeader::renumber(datagram, sequence, time);
            } else {
                let (stream, session) = (stream.number, self.session);
                SessionHeader { kind: MessageType::Data, stream, session, sequence, time }.write(datagram);
            }
            send(self.turn, datagram);
        }
    }

    /// Returns the number of datagrams that fit in the buffer.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Returns the number of datagrams still to send.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Returns the number of each stream, and how many datagrams it has sent.
    pub fn streams(&self) -> impl Iterator<Item = (u16, u64)> {
        self.streams.iter().map(|stream| (stream.number, stream.sent))
    }
}

/// Returns the index of the next stream with datagrams to send.
fn next_turn(streams: &[OutgoingStream], turn: usize) -> usize {
    let mut following = (1..=streams.len()).map(|step| (turn + step) % streams.len());
    following.find(|next| streams[*next].left > 0).unwrap_or(turn)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: SessionId = SessionId(3);

    fn report(receiver: u64, number: u32, lost: u64) -> Vec<u8> {
        let report = ReceiverReport { receiver, number, lost, sent: 1_000, ..ReceiverReport::default() };
        report.encode(SessionHeader::new(MessageType::Closing, ID))
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn latest_report_of_each_receiver_counts() {
        let mut reports = ReceiverReports::new(ID);
        for (last, report) in [
            (2, report(7, 1, 50)),
            (2, report(7, 3, 4)),
            (2, report(7, 2, 60)),
            (2, report(8, 1, 3)),
            (1, report(7, 1, 7)),
        ] {
            reports.handle_datagram(address(last), &report);
        }
        let lost: Vec<_> = reports.sorted().iter().map(|receiver| receiver.report.lost).collect();
        assert_eq!(lost, [7, 4, 3]);
        assert_eq!(reports.worst().unwrap().address, address(1));
        // Exactly the number that a limit of 0.7 % is compared with.
        assert_eq!(reports.worst_loss(), Some(0.7));
    }

    #[test]
    fn messages_of_other_sessions_are_foreign() {
        let mut reports = ReceiverReports::new(SessionId(4));
        reports.handle_datagram(address(1), &report(7, 1, 0));
        reports.handle_datagram(address(1), b"hello");
        assert_eq!((reports.len(), reports.foreign()), (0, 2));
    }

    #[test]
    fn the_closing_message_is_repeated_until_reports_no_longer_change() {
        let mut reports = ReceiverReports::new(ID);
        assert_eq!(std::iter::from_fn(|| reports.next_pause()).count(), PAUSES.len(), "no receiver reports");
        let mut reports = ReceiverReports::new(ID);
        let mut pauses = 0;
        while reports.next_pause().is_some() {
            pauses += 1;
            if pauses <= 2 {
                reports.handle_datagram(address(pauses), &report(7, 1, 0));
            }
        }
        assert_eq!(pauses, 2 + QUIET_PAUSES as u8);
    }

    /// Returns the kind, stream and number of each message until there is nothing more to do, and when it was due. Each
    /// closing message is answered after a millisecond, if there is a receiver.
    fn run(session: &mut PerfSession, receiver: bool) -> Vec<(MessageType, u16, u64, ClockTime)> {
        let (mut now, mut messages) = (ClockTime(0), Vec::new());
        while let Some(next) = session.poll_timeout() {
            now = now.max(next);
            while let Some(question) = session.poll_transmit(now, UnixNanos(1)) {
                let header = SessionHeader::decode(question.message).unwrap();
                assert_eq!(question.to, Recipient::Stream(messages.len() % 2));
                messages.push((header.kind, header.stream, header.sequence, now));
                if receiver && header.kind == MessageType::Closing {
                    let source = SocketAddr::new(address(1), 5_000);
                    session.handle_datagram(now, &report(7, messages.len() as u32, 0), source, None);
                }
                now = now + Duration::from_millis(1);
            }
        }
        messages
    }

    #[test]
    fn each_stream_is_opened_and_closed_until_its_receivers_have_reported() {
        let mut session = PerfSession::new(ID, SessionSettings::default(), [4, 9]);
        let opened = run(&mut session, true);
        let numbers: Vec<_> = opened.iter().map(|(kind, stream, sent, _)| (*kind, *stream, *sent)).collect();
        let opening = |stream| (MessageType::Opening, stream, 0);
        assert_eq!(numbers, [opening(4), opening(9)].repeat(OPENINGS as usize));
        // The pause begins with the last message of a round.
        let begun: Vec<_> = opened.iter().step_by(2).map(|message| message.3.0 / 1_000_000).collect();
        assert_eq!(begun, [0, 3, 6, 9, 12]);

        session.close_streams(ClockTime(0), true, [70, 80]);
        let closed = run(&mut session, true);
        assert!(closed.iter().all(|(kind, stream, sent, _)| *kind == MessageType::Closing
            && *sent == if *stream == 4 { 70 } else { 80 }));
        assert_eq!(closed.len(), 2 * (1 + QUIET_PAUSES as usize));
        assert_eq!((session.reports().len(), session.settings().gso), (1, true));
    }

    #[test]
    fn a_session_without_receivers_ends() {
        let mut session = PerfSession::new(ID, SessionSettings::default(), [0, 1]);
        session.close_streams(ClockTime(0), false, [1, 1]);
        assert_eq!(run(&mut session, false).len(), 2 * PAUSES.len());
        session.close(ClockTime(0));
        assert_eq!(run(&mut session, false).len(), 2 * OPENINGS as usize);
    }

    #[test]
    fn memory_is_bounded_under_forged_receivers() {
        let mut reports = ReceiverReports::new(ID);
        (0..2_000).for_each(|receiver| reports.handle_datagram(address(1), &report(receiver, 1, 0)));
        assert_eq!((reports.len(), reports.rejected()), (MAX_RECEIVERS, 2_000 - MAX_RECEIVERS as u64));
    }

    #[test]
    fn the_buffer_has_room_for_any_size() {
        for (size, capacity) in [(0, MAX_DATAGRAMS), (32, MAX_DATAGRAMS), (1_400, 561), (65_527, 12)] {
            assert_eq!(NumberedDatagrams::new(size, [0]).capacity(), capacity);
        }
        let mut none = NumberedDatagrams::new(32, []);
        none.begin(ID, None);
        none.take_next(9, 1, UnixNanos(0), |_, _| panic!("there is no stream"));
    }

    #[test]
    fn streams_take_turns() {
        let mut datagrams = NumberedDatagrams::new(32, [5, 6]);
        datagrams.begin(ID, None);
        let mut turns = Vec::new();
        datagrams.take_next(7, 2, UnixNanos(0), |stream, _| turns.push(stream));
        // The first stream comes last in the first round.
        assert_eq!(turns, [1, 1, 0, 0, 1, 1, 0]);
    }

    proptest! {
        #[test]
        fn every_stream_sends_its_count_in_order(
            streams in 1_u16..5, count in 1_u64..50, calls in prop::collection::vec((1_usize..40, 0_usize..5), 1..300),
        ) {
            let mut datagrams = NumberedDatagrams::new(40, 3..3 + streams);
            for session in [1, 2].map(SessionId) {
                datagrams.begin(session, Some(count));
                let mut expected = vec![0; usize::from(streams)];
                for (most, at_a_time) in &calls {
                    datagrams.take_next(*most, *at_a_time, UnixNanos(9), |stream, bytes| {
                        let header = SessionHeader::decode(bytes).unwrap();
                        assert_eq!((header.session, header.time, bytes.len()), (session, UnixNanos(9), 40));
                        assert_eq!((usize::from(header.stream), header.sequence), (stream + 3, expected[stream]));
                        expected[stream] += 1;
                    });
                }
                let sent: u64 = expected.iter().sum();
                prop_assert_eq!(datagrams.left(), count * u64::from(streams) - sent);
                prop_assert!(datagrams.left() > 0 || expected.iter().all(|sent| *sent == count));
                prop_assert!(datagrams.streams().map(|(_, sent)| sent).eq(expected));
            }
        }
    }
}
