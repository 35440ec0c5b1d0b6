//! What a publisher records beside its log for the next one: that it wrote it, how it ended, and how far subscribers were.

use std::io;

use mcast_stream_proto::history::Position;
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::error::{FileOperation, LogError};
use crate::files::{Files, write_file};
use crate::retention::NOTHING_NEEDED;
use crate::scan::read_prefix;

/// The first word of the file.
const FORMAT: &str = "mcast-log-publisher-1";
/// The name of the file in the directory of the log.
const NAME: &str = "publisher";

/// The name of the file with how far subscribers were.
const CONFIRMED: &str = "confirmed";
/// The first word of that file.
const CONFIRMED_FORMAT: &str = "mcast-log-confirmed-3";
/// Stands for a number that is not known.
const NOTHING: &str = "-";
/// More than both files have.
const LONGEST: usize = 1 << 20;
/// Of a system that does not distinguish its boots, or files.
pub(crate) const UNKNOWN: &str = "?";

/// How a publisher with a log relates to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogStart {
    /// It is the first one.
    First,
    /// It continues the stream: subscribers notice no gap and no repeat.
    Continued,
    /// The stream had ended, and starts again with message 0.
    AfterEnd,
    /// The stream starts again, because a power failure or a failed sync may have taken messages that subscribers have.
    AfterUnsyncedLoss,
    /// The stream starts again, because messages at the end of the log are missing or damaged, or because it is a copy:
    /// subscribers may have messages that it does not have.
    NotWhatWasLeft,
}

/// The last publisher of a log, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPublisher {
    /// Its incarnation. It began a segment.
    pub(crate) incarnation: Incarnation,
    /// The incarnation of its messages: its own, or that of the publisher whose stream it continued.
    pub(crate) stream: Incarnation,
    /// The file that is locked, if the system distinguishes files: a copy of a log is not the log.
    pub(crate) identity: String,
    pub(crate) state: LastState,
}

/// How the last publisher ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LastState {
    /// It sent only what was on the disk, and did not end the stream.
    Durable,
    /// It sent what was in the system's memory since this boot; `?`: of an unknown one.
    Running { boot: String },
    /// It synced everything before this number, and did not end the stream.
    Synced { next: MessageNumber },
    /// The same, and all subscribers had everything.
    Delivered { next: MessageNumber },
    /// It ended the stream.
    Over,
    /// A sync failed: it is not known what the disk has.
    Unsynced,
}

/// How a publisher ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Another publisher may continue.
    Continues {
        /// The number of its first message.
        next: MessageNumber,
    },
    /// Another publisher may continue, and subscribers need nothing of before.
    Delivered {
        /// The number of its first message.
        next: MessageNumber,
    },
    /// The stream has ended.
    Over,
    /// It is not known what the disk has.
    Unsynced,
}

