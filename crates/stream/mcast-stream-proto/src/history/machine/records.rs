//! The history: its records are delivered until the position reaches the live stream, or until it brings nothing more.

use core::ops::Range;

use super::super::reading::{Reading, RunTime};
use super::super::record::{HistoryContent, HistoryRecord};
use super::super::search;
use super::delivery::{Stored, message_length};
use super::{
    ABSENCE, HEALING_AWAY, HEALING_UNREACHED, Healing, HistoryMachine, HistoryStart, LONGEST_AWAY,
    START_TIMEOUT, Source,
};
use crate::ClockTime;
use crate::subscriber::{Cause, SubscriberEvent};
use crate::wire::{MessageNumber, Position};

impl HistoryMachine {
    /// Takes the next record of the history; `None` if there is none.
    pub(super) fn advance_history(&mut self, now: ClockTime) -> Option<()> {
        if let Some(position) = self.delivery.position.filter(|_| self.is_reached()) {
            self.delivery.enter(position);
            self.finish_reading();
            return Some(());
        }
        let reading = self.source.reading_mut()?;
        if let Some((frame, reader)) = reading.frames.front_mut() {
            match reader.next(frame) {
                Ok(Some(record)) => self.take_record(record),
                Ok(None) => drop(reading.frames.pop_front()),
                Err(_) => {
                    self.delivery.statistics.malformed += 1;
                    reading.frames.clear();
                    reading.fail(now, &mut self.random);
                }
            }
            return Some(());
        }
        if self.end_reading().is_some() {
            return Some(());
        }
        self.report_wait()
    }

    /// Reports, once, that no server answers although messages are missing; `None` if there is nothing to report.
    fn report_wait(&mut self) -> Option<()> {
        // Without a live stream, it is the publisher that is missing.
        self.backlog.front()?;
        let (run, timeout) = (self.clock.now(), self.config.timeout);
        if !self.source.reading_mut()?.reports_wait(run, timeout) {
            return None;
        }
        let first = self.delivery.position.map(|position| position.number);
        self.delivery.push_event(SubscriberEvent::HistoryWaiting { first });
        Some(())
    }

    /// Ends the reading if it is over, or the stream if that is, once all records are taken; `None` if neither is.
    fn end_reading(&mut self) -> Option<()> {
        let reading = self.source.reading()?;
        let is_abandoned = self.healing == Healing::Abandoned;
        let is_empty = reading.edge_since.is_some() && self.delivery.position.is_none();
        let is_over = is_abandoned
            || self.given_up_at(reading).is_some_and(|at| self.clock.now() >= at)
            || is_empty && self.config.start == Some(HistoryStart::Oldest);
        let is_absent = reading.edge_since.is_some_and(|since| self.clock.now() >= since + ABSENCE);
        match self.backlog.front() {
            Some(front) if is_over => self.give_up(front),
            None if is_abandoned => self.finish_reading(),
            _ if self.delivery.live.is_none() && self.delivery.is_tail_known && is_absent => {
                return self.delivery.end();
            }
            _ => return None,
        }
        Some(())
    }

    fn take_record(&mut self, record: HistoryRecord<Range<usize>>) {
        let (first, end, front) = (record.first, record.end(), self.backlog.front());
        if let Some(front) = front.filter(|front| first >= *front) {
            // From there on, the live stream has them. The records after this one must not be taken, even if the live stream
            // loses or discards what it had: they would show a gap that the history does not have.
            if self.delivery.position.is_some() {
                self.delivery.skip_to(front, Cause::NotInHistory);
            } else {
                self.delivery.enter(front);
                self.delivery.position = Some(front);
            }
            return self.finish_reading();
        }
        if self.delivery.live.is_some_and(|live| first.incarnation > live.identity.content) {
            // The live stream will show it, if it exists.
            return;
        }
        let position = match (self.delivery.position, self.config.start) {
            (Some(position), _) => position,
            (None, start) => {
                let position = match start {
                    Some(HistoryStart::Number(number)) => Position::new(first.incarnation, number),
                    _ => first,
                };
                self.delivery.position = Some(position);
                self.record_progress();
                position
            }
        };
        if end < position || end == position && matches!(record.content, HistoryContent::Message { .. }) {
            return;
        }
        self.delivery.enter(position);
        if first > position {
            self.delivery.skip_to(first, Cause::NotInHistory);
            self.record_progress();
        }
        if self.delivery.has_stopped() {
            return;
        }
        match record.content {
            HistoryContent::Message { key, bytes } => {
                let length = message_length(key, self.source.stored(&bytes));
                self.delivery.push_message(first, length, Stored::InFrame(first.number, key, bytes));
                self.delivery.statistics.from_history += 1;
                self.record_progress();
            }
            HistoryContent::Gap { cause, .. } => {
                let end = front.map_or(end, |front| end.min(front));
                if end > position {
                    self.delivery.skip_to(end, cause.reported());
                    self.record_progress();
                }
            }
            // If the incarnation continues, the live stream or the next record shows it.
            HistoryContent::OpenGap { .. } => {}
            HistoryContent::End => self.delivery.is_tail_known = true,
        }
    }

