//! `--resume`: how far the messages of a stream were processed, in a file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcast_stream::history::Position;
use mcast_stream::replace_file;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};

use crate::exit::Failure;

/// The first word of the file.
const FORMAT: &str = "mcast-subscriber-position-1";
/// The shortest time between two writes, each of which is synced to the disk.
const INTERVAL: Duration = Duration::from_millis(100);

/// The position after the last message that was processed.
#[derive(Debug)]
pub(super) struct ResumeFile {
    path: PathBuf,
    /// What the file has.
    stored: Option<(StreamId, Position)>,
    reached: Option<Position>,
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
        Ok(Self { path: path.to_owned(), stored, reached: None, written_at: Instant::now() })
    }

    /// Returns the stream and the position that the file had.
    pub(super) const fn stored(&self) -> Option<(StreamId, Position)> {
        self.stored
    }

    /// Notes the first message, if the file has no position yet.
    pub(super) fn begin(&mut self, stream: Option<StreamId>, position: Position) -> anyhow::Result<()> {
        if self.stored.is_some() || self.reached.is_some() {
            return Ok(());
        }
        self.reached = Some(position);
        self.write(stream)
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
        let Some(content) = stream.zip(self.reached).filter(|content| self.stored != Some(*content)) else {
            return Ok(());
        };
        let (stream, Position { incarnation, number }) = content;
        let text = format!("{FORMAT} {stream} {incarnation} {number}\n");
        replace_file(&self.path, &text).map_err(|error| unusable(&self.path, &error))?;
        (self.stored, self.written_at) = (Some(content), Instant::now());
        Ok(())
    }
}

fn parse(text: &str) -> Option<(StreamId, Position)> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [FORMAT, stream, incarnation, number] = words[..] else { return None };
    let stream = StreamId(u64::from_str_radix(stream, 16).ok()?);
    let position = Position::new(Incarnation(incarnation.parse().ok()?), MessageNumber(number.parse().ok()?));
    Some((stream, position))
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
    use super::*;

    const STREAM: StreamId = StreamId::named("prices");

    fn at(number: u64) -> Position {
        Position::new(Incarnation(7), MessageNumber(number))
    }

    #[test]
    fn what_was_processed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        let mut file = ResumeFile::open(&path).unwrap();
        assert_eq!(file.stored(), None);
        file.begin(Some(STREAM), at(3)).unwrap();
        assert_eq!(ResumeFile::open(&path).unwrap().stored(), Some((STREAM, at(3))), "nothing is processed");
        file.processed(at(3));
        file.processed(at(8));
        file.write(Some(STREAM)).unwrap();
        let mut again = ResumeFile::open(&path).unwrap();
        assert_eq!(again.stored(), Some((STREAM, at(9))));
        again.begin(Some(STREAM), at(20)).unwrap();
        assert_eq!(ResumeFile::open(&path).unwrap().stored(), Some((STREAM, at(9))));
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
        std::fs::write(&path, "mcast-subscriber-position-1 0f 1 2").unwrap();
        std::fs::create_dir(folder.path().join("position.new")).unwrap();
        ResumeFile::open(&path).unwrap_err();
    }

    #[test]
    fn other_files_are_refused_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        for text in ["", "hello", "mcast-subscriber-position-1 x 1 2", "mcast-subscriber-position-1 0f 1"] {
            std::fs::write(&path, text).unwrap();
            ResumeFile::open(&path).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
