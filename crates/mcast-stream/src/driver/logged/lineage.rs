//! Which of the publishers that wrote a log continued the one before them.
//!
//! Message numbers continue where the log ends. If subscribers may have messages that the log has lost, or know that the
//! stream has ended, those numbers would stand for other messages: then a new lineage begins, whose messages are numbered
//! from 0 again, and which subscribers follow like any restarted publisher. In the stream's origin and in its history,
//! messages have the incarnation of the first publisher of their lineage. In the log, numbers always continue.

use std::io;
use std::path::{Path, PathBuf};

use mcast_log::{LogReader, SyncPolicy};

use crate::driver::state_file;
use crate::seal::Keys;
use crate::wire::{Incarnation, MessageNumber};

/// The first word of the file.
const FORMAT: &str = "mcast-log-lineage-1";
/// The name of the file in the directory of the log.
const NAME: &str = "lineage";

/// What was found in a log before anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundLog {
    /// The publisher that began the newest segment.
    pub(super) last: Option<Incarnation>,
    /// The number after the last message.
    pub(super) next: MessageNumber,
    /// Whether something at its end is missing, or could not be read.
    pub(super) is_damaged: bool,
}

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

/// Returns the publisher that began the newest segment of a log, if there is one.
pub(super) fn last_writer(directory: &Path) -> Option<Incarnation> {
    let starts = LogReader::open(directory, Keys::none()).and_then(|mut log| log.starts());
    starts.ok()?.last().map(|start| start.incarnation)
}

/// The lineages of a log, as its file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lineages {
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
pub(super) struct Lineage {
    /// That of the first publisher.
    pub(super) incarnation: Incarnation,
    /// The number that its message 0 has in the log.
    pub(super) base: MessageNumber,
}

impl Lineage {
    /// Returns the number in the stream of a message in the log.
    pub(super) const fn in_stream(self, in_log: MessageNumber) -> MessageNumber {
        MessageNumber(in_log.0.saturating_sub(self.base.0))
    }

    /// Returns the number in the log of a message of the stream.
    pub(super) const fn in_log(self, in_stream: MessageNumber) -> MessageNumber {
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
pub(super) enum Ending {
    /// Another publisher may continue.
    Continues { next: MessageNumber },
    /// Another publisher may continue, and subscribers need nothing of before.
    Delivered { next: MessageNumber },
    /// The stream has ended.
    Over,
    /// It is not known what the disk has.
    Unsynced,
}

/// What a publisher begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) start: LogStart,
    /// Whether subscribers may lack the last messages of the log.
    pub(super) resends: bool,
}

impl Lineages {
    /// Begins to publish with this incarnation in the log that was found. It is on the disk when this returns.
    pub(super) fn begin(
        directory: &Path,
        incarnation: Incarnation,
        found: FoundLog,
        sync: SyncPolicy,
    ) -> io::Result<(Self, Beginning)> {
        let (boot, identity) = (boot(), identity(directory));
        let last = Self::read(directory)?;
        let state = match sync {
            SyncPolicy::Each => LastState::Durable,
            SyncPolicy::None | SyncPolicy::Interval(_) => LastState::Running { boot: boot.clone() },
        };
        // A message that was sent may be among what cannot be read, or in a segment that was removed.
        let is_whole =
            |last: &Self| !found.is_damaged && found.last >= Some(last.last) && last.identity == identity;
        let start = match &last {
            None => LogStart::First,
            Some(last) if last.state == LastState::Over => LogStart::AfterEnd,
            Some(last) if !is_whole(last) => LogStart::NotWhatWasLeft,
            Some(last) if !last.can_continue(found.next, &boot) => LogStart::AfterUnsyncedLoss,
            Some(_) => LogStart::Continued,
        };
        let is_delivered =
            last.as_ref().is_some_and(|last| matches!(last.state, LastState::Delivered { .. }));
        let continues = start == LogStart::Continued;
        let mut all = last.map(|last| last.all).unwrap_or_default();
        if !continues {
            all.push(Lineage { incarnation, base: found.next });
        }
        let lineages = Self { all, last: incarnation, identity, state };
        lineages.write(directory)?;
        Ok((lineages, Beginning { start, resends: continues && !is_delivered }))
    }

