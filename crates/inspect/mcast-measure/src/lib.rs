//! Multicast measurement without sockets and clocks: bytes and times go in, bytes and statistics come out.
//!
//! `mcast perf`, `mcast ping` and `mcast doctor --probe` are thin loops around this crate. [`wire`] defines their
//! messages. [`Replier`] is the receiving end of all of them: it replies to probes and pings, and keeps an account of
//! senders ([`Sessions`]): datagrams sent, received, lost, duplicated and reordered, jitter (RFC 3550), and delays. The
//! asking end is an [`Inquiry`]: a [`PerfSession`] around the [`NumberedDatagrams`] of a sender, [`PingPong`], or [`Pings`].
//! [`Sweep`] finds the rate at which loss starts. [`ProbeSession`] compares multicast with unicast, or shows which sizes and
//! hop limits arrive.
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

#[cfg(feature = "std")]
mod arrivals;
#[cfg(feature = "std")]
mod histogram;
#[cfg(feature = "std")]
mod inquiry;
mod loss;
#[cfg(feature = "std")]
mod message_meter;
#[cfg(feature = "std")]
mod perf_session;
#[cfg(feature = "std")]
mod ping_pong;
#[cfg(feature = "std")]
mod pings;
#[cfg(feature = "std")]
mod probes;
#[cfg(feature = "std")]
mod replier;
#[cfg(feature = "std")]
mod session;
#[cfg(feature = "std")]
mod sessions;
#[cfg(feature = "std")]
mod sweep;
pub mod wire;

#[cfg(feature = "std")]
pub use arrivals::SessionArrivals;
#[cfg(feature = "std")]
pub use histogram::{Histogram, HistogramBar};
#[cfg(feature = "std")]
pub use inquiry::{Inquiry, Question, Recipient};
pub use loss::{Jitter, LossCounter, LossCounts, SequenceOrder, lost_percent};
pub use mcast_pace::ClockTime;
#[cfg(feature = "std")]
pub use message_meter::{MessageCounts, MessageMeter};
#[cfg(feature = "std")]
pub use perf_session::{NumberedDatagrams, PerfSession, ReceiverReports, ReportingReceiver};
#[cfg(feature = "std")]
pub use ping_pong::{PingPong, PingPongLimit};
#[cfg(feature = "std")]
pub use pings::{PingSchedule, Pings};
#[cfg(feature = "std")]
pub use probes::{AcceptedReply, ProbeResults, ProbeSession, RespondingHost, SizeLimit};
#[cfg(feature = "std")]
pub use replier::{MessageArrival, Replier, ReplierHost, ReplierKind};
#[cfg(feature = "std")]
pub use session::{Session, SessionInterval, SessionTotals, SystemCounters};
#[cfg(feature = "std")]
pub use sessions::{EndedSession, RunTally, SessionKey, SessionProgress, Sessions};
#[cfg(feature = "std")]
pub use sweep::{Knee, Sweep, SweepStep};
pub use wire::{ClockRelation, DropCounts, DropPoint, Percentiles, ProbeCase};
