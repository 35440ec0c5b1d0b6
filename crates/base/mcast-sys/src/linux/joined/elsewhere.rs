//! The UDP sockets of a process, which may belong to another network namespace than the process.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use socket2::{Protocol, SockRef};

use super::accounts::{Namespace, namespace_of};
use super::network_cookie;
use super::processes::{self, Lender, Mark};
use super::socket::BorrowedSocket;
use crate::NetworkId;

/// Returns the local addresses of the UDP sockets of a process that belong to the network namespace of the calling thread, or of those
/// that do not, each with its namespace. The process may be in another one than its sockets, and nobody may be in theirs.
///
/// The sockets are duplicated into this process (`pidfd_getfd`, Linux 5.6), which needs the right to trace the other one. The
/// namespace is `None` without `CAP_NET_ADMIN` in it (`SIOCGSKNS`).
///
/// # Errors
/// The errors of the system calls that borrow the sockets.
pub fn udp_sockets(pid: u32, elsewhere: bool) -> io::Result<Vec<(SocketAddr, Option<NetworkId>)>> {
    let _mark = Mark::set();
    let here = Namespace::of_this_thread();
    let lender = Lender::open(pid)?;
    let mut found = Vec::new();
    for (descriptor, inode) in processes::open(pid)?.sockets {
        let Some(socket) = BorrowedSocket::of(&lender, descriptor, inode)? else { continue };
        let borrowed = SockRef::from(&*socket.descriptor);
        // Sockets of other families have no such protocol.
        let is_udp = borrowed.protocol().is_ok_and(|protocol| protocol == Some(Protocol::UDP));
        if !is_udp || here.has(&socket) == elsewhere {
            continue;
        }
        if let Some(local) = borrowed.local_addr()?.as_socket() {
            let namespace = namespace_of(&socket.descriptor).and_then(|namespace| namespace.metadata());
            let network = namespace.ok().map(|namespace| NetworkId {
                device: namespace.dev(),
                inode: namespace.ino(),
                cookie: network_cookie(&socket.descriptor).ok(),
            });
            found.push((local, network));
        }
    }
    Ok(found)
}
