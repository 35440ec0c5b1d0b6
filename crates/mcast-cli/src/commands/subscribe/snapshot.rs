//! `--from snapshot`: fetches the snapshot on a separate thread, while the stream is being received.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use mcast::Waker;
use mcast_stream::seal::Keys;
use mcast_stream::wire::Incarnation;
use mcast_stream::{Found, Snapshot, StreamError};

use crate::exit::Failure;

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches what is wanted last.
#[derive(Debug)]
pub(super) struct Snapshots {
    stream: Found,
    keys: Keys,
    max_size: u64,
    pending: Option<Receiver<Result<Snapshot, StreamError>>>,
}

impl Snapshots {
    pub(super) const fn new(stream: Found, keys: Keys, max_size: u64) -> Self {
        Self { stream, keys, max_size, pending: None }
    }

    /// Opens with these keys from now on.
    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Begins to fetch the state of this life of the stream with all messages before this one, in place of any that
    /// was wanted before, and wakes when it is there.
    pub(super) fn fetch(
        &mut self,
        incarnation: Incarnation,
        message: u64,
        waker: Waker,
    ) -> anyhow::Result<()> {
        let (tell, pending) = channel();
        let (stream, keys, max_size) = (self.stream.clone(), self.keys.clone(), self.max_size);
        let work = move || {
            // Nobody listens any more if another one is wanted by now.
            let mut go_on = || true;
            let fetched =
                stream.fetch_snapshot_while(incarnation, message, &keys, max_size, PATIENCE, &mut go_on);
            let _ = tell.send(fetched);
            let _ = waker.wake();
        };
        thread::Builder::new().name("snapshot".into()).spawn(work).context("cannot start a thread")?;
        self.pending = Some(pending);
        Ok(())
    }

    /// Returns the result, once.
    pub(super) fn arrived(&mut self) -> Option<anyhow::Result<Snapshot>> {
        let result = self.pending.as_ref()?.try_recv().ok()?;
        self.pending = None;
        Some(result.map_err(|error| {
            let remedy = match error {
                StreamError::SnapshotTooLarge { .. } => {
                    "if the publisher can be trusted, raise the limit: --max-snapshot SIZE"
                }
                _ => {
                    "check that its publisher was started with --snapshot, and that TCP connections to it \
                    are allowed"
                }
            };
            Failure::no(error.to_string()).remedy(remedy).into()
        }))
    }
}
