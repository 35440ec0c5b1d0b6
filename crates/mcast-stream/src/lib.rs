//! Reliable, ordered messages over IP multicast.
//!
//! `docs/protocol.md` specifies the protocol. [`wire`] reads and writes its datagrams without allocation. [`Sender`] and
//! [`Receiver`] are sans-IO state machines, without sockets, clocks, threads or random numbers of their own: the caller
//! passes in time (in nanoseconds) and datagrams, and takes out datagrams, messages and events.
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
