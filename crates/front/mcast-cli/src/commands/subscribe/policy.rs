//! `--from`, `--policy` and `--resume`: where to start, how gaps are handled, and how far messages were processed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcast_stream::history::{HistoryStart, Position};
use mcast_stream::subscriber::{OnLoss, Policy, Start, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use mcast_stream::{SubscriberBuilder, replace_file};

use crate::arguments::{parse_duration, parse_moment, parse_size};
use crate::exit::Failure;

/// The time to wait for reordered datagrams when no repairs are requested.
const REORDERING: Duration = Duration::from_millis(1);

/// The value of `--policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyArgument {
    /// With what to do after a loss, if that was chosen.
    Reliable(Option<OnLoss>),
    Deadline(Duration),
    BestEffort,
    Latest,
}

impl PolicyArgument {
    /// Returns the policy. By default, a subscriber that started with a snapshot fetches a new one after a loss.
    pub(super) fn policy(self, start: Start) -> Policy {
        match self {
            Self::Reliable(Some(on_loss)) => Policy::Reliable(on_loss),
            Self::Reliable(None) if start == Start::Snapshot => Policy::Reliable(OnLoss::Snapshot),
            Self::Reliable(None) => Policy::Reliable(OnLoss::Continue),
            Self::Deadline(time) => Policy::Deadline(time),
            Self::BestEffort => Policy::BestEffort(REORDERING),
            Self::Latest => Policy::Latest,
        }
    }
}

pub(super) fn parse_policy(text: &str) -> Result<PolicyArgument, String> {
    match text {
        "reliable" => Ok(PolicyArgument::Reliable(None)),
        "reliable:continue" => Ok(PolicyArgument::Reliable(Some(OnLoss::Continue))),
        "reliable:snapshot" => Ok(PolicyArgument::Reliable(Some(OnLoss::Snapshot))),
        "reliable:stop" => Ok(PolicyArgument::Reliable(Some(OnLoss::Stop))),
        "best-effort" => Ok(PolicyArgument::BestEffort),
        "latest" => Ok(PolicyArgument::Latest),
        _ => match text.strip_prefix("deadline=") {
            Some(time) => parse_duration(time).map(PolicyArgument::Deadline),
            None => Err("write reliable (also reliable:continue, reliable:snapshot or reliable:stop), deadline=TIME (such as \
                         deadline=50ms), best-effort or latest"
                .into()),
        },
    }
}

/// The value of `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Now,
    Oldest,
    /// With the length in bytes of the largest one that is accepted.
    Snapshot(usize),
    Number(MessageNumber),
    /// In milliseconds since 1970.
    Time(u64),
}

impl From {
    pub(super) const fn start(self) -> Start {
        match self {
            Self::Now => Start::Now,
            Self::Snapshot(_) => Start::Snapshot,
            Self::Oldest | Self::Number(_) | Self::Time(_) => Start::Oldest,
        }
    }

    pub(super) const fn is_snapshot(self) -> bool {
        matches!(self, Self::Snapshot(_))
    }

    /// Returns the length in bytes of the largest snapshot that is accepted, if it starts with one.
    pub(super) const fn largest_snapshot(self) -> usize {
        match self {
            Self::Snapshot(bytes) => bytes,
            _ => 0,
        }
    }

    /// Whether it starts with a history.
    pub(super) fn uses_history(self, policy: PolicyArgument, is_verifying: bool) -> bool {
        match self {
            Self::Now | Self::Snapshot(_) => false,
            // The latest message of each key needs no history, and a history is not signed.
            Self::Oldest => policy != PolicyArgument::Latest && !is_verifying,
            Self::Number(_) | Self::Time(_) => true,
        }
    }

    /// Sets where the subscriber starts.
    pub(super) fn apply(
        self,
        builder: SubscriberBuilder,
        policy: PolicyArgument,
        is_verifying: bool,
    ) -> SubscriberBuilder {
        let builder = builder.start(self.start());
        match self {
            _ if !self.uses_history(policy, is_verifying) => builder,
            Self::Oldest => builder.history_from(HistoryStart::Oldest),
            Self::Number(number) => builder.history_from(HistoryStart::Number(number)),
            Self::Time(time) => builder.history_from(HistoryStart::Time(time)),
            Self::Now | Self::Snapshot(_) => builder,
        }
    }
}

/// The length in bytes of the largest snapshot that is accepted.
const LARGEST_SNAPSHOT: usize = 64 << 20;

/// Parses `now`, `oldest`, `snapshot`, `snapshot:SIZE`, a message number, a time or an age.
pub(super) fn parse_from(text: &str) -> Result<From, String> {
    match text {
        "now" => Ok(From::Now),
        "oldest" => Ok(From::Oldest),
        "snapshot" => Ok(From::Snapshot(LARGEST_SNAPSHOT)),
        _ if text.starts_with("snapshot:") => parse_size(&text["snapshot:".len()..]).map(From::Snapshot),
        _ => match (text.parse(), parse_moment(text)) {
            (Ok(number), _) => Ok(From::Number(MessageNumber(number))),
            (Err(_), Some(time)) => Ok(From::Time(time)),
            (Err(_), None) => Err("write now, oldest, snapshot, a message number, a time such as \
                                   2026-11-22T09:30:00Z, or an age such as 24h"
                .into()),
        },
    }
}

