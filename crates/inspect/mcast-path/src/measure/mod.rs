//! Measurement of paths with sockets: the loops around the sessions of `mcast-measure`.

mod asker;
mod listener;
mod perf_sender;
mod self_examination;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcast::Family;

pub use asker::Asker;
pub use listener::{Listener, ListenerCounts, UNICAST_PROBE_PORT};
pub use perf_sender::{PerfSendPlan, PerfSendProgress, PerfSendResult, PerfSender};
pub(crate) use self_examination::{EXAMINED, UNDER_WAY};

use mcast_doctor::{Error, Result};

/// More than the longest datagram.
const BUFFER: usize = 65_536;
/// The longest wait of a thread before it checks for its end. A listener may run for days, so that it should not wake
/// too often.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Returns an id of this machine's clock (see
/// [`SessionSettings::clock`](mcast_measure::wire::SessionSettings::clock)). Programs with the same id share a clock,
/// even in different containers. 0 means that the id is unknown.
#[must_use]
pub fn clock_id() -> u64 {
    // The FNV-1a hash, which is the same in every build.
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix),
        Err(_) => 0,
    }
}

/// Returns the address to which a socket is bound that uses every address of this host.
fn unspecified(family: Family, port: u16) -> SocketAddr {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, port)
}

/// Opens a socket for unicast probes, at any port if `port` is 0.
fn unicast_socket(family: Family, port: u16) -> Result<UdpSocket> {
    let open = || {
        let socket = UdpSocket::bind(unspecified(family, port))?;
        socket.set_read_timeout(Some(POLL_INTERVAL))?;
        Ok(socket)
    };
    open().map_err(|source| Error::Open { what: "a socket for unicast probes", source })
}

/// Passes what a socket receives to `receive` until it is stopped.
fn serve_unicast(socket: &UdpSocket, is_stopped: &AtomicBool, mut receive: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = vec![0; BUFFER];
    while !is_stopped.load(Ordering::Relaxed) {
        // An error is a timeout, or belongs to an earlier datagram to a host that could not be reached.
        if let Ok((length, source)) = socket.recv_from(&mut buffer) {
            receive(&buffer[..length], source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_clock() {
        assert_eq!(clock_id(), clock_id());
    }
}