    /// Continues with the live stream, which begins at `front`, and reports what is missing before it as lost.
    fn give_up(&mut self, front: Position) {
        let Some(reading) = self.source.reading() else { return };
        let &Reading { cause, progress_at, .. } = reading;
        // What no server has said is not claimed.
        let is_answered = reading.lacks_more();
        let cause = match cause {
            Cause::NotInHistory if !is_answered => Cause::HistoryUnreachable,
            other => other,
        };
        let is_abandoned = self.healing == Healing::Abandoned;
        // How many messages a start lacks that only a history has is unknown.
        let is_unknown = !is_answered
            && match self.config.start {
                Some(HistoryStart::Oldest) => self.is_at_oldest() && !self.has_no_server(),
                Some(HistoryStart::Time(_)) => true,
                _ => false,
            };
        // A publisher that retains its first message, and advertises no server, has everything.
        let is_everything = self.has_no_server() && front.number == MessageNumber(0);
        if !is_answered && !is_abandoned && !is_everything {
            let first = self.delivery.position.map(|position| position.number);
            self.delivery.push_event(SubscriberEvent::HistoryFailed { first });
        }
        if !is_answered {
            if !is_abandoned {
                self.healing = Healing::AsConfigured;
            }
            self.search.record_failure();
            self.is_reached = false;
            self.unanswered_since.get_or_insert_with(|| self.asking.at(progress_at));
        }
        let cause = if is_abandoned { Cause::Abandoned } else { cause };
        match (self.delivery.position, self.config.start) {
            (None, Some(HistoryStart::Number(number))) => {
                let start = Position::new(front.incarnation, number);
                self.delivery.position = Some(start);
                self.delivery.skip_to(front.max(start), cause);
            }
            (None, _) => {
                self.delivery.enter(front);
                self.delivery.position = Some(front);
                if is_unknown {
                    self.delivery.report_unknown();
                    // It is the beginning that is missing: how the incarnation ends is still to be seen.
                    self.delivery.is_tail_known = false;
                }
            }
            // Nothing is known of the rest of an incarnation that another one has not followed yet.
            (Some(_), _) if front.number == MessageNumber::MAX => self.delivery.report_unknown(),
            (Some(_), _) => self.delivery.skip_to(front, cause),
        }
        self.finish_reading();
    }

    fn finish_reading(&mut self) {
        self.source = Source::Live;
        self.asking.stop(self.clock.now());
        self.search.stop();
    }

    fn record_progress(&mut self) {
        if let Some(reading) = self.source.reading_mut() {
            reading.record_progress(self.clock.now());
        }
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.healing == Healing::CatchingUp
    }

    /// Whether the live stream has everything from the position on.
    pub(super) fn is_reached(&self) -> bool {
        let positions = self.delivery.position.zip(self.backlog.front());
        positions.is_some_and(|(position, front)| position >= front)
    }

