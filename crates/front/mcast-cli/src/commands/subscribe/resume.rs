//! `--resume`: how far the messages of a stream were processed, in a file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcast_stream::history::Position;
use mcast_stream::replace_file;
use mcast_stream::subscriber::SubscriberEvent;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};

use crate::exit::Failure;

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
        let (stored, written) = match std::fs::read_to_string(path) {
            Ok(text) => {
                let stored = parse(&text).ok_or_else(|| {
                    Failure::usage(format!("{} does not have the position of a subscriber", path.display()))
                        .remedy("name another file, or remove it to start without a position")
                })?;
                (Some(stored), replace_file(path, &text))
            }
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

/// Checks that a file can be created there, without creating it: without a position, there is nothing to write yet.
fn check_folder(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    std::fs::File::create(&name)?;
    std::fs::remove_file(&name)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot keep the position in {}: {error}", path.display()))
        .remedy("name a file that can be written, in a folder where files can be created")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use mcast_stream::subscriber::Cause;

    use super::*;

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
        assert!(refused.starts_with("cannot keep the position in "), "{refused}");
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
