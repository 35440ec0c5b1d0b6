//! Multicast measurement without sockets and clocks: bytes and times go in, bytes and statistics come out.
//!
//! `mcast perf`, `mcast ping` and `mcast doctor --probe` are thin loops around this crate. [`wire`] defines
//! their messages. [`Sessions`] is the receiver's account of its senders: datagrams sent, received, lost,
//! duplicated and reordered, jitter (RFC 3550), and delays. [`ReceiverReports`] is the sender's account of
//! its receivers. [`Sweep`] finds the rate at which loss starts, [`Pings`] compares multicast with unicast,
//! [`PathTest`] shows which sizes and hop limits arrive, and [`Limiter`] limits replies so that forged
//! requests cannot cause a flood.
//!
//! All state is bounded in memory, and no input from the network causes a panic.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod drops;
#[cfg(feature = "std")]
mod histogram;
mod jitter;
mod limiter;
mod loss;
mod pace;
#[cfg(feature = "std")]
mod path;
#[cfg(feature = "std")]
mod pings;
mod reports;
#[cfg(feature = "std")]
mod round_trips;
#[cfg(feature = "std")]
mod session;
#[cfg(feature = "std")]
mod sessions;
#[cfg(feature = "std")]
mod sweep;
mod token_bucket;
pub mod wire;

pub use drops::{DropCounts, DropPoint};
#[cfg(feature = "std")]
pub use histogram::{Histogram, HistogramBar};
pub use jitter::Jitter;
pub use limiter::{Limiter, Quota};
pub use loss::{LossCounter, LossCounts, SequenceOrder};
pub use pace::{PaceDecision, PaceSchedule, Rate};
#[cfg(feature = "std")]
pub use path::{Listener, PathCase, PathTest, SizeLimit};
#[cfg(feature = "std")]
pub use pings::{Pings, ProbeResults, Responder, SentProbes};
pub use reports::{ReceiverReports, ReportingReceiver};
#[cfg(feature = "std")]
pub use round_trips::RoundTrips;
#[cfg(feature = "std")]
pub use session::{Session, SessionTotals};
#[cfg(feature = "std")]
pub use sessions::{SessionKey, Sessions};
#[cfg(feature = "std")]
pub use sweep::{Knee, Sweep, SweepStep};
pub use token_bucket::TokenBucket;
pub use wire::{ClockRelation, Percentiles};
