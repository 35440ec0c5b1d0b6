//! Reliable, ordered messages over IP multicast.
//!
//! A [`Publisher`] sends messages to a group, and each [`Subscriber`] receives them in order and once, or learns which
//! are lost. `docs/protocol.md` specifies the protocol; `mcast-stream-proto` implements it as state machines, whose
//! settings, events and identifiers are re-exported here.
//!
//! ```no_run
//! use std::error::Error;
//! use std::thread;
//! use std::time::Duration;
//!
//! use mcast_stream::subscriber::Item;
//! use mcast_stream::{Publisher, Subscriber};
//!
//! type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
//!
//! fn subscribe() -> Result<()> {
//!     let mut subscriber = Subscriber::join_one("239.255.1.3:7000".parse()?)?;
//!     while let Some(item) = subscriber.next()? {
//!         match item {
//!             Item::Message(message) => println!("{}", String::from_utf8_lossy(message.bytes)),
//!             Item::Event(event) => eprintln!("{event:?}"),
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> Result<()> {
//!     let subscribing = thread::spawn(subscribe);
//!     let publisher = Publisher::to("239.255.1.3:7000".parse()?)?;
//!     if publisher.wait_for(1, Duration::from_secs(5)) {
//!         publisher.publish(b"pears 101")?;
//!     }
//!     let closing = publisher.close(Duration::from_secs(5));
//!     println!("{} subscriber has everything", closing.complete);
//!     subscribing.join().map_err(|_| "the subscriber panicked")?
//! }
//! ```
//!
//! `docs/rust/ten-minutes.md` goes through publishing, events, slow subscribers, tokio, keys and tests.
//!
//! # Diagnosis
//! With the feature `tracing`, publishers and subscribers record their events, fetched or not, in
//! spans `publisher{stream, to}` and `subscriber{on}`. Losses, evictions and paths that are down are warnings. Nothing is
//! recorded per message or datagram. A program chooses what is printed:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
//! let publisher = mcast_stream::Publisher::to("239.255.2.3%eth0:7000".parse()?)?;
//! publisher.publish(b"hello")?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(
        feature = "acknowledgements",
        feature = "auto-rate",
        feature = "history",
        feature = "local-repair",
        feature = "log",
        feature = "parity",
        feature = "signatures"
    )),
    allow(dead_code, reason = "what only an option uses")
)]

mod driver;
mod key_file;
pub mod metrics;
mod trace;

#[cfg(feature = "history")]
use mcast_stream_proto::side_channel;

#[cfg(feature = "seal")]
pub use driver::find_signed_stream;
#[cfg(feature = "tokio")]
pub use driver::tokio;
pub use driver::{
    AnnouncedStream, Announcements, Closing, DISCOVERY_V4, DISCOVERY_V6, HostStatus, PathChange, Publish,
    Publisher, PublisherBuilder, PublisherProgress, StallCause, StreamError, StreamStep, Subscriber,
    SubscriberBuilder, Until, UnusedSetting, discover, find_stream, present_incarnation, replace_file,
};
#[cfg(feature = "history")]
pub use driver::{
    HeardHeartbeat, HeartbeatListener, HistoryListener, HistoryProvider, HistoryServer,
    HistoryServerStatistics, HistorySource, HistoryUnavailable, MAX_SNAPSHOT, RefusedRequest, Snapshot,
    SnapshotFetcher, SnapshotServer, fetch_snapshot, fetch_snapshot_while,
};
#[cfg(feature = "log")]
pub use driver::{LogHold, LogStart, LoggedPublisher, LoggedPublisherBuilder};
#[cfg(feature = "seal")]
pub use key_file::KeyFileContent;
pub use key_file::{KeyFile, KeyFileAccessError};
pub use mcast::Waker;
/// The log of a stream in files.
#[cfg(feature = "log")]
pub use mcast_log as log;
#[cfg(feature = "dissect")]
pub use mcast_stream_proto::dissect;
#[cfg(feature = "history")]
pub use mcast_stream_proto::history;
pub use mcast_stream_proto::{ClockTime, Control, Target, publisher, seal, sign, subscriber, wire};

pub(crate) use mcast_stream_proto::publisher::PublisherMachine;
pub(crate) use mcast_stream_proto::subscriber::SubscriberMachine;

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
