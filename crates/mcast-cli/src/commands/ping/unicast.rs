//! Unicast probes: a separate socket, and a thread that receives the answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use mcast::Family;

use super::probe::Table;

/// Sends probes to single hosts.
#[derive(Debug)]
pub(super) struct Unicast {
    socket: Arc<UdpSocket>,
}

impl Unicast {
    /// Opens the socket and starts to hear; the thread ends with the process.
    pub(super) fn open(family: Family, table: Arc<Table>) -> io::Result<Self> {
        const LONGEST: usize = 65_536;

        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Arc::new(UdpSocket::bind(SocketAddr::new(any, 0))?);
        let hears = Arc::clone(&socket);
        let hear = move || {
            let mut buffer = vec![0; LONGEST];
            loop {
                // An error says that a host could not be reached: its answer is missing, too.
                if let Ok((length, source)) = hears.recv_from(&mut buffer) {
                    table.take(&buffer[..length], source, true);
                }
            }
        };
        thread::Builder::new().name("unicast".into()).spawn(hear)?;
        Ok(Self { socket })
    }

    /// Sends a probe. Where it cannot be sent, it is lost.
    pub(super) fn send(&self, probe: &[u8], to: SocketAddr) {
        // The first error may be that of an earlier probe, which the system tells late.
        if self.socket.send_to(probe, to).is_err() {
            let _ = self.socket.send_to(probe, to);
        }
    }
}
