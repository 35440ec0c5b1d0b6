//! Reliable, ordered messages over IP multicast.
//!
//! A [`Publisher`] sends messages to a group, and each [`Subscriber`] receives them in order and once, or learns which
//! are lost. `docs/protocol.md` specifies the protocol; `mcast-stream-proto` implements it as state machines, whose
//! settings, events and identifiers are re-exported here.
//!
//! # Diagnosis
//! With the feature `tracing`, publishers and subscribers record their events, fetched or not, in
//! spans `publisher{stream, to}` and `subscriber{on}`. Losses, evictions and paths that are down are warnings. Nothing is
//! recorded per message or datagram. A program chooses what is printed:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
//! let publisher = mcast_stream::Publisher::to("239.1.2.3%eth0:7000".parse()?)?;
//! publisher.publish(b"hello")?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod dissect;
mod driver;
pub mod framing;
mod key_file;
#[cfg(feature = "metrics")]
pub mod metrics;
mod trace;

use mcast_stream_proto::side_channel;

#[cfg(feature = "seal")]
pub use driver::find_signed_stream;
#[cfg(feature = "tokio")]
pub use driver::tokio;
pub use driver::{
    AnnouncedStream, Announcements, Closing, DISCOVERY_V4, DISCOVERY_V6, HeardHeartbeat, HeartbeatListener,
    HistoryListener, HistoryProvider, HistoryServer, HistoryServerStatistics, HistorySource,
    HistoryUnavailable, HostStatus, JobContext, LogHold, LogStart, LoggedPublisher, LoggedPublisherBuilder,
    MAX_SNAPSHOT, PathChange, Publisher, PublisherBuilder, PublisherProgress, ReadAhead, ReadOutcome,
    RefusedRequest, Snapshot, SnapshotFetcher, SnapshotServer, StallCause, StreamError, Subscriber,
    SubscriberBuilder, UnusedSetting, Worker, discover, fetch_snapshot, fetch_snapshot_while, find_stream,
    present_incarnation, replace_file,
};
#[cfg(feature = "seal")]
pub use key_file::KeyFileContent;
pub use key_file::{KeyFile, KeyFileAccessError};
pub use mcast::Waker;
/// The log of a stream in files.
pub use mcast_log as log;
pub use mcast_stream_proto::{
    ClockTime, Control, PublisherMachine, SubscriberMachine, Target, history, publisher, seal, sign,
    subscriber, wire,
};

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
