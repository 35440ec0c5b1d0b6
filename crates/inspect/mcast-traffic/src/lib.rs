//! Sends multicast at a pace: datagrams to many targets, the datagrams of a capture file again, and messages that a
//! subscriber measures.
//!
//! [`resolve_targets`] finds the interfaces to send on, a [`Pace`] waits until datagrams are due, and a [`Dispatch`]
//! sends them and continues when the system refuses single ones. A [`StopSignal`] ends all waits:
//!
//! ```no_run
//! use mcast::{Rate, Sender};
//! use mcast_traffic::{Dispatch, Pace, StopSignal, resolve_targets};
//!
//! let sender = Sender::builder().build()?;
//! let targets = resolve_targets(&["239.255.2.3:5000".parse()?], &["eth0".parse()?])?;
//! let mut pace = Pace::new(Some(Rate::Datagrams(10.0)), targets.len(), None, StopSignal::default());
//! let mut dispatch = Dispatch::new(&sender);
//! let round: Vec<_> = targets.iter().map(|target| target.outgoing(b"hello")).collect();
//! while let Some(due) = pace.wait(&round) {
//!     dispatch.send(&round[..due], |refusal| eprintln!("{refusal}"))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`ReplaySender`] sends what a [`Replay`](mcast_capture::Replay) reads, and a [`MessagePublisher`] publishes
//! messages for a [`MessageRun`]: these are the engines of `mcast replay` and of `mcast perf --stream`.
#![forbid(unsafe_code)]

mod dispatch;
mod error;
mod messages;
mod replay;

pub use dispatch::{
    Dispatch, DispatchCounts, MessagePacer, Pace, SendTarget, StopSignal, resolve_targets,
    resolve_targets_with_hosts, vanished_interface,
};
pub use error::TrafficError;
pub use messages::{
    BackPressure, MessagePublisher, MessageRun, PublishEvent, PublishPlan, PublishReport, PublishSecond,
    RunEnd, RunEvent, RunSecond, RunStart,
};
pub use replay::{
    ReplayHops, ReplayNotice, ReplayPlan, ReplayReport, ReplaySender, ReplayTiming, TransmitErrors,
    launch_clock,
};
