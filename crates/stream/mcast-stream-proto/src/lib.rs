//! The protocol of `mcast-stream`: reliable, ordered messages over IP multicast.
//!
//! `docs/protocol.md` specifies it. [`wire`] reads and writes its datagrams without allocation. [`PublisherMachine`]
//! and [`SubscriberMachine`] are sans-IO state machines, without sockets, clocks, threads or random numbers of their
//! own: the caller passes in time and datagrams, and takes out datagrams, messages and events.
//! `mcast-stream` runs them on sockets.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

/// Notes a state that cannot happen: it panics with debug assertions, and is otherwise counted and reported as an event.
macro_rules! impossible {
    ($machine:expr, $what:literal) => {{
        debug_assert!(false, $what);
        $machine.record_internal_error($what);
    }};
}

mod fec;
pub mod gaps;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod goodput;
pub mod history;
mod outbox;
mod proof;
pub mod publisher;
mod random;
mod repairer;
pub mod seal;
pub mod side_channel;
pub mod sign;
mod span;
pub mod subscriber;
pub mod wire;

pub use mcast_pace::ClockTime;
pub use outbox::{Control, Target};
pub use publisher::PublisherMachine;
pub use subscriber::SubscriberMachine;
