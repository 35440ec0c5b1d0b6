//! Whether the kernel would send a datagram of a socket of another process.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, SockAddr, SockRef};

use super::change::with_socket;
use super::socket::BorrowedSocket;
use crate::errno::error_kind;
use crate::{Operation, SendAnswer};

/// `linux/socket.h`; `libc` lacks it.
const MSG_PROBE: libc::c_int = 0x10;

/// Returns what the kernel answers to a datagram that a socket would send, without sending one.
///
/// The socket is duplicated into this process (`pidfd_getfd`, Linux 5.6), which needs the right to trace the other one. The kernel
/// looks up the route with everything that the socket has chosen: its address, interface and mark. The socket stays as it is.
///
/// # Errors
/// `NotFound` if the process no longer has the socket open; `InvalidInput` if the socket is not bound, because the kernel would bind
/// it; and the errors of the system calls that borrow it.
pub fn answer_to_send(pid: u32, inode: u64, to: SocketAddr) -> io::Result<SendAnswer> {
    with_socket(pid, inode, |socket| socket.answer_to_send(to))
}

impl BorrowedSocket {
    fn answer_to_send(&self, to: SocketAddr) -> io::Result<SendAnswer> {
        // `MSG_PROBE` with `MSG_CONFIRM` and no data ends after the lookup of the route (`udp_sendmsg`). If the program has begun a
        // datagram (`MSG_MORE`, `UDP_CORK`), nothing is added to it, and `MSG_MORE` keeps it from leaving early.
        const FLAGS: libc::c_int = MSG_PROBE | libc::MSG_CONFIRM | libc::MSG_MORE | libc::MSG_DONTWAIT;
        let socket = SockRef::from(&*self.descriptor);
        if socket.local_addr()?.as_socket().is_none_or(|local| local.port() == 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is not bound"));
        }
        let to = match to.ip() {
            IpAddr::V4(address) if self.domain == Domain::IPV6 => {
                (address.to_ipv6_mapped(), to.port()).into()
            }
            _ => to,
        };
        Ok(match socket.send_to_with_flags(&[], &SockAddr::from(to), FLAGS) {
            Ok(_) => SendAnswer::Accepted,
            Err(error) => match error.raw_os_error() {
                Some(number) => SendAnswer::Refused { kind: error_kind(Operation::Send, &error), number },
                None => return Err(error),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    use super::*;

    fn answer(socket: &UdpSocket, to: SocketAddr) -> io::Result<SendAnswer> {
        let file = std::fs::File::from(OwnedFd::from(socket.try_clone().unwrap()));
        answer_to_send(std::process::id(), file.metadata().unwrap().ino(), to)
    }

    #[test]
    fn question_sends_nothing_and_keeps_what_the_program_has_begun() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(address).unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let to = receiver.local_addr().unwrap();
            let sender = UdpSocket::bind(address).unwrap();
            assert_eq!(answer(&sender, to).unwrap(), SendAnswer::Accepted);
            let begun = SockRef::from(&sender).send_to_with_flags(b"be", &to.into(), libc::MSG_MORE);
            assert_eq!(begun.unwrap(), 2);
            assert_eq!(answer(&sender, to).unwrap(), SendAnswer::Accepted);
            sender.send_to(b"gun", to).unwrap();
            let mut buffer = [0; 16];
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"begun", "{address}: the first datagram is the whole one");
        }
    }

    #[test]
    fn refusal_has_the_error_of_a_send() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        // A socket that is bound to the loopback sends nothing to other networks.
        let to = "192.0.2.1:9".parse().unwrap();
        let refused = sender.send_to(b"x", to).unwrap_err().raw_os_error().unwrap();
        let SendAnswer::Refused { number, .. } = answer(&sender, to).unwrap() else { panic!("accepted") };
        assert_eq!(number, refused);
    }

    #[test]
    fn socket_that_is_not_bound_stays_so() {
        let socket = socket2::Socket::new(Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        let socket = UdpSocket::from(socket);
        let error = answer(&socket, "127.0.0.1:9".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(socket.local_addr().unwrap().port(), 0);
    }
}
