//! A full disk that one program sees.

use std::fs;
use std::path::PathBuf;

use mcast_lab::Host;

use crate::support::{Running, program};

/// A disk of 64 KiB that is full, which only one program sees: its standard output is a file there.
pub(crate) struct FullDisk {
    folder: tempfile::TempDir,
}

impl FullDisk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Starts `command`, a line of a shell, with its standard output on the disk.
    pub(crate) fn start(&self, host: &Host, command: &str) -> Running {
        let disk = self.folder.path().to_str().unwrap();
        let script = format!(
            "mount -t tmpfs -o size=64k small {disk} && (head -c 100000 /dev/zero > {disk}/ballast || true) && \
             exec {command} > {disk}/output"
        );
        let running = program(host, "unshare", &["-m", "sh", "-c", &script], false);
        running
            .stderr
            .wait_for("No space left on device (os error 28); events are written when there is room");
        assert_eq!(fs::metadata(self.file(&running, "output")).unwrap().len(), 0);
        running
    }

    /// Makes room; returns the output of the program, which can be read after its end.
    pub(crate) fn make_room(&self, running: &Running) -> fs::File {
        let output = fs::File::open(self.file(running, "output")).unwrap();
        fs::remove_file(self.file(running, "ballast")).unwrap();
        running.stderr.wait_for("standard output can be written again: no event is missing there");
        output
    }

    /// Returns a file as this program sees it, whose mounts are its own.
    fn file(&self, running: &Running, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}/{name}", running.child.id(), self.folder.path().display()))
    }
}
