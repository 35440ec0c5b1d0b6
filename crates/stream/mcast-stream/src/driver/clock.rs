//! A monotonic clock for the state machines, and its offset to the time of day; incarnations, which come from the time of day,
//! and the state file of a publisher: the last incarnation of its stream, which must grow even if the clock is set back.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ClockTime;
use crate::wire::{Incarnation, StreamId};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

/// The clock's first value: some fields use 0 for "never".
const FIRST: ClockTime = ClockTime(1_000_000_000);

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> ClockTime {
        FIRST + self.start.elapsed()
    }

    pub(crate) fn until(&self, deadline: ClockTime) -> Duration {
        deadline.since(self.now())
    }

    /// Returns the offset from this clock to nanoseconds since 1970.
    pub(crate) fn unix_offset(&self) -> Option<u64> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos();
        Some(u64::try_from(unix).ok()?.wrapping_sub(self.now().0))
    }
}

/// Returns an incarnation from the time of day: quarters of a second since 2024, so that a later one is greater.
pub(crate) fn incarnation() -> u32 {
    u32::try_from(since_2024().as_millis() / QUARTER.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Returns how far the clock is behind if it gives incarnation `now` after it gave `last` earlier. A difference of one
/// quarter of a second is a quick restart.
pub(crate) fn behind(now: Incarnation, last: Incarnation) -> Option<Duration> {
    let quarters = last.0.checked_sub(now.0).filter(|quarters| *quarters > 1)?;
    Some(QUARTER * quarters)
}

/// Waits until the quarter of a second of this incarnation is over, unless the clock was stepped since.
pub(crate) fn wait_for_the_next(incarnation: Incarnation) {
    let left = (QUARTER * incarnation.0.saturating_add(1)).saturating_sub(since_2024());
    if left <= QUARTER {
        std::thread::sleep(left);
    }
}

const QUARTER: Duration = Duration::from_millis(250);

fn since_2024() -> Duration {
    const START: Duration = Duration::from_secs(1_704_067_200);
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(START).saturating_sub(START)
}

/// Returns a random number from the system, through the keys that the standard library draws for its maps.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// The first word of the file's only line.
const FORMAT: &str = "mcast-publisher-state-1";

/// Returns the incarnation to start with, and the one that the file had. The first is `proposed`, or one more than the
/// file's if that is greater. It is synced to the disk before this function returns.
pub(super) fn begin_incarnation(
    path: &Path,
    stream: StreamId,
    proposed: Incarnation,
) -> io::Result<(Incarnation, Option<Incarnation>)> {
    let last = match std::fs::read_to_string(path) {
        Ok(text) => Some(parse(&text, stream)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let after_last = match last {
        Some(last) => {
            last.0.checked_add(1).ok_or_else(|| invalid("there is no incarnation after its own"))?
        }
        None => 0,
    };
    let next = proposed.max(Incarnation(after_last));
    replace(path, &format!("{FORMAT} {stream} {next}\n"))?;
    Ok((next, last))
}

fn parse(text: &str, stream: StreamId) -> io::Result<Incarnation> {
    let mut words = text.split_ascii_whitespace();
    let (Some(FORMAT), Some(of), Some(incarnation), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("it is not a state file of a publisher"));
    };
    if of != stream.to_string() {
        return Err(invalid(&format!("it belongs to stream {of}, not to {stream}")));
    }
    incarnation.parse().map(Incarnation).map_err(|_| invalid("its incarnation is not a number"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Replaces a file atomically, and syncs it to the disk: after a crash there is either the old or the new one. After an
/// error, the old one stays alone.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = File::create(&new)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| std::fs::rename(&new, path)) {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    sync_folder(path)
}

/// Syncs the rename to the disk, on systems where folders can be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId::named("prices");

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mcast-state-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn an_incarnation_is_never_used_twice_even_if_the_clock_is_set_back() {
        let folder = folder("twice");
        let path = folder.join("state");
        let begin = |proposed| begin_incarnation(&path, STREAM, Incarnation(proposed)).unwrap();
        assert_eq!(begin(100), (Incarnation(100), None));
        assert_eq!(begin(50), (Incarnation(101), Some(Incarnation(100))), "the clock was set back");
        assert_eq!(begin(101), (Incarnation(102), Some(Incarnation(101))));
        assert_eq!(begin(200), (Incarnation(200), Some(Incarnation(102))));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_not_this_streams_state_is_refused_and_not_changed() {
        let folder = folder("other");
        let path = folder.join("state");
        begin_incarnation(&path, STREAM, Incarnation(7)).unwrap();
        let other = begin_incarnation(&path, StreamId::named("other"), Incarnation(8)).unwrap_err();
        assert!(other.to_string().contains("belongs to stream"), "{other}");
        for text in ["", "hello", "mcast-publisher-state-1 x", "mcast-publisher-state-1 1 2 3"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                begin_incarnation(&path, STREAM, Incarnation(8)).unwrap_err().kind(),
                io::ErrorKind::InvalidData
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
