//! A clock that tests set, with programs that read it.

use std::path::PathBuf;

use mcast_lab::Host;

use crate::support::{MCAST, Running, program};

/// An hour, in seconds.
pub(crate) const HOUR: i64 = 3_600;

/// The clock of programs that a test starts: that of the system, ahead by what the test sets. Their monotonic clock is that of
/// the system, which is never set.
pub(crate) struct SettableClock {
    library: PathBuf,
    folder: tempfile::TempDir,
}

impl SettableClock {
    /// Creates a clock that is right; `None` if faketime is not installed, unless that is required.
    pub(crate) fn new() -> Option<Self> {
        if !mcast_lab::has_program("faketime", "--version", "clocks that are set") {
            return None;
        }
        let folders = std::fs::read_dir("/usr/lib").unwrap();
        let of = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
        let library = folders.map(|folder| of(folder.unwrap().path())).find(|library| library.exists());
        let clock =
            Self { library: library.expect("the library of faketime"), folder: tempfile::tempdir().unwrap() };
        clock.set(0);
        Some(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// Sets it to this many seconds ahead of the right time.
    pub(crate) fn set(&self, ahead: i64) {
        std::fs::write(self.file(), format!("{ahead:+}s\n")).unwrap();
    }

    /// Starts `mcast` with these arguments on a host.
    pub(crate) fn start(&self, host: &Host, arguments: &[&str], with_input: bool) -> Running {
        let environment = [
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let all = environment.iter().map(String::as_str).chain([MCAST]).chain(arguments.iter().copied());
        program(host, "env", &all.collect::<Vec<_>>(), with_input)
    }
}
