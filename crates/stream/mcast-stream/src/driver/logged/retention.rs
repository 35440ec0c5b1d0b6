//! What the log must retain for its publisher, and the wait while it is larger than it may be because of that.

use std::time::{Duration, Instant};

use mcast_log::{Confirmed, HeldLog, LogTime, Writer};

use crate::publisher::{LogNeeds, Refusal};
use crate::wire::MessageNumber;

/// A log counts as within its limits when it has been so for this long: near the limit, each segment exceeds it shortly.
const RELEASED_AFTER: Duration = Duration::from_secs(10);

/// A log that is larger, or older, than its [`Retention`](mcast_log::Retention) says, because the oldest messages in it are still
/// needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHold {
    /// The first message that is needed, by its number: where the publisher waits, the one for which it waits.
    pub first: MessageNumber,
    /// The length of the log in bytes.
    pub bytes: u64,
    /// Whether it is larger than [`Retention::bytes`](mcast_log::Retention::bytes). Otherwise it has messages that are older than
    /// [`Retention::age`](mcast_log::Retention::age).
    pub is_too_large: bool,
    /// Whether the publisher waits, because the log is too large and the first message was not sent, or not acknowledged where
    /// that blocks. Otherwise, a subscriber has not received it yet.
    pub waits: bool,
}

/// Which messages are needed, and whether that holds up the removal of old ones.
#[derive(Debug)]
pub(super) struct Needs {
    /// The first message that was not sent.
    unsent: MessageNumber,
    /// The first message that was not sent or, where that blocks, not acknowledged.
    unfinished: MessageNumber,
    /// The first message that is needed.
    needed: MessageNumber,
    /// What was found last, and when.
    hold: Option<(LogHold, Instant)>,
}

impl Needs {
    /// Everything is needed from this message on, the next one being `next`.
    pub(super) const fn new(needed: MessageNumber, next: MessageNumber) -> Self {
        Self { unsent: next, unfinished: next, needed, hold: None }
    }

    /// Adds them to what is recorded for the next publisher.
    pub(super) const fn add_to(&self, confirmed: Confirmed) -> Confirmed {
        Confirmed { sent: Some(self.unsent), needed: Some(self.needed), ..confirmed }
    }

    /// Returns why nothing may be appended, if the log is too large because of what is unfinished.
    pub(super) fn refusal(&self, writer: &Writer) -> Option<Refusal> {
        let waits = writer.held().is_some_and(|held| self.waits_for(held));
        let refusal = if self.unfinished < self.unsent { Refusal::NoQuorum } else { Refusal::Unsent };
        waits.then_some(refusal)
    }

    const fn waits_for(&self, held: HeldLog) -> bool {
        held.is_too_large && self.unfinished.0 < held.end.number.0
    }

    /// Determines which messages are needed by now. What is not needed any more, and not to be retained, is removed.
    pub(super) fn update(&mut self, needs: LogNeeds, writer: &mut Writer) {
        let LogNeeds { unsent, unfinished, needed } = needs;
        (self.unsent, self.unfinished, self.needed) = (unsent, unfinished, needed);
        writer.set_needed(needed, LogTime::now());
        self.note(writer.held(), needed);
    }

    fn note(&mut self, held: Option<HeldLog>, needed: MessageNumber) {
        let Some(held) = held else { return };
        let (waits, first) = match self.hold() {
            _ if self.waits_for(held) => (true, self.unfinished),
            Some(LogHold { waits: true, first, .. }) => (true, first),
            _ => (false, needed),
        };
        let hold = LogHold { first, bytes: held.bytes, is_too_large: held.is_too_large, waits };
        self.hold = Some((hold, Instant::now()));
    }

    pub(super) fn hold(&self) -> Option<LogHold> {
        self.hold.filter(|(_, seen)| seen.elapsed() < RELEASED_AFTER).map(|(hold, _)| hold)
    }
}

#[cfg(test)]
mod tests {
    use mcast_log::{LogOptions, Retention};

    use super::*;
    use crate::history::HistoryContent;
    use crate::wire::{Incarnation, StreamId};

    #[test]
    fn a_hold_names_the_message_for_which_the_publisher_waits_and_not_one_that_a_subscriber_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let retention = Retention { bytes: Some(16_384), age: None };
        let options = LogOptions { retention, segment_bytes: 4_096, ..LogOptions::default() };
        let (mut writer, _) =
            Writer::open(folder.path(), StreamId(1), "log", Incarnation(1), options).unwrap();
        let mut needs = Needs::new(MessageNumber(0), MessageNumber(0));
        writer.set_needed(MessageNumber(0), LogTime::now());
        for _ in 0..40 {
            let message = HistoryContent::Message { key: None, bytes: &[7; 1_000][..] };
            writer.append(LogTime::now(), &[message]).unwrap();
        }
        let update = |needs: &mut Needs, writer: &mut Writer, unfinished, needed| {
            let (unfinished, needed) = (MessageNumber(unfinished), MessageNumber(needed));
            needs.update(LogNeeds { unsent: unfinished, unfinished, needed }, writer);
            needs.hold().map(|hold| (hold.waits, hold.first.0))
        };
        assert_eq!(update(&mut needs, &mut writer, 40, 2), Some((false, 2)));
        assert_eq!(needs.refusal(&writer), None);
        assert_eq!(update(&mut needs, &mut writer, 3, 2), Some((true, 3)));
        assert_eq!(needs.refusal(&writer), Some(Refusal::Unsent));
        // What was reported is true for a while.
        assert_eq!(update(&mut needs, &mut writer, 40, 2), Some((true, 3)));
    }
}