    /// Returns when the history is given up if it brings nothing new; `None`: not before something else happens.
    pub(super) fn given_up_at(&self, reading: &Reading) -> Option<RunTime> {
        let timeout = self.config.timeout;
        let is_lacking = reading.lacks_more();
        if self.publisher.is_silent(self.clock.now()) {
            // What the network or the publisher's host does not bring at present says nothing about the history. A publisher
            // that has ended may never come back.
            return (is_lacking || self.has_stream_ended).then(|| self.publisher.gone_at());
        }
        let is_start = self.is_catching_up();
        let timeout = match (is_lacking, is_start) {
            (true, _) => timeout,
            // Its position would move past what is given up, which is then lost for all time.
            (false, _) if self.continues_by_history() => return None,
            // It is to get what the server has.
            (false, true) if self.is_reached => return None,
            (false, true) if self.has_no_server() => search::SHORT.min(timeout.saturating_mul(START_TIMEOUT)),
            (false, true) => timeout.saturating_mul(START_TIMEOUT),
            (false, false) if self.is_reached => timeout.saturating_mul(HEALING_UNREACHED),
            (false, false) => timeout,
        };
        // A server that only ever serves others would hold the client forever.
        let longest_away = match is_start {
            true => LONGEST_AWAY,
            false => self.config.timeout.saturating_mul(HEALING_AWAY),
        };
        Some(reading.given_up_at(self.publisher.heard_since(), timeout, longest_away))
    }

    /// Whether it continues where an application was, and a server is known to exist.
    fn continues_by_history(&self) -> bool {
        matches!(self.config.start, Some(HistoryStart::At(_)))
            && (!self.config.searches || self.search.exists())
    }

    /// Whether it starts with the oldest message that there is, and nothing shows that a server has older ones than the
    /// publisher.
    fn has_no_server(&self) -> bool {
        self.is_at_oldest() && self.config.searches && !self.search.exists()
    }

