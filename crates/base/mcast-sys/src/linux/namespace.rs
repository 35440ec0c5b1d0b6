//! Network namespaces of other programs.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

/// A network namespace. It exists at least as long as this.
#[derive(Debug)]
pub struct NetworkNamespace(File);

impl NetworkNamespace {
    /// Opens the namespace that a file stands for, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Returns whether the file still stands for this namespace.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let (own, other) = (self.0.metadata()?, path.metadata()?);
        Ok((own.dev(), own.ino()) == (other.dev(), other.ino()))
    }

    /// Runs a function on a short-lived thread in this namespace, and returns what it returns. Sockets that it opens
    /// stay there, whichever thread uses them later. Needs `CAP_SYS_ADMIN`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let descriptor = self.0.as_raw_fd();
        let entered = move || {
            // SAFETY: no pointers; the kernel rejects descriptors of anything but a network namespace.
            match unsafe { libc::setns(descriptor, libc::CLONE_NEWNET) } {
                0 => Ok(work()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("namespace".into()).spawn_scoped(scope, entered)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