    /// Records how the publisher ended.
    pub(super) fn end(&mut self, directory: &Path, ending: Ending) -> io::Result<()> {
        self.state = match ending {
            Ending::Continues { next } => LastState::Synced { next },
            Ending::Delivered { next } => LastState::Delivered { next },
            Ending::Over => LastState::Over,
            Ending::Unsynced => LastState::Unsynced,
        };
        self.write(directory)
    }

    /// Returns the present lineage.
    pub(super) fn present(&self) -> Lineage {
        self.all.last().copied().unwrap_or(UNRECORDED)
    }

    /// Returns the lineage of a publisher.
    pub(super) fn of(&self, incarnation: Incarnation) -> Lineage {
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

    fn read(directory: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(path(directory)) {
            Ok(text) => match parse(&text) {
                Some(lineages) => Ok(Some(lineages)),
                None => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it is damaged; if it is removed, the stream starts again with message 0",
                )),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
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
        state_file::replace(
            &path(directory),
            &format!("{FORMAT}\n{}\n{} {}\n{state}\n", all.join(" "), self.last, self.identity),
        )
    }
}

/// Returns the path of the file.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
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

/// Returns what identifies the file that is locked, on systems that number files.
fn identity(directory: &Path) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let Ok(metadata) = std::fs::metadata(directory.join("lock")) {
            return metadata.ino().to_string();
        }
    }
    #[cfg(not(unix))]
    let _ = directory;
    UNKNOWN.to_owned()
}

