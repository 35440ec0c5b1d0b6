//! Unicast probes: a separate socket, and a thread that receives the answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use mcast::Family;

use super::probe::SharedState;

/// Sends probes to single hosts.
#[derive(Debug)]
pub(super) struct Unicast {
    socket: Arc<UdpSocket>,
}

impl Unicast {
    /// Opens the socket and starts a thread that receives answers until the process ends.
    pub(super) fn open(family: Family, shared: Arc<SharedState>) -> io::Result<Self> {
        const MAX_LENGTH: usize = 65_536;

        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Arc::new(UdpSocket::bind(SocketAddr::new(any, 0))?);
        let receiving = Arc::clone(&socket);
        let receive = move || {
            let mut buffer = vec![0; MAX_LENGTH];
            loop {
                // An error means that a host could not be reached, so its answer is missing anyway.
                if let Ok((length, source)) = receiving.recv_from(&mut buffer) {
                    shared.record(&buffer[..length], source, true);
                }
            }
        };
        thread::Builder::new().name("unicast".into()).spawn(receive)?;
        Ok(Self { socket })
    }

    /// Sends a probe. If that fails, the probe counts as lost.
    pub(super) fn send(&self, probe: &[u8], to: SocketAddr) {
        // The first error may belong to an earlier probe.
        if self.socket.send_to(probe, to).is_err() {
            let _ = self.socket.send_to(probe, to);
        }
    }
}
