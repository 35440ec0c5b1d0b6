//! The options of UDP sockets, of any process.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;

use mcast_group::{Family, InterfaceIndex};
use socket2::{Domain, Protocol, SockRef, Type};

use super::processes;
use super::processes::{Lender, Mark};
use super::socket::{BorrowedSocket, SO_BINDTOIFINDEX, option_of};
use crate::capture::FilterInstruction;
use crate::socket_option::check;
use crate::{Encapsulation, GroupOptions, SocketFilter, SocketOptions};

/// From `linux/udp.h`.
const UDP_ENCAP: libc::c_int = 100;
const UDP_ENCAP_ESPINUDP: u32 = 2;

/// Returns the options of every UDP socket that a process has open, by the inode of the socket. Sockets of processes that
/// may not be inspected are missing.
pub fn socket_options() -> io::Result<BTreeMap<u64, SocketOptions>> {
    let _mark = Mark::set();
    let mut options = BTreeMap::new();
    for process in processes::all()? {
        // A process that has ended, or that may not be inspected.
        let Ok(open) = process.open() else { continue };
        let mut lender = None;
        for (descriptor, inode) in open.sockets {
            if options.contains_key(&inode) {
                continue;
            }
            let lender = match &lender {
                Some(lender) => lender,
                None => match Lender::open(process.pid) {
                    Ok(opened) => lender.insert(opened),
                    Err(_) => break,
                },
            };
            match BorrowedSocket::of(lender, descriptor, inode) {
                Ok(Some(socket)) => {
                    options.insert(inode, socket.options());
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }
    Ok(options.into_iter().filter_map(|(inode, options)| Some((inode, options?))).collect())
}

impl BorrowedSocket {
    /// Returns its options; `None` if it is not a UDP socket.
    fn options(&self) -> Option<SocketOptions> {
        let socket = SockRef::from(&*self.descriptor);
        let is_udp = self.kind == Type::DGRAM && socket.protocol().ok()? == Some(Protocol::UDP);
        let family = match self.domain {
            Domain::IPV4 => Family::V4,
            Domain::IPV6 => Family::V6,
            _ => return None,
        };
        if !is_udp {
            return None;
        }
        let bound = option_of::<u32>(&self.descriptor, libc::SOL_SOCKET, SO_BINDTOIFINDEX);
        let groups = [Family::V4, Family::V6].into_iter().filter(|family| self.can_join(*family));
        Some(SocketOptions {
            family,
            v6_only: family == Family::V6 && socket.only_v6().unwrap_or(false),
            bound_interface: bound.ok().and_then(InterfaceIndex::new),
            receive_buffer: socket.recv_buffer_size().unwrap_or(0) / 2,
            filter: self.attached_filter(),
            encapsulation: self.encapsulation(),
            groups: groups.filter_map(|family| Some((family, self.group_options(family)?))).collect(),
        })
    }

    fn encapsulation(&self) -> Option<Encapsulation> {
        match option_of::<u32>(&self.descriptor, libc::SOL_UDP, UDP_ENCAP) {
            Err(_) | Ok(0) => None,
            Ok(UDP_ENCAP_ESPINUDP) => Some(Encapsulation::Esp),
            Ok(other) => Some(Encapsulation::Other(other)),
        }
    }

    fn group_options(&self, family: Family) -> Option<GroupOptions> {
        let (level, all, loopback, hops) = match family {
            Family::V4 => {
                (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, libc::IP_MULTICAST_LOOP, libc::IP_MULTICAST_TTL)
            }
            Family::V6 => (
                libc::IPPROTO_IPV6,
                libc::IPV6_MULTICAST_ALL,
                libc::IPV6_MULTICAST_LOOP,
                libc::IPV6_MULTICAST_HOPS,
            ),
        };
        let value = |option| option_of::<libc::c_int>(&self.descriptor, level, option).ok();
        Some(GroupOptions {
            // Before Linux 4.20, IPv6 sockets behaved as if it were on.
            all: value(all).is_none_or(|value| value != 0),
            loopback: value(loopback)? != 0,
            hop_limit: u8::try_from(value(hops)?).ok()?,
        })
    }

    /// Returns its filter. One that is not classic BPF is not shown by the kernel.
    fn attached_filter(&self) -> Option<SocketFilter> {
        match self.read_filter(&mut []) {
            Ok(0) => None,
            Ok(count) => {
                let mut instructions = vec![[0; INSTRUCTION]; count];
                // The program may have replaced it by a longer one meanwhile.
                let count = self.read_filter(&mut instructions).unwrap_or(0);
                instructions.truncate(count);
                Some(SocketFilter::Classic(instructions.into_iter().map(instruction).collect()))
            }
            Err(error) => (error.raw_os_error() == Some(libc::EACCES)).then_some(SocketFilter::Extended),
        }
    }

    /// Reads the instructions of its filter if there is room for all; returns their number.
    fn read_filter(&self, instructions: &mut [[u8; INSTRUCTION]]) -> io::Result<usize> {
        // The kernel counts instructions, not bytes.
        let mut count = instructions.len() as libc::socklen_t;
        // SAFETY: the kernel writes as many instructions as it has room for, or none.
        check(unsafe {
            libc::getsockopt(
                self.descriptor.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                instructions.as_mut_ptr().cast(),
                &raw mut count,
            )
        })?;
        Ok(count as usize)
    }
}

/// The size of `struct sock_filter`.
const INSTRUCTION: usize = 8;

const fn instruction([c, d, jt, jf, k @ ..]: [u8; INSTRUCTION]) -> FilterInstruction {
    FilterInstruction { code: u16::from_ne_bytes([c, d]), jt, jf, k: u32::from_ne_bytes(k) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use socket2::{SockFilter, Socket};

    use super::*;

    fn options(socket: &Socket) -> SocketOptions {
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
        socket_options().unwrap().remove(&file.metadata().unwrap().ino()).unwrap()
    }

    #[test]
    fn options_of_this_process_are_read() {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_only_v6(true).unwrap();
        socket.set_multicast_hops_v6(7).unwrap();
        socket.set_multicast_loop_v6(false).unwrap();
        let read = options(&socket);
        assert_eq!((read.family, read.v6_only, read.filter), (Family::V6, true, None));
        assert_eq!(read.groups[&Family::V6], GroupOptions { all: true, loopback: false, hop_limit: 7 });
        assert_eq!(read.groups[&Family::V4], GroupOptions { all: false, loopback: true, hop_limit: 1 });
    }

    #[test]
    fn encapsulation_is_read() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        assert_eq!(options(&socket).encapsulation, None);
        let esp = UDP_ENCAP_ESPINUDP;
        let size = size_of_val(&esp) as libc::socklen_t;
        let value = (&raw const esp).cast();
        // SAFETY: pointer and length are those of `esp`.
        let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, UDP_ENCAP, value, size) };
        // Kernels without IPsec refuse it.
        if result == 0 {
            assert_eq!(options(&socket).encapsulation, Some(Encapsulation::Esp));
        }
    }

    #[test]
    fn attached_filter_is_read_with_its_size() {
        const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        assert_eq!(options(&socket).filter, None);
        socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).unwrap();
        let read = options(&socket);
        let returns = FilterInstruction { code: RETURN, jt: 0, jf: 0, k: 0 };
        assert_eq!((read.filter, read.v6_only), (Some(SocketFilter::Classic(vec![returns])), false));
        assert_eq!(read.groups.keys().collect::<Vec<_>>(), [&Family::V4]);
    }
}
