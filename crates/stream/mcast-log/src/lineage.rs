//! Which of the publishers that wrote a log continued the one before them.
//!
//! Message numbers continue where the log ends. If subscribers may have messages that the log has lost, or know that the
//! stream has ended, those numbers would stand for other messages: then a new lineage begins, whose messages are numbered
//! from 0 again, and which subscribers follow like any restarted publisher. In the stream's origin and in its history,
//! messages have the incarnation of the first publisher of their lineage. In the log, numbers always continue.

use std::io;

use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::error::{FileOperation, LogError};
use crate::files::{Files, write_file};
use crate::scan::read_prefix;
use crate::writer::{FoundLog, SyncPolicy};

/// The first word of the file.
const FORMAT: &str = "mcast-log-lineage-1";
/// The name of the file in the directory of the log.
const NAME: &str = "lineage";

/// The name of the file with how far subscribers were.
const CONFIRMED: &str = "confirmed";
/// The first word of that file.
const CONFIRMED_FORMAT: &str = "mcast-log-confirmed-2";
/// The same of a file that has only the first two numbers.
const CONFIRMED_FORMAT_1: &str = "mcast-log-confirmed-1";
/// Stands for a number that is not known.
const NOTHING: &str = "-";
/// More than both files have.
const LONGEST: usize = 1 << 20;

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

/// The lineages of a log, as its file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineages {
    /// In ascending order, at least one.
    all: Vec<Lineage>,
    /// The last publisher, which began a segment.
    last: Incarnation,
    /// The file that is locked, if the system distinguishes files: a copy of a log is not the log.
    identity: String,
    state: LastState,
}

/// Publishers that continued each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// That of the first publisher.
    pub incarnation: Incarnation,
    /// The number that its message 0 has in the log.
    pub base: MessageNumber,
}

impl Lineage {
    /// Returns the number in the stream of a message in the log.
    pub const fn in_stream(self, in_log: MessageNumber) -> MessageNumber {
        MessageNumber(in_log.0.saturating_sub(self.base.0))
    }

    /// Returns the number in the log of a message of the stream.
    pub const fn in_log(self, in_stream: MessageNumber) -> MessageNumber {
        MessageNumber(in_stream.0.saturating_add(self.base.0))
    }
}

/// How the last publisher ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LastState {
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
        /// The number in the log of its first message.
        next: MessageNumber,
    },
    /// Another publisher may continue, and subscribers need nothing of before.
    Delivered {
        /// The number in the log of its first message.
        next: MessageNumber,
    },
    /// The stream has ended.
    Over,
    /// It is not known what the disk has.
    Unsynced,
}

/// What a publisher with a log begins with: decided before anything is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Beginning {
    /// The lineages, with that of this publisher. [`Lineages::write`] them before anything is sent.
    pub lineages: Lineages,
    /// How it relates to the publisher before it.
    pub start: LogStart,
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
    /// Returns the first message that must not be removed from the log: what the former publisher had not sent, or needed for
    /// another reason. If it did not record that, it is the first one that was `recalled`.
    #[must_use]
    pub fn first_needed(&self, recalled: MessageNumber) -> MessageNumber {
        self.needed.unwrap_or(recalled)
    }

    /// Returns what the publisher knows of subscribers when it begins, with what it [needs](Self::first_needed) of a log that
    /// ends before `next`. [`Confirmed::write`] it before anything is accepted: if it is killed at once, the next one knows as
    /// much as this one.
    #[must_use]
    pub fn confirmed(&self, next: MessageNumber, needed: MessageNumber) -> Confirmed {
        let received = match self.unconfirmed {
            Unconfirmed::Nothing => Some(next),
            Unconfirmed::From(number) => Some(number),
            Unconfirmed::Unknown => None,
        };
        let sent = match self.start {
            LogStart::Continued => self.unsent.unwrap_or(needed),
            _ => next,
        };
        Confirmed { received, settled: self.unsettled, sent: Some(sent), needed: Some(needed) }
    }
}

/// What subscribers may lack of the messages that a former publisher accepted. Numbers are those in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// Nothing: the stream is not continued, or all subscribers had everything.
    Nothing,
    /// What is not before this number.
    From(MessageNumber),
    /// It is not known.
    Unknown,
}

