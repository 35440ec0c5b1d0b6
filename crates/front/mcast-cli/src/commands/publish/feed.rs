//! What messages are given to: a publisher, with a log or without.

use std::path::Path;
use std::time::Duration;

use mcast_stream::log::LogOptions;
use mcast_stream::publisher::OutgoingMessage;
use mcast_stream::seal::Keys;
use mcast_stream::wire::MessageNumber;
use mcast_stream::{Closing, LogStart, LoggedPublisher, Publisher, PublisherBuilder, StreamError};
use mcast_terminal::Console;

use crate::output::{bytes, count_of};

#[derive(Debug)]
pub(super) enum Feed {
    Direct(Publisher),
    Logged(LoggedPublisher),
}

impl Feed {
    pub(super) fn open(
        builder: PublisherBuilder,
        log: Option<(&Path, LogOptions)>,
        name: Option<&str>,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let Some((directory, options)) = log else { return Ok(Self::Direct(builder.build()?)) };
        let publisher = builder.log(directory, options).named(name.unwrap_or_default()).build()?;
        report_log(&publisher, console);
        Ok(Self::Logged(publisher))
    }

    pub(super) fn publisher(&self) -> &Publisher {
        match self {
            Self::Direct(publisher) => publisher,
            Self::Logged(publisher) => publisher.publisher(),
        }
    }

    pub(super) fn next_message(&self) -> MessageNumber {
        match self {
            Self::Direct(publisher) => publisher.next_message(),
            Self::Logged(publisher) => publisher.next_message(),
        }
    }

    pub(super) fn try_queue(&self, message: OutgoingMessage<'_>) -> Result<(), StreamError> {
        match self {
            Self::Direct(publisher) => publisher.try_queue(message).map(drop),
            Self::Logged(publisher) => publisher.try_queue_all([message]).map(drop),
        }
    }

    /// Waits until everything was sent, and all subscribers have it, for at most `timeout`; returns whether they have.
    pub(super) fn wait_complete(&self, timeout: Duration) -> bool {
        match self {
            Self::Direct(publisher) => publisher.wait_complete(timeout),
            Self::Logged(publisher) => publisher.wait_complete(timeout),
        }
    }

    /// Ends the stream, after everything was sent.
    pub(super) fn end(&self) -> Result<(), StreamError> {
        match self {
            Self::Direct(publisher) => {
                publisher.end();
                Ok(())
            }
            Self::Logged(publisher) => publisher.end(),
        }
    }

    /// Ends the stream and returns how it ended. A stream with a log is not over if publishing was interrupted, or the
    /// input failed: the next publisher continues it.
    pub(super) fn close(&self, timeout: Duration, is_interrupted: bool) -> Result<Closing, StreamError> {
        match self {
            Self::Direct(publisher) => Ok(publisher.close(timeout)),
            Self::Logged(publisher) if is_interrupted => publisher.stop(timeout),
            Self::Logged(publisher) => publisher.close(timeout),
        }
    }

    /// Returns the number of messages that wait in the log.
    pub(super) fn unsent(&self) -> usize {
        match self {
            Self::Direct(_) => 0,
            Self::Logged(publisher) => publisher.unsent(),
        }
    }

    /// Returns the number of messages that were published by this command, and of their bytes.
    pub(super) fn published(&self, closing: &Closing) -> (u64, u64) {
        match self {
            Self::Direct(_) => (closing.statistics.messages, closing.statistics.message_bytes),
            Self::Logged(publisher) => publisher.accepted(),
        }
    }

    pub(super) fn set_keys(&self, keys: Keys) -> Result<(), StreamError> {
        match self {
            Self::Direct(publisher) => {
                publisher.set_keys(keys);
                Ok(())
            }
            Self::Logged(publisher) => publisher.set_keys(keys),
        }
    }
}

/// Reports what was found in the log.
fn report_log(publisher: &LoggedPublisher, console: &Console) {
    let (directory, next) = (publisher.directory().display(), publisher.next_message());
    let why = match publisher.start() {
        LogStart::First => {
            console.note(format_args!("log {directory}: new"));
            None
        }
        LogStart::Continued => {
            let messages = count_of(next.0, "message");
            console.note(format_args!("log {directory}: continuing after {messages}"));
            None
        }
        LogStart::AfterEnd => Some("the stream had ended"),
        LogStart::AfterUnsyncedLoss => {
            Some("the machine stopped before everything that was sent was on the disk")
        }
        LogStart::NotWhatWasLeft => Some("it is a copy, or messages at its end are missing or damaged"),
        _ => Some("it is not known whether subscribers have other messages"),
    };
    if let Some(why) = why {
        console.note(format_args!("log {directory}: starting again with message 0: {why}"));
    }
    if let Some(unopened) = publisher.unopened() {
        let (first, last, epoch) = (unopened.first, unopened.end.0.saturating_sub(1), unopened.epoch.0);
        console.note(format_args!(
            "log {directory}: {first} to {last} cannot be opened any more: they are sealed with the removed secret of epoch \
             {epoch}; subscribers that lack them report them as lost"
        ));
    }
    let recovery = publisher.recovery();
    if let Some(file) = &recovery.torn {
        let (file, length) = (file.display(), bytes(recovery.cut_bytes));
        match recovery.is_unfinished {
            true => console.note(format_args!("{file}: removed {length} of a message that was not accepted")),
            false => console.warn(format_args!("{file}: cut off {length} that are not a complete record")),
        }
    }
    if recovery.missing > 0 {
        console.warn(format_args!(
            "log {directory}: the last {} are missing: its newest segment was cut off after it had been closed",
            count_of(recovery.missing, "message")
        ));
    }
    if recovery.damaged_bytes > 0 {
        console.warn(format_args!(
            "log {directory}: {} are damaged; `mcast log verify {directory}` reports where",
            bytes(recovery.damaged_bytes)
        ));
    }
}
