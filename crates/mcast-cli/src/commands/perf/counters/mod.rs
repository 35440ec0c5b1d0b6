//! The system's drop counters.

mod text;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod platform;

use mcast_probe::{DropCounts, DropPoint};

/// What this host has dropped so far, by place. It does not know of single sockets.
fn host_drops() -> DropCounts {
    platform::host_drops()
}

/// The same, and what one socket has dropped.
pub(super) fn drops_with(socket: mcast::Drops) -> DropCounts {
    host_drops().with(DropPoint::Socket, socket.count())
}

/// What this host has dropped so far of what it sent.
pub(super) fn drops_in_sending() -> DropCounts {
    DropCounts::default().with(DropPoint::InterfaceOut, host_drops().at(DropPoint::InterfaceOut))
}
