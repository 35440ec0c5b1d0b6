//! What the system counts of what it drops.

mod text;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod platform;

use mcast_probe::{Drops, Place};

/// What this host has dropped so far, by place. It does not know of single sockets.
fn host_drops() -> Drops {
    platform::host_drops()
}

/// The same, and what one socket has dropped.
pub(super) fn drops_with(socket: mcast::Drops) -> Drops {
    host_drops().with(Place::Socket, socket.count())
}

/// What this host has dropped so far of what it sent.
pub(super) fn drops_in_sending() -> Drops {
    Drops::default().with(Place::InterfaceOut, host_drops().at(Place::InterfaceOut))
}
