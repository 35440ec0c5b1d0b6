//! Multicast measurement without sockets and clocks: bytes and times go in, bytes and statistics come out.
//!
//! `mcast perf`, `mcast ping` and `mcast doctor --probe` are thin loops around this crate. [`wire`] defines their
//! messages. [`PerfReceiver`] is the receiver's account of its senders: datagrams sent, received, lost, duplicated and
//! reordered, jitter (RFC 3550), and delays. A sender sends [`NumberedDatagrams`], and collects [`ReceiverReports`], or
//! plays [`PingPong`]. [`Sweep`] finds the rate at which loss starts. [`ProbeSession`] compares multicast with unicast,
//! or shows which sizes and hop limits arrive; [`ProbeResponder`] is its other end.
//!
//! [`LossCounter`] and [`Jitter`] are of use to others too.
//!
//! The crate is `no_std` with `alloc`. The feature `std`, which is on by default, adds what counts delays
//! ([`Histogram`]), searches a rate, or needs the system: times of its clock and random ids of sessions.
//!
//! All state is bounded in memory, and no input from the network causes a panic.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod drops;
#[cfg(feature = "std")]
mod histogram;
mod jitter;
mod loss;
#[cfg(feature = "std")]
mod message_meter;
mod numbered;
#[cfg(feature = "std")]
mod perf_receiver;
#[cfg(feature = "std")]
mod perf_responder;
#[cfg(feature = "std")]
mod ping_pong;
#[cfg(feature = "std")]
mod probes;
mod reports;
mod responder;
#[cfg(feature = "std")]
mod session;
#[cfg(feature = "std")]
mod sessions;
#[cfg(feature = "std")]
mod sweep;
pub mod wire;

pub use drops::{DropCounts, DropPoint};
#[cfg(feature = "std")]
pub use histogram::{Histogram, HistogramBar};
pub use jitter::Jitter;
pub use loss::{LossCounter, LossCounts, SequenceOrder, lost_percent};
#[cfg(feature = "std")]
pub use message_meter::{MessageCounts, MessageMeter};
pub use numbered::NumberedDatagrams;
#[cfg(feature = "std")]
pub use perf_receiver::{EndedSession, PerfArrival, PerfReceiver, RunTally, SessionProgress};
#[cfg(feature = "std")]
pub use perf_responder::PerfResponder;
#[cfg(feature = "std")]
pub use ping_pong::{PingPong, PingPongLimit, PingPongStep};
#[cfg(feature = "std")]
pub use probes::{AcceptedReply, ProbeResults, ProbeSession, RespondingHost, SizeLimit};
pub use reports::{ReceiverReports, ReportingReceiver};
pub use responder::{ProbeArrival, ProbeResponder, SessionArrivals};
#[cfg(feature = "std")]
pub use session::{Session, SessionTotals, SystemCounters};
#[cfg(feature = "std")]
pub use sessions::{SessionKey, Sessions};
#[cfg(feature = "std")]
pub use sweep::{Knee, Sweep, SweepStep};
pub use wire::{ClockRelation, Percentiles, ProbeCase};
