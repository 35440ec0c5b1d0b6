//! The system's drop counters.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
/// Systems whose counters are not read.
mod platform {
    use mcast_measure::DropCounts;

    pub(super) fn host_drops() -> DropCounts {
        DropCounts::default()
    }
}

use mcast_measure::{DropCounts, DropPoint};

/// Returns what this host has dropped so far, by place, without the counters of single sockets.
fn host_drops() -> DropCounts {
    platform::host_drops()
}

/// Returns what this host and one socket have dropped so far.
pub(super) fn drops_with(socket: mcast::Drops) -> DropCounts {
    host_drops().with(DropPoint::Socket, socket.count())
}

/// Returns what this host has dropped so far while sending.
pub(super) fn drops_in_sending() -> DropCounts {
    DropCounts::default().with(DropPoint::InterfaceOut, host_drops().at(DropPoint::InterfaceOut))
}
