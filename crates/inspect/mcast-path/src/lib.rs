//! Measures and judges the path between machines.
//!
//! An [`Asker`] asks with pings, a ping-pong or a [`PathTest`], a [`PerfSender`] sends numbered datagrams, and a
//! [`Listener`] answers and counts. These are the sessions of `mcast-measure` on sockets. What a path test finds is a
//! [`Finding`](mcast_doctor::Finding), as those of an examination of one machine.
#![forbid(unsafe_code)]

mod measure;
mod path;

pub use measure::{
    Asker, Listener, ListenerCounts, PerfSendPlan, PerfSendProgress, PerfSendResult, PerfSender,
    UNICAST_PROBE_PORT, clock_id,
};
pub use path::{ListenerExamination, PathTest, Tally, UnicastFailure, UnicastPath, is_certain};