impl LastPublisher {
    /// Records how the publisher ended.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn end(&mut self, files: &dyn Files, ending: Ending) -> Result<(), LogError> {
        self.state = match ending {
            Ending::Continues { next } => LastState::Synced { next },
            Ending::Delivered { next } => LastState::Delivered { next },
            Ending::Over => LastState::Over,
            Ending::Unsynced => LastState::Unsynced,
        };
        self.write(files)
    }

    /// Whether all messages that subscribers may have are in the log, which ends before `next`.
    pub(crate) fn can_continue(&self, next: MessageNumber, boot: &str) -> bool {
        match &self.state {
            LastState::Durable => true,
            // The memory of the system outlives the process.
            LastState::Running { boot: of } => of == boot && of != UNKNOWN,
            LastState::Synced { next: synced } | LastState::Delivered { next: synced } => *synced == next,
            LastState::Over | LastState::Unsynced => false,
        }
    }

    /// Returns before which position it had stored everything when it ended, if it has ended.
    pub(crate) const fn stored(&self) -> Option<Position> {
        match self.state {
            LastState::Synced { next } | LastState::Delivered { next } => {
                Some(Position::new(self.stream, next))
            }
            _ => None,
        }
    }

    /// Returns the first message that must not be removed from a log, as its last publisher, or the one that is writing it, has
    /// recorded: what it has not sent, or needs for another reason. It may be an earlier one than that; `None`: it is not known.
    /// Nothing is needed of a log without publishers.
    ///
    /// # Errors
    /// If the file of the last publisher cannot be read, or is damaged.
    pub fn recorded_needs(files: &dyn Files) -> Result<Option<Position>, LogError> {
        let Some(last) = Self::read(files)? else { return Ok(Some(NOTHING_NEEDED)) };
        let confirmed = Confirmed::read(files).filter(|of| of.incarnation == last.stream);
        let number = match last.state {
            LastState::Over => return Ok(Some(NOTHING_NEEDED)),
            LastState::Delivered { next } => {
                match confirmed.and_then(|of| of.settled).filter(|settled| *settled < next) {
                    None => return Ok(Some(NOTHING_NEEDED)),
                    settled => settled,
                }
            }
            _ => confirmed.and_then(Confirmed::needed),
        };
        Ok(number.map(|number| Position::new(last.stream, number)))
    }

    /// Reads the last publisher of a log; `None` if none was recorded.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub(crate) fn read(files: &dyn Files) -> Result<Option<Self>, LogError> {
        let failed = |cause| LogError::io(FileOperation::Read, files.path(NAME))(cause);
        match read_text(files, NAME) {
            Ok(text) => match Self::parse(&text) {
                Some(last) => Ok(Some(last)),
                None => Err(failed(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it is damaged; if it is removed, the stream starts again with message 0",
                ))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let [FORMAT, publisher, state] = lines[..] else { return None };
        let mut words = publisher.splitn(3, ' ');
        let (incarnation, stream) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let number = |next: &str| next.parse().ok().map(MessageNumber);
        let state = match state.split(' ').collect::<Vec<_>>()[..] {
            ["durable"] => LastState::Durable,
            ["running", boot] => LastState::Running { boot: boot.to_owned() },
            ["synced", next] => LastState::Synced { next: number(next)? },
            ["delivered", next] => LastState::Delivered { next: number(next)? },
            ["over"] => LastState::Over,
            ["unsynced"] => LastState::Unsynced,
            _ => return None,
        };
        let (incarnation, stream) = (Incarnation(incarnation), Incarnation(stream));
        Some(Self { incarnation, stream, identity: words.next()?.to_owned(), state })
    }

    /// Writes the file. It is on the disk when this returns.
    pub(crate) fn write(&self, files: &dyn Files) -> Result<(), LogError> {
        let Self { incarnation, stream, identity, state } = self;
        let state = match state {
            LastState::Durable => "durable".to_owned(),
            LastState::Running { boot } => format!("running {boot}"),
            LastState::Synced { next } => format!("synced {next}"),
            LastState::Delivered { next } => format!("delivered {next}"),
            LastState::Over => "over".to_owned(),
            LastState::Unsynced => "unsynced".to_owned(),
        };
        let text = format!("{FORMAT}\n{incarnation} {stream} {identity}\n{state}\n");
        write_file(files, NAME, text.as_bytes(), true)?;
        files.sync_directory().map_err(LogError::io(FileOperation::Sync, files.path("")))
    }
}

/// How far a publisher and its subscribers were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The incarnation of the messages.
    pub incarnation: Incarnation,
    /// All subscribers that the publisher waits for have everything before this number; `None`: it is not known.
    pub received: Option<MessageNumber>,
    /// The messages before this number are acknowledged as required, or given up; `None` if nothing is required.
    pub settled: Option<MessageNumber>,
    /// The messages before this number were sent; `None`: it is not known.
    pub sent: Option<MessageNumber>,
    /// No message before this number is needed any more; `None`: it is not known.
    pub needed: Option<MessageNumber>,
}

impl Confirmed {
    /// Nothing is known of subscribers of this incarnation.
    #[must_use]
    pub const fn unknown(incarnation: Incarnation) -> Self {
        Self { incarnation, received: None, settled: None, sent: None, needed: None }
    }

