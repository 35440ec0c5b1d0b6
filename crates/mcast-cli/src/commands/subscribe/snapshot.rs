//! `--from snapshot`: fetched on a thread of its own, so that the stream is followed meanwhile.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Family, InterfaceSelector, Waker};
use mcast_stream::seal::Keys;
use mcast_stream::wire::{Incarnation, StreamId};
use mcast_stream::{Snapshot, StreamError, fetch_snapshot, find_stream};

use crate::exit::Failure;

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the stream's snapshots are announced.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) family: Option<Family>,
    pub(super) interface: Option<InterfaceSelector>,
    pub(super) keys: Keys,
}

/// Fetches what is wanted last.
#[derive(Debug)]
pub(super) struct Snapshots {
    source: Source,
    pending: Option<Receiver<Result<Snapshot, StreamError>>>,
}

/// What is wanted: the state of this life of the stream, with all messages before this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) stream: StreamId,
    pub(super) incarnation: Incarnation,
    pub(super) message: u64,
}

impl Snapshots {
    pub(super) const fn new(source: Source) -> Self {
        Self { source, pending: None }
    }

    /// Begins to fetch one, in place of any that was wanted before, and wakes when it is there.
    pub(super) fn fetch(&mut self, wish: Wish, waker: Waker) -> anyhow::Result<()> {
        let (tell, pending) = channel();
        let source = self.source.clone();
        let work = move || {
            // Nobody listens any more if another one is wanted by now.
            let _ = tell.send(source.fetch(wish));
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

impl Source {
    /// Tries with each announcement; they come once a second.
    fn fetch(&self, wish: Wish) -> Result<Snapshot, StreamError> {
        let Wish { stream, incarnation, message } = wish;
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = match find_stream(&self.name, self.family, self.interface.clone(), &self.keys, left) {
                Err(error) => return Err(last.unwrap_or(error)),
                Ok(found) => found,
            };
            let is_it = found.stream == stream && found.incarnation == incarnation;
            let fetched = match found.snapshot.filter(|_| is_it) {
                Some(address) => fetch_snapshot(address, stream, incarnation, &self.keys, message),
                None => Err(StreamError::Snapshot(io::Error::new(
                    io::ErrorKind::NotFound,
                    "its publisher announces none",
                ))),
            };
            match fetched {
                Ok(snapshot) => return Ok(snapshot),
                Err(error) => last = Some(error),
            }
        }
    }
}
