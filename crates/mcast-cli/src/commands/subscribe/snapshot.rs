//! `--from snapshot`: fetched on a thread of its own, so that the stream is followed meanwhile.

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
    pending: Option<Receiver<Result<Snapshot, StreamError>>>,
}

impl Snapshots {
    pub(super) const fn new(stream: Found, keys: Keys) -> Self {
        Self { stream, keys, pending: None }
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
        let (stream, keys) = (self.stream.clone(), self.keys.clone());
        let work = move || {
            // Nobody listens any more if another one is wanted by now.
            let _ = tell.send(stream.fetch_snapshot(incarnation, message, &keys, PATIENCE));
            let _ = waker.wake();
        };
        thread::Builder::new().name("snapshot".into()).spawn(work).context("cannot start a thread")?;
        self.pending = Some(pending);
        Ok(())
    }

    /// What came of it, once.
    pub(super) fn arrived(&mut self) -> Option<anyhow::Result<Snapshot>> {
        let result = self.pending.as_ref()?.try_recv().ok()?;
        self.pending = None;
        Some(result.map_err(|error| {
            let remedy = "see that its publisher was started with --snapshot, and lets TCP through to it";
            Failure::no(error.to_string()).remedy(remedy).into()
        }))
    }
}
