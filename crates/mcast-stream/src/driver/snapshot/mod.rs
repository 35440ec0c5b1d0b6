//! Snapshots by a side channel: over TCP, sealed with the stream's keys. `docs/protocol.md` says how, under *Snapshots on the side*.

mod channel;
mod client;
mod clients;
mod patience;
mod server;

pub(super) use client::fetch_from_announced;
pub use client::{MAX_SNAPSHOT, fetch_snapshot, fetch_snapshot_while};
pub use server::SnapshotServer;

use std::io;
use std::time::Duration;

use crate::wire::{Incarnation, StreamId};

/// What the other side does in one step, it does in this time.
const TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST: usize = 20;
const ANSWER: usize = 16;
const FRAME: usize = 16 << 10;
/// The server's frames are counted from here on, the client's one is 1.
const FIRST_ANSWER: u64 = 1 << 32;

/// A state, and the messages that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It has all messages before this one.
    pub message: u64,
    /// The state.
    pub bytes: Vec<u8>,
}

fn request_bytes(stream: StreamId, incarnation: Incarnation, message: u64) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[..8].copy_from_slice(&stream.0.to_be_bytes());
    request[8..12].copy_from_slice(&incarnation.0.to_be_bytes());
    request[12..].copy_from_slice(&message.to_be_bytes());
    request
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
