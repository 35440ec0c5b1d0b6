//! How a publisher begins with the log that another one left.
//!
//! It continues the incarnation of the stream if the log has everything that subscribers may have, and they do not know that the
//! stream has ended. Otherwise it begins an incarnation, which subscribers follow like any restarted publisher.

use std::sync::Arc;

use mcast_stream_proto::history::Position;
use mcast_stream_proto::wire::MessageNumber;

use crate::error::LogError;
use crate::publisher::{Confirmed, Ending, LastPublisher, LastState, LogStart, UNKNOWN};
use crate::recovery::Recovery;
use crate::writer::{FoundLog, SyncPolicy, Writer};

/// What a publisher with a log begins with: decided before anything is written. Numbers are those of its incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Beginning {
    /// The publisher. Its end is [recorded](LastPublisher::end).
    pub publisher: LastPublisher,
    /// How it relates to the publisher before it.
    pub start: LogStart,
    /// The position of the first message that it accepts.
    pub next: Position,
    /// What subscribers may lack of the last messages in the log.
    pub unconfirmed: Unconfirmed,
    /// The first message in the log that the former publisher did not know to be acknowledged as required, or given up;
    /// `None` if it did not record any.
    pub unsettled: Option<MessageNumber>,
    /// The first message in the log that the former publisher had not sent; `None` if it did not record any.
    pub unsent: Option<MessageNumber>,
    /// The first message that must not be removed from the log; `None` if the former publisher did not record any.
    needed: Option<MessageNumber>,
}

impl Beginning {
    /// Decides how a publisher begins with the log that was found, on a system that runs since `boot` (`None`: unknown).
    /// Changes nothing.
    ///
    /// # Errors
    /// If the file of the last publisher cannot be read, or is damaged.
    pub fn plan(found: &FoundLog, boot: Option<&str>, sync: SyncPolicy) -> Result<Self, LogError> {
        let files = &**found.files();
        let identity = files.identity().unwrap_or_else(|| UNKNOWN.to_owned());
        let boot = boot.unwrap_or(UNKNOWN);
        let (last, recovery) = (LastPublisher::read(files)?, found.recovery());
        let confirmed = Confirmed::read(files);
        let is_cut = recovery.cut_bytes > 0 && !recovery.is_unfinished;
        // Subscribers have what the log does not have.
        let received = confirmed.and_then(Confirmed::position);
        let is_behind = received.is_some_and(|received| received > recovery.next);
        let is_damaged = is_cut || is_behind || recovery.damaged_bytes > 0 || recovery.missing > 0;
        // A message that was sent may be among what cannot be read, or in a segment that was removed.
        let is_whole = |last: &LastPublisher| {
            !is_damaged && found.last_publisher() >= Some(last.incarnation) && last.identity == identity
        };
        let start = match &last {
            None => LogStart::First,
            Some(last) if last.state == LastState::Over => LogStart::AfterEnd,
            Some(last) if !is_whole(last) => LogStart::NotWhatWasLeft,
            Some(last) if !last.can_continue(recovery.next.number, boot) => LogStart::AfterUnsyncedLoss,
            Some(_) => LogStart::Continued,
        };
        let next = found.first(start);
        let confirmed =
            confirmed.filter(|of| start == LogStart::Continued && of.incarnation == next.incarnation);
        let confirmed = confirmed.unwrap_or_else(|| Confirmed::unknown(next.incarnation));
        // What the log no longer has was sent and settled: retention removes nothing else, and the record may be older.
        let oldest = found.oldest().min(next.number);
        let in_log = |number: MessageNumber| number.clamp(oldest, next.number);
        let unsettled = confirmed.settled.map(in_log);
        let (unconfirmed, needed) = match &last {
            Some(last) if start == LogStart::Continued => match last.state {
                // Those that must acknowledge something may not have been there.
                LastState::Delivered { .. } => {
                    let lacking = unsettled.filter(|number| *number < next.number);
                    let unconfirmed = lacking.map_or(Unconfirmed::Nothing, Unconfirmed::From);
                    (unconfirmed, Some(lacking.unwrap_or(next.number)))
                }
                _ => {
                    let lacking = confirmed.lacking().map(in_log);
                    let unconfirmed = lacking.map_or(Unconfirmed::Unknown, Unconfirmed::From);
                    (unconfirmed, confirmed.needed().map(in_log))
                }
            },
            _ => (Unconfirmed::Nothing, Some(next.number)),
        };
        let unsent = confirmed.sent.map(in_log);
        let state = match sync {
            SyncPolicy::Each => LastState::Durable,
            SyncPolicy::None | SyncPolicy::Interval(_) => LastState::Running { boot: boot.to_owned() },
        };
        let (incarnation, stream) = (found.incarnation(), next.incarnation);
        let publisher = LastPublisher { incarnation, stream, identity, state };
        Ok(Self { publisher, start, next, unconfirmed, unsettled, unsent, needed })
    }

    /// Returns the first message that must not be removed from the log: what the former publisher had not sent, or needed for
    /// another reason. If it did not record that, it is the first one that was `recalled`.
    #[must_use]
    pub fn first_needed(&self, recalled: MessageNumber) -> MessageNumber {
        self.needed.unwrap_or(recalled)
    }

    /// Opens the log to write, and records the publisher, and what it knows of subscribers, with what it
    /// [needs](Self::first_needed): if it is killed at once, the next one knows as much as this one. Nothing may be sent
    /// before.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn begin(
        &self,
        found: FoundLog,
        needed: MessageNumber,
    ) -> Result<(Writer, Recovery, Confirmed), LogError> {
        let files = Arc::clone(found.files());
        if self.start == LogStart::NotWhatWasLeft
            && let Some(mut last) = LastPublisher::read(&*files)?
        {
            // What is found is repaired first: if this one is killed then, the next one does not find what was wrong.
            last.end(&*files, Ending::Unsynced)?;
        }
        let (writer, recovery) = found.begin(self.start, Position { number: needed, ..self.next })?;
        self.publisher.write(&*files)?;
        let confirmed = self.confirmed(needed);
        // Without it, the next publisher retains more than subscribers lack.
        let _ = confirmed.write(&*files);
        Ok((writer, recovery, confirmed))
    }

    fn confirmed(&self, needed: MessageNumber) -> Confirmed {
        let received = match self.unconfirmed {
            Unconfirmed::Nothing => Some(self.next.number),
            Unconfirmed::From(number) => Some(number),
            Unconfirmed::Unknown => None,
        };
        let sent = match self.start {
            LogStart::Continued => self.unsent.unwrap_or(needed),
            _ => self.next.number,
        };
        let (incarnation, settled) = (self.next.incarnation, self.unsettled);
        Confirmed { incarnation, received, settled, sent: Some(sent), needed: Some(needed) }
    }
}

/// What subscribers may lack of the messages that a former publisher accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// Nothing: the stream is not continued, or all subscribers had everything.
    Nothing,
    /// What is not before this number.
    From(MessageNumber),
    /// It is not known.
    Unknown,
}
