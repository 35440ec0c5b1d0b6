//! Snapshots without blocking.

use std::sync::Arc;
use std::time::Duration;

use crate::seal::Keys;
use crate::wire::{Incarnation, MessageNumber};
use crate::{AnnouncedStream, Snapshot, StreamError, StreamStep};

/// Runs [`AnnouncedStream::fetch_snapshot_while`] on a blocking thread. Dropping the future cancels it.
///
/// # Errors
/// The error of the last attempt.
pub async fn fetch_snapshot(
    found: &AnnouncedStream,
    incarnation: Incarnation,
    message: MessageNumber,
    keys: &Keys,
    max_size: u64,
    time: Duration,
) -> Result<Snapshot, StreamError> {
    let (found, keys) = (found.clone(), keys.clone());
    let alive = Arc::new(());
    let future = Arc::downgrade(&alive);
    let mut keep_going = move || future.strong_count() > 0;
    let fetch =
        move || found.fetch_snapshot_while(incarnation, message, &keys, max_size, time, &mut keep_going);
    let fetched = tokio::task::spawn_blocking(fetch).await;
    drop(alive);
    fetched.unwrap_or_else(|failed| Err(StreamStep::StartThread.failed()(failed.into())))
}
