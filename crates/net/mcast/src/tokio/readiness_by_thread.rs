//! Readiness by a waiting thread, for systems where the runtime cannot poll the sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mcast_group::Family;
use tokio::task::spawn_blocking;

use crate::error::{Error, Operation, Result};
use crate::receiver::PollResult;
use mcast_sys::poller::Poller;

/// How long a thread waits before it checks whether the result is still needed.
const SLICE: Duration = Duration::from_millis(250);

/// Waits for a receiver's sockets.
#[derive(Debug)]
pub(super) struct Readable {
    poller: Arc<Poller>,
}

impl Readable {
    pub(super) fn new(receiver: &crate::Receiver) -> Result<Self> {
        Ok(Self { poller: receiver.poller() })
    }

    /// Repeats attempts until one succeeds.
    pub(super) async fn when<T>(&self, mut attempt: impl FnMut() -> Result<PollResult<T>>) -> Result<T> {
        loop {
            match attempt()? {
                PollResult::Done(result) => return Ok(result),
                PollResult::Again => {
                    tokio::task::yield_now().await;
                    continue;
                }
                PollResult::Nothing => {}
            }
            let poller = Arc::clone(&self.poller);
            let waited = spawn_blocking(move || poller.wait(Some(SLICE))).await;
            joined(waited)?;
        }
    }
}

/// Waits for a sender's sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets(());

impl Sockets {
    /// Waits until the family's socket accepts another datagram.
    pub(super) async fn writable(&self, sender: &Arc<crate::Sender>, family: Family) -> Result<()> {
        let sender = Arc::clone(sender);
        let waited = spawn_blocking(move || sender.wait_writable(family, Some(SLICE))).await;
        waited.map_err(|error| failed(io::Error::other(error)))?.map(|_| ())
    }

    /// Waits until the family's socket has a datagram.
    pub(super) async fn readable(&self, sender: &Arc<crate::Sender>, family: Family) -> Result<()> {
        let sender = Arc::clone(sender);
        let waited = spawn_blocking(move || sender.wait_answer(family, Some(SLICE))).await;
        waited.map_err(|error| failed(io::Error::other(error)))?.map(|_| ())
    }
}

fn joined(waited: std::result::Result<io::Result<bool>, tokio::task::JoinError>) -> Result<()> {
    match waited {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Ok(Err(error)) => Err(failed(error)),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

fn failed(error: io::Error) -> Error {
    Error::os(Operation::Receive, error)
}
