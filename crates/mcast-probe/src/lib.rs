//! Measuring multicast, without sockets and without clocks: bytes and times go in, bytes and
//! numbers come out.
//!
//! `mcast perf`, `mcast ping` and `mcast doctor --probe` are thin loops around this crate. [`wire`] has
//! their messages. [`Sessions`] is what a receiver knows of its senders: what was sent, received, lost,
//! duplicated and reordered, jitter (RFC 3550) and delays. [`Reports`] is what a sender knows of its
//! receivers. [`Sweep`] finds the rate at which loss starts, [`Pings`] compares multicast with
//! unicast, [`Path`] tells what passes by size and hop limit, and [`Limiter`] keeps answers from
//! flooding anyone.
//!
//! Whatever comes from the network is bounded in memory and never makes anything here panic.

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

pub use drops::{Drops, Place};
pub use histogram::{Bar, Histogram, Percentiles};
pub use jitter::Jitter;
pub use limiter::{Limiter, Quota};
pub use path::{Case, Listener, Path, SizeLimit};
pub use pings::{Asked, Pings, Responder, Way};
pub use reports::{Receiver, Reports};
pub use round_trips::RoundTrips;
pub use sequence::SequenceLog;
pub use session::{Clocks, Session, Totals};
pub use sessions::{Origin, Sessions};
pub use sweep::{Knee, Step, Sweep};