    /// Whether it starts with the oldest message, and has not found it yet.
    fn is_at_oldest(&self) -> bool {
        self.config.start == Some(HistoryStart::Oldest) && self.delivery.position.is_none()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::super::record::{GapCause, HistoryConfig, LiveIdentity};
    use super::super::super::wire::{AnswerFrame, AnswerStatus, FrameWriter};
    use super::super::delivery::UNKNOWN;
    use super::*;
    use crate::subscriber::{Item, Message};
    use crate::wire::Incarnation;

    const NOW: ClockTime = ClockTime(1_000_000_000);
    /// Two messages and an event fit.
    const BACKLOG: usize = 320;
    const FORMER: Incarnation = Incarnation(7);
    const NEXT: Incarnation = Incarnation(8);

    fn message(incarnation: Incarnation, number: u64) -> HistoryRecord<Vec<u8>> {
        let first = Position::new(incarnation, MessageNumber(number));
        HistoryRecord { first, content: HistoryContent::Message { key: None, bytes: vec![7] } }
    }

    /// A subscriber that heals losses, and has delivered message 0 of the former incarnation.
    struct Subscriber {
        machine: HistoryMachine,
        now: ClockTime,
        messages: Vec<Position>,
        events: Vec<SubscriberEvent>,
    }

    impl Subscriber {
        fn new() -> Self {
            let config = HistoryConfig { heal: true, backlog: BACKLOG, ..HistoryConfig::default() };
            let machine = HistoryMachine::new(config, NOW);
            let mut subscriber = Self { machine, now: NOW, messages: Vec::new(), events: Vec::new() };
            subscriber.join(FORMER, 0);
            subscriber.lose(FORMER, 0, 1);
            subscriber.answer_all(&[message(FORMER, 0)]);
            subscriber
        }

        fn live(&mut self, incarnation: Incarnation, event: SubscriberEvent) {
            let identity = LiveIdentity { content: incarnation, own: incarnation };
            self.events.extend(self.machine.handle_live_event(self.now, identity, event));
        }

        fn join(&mut self, incarnation: Incarnation, first: u64) {
            let message = MessageNumber(first);
            self.live(incarnation, SubscriberEvent::Joined { incarnation, publisher: UNKNOWN, message });
        }

        fn lose(&mut self, incarnation: Incarnation, first: u64, end: u64) {
            let (first, end, cause) = (MessageNumber(first), MessageNumber(end), Cause::Unrecoverable);
            self.live(incarnation, SubscriberEvent::Lost { first, end, cause });
        }

        fn message(&mut self, incarnation: Incarnation, number: u64) {
            let identity = LiveIdentity { content: incarnation, own: incarnation };
            let message = Message { incarnation, number: MessageNumber(number), key: None, bytes: b"live" };
            self.machine.handle_live_message(self.now, identity, &message);
        }

        /// Takes the next item; returns whether there was one.
        fn step(&mut self) -> bool {
            let Some(step) = self.machine.poll_step(self.now) else { return false };
            self.events.extend(step.event());
            if let Some(Item::Message(message)) = self.machine.item() {
                self.messages.push(Position::new(message.incarnation, message.number));
            }
            true
        }

        fn request(&mut self) -> u64 {
            while self.step() {}
            self.machine.poll_query(self.now).unwrap().id
        }

        /// Passes these records in one frame for each part without a gap.
        fn pass(&mut self, id: u64, records: &[HistoryRecord<Vec<u8>>]) {
            for records in records.chunk_by(|former, next| former.end() == next.first) {
                let mut writer = FrameWriter::default();
                assert!(records.iter().all(|record| writer.push(record)));
                assert!(self.machine.handle_frame(self.now, id, UNKNOWN, writer.take().unwrap()));
            }
        }

        fn end(&mut self, id: u64) {
            let end = AnswerFrame::end(AnswerStatus::Edge, "");
            assert!(self.machine.handle_frame(self.now, id, UNKNOWN, end));
        }

        /// Continues until it is live, with a server that has these records.
        fn answer_all(&mut self, records: &[HistoryRecord<Vec<u8>>]) {
            for _ in 0..1_000 {
                self.machine.handle_heartbeat(self.now);
                while self.step() {}
                if let Some(query) = self.machine.poll_query(self.now) {
                    self.pass(query.id, records);
                    self.end(query.id);
                }
                self.now = self.now + core::time::Duration::from_millis(10);
            }
            assert!(self.machine.is_live());
        }

        /// Checks that the next incarnation is delivered from its first message on, and that nothing is lost.
        #[track_caller]
        fn assert_complete(&self) {
            let is_lost = |event: &&SubscriberEvent| matches!(event, SubscriberEvent::Lost { .. });
            assert_eq!(self.events.iter().find(is_lost), None, "{:?}", self.events);
            let of_next: Vec<_> = (0..4).map(|number| Position::new(NEXT, MessageNumber(number))).collect();
            assert_eq!(self.messages[1..], of_next);
        }
    }

    fn stored() -> Vec<HistoryRecord<Vec<u8>>> {
        let first = Position::new(FORMER, MessageNumber(1));
        let open = HistoryRecord { first, content: HistoryContent::OpenGap { cause: GapCause::JoinedLate } };
        [open].into_iter().chain((0..3).map(|number| message(NEXT, number))).collect()
    }

    #[test]
    fn what_was_left_to_the_live_stream_and_lost_by_it_is_requested() {
        let mut subscriber = Subscriber::new();
        subscriber.live(FORMER, SubscriberEvent::LostUnknown { first: MessageNumber(1) });
        subscriber.join(NEXT, 3);
        let id = subscriber.request();
        subscriber.pass(id, &stored());
        subscriber.end(id);
        // The application is busy after the first event, and the live stream loses what the history has brought.
        assert!(subscriber.step());
        subscriber.lose(NEXT, 0, 3);
        subscriber.message(NEXT, 3);

        subscriber.answer_all(&stored());

        subscriber.assert_complete();
    }

    #[test]
    fn what_was_left_to_the_live_stream_and_is_discarded_of_a_full_backlog_is_requested() {
        let mut subscriber = Subscriber::new();
        subscriber.live(FORMER, SubscriberEvent::LostUnknown { first: MessageNumber(1) });
        subscriber.join(NEXT, 0);
        subscriber.message(NEXT, 0);
        let id = subscriber.request();
        subscriber.pass(id, &stored());
        subscriber.end(id);
        // The application is busy after the first event.
        assert!(subscriber.step());
        let mut of_live = (1..4).peekable();
        while let Some(number) = of_live.next_if(|_| subscriber.machine.has_room()) {
            subscriber.message(NEXT, number);
        }
        while subscriber.step() {}
        of_live.for_each(|number| subscriber.message(NEXT, number));

        subscriber.answer_all(&stored());

        subscriber.assert_complete();
    }
}
