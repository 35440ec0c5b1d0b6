//! Readiness by the runtime's own poller.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use mcast_group::Family;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Operation, Result};
use crate::receiver::Attempt;
use crate::sys::registration::register;

/// Waits for a receiver's one descriptor.
#[derive(Debug)]
pub(super) struct Readable {
    poller: AsyncFd<OwnedFd>,
}

impl Readable {
    pub(super) fn new(receiver: &crate::Receiver) -> Result<Self> {
        let poller = register(receiver.as_fd(), Interest::READABLE).map_err(failed)?;
        Ok(Self { poller })
    }

    /// Tries until there is something.
    pub(super) async fn when<T>(&self, mut attempt: impl FnMut() -> Result<Attempt<T>>) -> Result<T> {
        loop {
            let mut ready = self.poller.readable().await.map_err(failed)?;
            match attempt()? {
                Attempt::Done(result) => return Ok(result),
                // Still ready: the runtime tells of what comes, not of what is there.
                Attempt::Again => {}
                Attempt::Nothing => ready.clear_ready(),
            }
        }
    }
}

/// A sender's sockets, registered when they are first waited for.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    v4: OnceLock<AsyncFd<OwnedFd>>,
    v6: OnceLock<AsyncFd<OwnedFd>>,
}

impl Sockets {
    /// Waits until the family's socket takes another datagram.
    pub(super) async fn writable(&self, sender: &Arc<crate::Sender>, family: Family) -> Result<()> {
        let mut ready = self.registered(sender, family)?.writable().await.map_err(failed)?;
        // The attempt that follows is what tells; if it is refused again, this waits anew.
        ready.clear_ready();
        Ok(())
    }

    /// Waits until the family's socket has a datagram.
    pub(super) async fn readable(&self, sender: &Arc<crate::Sender>, family: Family) -> Result<()> {
        let mut ready = self.registered(sender, family)?.readable().await.map_err(failed)?;
        ready.clear_ready();
        Ok(())
    }

    fn registered(&self, sender: &crate::Sender, family: Family) -> Result<&AsyncFd<OwnedFd>> {
        let cell = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        if let Some(registered) = cell.get() {
            return Ok(registered);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = register(sender.descriptor(family)?, interest).map_err(failed)?;
        Ok(cell.get_or_init(|| registered))
    }
}

fn failed(error: io::Error) -> Error {
    Error::os(Operation::Receive, error)
}
