//! Receiving the packets of IP protocols other than UDP (`raw(7)`).

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use mcast_group::{Family, Group};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::{Interface, RawSocket};

/// The size of the receive buffer, which the kernel may limit.
const BUFFER: usize = 4 << 20;
/// Only the source of a packet is of interest, and the kernel truncates the rest.
const HEAD: usize = 64;

/// A raw socket that receives the packets of one IP protocol to a group on one interface, behind the packet filter.
#[derive(Debug)]
pub struct ProtocolReceiver {
    socket: Socket,
}

impl ProtocolReceiver {
    /// Opens a socket in the network namespace of the calling thread, and joins the group. Needs `CAP_NET_RAW`.
    pub fn join(group: Group, protocol: u8, interface: &Interface) -> io::Result<Self> {
        let domain = Domain::for_address(SocketAddr::new(group.addr(), 0));
        let protocol = Some(Protocol::from(i32::from(protocol)));
        let socket = Socket::new(domain, Type::RAW.cloexec().nonblocking(), protocol)?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.bind_device(Some(interface.name.as_bytes()))?;
        let index = interface.index.number();
        match group.addr() {
            IpAddr::V4(address) => {
                // A group that another socket has joined is not that of this one.
                socket.set_multicast_all_v4(false)?;
                socket.bind(&SocketAddr::new(group.addr(), 0).into())?;
                socket.join_multicast_v4_n(&address, &InterfaceIndexOrAddress::Index(index))?;
            }
            IpAddr::V6(address) => {
                socket.set_multicast_all_v6(false)?;
                socket.bind(&SocketAddrV6::new(address, 0, 0, index).into())?;
                socket.join_multicast_v6(&address, index)?;
            }
        }
        Ok(Self { socket })
    }

    /// Takes the next packet, and returns its source; `None` if none is waiting.
    pub fn try_receive(&self) -> io::Result<Option<IpAddr>> {
        let mut head = [MaybeUninit::uninit(); HEAD];
        match self.socket.recv_from(&mut head) {
            Ok((_, source)) => Ok(source.as_socket().map(|source| source.ip())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Lists the raw sockets of the calling thread's network namespace.
pub fn raw_sockets() -> io::Result<Vec<RawSocket>> {
    raw_sockets_of("thread-self")
}

/// Lists the raw sockets of a process's network namespace.
pub fn raw_sockets_around(pid: u32) -> io::Result<Vec<RawSocket>> {
    raw_sockets_of(&pid.to_string())
}

fn raw_sockets_of(task: &str) -> io::Result<Vec<RawSocket>> {
    let mut sockets = Vec::new();
    for (family, name) in [(Family::V4, "raw"), (Family::V6, "raw6")] {
        match std::fs::read_to_string(format!("/proc/{task}/net/{name}")) {
            Ok(table) => sockets.extend(table.lines().skip(1).filter_map(|line| raw_socket(family, line))),
            // Without IPv6, there is no such table.
            Err(error) if error.kind() == io::ErrorKind::NotFound && family == Family::V6 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

/// Parses a line `SL LOCAL REMOTE ST QUEUES TIMER RETRANSMITS UID TIMEOUT INODE …`. The local port is the protocol.
fn raw_socket(family: Family, line: &str) -> Option<RawSocket> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let (_, protocol) = words.get(1)?.split_once(':')?;
    let protocol = u8::try_from(u16::from_str_radix(protocol, 16).ok()?).ok()?;
    Some(RawSocket { inode: words.get(9)?.parse().ok()?, family, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_the_table_is_parsed() {
        let line = "  112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 68135 2 00000000 0";
        let expected = RawSocket { inode: 68135, family: Family::V4, protocol: 112 };
        assert_eq!(raw_socket(Family::V4, line), Some(expected));
        assert_eq!(raw_socket(Family::V4, "sl local_address"), None);
    }
}
