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
            // From there on, the live stream has them.
            if self.delivery.position.is_some() {
                return self.delivery.skip_to(front, Cause::NotInHistory);
            }
            self.delivery.enter(front);
            self.delivery.position = Some(front);
            return;
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
            self.unanswered_since.get_or_insert(progress_at);
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
