//! Snapshots over TCP, sealed with the stream's keys. `docs/protocol.md` specifies the protocol, under *Snapshot
//! servers*.

mod client;
mod fetcher;
mod server;

pub use client::{MAX_SNAPSHOT, fetch_snapshot, fetch_snapshot_while};
pub use fetcher::SnapshotFetcher;
pub use server::SnapshotServer;

use crate::wire::{Incarnation, MessageNumber, StreamId};

const GREETING: &[u8; 4] = b"MCS1";
const REQUEST: usize = 20;
const ANSWER: usize = 16;
const FRAME: usize = 16 << 10;

/// A state of the application, and the messages that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It covers all messages before this one.
    pub message: MessageNumber,
    /// The state.
    pub bytes: Vec<u8>,
}

fn request_bytes(stream: StreamId, incarnation: Incarnation, message: MessageNumber) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[..8].copy_from_slice(&stream.0.to_be_bytes());
    request[8..12].copy_from_slice(&incarnation.0.to_be_bytes());
    request[12..].copy_from_slice(&message.0.to_be_bytes());
    request
}