/// Returns what identifies this boot of the system.
fn boot() -> String {
    // Other systems are treated as if each process had a boot of its own.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match boot.trim() {
        boot if !boot.is_empty() && !boot.contains(char::is_whitespace) => boot.to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;

    const LAZY: SyncPolicy = SyncPolicy::Interval(Duration::from_secs(1));

    /// Begins after the publisher with the incarnation before this one.
    fn begin(directory: &Path, incarnation: u32, next: u64, sync: SyncPolicy) -> (Lineages, LogStart) {
        let (last, next) = (Some(Incarnation(incarnation - 1)), MessageNumber(next));
        let found = FoundLog { last, next, is_damaged: false };
        let (lineages, beginning) =
            Lineages::begin(directory, Incarnation(incarnation), found, sync).unwrap();
        (lineages, beginning.start)
    }

    #[test]
    fn a_log_that_is_not_what_the_last_publisher_left_is_not_continued() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let whole = FoundLog { last: Some(Incarnation(5)), next: MessageNumber(9), is_damaged: false };
        let begin = |incarnation: u32, found: FoundLog| {
            Lineages::begin(directory, Incarnation(incarnation), found, SyncPolicy::Each).unwrap().1.start
        };
        let after = |last| FoundLog { last: Some(Incarnation(last)), ..whole };
        assert_eq!(begin(5, FoundLog { last: None, ..whole }), LogStart::First);
        assert_eq!(begin(6, whole), LogStart::Continued);
        assert_eq!(begin(7, FoundLog { is_damaged: true, ..after(6) }), LogStart::NotWhatWasLeft);
        assert_eq!(begin(8, after(6)), LogStart::NotWhatWasLeft, "the newest segment was removed");
        std::fs::write(directory.join("lock"), "").unwrap();
        let is_copy = identity(directory) != UNKNOWN;
        let copied = if is_copy { LogStart::NotWhatWasLeft } else { LogStart::Continued };
        assert_eq!(begin(9, after(8)), copied);
        assert_eq!(begin(10, after(9)), LogStart::Continued);
    }

    #[test]
    fn a_publisher_continues_only_if_the_log_has_everything_that_was_sent() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(begin(directory, 5, 0, LAZY).1, LogStart::First);
        // The process was killed. Where boots are not distinguished, a power failure cannot be excluded.
        let distinguishes = boot() != UNKNOWN;
        let killed = if distinguishes { LogStart::Continued } else { LogStart::AfterUnsyncedLoss };
        assert_eq!(begin(directory, 6, 10, LAZY).1, killed);
        let text = std::fs::read_to_string(path(directory)).unwrap();
        std::fs::write(path(directory), text.replace(&boot(), "another")).unwrap();
        assert_eq!(begin(directory, 7, 10, SyncPolicy::Each).1, LogStart::AfterUnsyncedLoss, "power failure");
        let (mut lineages, start) = begin(directory, 8, 12, LAZY);
        assert_eq!(start, LogStart::Continued, "everything was on the disk before it was sent");
        let present = lineages.present();
        assert_eq!(present, Lineage { incarnation: Incarnation(7), base: MessageNumber(10) });
        assert_eq!(
            [present.in_stream(MessageNumber(12)), present.in_log(MessageNumber(2))].map(|number| number.0),
            [2, 12]
        );

        let endings = [
            (Ending::Continues { next: MessageNumber(20) }, 19, LogStart::AfterUnsyncedLoss),
            (Ending::Continues { next: MessageNumber(20) }, 20, LogStart::Continued),
            (Ending::Delivered { next: MessageNumber(20) }, 19, LogStart::AfterUnsyncedLoss),
            (Ending::Delivered { next: MessageNumber(20) }, 20, LogStart::Continued),
            (Ending::Over, 20, LogStart::AfterEnd),
            (Ending::Unsynced, 20, LogStart::AfterUnsyncedLoss),
        ];
        for (incarnation, (ending, next, start)) in (9..).zip(endings) {
            lineages.end(directory, ending).unwrap();
            let next = begin(directory, incarnation, next, LAZY);
            assert_eq!(next.1, start, "{ending:?}");
            lineages = next.0;
        }
    }

    #[test]
    fn messages_that_all_subscribers_had_are_not_sent_again() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (mut lineages, _) = begin(directory, 5, 0, SyncPolicy::Each);
        let next = MessageNumber(20);
        for (incarnation, ending, resends) in
            [(6, Ending::Delivered { next }, false), (7, Ending::Continues { next }, true)]
        {
            lineages.end(directory, ending).unwrap();
            let found = FoundLog { last: Some(Incarnation(incarnation - 1)), next, is_damaged: false };
            let (begun, beginning) =
                Lineages::begin(directory, Incarnation(incarnation), found, SyncPolicy::Each).unwrap();
            assert_eq!(beginning, Beginning { start: LogStart::Continued, resends });
            lineages = begun;
        }
        // It was killed.
        let found = FoundLog { last: Some(Incarnation(7)), next, is_damaged: false };
        let (_, beginning) = Lineages::begin(directory, Incarnation(8), found, SyncPolicy::Each).unwrap();
        assert!(beginning.resends);
    }

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
        for state in ["durable", "running boot", "synced 17", "delivered 17", "over", "unsynced"] {
            let lineages = parse(&format!("{FORMAT}\n1:0 2:7 300:7\n300 17\n{state}\n")).unwrap();
            lineages.write(directory.path()).unwrap();
            assert_eq!(Lineages::read(directory.path()).unwrap(), Some(lineages));
        }
        for text in [
            "",
            "mcast-log-lineage-1\n\nover\n",
            "mcast-log-lineage-1\n2:0 1:0\n2 ?\nover\n",
            "x\n1:0\n1 ?\nover\n",
        ] {
            assert_eq!(parse(text), None);
        }
        std::fs::write(path(directory.path()), "hello").unwrap();
        assert_eq!(Lineages::read(directory.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
