//! Dependable messages over IP multicast.
//!
//! The protocol is written down in `docs/protocol.md`. [`wire`] is its bytes, as views that
//! allocate nothing; [`Sender`] and [`Receiver`] are its state machines, without sockets, clocks,
//! threads, or randomness of their own: time in nanoseconds and bytes go in, bytes, messages and
//! events come out.
#![forbid(unsafe_code)]
#![cfg_attr(not(any(test, feature = "std")), no_std)]

extern crate alloc;

mod backoff;
#[cfg(feature = "std")]
mod driver;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod goodput;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod mold;
mod outbox;
mod random;
pub mod receiver;
mod replay;
pub mod seal;
pub mod sender;
#[cfg(feature = "std")]
mod sys;
pub mod wire;

#[cfg(feature = "tokio")]
pub use driver::tokio;
#[cfg(feature = "std")]
pub use driver::{
    AnnouncedStream, Announcements, Closing, DISCOVERY_V4, DISCOVERY_V6, MAX_SNAPSHOT, PathChange, Publisher,
    PublisherBuilder, Snapshot, SnapshotServer, StreamError, Subscriber, SubscriberBuilder, discover,
    fetch_snapshot, fetch_snapshot_while, find_stream,
};
pub use outbox::{Control, Target};
pub use receiver::Receiver;
pub use sender::Sender;
