//! Sees to it that nothing runs on when this process is killed.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    process,
};

use crate::sys::guardian as sys;

/// A process that kills the process groups of a lab's programs when this process is no more.
#[derive(Debug)]
pub(crate) struct Guardian {
    id: i32,
    /// Its end is what the guardian waits for.
    orders: Option<UnixStream>,
}

impl Guardian {
    /// Forks it. It must be dropped by a thread of the same process.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, inbox) = UnixStream::pair()?;
        let id = sys::fork(&inbox)?;
        Ok(Self { id, orders: Some(orders) })
    }

    /// Has it guard the process group that `command` will lead, from before the program starts.
    pub(crate) fn guard(&self, command: &mut process::Command) {
        if let Some(orders) = &self.orders {
            sys::announce_before_exec(command, orders.as_raw_fd());
        }
    }

    /// Has it forget a group that has just been killed.
    pub(crate) fn forget(&self, group: u32) -> io::Result<()> {
        self.orders.as_ref().map_or(Ok(()), |orders| sys::forget(orders.as_fd(), group))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.orders.take();
        let _ = sys::wait(self.id);
    }
}