/// The first word of the file.
const FORMAT: &str = "mcast-subscriber-position-1";
/// The shortest time between two writes, each of which is synced to the disk.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) stream: StreamId,
    /// The position after the last message that was processed.
    pub(super) reached: Position,
    /// All messages from this one to before that position were processed, and none was lost.
    pub(super) since: MessageNumber,
}

/// The position after the last message that was processed.
#[derive(Debug)]
pub(super) struct ResumeFile {
    path: PathBuf,
    stored: Option<Stored>,
    reached: Option<Position>,
    /// The first message that was given from which on nothing was lost.
    unbroken: Option<Position>,
    written_at: Instant,
}

impl ResumeFile {
    /// Reads the file, which need not exist, and checks that it can be written.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let other = || {
            Failure::usage(format!("{} does not contain the position of a subscriber", path.display()))
                .remedy("name another file, or remove it to start without a position")
        };
        let (stored, written) = match std::fs::read_to_string(path) {
            Ok(text) => {
                let stored = parse(&text).ok_or_else(other)?;
                (Some(stored), replace_file(path, &text))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(other().into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, check_folder(path)),
            Err(error) => return Err(unusable(path, &error).into()),
        };
        written.map_err(|error| unusable(path, &error))?;
        let unbroken = stored.map(|stored: Stored| Position::new(stored.reached.incarnation, stored.since));
        Ok(Self { path: path.to_owned(), stored, reached: None, unbroken, written_at: Instant::now() })
    }

    /// Returns what the file had.
    pub(super) const fn stored(&self) -> Option<Stored> {
        self.stored
    }

    /// Notes that this message is given to the application. Writes the first one, if the file has no position yet.
    pub(super) fn given(&mut self, stream: Option<StreamId>, position: Position) -> anyhow::Result<()> {
        if self.unbroken.is_none_or(|unbroken| unbroken.incarnation != position.incarnation) {
            self.unbroken = Some(position);
        }
        if self.stored.is_some() || self.reached.is_some() {
            return Ok(());
        }
        self.reached = Some(position);
        self.write(stream)
    }

    /// Notes an event that was reported to the application.
    pub(super) fn record_event(&mut self, event: &SubscriberEvent) {
        match *event {
            SubscriberEvent::Lost { end, .. } => {
                self.unbroken = self.unbroken.map(|unbroken| Position { number: end, ..unbroken });
            }
            SubscriberEvent::LostUnknown { .. } => self.unbroken = None,
            _ => {}
        }
    }

    /// Notes that this message, and all before it, are processed.
    pub(super) fn processed(&mut self, last: Position) {
        self.reached = Some(last.following());
    }

    /// Writes the position if it has changed, at most every 100 ms.
    pub(super) fn write_in_time(&mut self, stream: Option<StreamId>) -> anyhow::Result<()> {
        if self.written_at.elapsed() < INTERVAL { Ok(()) } else { self.write(stream) }
    }

    /// Writes the position, if it has changed.
    pub(super) fn write(&mut self, stream: Option<StreamId>) -> anyhow::Result<()> {
        let Some((stream, reached)) = stream.zip(self.reached) else { return Ok(()) };
        let Position { incarnation, number } = reached;
        // What was given after a loss may not be processed yet.
        let unbroken = self.unbroken.filter(|unbroken| unbroken.incarnation == incarnation);
        let since = unbroken.map_or(number, |unbroken| unbroken.number.min(number));
        let content = Stored { stream, reached, since };
        if self.stored == Some(content) {
            return Ok(());
        }
        let text = format!("{FORMAT} {stream} {incarnation} {number} {since}\n");
        replace_file(&self.path, &text).map_err(|error| unusable(&self.path, &error))?;
        (self.stored, self.written_at) = (Some(content), Instant::now());
        Ok(())
    }
}

fn parse(text: &str) -> Option<Stored> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [FORMAT, stream, incarnation, number, since] = words[..] else { return None };
    let message = |text: &str| text.parse().ok().map(MessageNumber);
    let (number, since) = (message(number)?, message(since)?);
    let stream = StreamId(u64::from_str_radix(stream, 16).ok()?);
    let reached = Position::new(Incarnation(incarnation.parse().ok()?), number);
    (since <= number).then_some(Stored { stream, reached, since })
}

/// Checks that a position can be written there, without creating the file: there is nothing to write yet. A full disk has
/// room for an empty file, but not for this one.
fn check_folder(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let written = std::fs::File::create(&name)
        .and_then(|mut file| file.write_all(&[b'\n'; LONGEST]).and_then(|()| file.sync_all()));
    // An error of the attempt matters more.
    let removed = std::fs::remove_file(&name);
    written.and(removed)
}