impl Lineages {
    /// Decides how a publisher begins with the log that was found, on a system that runs since `boot` (`None`: unknown).
    /// Changes nothing.
    ///
    /// # Errors
    /// If the file of the lineages cannot be read, or is damaged.
    pub fn plan(found: &FoundLog, boot: Option<&str>, sync: SyncPolicy) -> Result<Beginning, LogError> {
        let files = &**found.files();
        let identity = files.identity().unwrap_or_else(|| UNKNOWN.to_owned());
        let boot = boot.unwrap_or(UNKNOWN);
        let (last, recovery, incarnation) = (Self::read(files)?, found.recovery(), found.incarnation());
        let confirmed = Confirmed::read(files);
        let is_cut = recovery.cut_bytes > 0 && !recovery.is_unfinished;
        // Subscribers have what the log does not have.
        let is_behind = confirmed.received.is_some_and(|received| received > recovery.next);
        let is_damaged = is_cut || is_behind || recovery.damaged_bytes > 0 || recovery.missing > 0;
        let state = match sync {
            SyncPolicy::Each => LastState::Durable,
            SyncPolicy::None | SyncPolicy::Interval(_) => LastState::Running { boot: boot.to_owned() },
        };
        // A message that was sent may be among what cannot be read, or in a segment that was removed.
        let is_whole = |last: &Self| {
            !is_damaged && found.last_incarnation() >= Some(last.last) && last.identity == identity
        };
        let start = match &last {
            None => LogStart::First,
            Some(last) if last.state == LastState::Over => LogStart::AfterEnd,
            Some(last) if !is_whole(last) => LogStart::NotWhatWasLeft,
            Some(last) if !last.can_continue(recovery.next, boot) => LogStart::AfterUnsyncedLoss,
            Some(_) => LogStart::Continued,
        };
        let confirmed = if start == LogStart::Continued { confirmed } else { Confirmed::default() };
        // What the log no longer has was sent and settled: retention removes nothing else, and the record may be older.
        let oldest = found.oldest().min(recovery.next);
        let in_log = |number: MessageNumber| number.clamp(oldest, recovery.next);
        let unsettled = confirmed.settled.map(in_log);
        let (unconfirmed, needed) = match &last {
            Some(last) if start == LogStart::Continued => match last.state {
                // Those that must acknowledge something may not have been there.
                LastState::Delivered { .. } => {
                    let lacking = unsettled.filter(|number| *number < recovery.next);
                    let unconfirmed = lacking.map_or(Unconfirmed::Nothing, Unconfirmed::From);
                    (unconfirmed, Some(lacking.unwrap_or(recovery.next)))
                }
                _ => {
                    let lacking = confirmed.lacking().map(in_log);
                    let unconfirmed = lacking.map_or(Unconfirmed::Unknown, Unconfirmed::From);
                    (unconfirmed, confirmed.needed().map(in_log))
                }
            },
            _ => (Unconfirmed::Nothing, Some(recovery.next)),
        };
        let unsent = confirmed.sent.map(in_log);
        let mut all = last.map(|last| last.all).unwrap_or_default();
        if start != LogStart::Continued {
            all.push(Lineage { incarnation, base: recovery.next });
        }
        let lineages = Self { all, last: incarnation, identity, state };
        Ok(Beginning { lineages, start, unconfirmed, unsettled, unsent, needed })
    }

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

    /// Returns the present lineage.
    pub fn present(&self) -> Lineage {
        self.all.last().copied().unwrap_or(UNRECORDED)
    }

    /// Returns the lineage of a publisher.
    pub fn of(&self, incarnation: Incarnation) -> Lineage {
        let later = self.all.partition_point(|lineage| lineage.incarnation <= incarnation);
        let known = later.checked_sub(1).and_then(|at| self.all.get(at)).copied();
        known.unwrap_or(Lineage { incarnation, ..UNRECORDED })
    }

    /// Whether all messages that subscribers may have are in the log, which ends before `next`.
    fn can_continue(&self, next: MessageNumber, boot: &str) -> bool {
        match &self.state {
            LastState::Durable => true,
            // The memory of the system outlives the process.
            LastState::Running { boot: of } => of == boot && of != UNKNOWN,
            LastState::Synced { next: synced } | LastState::Delivered { next: synced } => *synced == next,
            LastState::Over | LastState::Unsynced => false,
        }
    }

    /// Returns the last publisher, which began a segment, and before which number it had stored everything when it ended,
    /// if it has ended.
    #[must_use]
    pub const fn last_publisher(&self) -> (Incarnation, Option<MessageNumber>) {
        let next = match self.state {
            LastState::Synced { next } | LastState::Delivered { next } => Some(next),
            _ => None,
        };
        (self.last, next)
    }

