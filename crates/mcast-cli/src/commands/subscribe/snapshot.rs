//! `--from snapshot`: fetches the snapshot on a separate thread, while the stream is being received.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use mcast::Waker;
use mcast_stream::seal::Keys;
use mcast_stream::wire::Incarnation;
use mcast_stream::{AnnouncedStream, Snapshot, StreamError};

use crate::exit::Failure;

/// The time limit for fetching a snapshot.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches the latest snapshot requested.
#[derive(Debug)]
pub(super) struct Snapshots {
    stream: AnnouncedStream,
    keys: Keys,
    max_size: u64,
    pending: Option<Receiver<Result<Snapshot, StreamError>>>,
}

impl Snapshots {
    pub(super) const fn new(stream: AnnouncedStream, keys: Keys, max_size: u64) -> Self {
        Self { stream, keys, max_size, pending: None }
    }

    /// Replaces the keys.
    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Starts to fetch a snapshot of this incarnation that includes all messages before `message`. It replaces an
    /// earlier request. Wakes the loop when the snapshot has arrived.
    pub(super) fn fetch(
        &mut self,
        incarnation: Incarnation,
        message: u64,
        waker: Waker,
    ) -> anyhow::Result<()> {
        let (sender, pending) = channel();
        let (stream, keys, max_size) = (self.stream.clone(), self.keys.clone(), self.max_size);
        let work = move || {
            // An error means that the request was replaced.
            let mut keep_trying = || true;
            let fetched =
                stream.fetch_snapshot_while(incarnation, message, &keys, max_size, TIMEOUT, &mut keep_trying);
            let _ = sender.send(fetched);
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
