//! Readiness by the runtime's poller.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use mcast_group::Family;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Operation, Result};
use crate::receiver::PollResult;
use mcast_sys::registration::register;

/// Waits for a receiver's descriptor.
#[derive(Debug)]
pub(super) struct Readable {
    poller: AsyncFd<OwnedFd>,
}

impl Readable {
    pub(super) fn new(receiver: &crate::Receiver) -> Result<Self> {
        let poller = register(receiver.as_fd(), Interest::READABLE).map_err(failed)?;
        Ok(Self { poller })
    }

    /// Repeats attempts until one succeeds.
    pub(super) async fn when<T>(&self, mut attempt: impl FnMut() -> Result<PollResult<T>>) -> Result<T> {
        loop {
            let mut ready = self.poller.readable().await.map_err(failed)?;
            match attempt()? {
                PollResult::Done(result) => return Ok(result),
                // The readiness is kept: the runtime reports new events, not pending ones.
                PollResult::Again => {}
                PollResult::Nothing => ready.clear_ready(),
            }
        }
    }
}

/// A sender's sockets, registered on first use.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    v4: OnceLock<AsyncFd<OwnedFd>>,
    v6: OnceLock<AsyncFd<OwnedFd>>,
}

impl Sockets {
    /// Waits until the family's socket accepts another datagram.
    pub(super) async fn writable(&self, sender: &Arc<crate::Sender>, family: Family) -> Result<()> {
        let mut ready = self.registered(sender, family)?.writable().await.map_err(failed)?;
        // The next attempt decides; if it is refused again, this waits again.
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
