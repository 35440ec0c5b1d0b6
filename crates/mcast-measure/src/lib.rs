//! Multicast measurement without sockets and clocks: bytes and times go in, bytes and statistics come out.
//!
//! `mcast perf`, `mcast ping` and `mcast doctor --probe` are thin loops around this crate. [`wire`] defines
//! their messages. [`Sessions`] is the receiver's account of its senders: datagrams sent, received, lost,
//! duplicated and reordered, jitter (RFC 3550), and delays. [`ReceiverReports`] is the sender's account of
//! its receivers. [`Sweep`] finds the rate at which loss starts. [`ProbeSession`] compares multicast with
//! unicast, or shows which sizes and hop limits arrive; [`ProbeResponder`] is its other end.
//!
//! [`LossCounter`], [`Jitter`], [`TokenBucket`], [`PaceSchedule`] and [`Limiter`], which limits replies so that
//! forged requests cannot cause a flood, are of use to others too.
//!
//! The crate is `no_std` with `alloc`. The feature `std`, which is on by default, adds what counts delays
//! ([`Histogram`]) or searches a rate.
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
mod perf_responder;
#[cfg(feature = "std")]
mod probes;
mod reports;
mod responder;
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
pub use perf_responder::PerfResponder;
#[cfg(feature = "std")]
pub use probes::{AcceptedReply, ProbeCase, ProbeResults, ProbeSession, Responder, SizeLimit};
pub use reports::{ReceiverReports, ReportingReceiver};
pub use responder::{ProbeArrival, ProbeResponder};
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
