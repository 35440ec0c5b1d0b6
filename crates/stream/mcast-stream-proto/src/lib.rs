//! The protocol of `mcast-stream`: reliable, ordered messages over IP multicast.
//!
//! `docs/protocol.md` specifies it. [`wire`] reads and writes its datagrams without allocation.
//! [`PublisherMachine`](publisher::PublisherMachine) and [`SubscriberMachine`](subscriber::SubscriberMachine) are state
//! machines without sockets, clocks, threads or random numbers of their own. `mcast-stream` runs them on sockets.
//!
//! # The contract
//! The caller passes in the time and the datagrams that arrive, and takes out what must be sent, and messages and events.
//! A machine never blocks and never waits. After each input, the caller polls it until it returns `None`, and calls
//! it again at the time of `poll_timeout` at the latest. Time never goes back. What `poll_transmit` returned counts as sent;
//! a datagram that could not be sent after all is reported with `on_not_sent`, and is repaired like any other loss.
//!
//! Here two machines work with each other. The second datagram is lost on the way, and repaired.
//!
//! ```
//! use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
//! use mcast_stream_proto::subscriber::{Item, SubscriberConfig};
//! use mcast_stream_proto::wire::{Incarnation, Sequence, StreamId};
//! use mcast_stream_proto::publisher::PublisherMachine;
//! use mcast_stream_proto::subscriber::SubscriberMachine;
//! use mcast_stream_proto::ClockTime;
//!
//! let (at, from) = ("10.0.0.1:7001".parse()?, "10.0.0.2:7002".parse()?);
//! let stream = StreamId::named("prices");
//! let mut now = ClockTime(0);
//! let mut subscriber = SubscriberMachine::new(SubscriberConfig::new(stream), now);
//! let mut publisher = PublisherMachine::new(PublisherConfig::new(stream, Incarnation(1)), now)?;
//! let mut received = Vec::new();
//! while received.len() < 3 {
//!     if let Some(text) = ["oil 81", "tin 12", "oil 82"].get(publisher.next_message().0 as usize)
//!         && publisher.subscribers().0 > 0
//!     {
//!         publisher.publish(now, text.as_bytes())?;
//!         publisher.flush(now);
//!     }
//!     while let Some(transmit) = publisher.poll_transmit(now) {
//!         let datagrams: Vec<Vec<u8>> = match transmit {
//!             // The network loses this one.
//!             Transmit::Data { first: Sequence(1), .. } => Vec::new(),
//!             Transmit::Data { first, count } => (0..count).map(|n| publisher.datagram(first + n).to_vec()).collect(),
//!             Transmit::Repair { sequence, .. } => vec![publisher.datagram(sequence).to_vec()],
//!             Transmit::Control(control) => vec![control.bytes().to_vec()],
//!         };
//!         for datagram in datagrams {
//!             subscriber.handle_datagram(now, 0, at, &datagram);
//!             while let Some(item) = subscriber.poll_item(now, &datagram) {
//!                 if let Item::Message(message) = item {
//!                     received.push(String::from_utf8_lossy(message.bytes).into_owned());
//!                 }
//!             }
//!         }
//!     }
//!     while let Some(control) = subscriber.poll_transmit(now) {
//!         publisher.handle_datagram(now, from, control.bytes());
//!     }
//!     now.0 += 1_000_000;
//! }
//! assert_eq!(received, ["oil 81", "tin 12", "oil 82"]);
//! assert_eq!(subscriber.statistics().repaired, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(all(
        feature = "acknowledgements",
        feature = "auto-rate",
        feature = "history",
        feature = "local-repair",
        feature = "parity",
        feature = "signatures"
    )),
    allow(dead_code, reason = "what only an option uses")
)]

extern crate alloc;

/// Notes a state that cannot happen: it panics with debug assertions, and is otherwise counted and reported as an event.
macro_rules! impossible {
    ($machine:expr, $what:literal) => {{
        debug_assert!(false, $what);
        $machine.record_internal_error($what);
    }};
}

#[cfg(feature = "dissect")]
pub mod dissect;
#[cfg(feature = "parity")]
mod fec;
pub mod gaps;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod goodput;
#[cfg(feature = "history")]
pub mod history;
mod outbox;
mod proof;
#[cfg(feature = "history")]
mod provenance;
#[cfg(not(feature = "history"))]
#[path = "off/provenance.rs"]
mod provenance;
pub mod publisher;
mod random;
#[cfg(feature = "local-repair")]
mod repairer;
pub mod seal;
#[cfg(feature = "history")]
pub mod side_channel;
pub mod sign;
mod span;
pub mod subscriber;
mod times;
pub mod wire;

pub use mcast_metrics::{Figure, FigureValue};
pub use mcast_pace::ClockTime;
pub use outbox::{Control, Target};
