//! A process that kills the programs of a lab when this process has been killed.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process,
};

use mcast_sys::lab::watchdog as sys;

/// A process that kills the process groups of a lab's programs when this process has ended.
#[derive(Debug)]
pub(crate) struct Watchdog {
    id: i32,
    /// The watchdog ends, and kills the groups it watches, when this end of the connection is closed.
    requests: Option<UnixStream>,
}

impl Watchdog {
    /// Forks the watchdog. It must be dropped by a thread of the same process, which waits for it then.
    pub(crate) fn start() -> io::Result<Self> {
        let (requests, inbox) = UnixStream::pair()?;
        let id = sys::fork(&inbox)?;
        Ok(Self { id, requests: Some(requests) })
    }

    /// Makes the watchdog watch the process group that `command` will lead, from before the program starts.
    pub(crate) fn watch(&self, command: &mut process::Command) {
        if let Some(requests) = &self.requests {
            sys::announce_before_exec(command, requests.as_fd());
        }
    }

    /// Makes the watchdog forget a group that has just been killed, because its id may be reused.
    pub(crate) fn forget(&self, group: u32) -> io::Result<()> {
        self.requests.as_ref().map_or(Ok(()), |requests| sys::forget(requests.as_fd(), group))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.requests.take();
        let _ = sys::wait(self.id);
    }
}
