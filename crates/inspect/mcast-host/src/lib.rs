//! The facts of a machine that decide what happens to multicast: interfaces, bridges, routes, rules for routing, the packet
//! filter, traffic control, counters, sockets and the processes that hold them.
//!
//! [`snapshot`](fn@snapshot) reads them at one moment, in the network namespace of the calling thread. It reads only, needs no rights, and lists
//! what it could not read in [`Snapshot::parts`](snapshot::Snapshot::parts).
//!
//! ```
//! let machine = mcast_host::snapshot()?;
//! for link in &machine.links {
//!     println!("{}: {} frames received", link.name(), link.statistics.received);
//! }
//! for part in machine.parts.iter().filter(|part| part.gap.is_some()) {
//!     println!("not read: {}", part.part);
//! }
//! # Ok::<(), mcast_host::Error>(())
//! ```
//!
//! [`netfilter`] holds the rules of the packet filter and evaluates them for a packet of which only a part is known, and
//! [`snapshot::Routing`] does so for the rules for routing: what is not known stays undecided. Both are plain data, so that what judges them
//! can be tested on every system. Linux reports everything; on other systems, most is empty.
//!
//! Two observations last longer than a moment: [`DropCounter`] counts what the kernel drops, with its reasons, and [`CountingRules`]
//! count what passes each hook of the packet filter.
//!
//! What the facts mean for a program that receives nothing is judged by `mcast-doctor`.
#![forbid(unsafe_code)]

pub mod classic_filter;
mod error;
#[cfg(any(test, feature = "fixtures"))]
#[doc(hidden)]
pub mod fixtures;
mod flow;
mod gather;
pub mod kernel_drops;
pub mod netfilter;
mod part;
mod process;
pub mod snapshot;

pub use error::{Error, Result};
pub use flow::{FlowKey, Tagging};
pub use gather::{
    CountingRules, DropCounter, accepted_packets, host_drops, processes, queues, refresh_counters,
    refused_frames, sending_snapshot, snapshot, socket_drops, source_routes,
};
pub use part::{ExaminedPart, Refusal};
pub use process::{ProcessState, RunState};