    /// Records it. It is not synced: after a power failure, earlier numbers may be there, or none.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn write(self, files: &dyn Files) -> Result<(), LogError> {
        let word = |number: Option<MessageNumber>| {
            number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string())
        };
        let numbers = [self.received, self.settled, self.sent, self.needed].map(word);
        let text = format!("{CONFIRMED_FORMAT} {} {}\n", self.incarnation, numbers.join(" "));
        write_file(files, CONFIRMED, text.as_bytes(), false).map(drop)
    }

    /// Returns what was recorded, as far as it can be read.
    pub(crate) fn read(files: &dyn Files) -> Option<Self> {
        Self::parse(&read_text(files, CONFIRMED).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.strip_suffix('\n')?.split(' ').collect();
        let [CONFIRMED_FORMAT, incarnation, ref numbers @ ..] = words[..] else { return None };
        let number = |word: &&str| match *word {
            NOTHING => Some(None),
            word => word.parse().ok().map(|number| Some(MessageNumber(number))),
        };
        let numbers: Vec<Option<MessageNumber>> = numbers.iter().map(number).collect::<Option<_>>()?;
        let &[received, settled, sent, needed] = &numbers[..] else { return None };
        Some(Self { incarnation: Incarnation(incarnation.parse().ok()?), received, settled, sent, needed })
    }

    /// Returns before which position all subscribers have everything.
    pub(crate) fn position(self) -> Option<Position> {
        self.received.map(|received| Position::new(self.incarnation, received))
    }

    /// Returns the first message that is not known as received, or not as settled.
    pub(crate) fn lacking(self) -> Option<MessageNumber> {
        self.received.map(|received| self.settled.map_or(received, |settled| settled.min(received)))
    }

    /// Returns the first message that is needed; that is what subscribers may lack if the publisher has not recorded another.
    pub(crate) fn needed(self) -> Option<MessageNumber> {
        self.needed.or_else(|| self.lacking())
    }
}

fn read_text(files: &dyn Files, name: &str) -> io::Result<String> {
    let bytes = read_prefix(&*files.open(name)?, LONGEST)?;
    // Other text is as damaged, and not parsed.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let files = crate::Directory::open(directory.path()).unwrap();
        for state in ["durable", "running boot", "synced 17", "delivered 17", "over", "unsynced"] {
            let last = LastPublisher::parse(&format!("{FORMAT}\n300 2 17\n{state}\n")).unwrap();
            assert_eq!((last.incarnation.0, last.stream.0, &*last.identity), (300, 2, "17"));
            last.write(&files).unwrap();
            assert_eq!(LastPublisher::read(&files).unwrap(), Some(last));
        }
        for text in
            ["", "mcast-log-publisher-1\n\nover\n", "mcast-log-publisher-1\n2 1\nover\n", "x\n1 1 ?\nover\n"]
        {
            assert_eq!(LastPublisher::parse(text), None);
        }
        std::fs::write(directory.path().join(NAME), "hello").unwrap();
        let damaged = LastPublisher::read(&files);
        assert!(matches!(damaged, Err(LogError::Io { operation: FileOperation::Read, .. })));
        assert_eq!(Confirmed::read(&files), None);
        for numbers in [[Some(17), Some(9), Some(20), Some(9)], [None, Some(9), Some(20), None], [None; 4]] {
            let [received, settled, sent, needed] = numbers.map(|number| number.map(MessageNumber));
            let confirmed = Confirmed { incarnation: Incarnation(4), received, settled, sent, needed };
            confirmed.write(&files).unwrap();
            assert_eq!(Confirmed::read(&files), Some(confirmed));
        }
        let golden = Confirmed {
            received: Some(MessageNumber(17)),
            sent: Some(MessageNumber(20)),
            ..Confirmed::unknown(Incarnation(300))
        };
        golden.write(&files).unwrap();
        let text = std::fs::read_to_string(directory.path().join(CONFIRMED)).unwrap();
        assert_eq!(text, "mcast-log-confirmed-3 300 17 - 20 -\n");
        for torn in [
            "",
            "mcast-log-confirmed-3",
            "mcast-log-confirmed-3 1 1 2\n",
            "mcast-log-confirmed-3 1 1 2 3 4 5\n",
            "mcast-log-confirmed-3 1 1 2 3 x\n",
            "mcast-log-confirmed-3 1 1 2 3 4",
            "mcast-log-confirmed-2 1 2 3 4\n",
        ] {
            std::fs::write(directory.path().join(CONFIRMED), torn).unwrap();
            assert_eq!(Confirmed::read(&files), None, "{torn:?}");
        }
    }
}
