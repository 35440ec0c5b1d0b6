//! The facts of a machine that decide what happens to multicast: interfaces, bridges, routes, rules for routing, the packet
//! filter, traffic control, counters, sockets and the processes that hold them.
//!
//! [`snapshot()`] reads them at one moment, in the network namespace of the calling thread. It changes nothing and works
//! without privileges; what could not be read is listed in [`HostSnapshot::parts`](snapshot::HostSnapshot::parts).
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
//! [`netfilter`] evaluates the rules of the packet filter for a packet of which only a part is known, and
//! [`snapshot::Routing`] does so for the rules for routing: what depends on the rest stays undecided. Facts are plain data, so
//! that what judges them is tested on every system. Linux reports all of them; on other systems, most are empty.
//!
//! Two observations take time: [`DropCounter`] counts what the kernel drops, with its reasons, and [`CountingRules`] adds
//! temporary rules that count what passes each hook of the packet filter.
//!
//! `mcast-doctor` judges what the facts mean for a program that receives nothing.
#![forbid(unsafe_code)]

pub mod classic_filter;
mod error;
#[cfg(any(test, feature = "fixtures"))]
#[doc(hidden)]
pub mod fixtures;
mod flow;
mod gather;
pub mod kernel_drops;
#[cfg_attr(
    not(any(test, target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "only Linux has such rules, but their evaluation is tested on every system")
)]
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
pub use part::{ExaminedPart, ObservationRefusal};
pub use process::{ProcessState, RunState};
