//! A service manager for tests.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::TIMEOUT;

/// Receives the reports of a service, in a folder that any user may enter.
pub(crate) struct ServiceManager {
    pub(crate) folder: TempDir,
    socket: UnixDatagram,
}

impl ServiceManager {
    pub(crate) fn new() -> Self {
        let folder = open_folder();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        allow(&path, 0o666);
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { folder, socket }
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Returns the next message that is not a keep-alive.
    pub(crate) fn next_report(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    pub(crate) fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

/// Creates a folder that any user may read.
pub(crate) fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    allow(folder.path(), 0o755);
    folder
}

pub(crate) fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