    /// Returns what must not be removed from a log, as its last publisher, or the one that is writing it, has recorded: what it
    /// has not sent, or needs for another reason. It may be some more than that. Nothing is needed of a log without publishers.
    ///
    /// # Errors
    /// If the file of the lineages cannot be read, or is damaged.
    pub fn recorded_needs(files: &dyn Files) -> Result<Unconfirmed, LogError> {
        let Some(lineages) = Self::read(files)? else { return Ok(Unconfirmed::Nothing) };
        let confirmed = Confirmed::read(files);
        Ok(match lineages.state {
            LastState::Over => Unconfirmed::Nothing,
            LastState::Delivered { next } => {
                let unsettled = confirmed.settled.filter(|settled| *settled < next);
                unsettled.map_or(Unconfirmed::Nothing, Unconfirmed::From)
            }
            _ => confirmed.needed().map_or(Unconfirmed::Unknown, Unconfirmed::From),
        })
    }

    /// Reads the lineages of a log; `None` if none were recorded.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub fn read(files: &dyn Files) -> Result<Option<Self>, LogError> {
        let failed = |cause| LogError::io(FileOperation::Read, files.path(NAME))(cause);
        match read_text(files, NAME) {
            Ok(text) => match parse(&text) {
                Some(lineages) => Ok(Some(lineages)),
                None => Err(failed(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it is damaged; if it is removed, the stream starts again with message 0",
                ))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the lineages. They are on the disk when this returns.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn write(&self, files: &dyn Files) -> Result<(), LogError> {
        let all = self.all.iter().map(|Lineage { incarnation, base }| format!("{incarnation}:{base}"));
        let all: Vec<String> = all.collect();
        let state = match &self.state {
            LastState::Durable => "durable".to_owned(),
            LastState::Running { boot } => format!("running {boot}"),
            LastState::Synced { next } => format!("synced {next}"),
            LastState::Delivered { next } => format!("delivered {next}"),
            LastState::Over => "over".to_owned(),
            LastState::Unsynced => "unsynced".to_owned(),
        };
        let text = format!("{FORMAT}\n{}\n{} {}\n{state}\n", all.join(" "), self.last, self.identity);
        write_file(files, NAME, text.as_bytes(), true)?;
        files.sync_directory().map_err(LogError::io(FileOperation::Sync, files.path("")))
    }
}

/// How far a publisher and its subscribers were. Numbers are those in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
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
    /// Records it. It is not synced: after a power failure, earlier numbers may be there, or none.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn write(self, files: &dyn Files) -> Result<(), LogError> {
        let word = |number: Option<MessageNumber>| {
            number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string())
        };
        let numbers = [self.received, self.settled, self.sent, self.needed].map(word);
        let text = format!("{CONFIRMED_FORMAT} {}\n", numbers.join(" "));
        write_file(files, CONFIRMED, text.as_bytes(), false).map(drop)
    }

    /// Returns what was recorded, as far as it can be read.
    fn read(files: &dyn Files) -> Self {
        read_text(files, CONFIRMED).ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let format = words.next()?;
        let number = |word: &str| match word {
            NOTHING => Some(None),
            word => word.parse().ok().map(|number| Some(MessageNumber(number))),
        };
        let numbers: Vec<Option<MessageNumber>> = words.map(number).collect::<Option<_>>()?;
        match (format, &numbers[..]) {
            (CONFIRMED_FORMAT, &[received, settled, sent, needed]) => {
                Some(Self { received, settled, sent, needed })
            }
            (CONFIRMED_FORMAT_1, &[received, settled]) => Some(Self { received, settled, ..Self::default() }),
            _ => None,
        }
    }

    /// Returns the first message that is not known as received, or not as settled.
    fn lacking(&self) -> Option<MessageNumber> {
        self.received.map(|received| self.settled.map_or(received, |settled| settled.min(received)))
    }

    /// Returns the first message that is needed; that is what subscribers may lack if the publisher has not recorded another.
    fn needed(&self) -> Option<MessageNumber> {
        self.needed.or_else(|| self.lacking())
    }
}

