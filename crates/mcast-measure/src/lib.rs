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
#![forbid(unsafe_code)]

mod drops;
mod histogram;
mod jitter;
mod limiter;
mod path;
mod pings;
mod reports;
mod round_trips;
mod sequence;
mod session;
mod sessions;
mod sweep;
pub mod wire;

pub use drops::{DropCounts, DropPoint};
pub use histogram::{Histogram, HistogramBar, Percentiles};
pub use jitter::Jitter;
pub use limiter::{Limiter, Quota};
pub use path::{Listener, PathCase, PathTest, SizeLimit};
pub use pings::{Pings, ProbeResults, Responder, SentProbes};
pub use reports::{ReceiverReports, ReportingReceiver};
pub use round_trips::RoundTrips;
pub use sequence::SequenceLog;
pub use session::{ClockRelation, Session, SessionTotals};
pub use sessions::{SessionKey, Sessions};
pub use sweep::{Knee, Sweep, SweepStep};
