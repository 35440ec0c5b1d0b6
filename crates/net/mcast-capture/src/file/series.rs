//! Names of the files of a series: `NAME_00001_20260131120000.pcapng`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use super::FileError;

/// The names of the files of one recording.
#[derive(Clone, Debug)]
pub(super) struct Series {
    folder: PathBuf,
    stem: OsString,
    extension: OsString,
    next: u64,
}

impl Series {
    /// Creates a series with names based on `path`, whose numbers follow those of existing files.
    pub(super) fn after(path: &Path) -> Result<Self, FileError> {
        let mut series = Self::of(path);
        let existing = series
            .existing()
            .map_err(|os| FileError::from_os("look for earlier files in", &series.folder, os))?;
        series.next = existing.last().map_or(1, |(number, _)| number.saturating_add(1));
        Ok(series)
    }

    /// Creates the next file, with this start time in its name.
    pub(super) fn create(&mut self, begin: SystemTime) -> Result<(PathBuf, File), FileError> {
        let path = self.path(self.next, begin);
        let file = File::create_new(&path).map_err(|os| FileError::from_os("begin", &path, os))?;
        self.next = self.next.saturating_add(1);
        Ok((path, file))
    }

    /// Deletes the oldest files beyond the limit; returns the failures.
    pub(super) fn delete_all_but(&self, keep: u32) -> Vec<FileError> {
        let existing = match self.existing() {
            Ok(existing) => existing,
            Err(os) => return vec![FileError::from_os("list", &self.folder, os)],
        };
        let surplus = existing.len().saturating_sub(keep as usize);
        let surplus = existing.iter().take(surplus);
        surplus
            .filter_map(|(_, old)| Some(FileError::from_os("delete", old, fs::remove_file(old).err()?)))
            .collect()
    }

    fn of(path: &Path) -> Self {
        Self {
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
            stem: path.file_stem().unwrap_or_else(|| OsStr::new("record")).to_owned(),
            extension: path.extension().unwrap_or_else(|| OsStr::new("pcapng")).to_owned(),
            next: 1,
        }
    }

    /// Returns the path of a file with this number and start time.
    fn path(&self, number: u64, begin: SystemTime) -> PathBuf {
        // A clock outside the range of years that can be written is set wrong.
        let begin = Timestamp::try_from(begin).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut name = self.stem.clone();
        name.push(format!("_{number:05}_{}.", begin.strftime("%Y%m%d%H%M%S")));
        name.push(&self.extension);
        self.folder.join(name)
    }

    /// Returns the existing files, including those of earlier recordings, with their numbers, the oldest
    /// first.
    fn existing(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        let here = self.folder.as_os_str().is_empty();
        for entry in fs::read_dir(if here { Path::new(".") } else { &self.folder })? {
            let name = entry?.file_name();
            if let Some(number) = self.number(&name) {
                found.push((number, self.folder.join(name)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns the number in a file name; `None` if the file is not in the series.
    fn number(&self, name: &OsStr) -> Option<u64> {
        let name = name.as_encoded_bytes();
        let rest = name.strip_prefix(self.stem.as_encoded_bytes())?.strip_prefix(b"_")?;
        let rest = rest.strip_suffix(self.extension.as_encoded_bytes())?.strip_suffix(b".")?;
        let (number, begin) = std::str::from_utf8(rest).ok()?.split_once('_')?;
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_ours = number.len() >= 5 && begin.len() == 14 && is_digits(number) && is_digits(begin);
        number.parse().ok().filter(|_| is_ours)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn names_contain_number_and_time_and_are_recognized() {
        let series = Series::of(Path::new("/data/day.pcapng"));
        let path = series.path(7, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(path, Path::new("/data/day_00007_20231114221320.pcapng"));
        assert_eq!(series.number(path.file_name().unwrap()), Some(7));
        let long = series.path(1_234_567, UNIX_EPOCH);
        assert_eq!(series.number(long.file_name().unwrap()), Some(1_234_567));
    }

    #[test]
    fn other_files_are_not_in_the_series() {
        let series = Series::of(Path::new("day.pcapng"));
        for name in [
            "day.pcapng",
            "day_00007.pcapng",
            "day_7_20231114221320.pcapng",
            "day_00007_2023.pcapng",
            "day_00007_20231114221320.pcap",
            "today_00007_20231114221320.pcapng",
            "day_0000x_20231114221320.pcapng",
            "day_+0007_20231114221320.pcapng",
        ] {
            assert_eq!(series.number(OsStr::new(name)), None, "{name}");
        }
    }
}