fn read_text(files: &dyn Files, name: &str) -> io::Result<String> {
    let bytes = read_prefix(&*files.open(name)?, LONGEST)?;
    // Other text is as damaged, and not parsed.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(text: &str) -> Option<Lineages> {
    let mut lines = text.lines();
    let (FORMAT, all, last, state) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?) else {
        return None;
    };
    let (last, identity) = last.split_once(' ').filter(|_| lines.next().is_none())?;
    let last = Incarnation(last.parse().ok()?);
    let lineage = |word: &str| {
        let (incarnation, base) = word.split_once(':')?;
        let (incarnation, base) = (incarnation.parse().ok()?, base.parse().ok()?);
        Some(Lineage { incarnation: Incarnation(incarnation), base: MessageNumber(base) })
    };
    let all: Option<Vec<_>> = all.split(' ').map(lineage).collect();
    let is_later =
        |one: &Lineage, next: &Lineage| one.incarnation < next.incarnation && one.base <= next.base;
    let all = all.filter(|all| all.is_sorted_by(is_later))?;
    let words: Vec<&str> = state.split(' ').collect();
    let state = match words[..] {
        ["durable"] => LastState::Durable,
        ["running", boot] => LastState::Running { boot: boot.to_owned() },
        ["synced", next] => LastState::Synced { next: MessageNumber(next.parse().ok()?) },
        ["delivered", next] => LastState::Delivered { next: MessageNumber(next.parse().ok()?) },
        ["over"] => LastState::Over,
        ["unsynced"] => LastState::Unsynced,
        _ => return None,
    };
    Some(Lineages { all, last, identity: identity.to_owned(), state })
}

/// Of publishers that were not recorded.
const UNRECORDED: Lineage = Lineage { incarnation: Incarnation(0), base: MessageNumber(0) };

/// Of a system that does not distinguish its boots.
const UNKNOWN: &str = "?";
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn each_publisher_belongs_to_the_lineage_that_began_before_it() {
        let lineages = parse("mcast-log-lineage-1\n5:0 9:70\n30 ?\ndurable\n").unwrap();
        let of = |incarnation| lineages.of(Incarnation(incarnation)).incarnation.0;
        assert_eq!([of(5), of(8), of(9), of(30)], [5, 5, 9, 9]);
        assert_eq!(of(3), 3, "of a log whose lineages are not recorded from the beginning");
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let files = crate::Directory::open(directory.path()).unwrap();
        for state in ["durable", "running boot", "synced 17", "delivered 17", "over", "unsynced"] {
            let lineages = parse(&format!("{FORMAT}\n1:0 2:7 300:7\n300 17\n{state}\n")).unwrap();
            lineages.write(&files).unwrap();
            assert_eq!(Lineages::read(&files).unwrap(), Some(lineages));
        }
        for text in [
            "",
            "mcast-log-lineage-1\n\nover\n",
            "mcast-log-lineage-1\n2:0 1:0\n2 ?\nover\n",
            "x\n1:0\n1 ?\nover\n",
        ] {
            assert_eq!(parse(text), None);
        }
        std::fs::write(directory.path().join(NAME), "hello").unwrap();
        assert!(matches!(Lineages::read(&files), Err(LogError::Io { operation: FileOperation::Read, .. })));
        assert_eq!(Confirmed::read(&files), Confirmed::default());
        for numbers in [[Some(17), Some(9), Some(20), Some(9)], [None, Some(9), Some(20), None], [None; 4]] {
            let [received, settled, sent, needed] = numbers.map(|number| number.map(MessageNumber));
            let confirmed = Confirmed { received, settled, sent, needed };
            confirmed.write(&files).unwrap();
            assert_eq!(Confirmed::read(&files), confirmed);
        }
        let golden = Confirmed {
            received: Some(MessageNumber(17)),
            sent: Some(MessageNumber(20)),
            ..Confirmed::default()
        };
        golden.write(&files).unwrap();
        let text = std::fs::read_to_string(directory.path().join(CONFIRMED)).unwrap();
        assert_eq!(text, "mcast-log-confirmed-2 17 - 20 -\n");
        let former = Confirmed::parse("mcast-log-confirmed-1 17 9\n").unwrap();
        assert_eq!((former.received, former.sent), (Some(MessageNumber(17)), None));
        assert_eq!(former.needed(), Some(MessageNumber(9)), "what was not settled");
        for torn in [
            "",
            "mcast-log-confirmed-1",
            "mcast-log-confirmed-1 1\n",
            "mcast-log-confirmed-1 1 2",
            "mcast-log-confirmed-1 1 x\n",
            "mcast-log-confirmed-1 1 2 3 4\n",
            "mcast-log-confirmed-2 1 2\n",
            "mcast-log-confirmed-2 1 2 3 4 5\n",
            "mcast-log-confirmed-2 1 2 3",
        ] {
            std::fs::write(directory.path().join(CONFIRMED), torn).unwrap();
            assert_eq!(Confirmed::read(&files), Confirmed::default(), "{torn:?}");
        }
    }
}