/// No position is longer, in bytes.
const LONGEST: usize = 128;

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot store the position in {}: {error}", path.display()))
        .remedy("name a file that can be written, in a directory where files can be created")
}

#[cfg(test)]
mod tests {
    use mcast_stream::subscriber::Cause;

    use super::*;

    #[test]
    fn policies_are_parsed_and_others_refused() {
        assert_eq!(parse_policy("reliable"), Ok(PolicyArgument::Reliable(None)));
        assert_eq!(parse_policy("reliable:stop"), Ok(PolicyArgument::Reliable(Some(OnLoss::Stop))));
        assert_eq!(parse_policy("deadline=50ms"), Ok(PolicyArgument::Deadline(Duration::from_millis(50))));
        assert_eq!(parse_policy("best-effort"), Ok(PolicyArgument::BestEffort));
        for text in
            ["", "deadline", "deadline=", "deadline=soon", "reliable=1", "reliable:", "latest:stop", "Latest"]
        {
            parse_policy(text).unwrap_err();
        }
    }

    #[test]
    fn places_numbers_times_and_ages_are_told_apart() {
        assert_eq!(parse_from("now"), Ok(From::Now));
        assert_eq!(parse_from("oldest"), Ok(From::Oldest));
        assert_eq!(parse_from("snapshot"), Ok(From::Snapshot(64 << 20)));
        assert_eq!(parse_from("snapshot:1k"), Ok(From::Snapshot(1_024)));
        assert_eq!(parse_from("17"), Ok(From::Number(MessageNumber(17))));
        assert_eq!(parse_from("2026-11-22T09:30:00Z"), Ok(From::Time(1_795_339_800_000)));
        assert!(matches!(parse_from("1h"), Ok(From::Time(_))));
        for text in ["", "yesterday", "-5", "snapshot:", "snapshot:big"] {
            parse_from(text).unwrap_err();
        }
    }

    const STREAM: StreamId = StreamId::named("prices");

    fn at(number: u64) -> Position {
        Position::new(Incarnation(7), MessageNumber(number))
    }

    fn stored(since: u64, reached: u64) -> Option<Stored> {
        Some(Stored { stream: STREAM, reached: at(reached), since: MessageNumber(since) })
    }

    #[test]
    fn what_was_processed_without_a_loss_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        let mut file = ResumeFile::open(&path).unwrap();
        file.given(Some(STREAM), at(3)).unwrap();
        file.processed(at(5));
        file.write(Some(STREAM)).unwrap();
        let mut again = ResumeFile::open(&path).unwrap();
        assert_eq!(again.stored(), stored(3, 6));
        let (first, end, cause) = (MessageNumber(8), MessageNumber(10), Cause::NotInHistory);
        again.record_event(&SubscriberEvent::Lost { first, end, cause });
        again.processed(at(7));
        again.write(Some(STREAM)).unwrap();
        assert_eq!(again.stored(), stored(8, 8), "what follows the loss is not processed");
        again.processed(at(11));
        again.write(Some(STREAM)).unwrap();
        assert_eq!(again.stored(), stored(10, 12));
        again.record_event(&SubscriberEvent::LostUnknown { first: MessageNumber(12) });
        let next = |number| Position::new(Incarnation(8), MessageNumber(number));
        again.given(Some(STREAM), next(2)).unwrap();
        again.processed(next(4));
        again.write(Some(STREAM)).unwrap();
        let since = MessageNumber(2);
        assert_eq!(again.stored(), Some(Stored { stream: STREAM, reached: next(5), since }));
    }

    #[test]
    fn what_was_processed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        let mut file = ResumeFile::open(&path).unwrap();
        assert_eq!(file.stored(), None);
        file.given(Some(STREAM), at(3)).unwrap();
        assert_eq!(ResumeFile::open(&path).unwrap().stored(), stored(3, 3), "nothing is processed");
        file.processed(at(3));
        file.processed(at(8));
        file.write(Some(STREAM)).unwrap();
        let mut again = ResumeFile::open(&path).unwrap();
        assert_eq!(again.stored(), stored(3, 9));
        again.given(Some(STREAM), at(20)).unwrap();
        assert_eq!(ResumeFile::open(&path).unwrap().stored(), stored(3, 9));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("position");
        let refused = ResumeFile::open(&path).unwrap_err().to_string();
        assert!(refused.starts_with("cannot store the position in "), "{refused}");
        ResumeFile::open(&folder.path().join("position")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        // A file that is there, and that cannot be replaced.
        let path = folder.path().join("position");
        std::fs::write(&path, "mcast-subscriber-position-1 0f 1 2 0").unwrap();
        std::fs::create_dir(folder.path().join("position.new")).unwrap();
        ResumeFile::open(&path).unwrap_err();
    }

    #[test]
    fn other_files_are_refused_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        for text in ["", "hello", "position x 1 2 0", "position 0f 1", "position 0f 1 2 3"] {
            let text = text.replace("position", FORMAT);
            std::fs::write(&path, &text).unwrap();
            ResumeFile::open(&path).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
