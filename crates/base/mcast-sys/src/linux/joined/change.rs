//! Changing one option or membership of a socket of another process, which continues to run. Nothing else of the process
//! is touched, and the change stays when this process ends, because it belongs to the socket.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

use mcast_group::{Family, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockRef, Type};

use super::processes::{self, Lender, Mark};
use super::socket::{BorrowedSocket, SO_BINDTOIFINDEX, option_of};
use crate::address::request_address;
use crate::capture::FilterInstruction;
use crate::cmsg::option_level;
use crate::socket_option::{check, set};
use crate::{
    Encapsulation, GroupOptions, SendInterface, SocketChange, SocketFilter, SocketMembership, SocketOptions,
};

/// Makes a change to the socket with this inode that a process has open, and returns the change that reverses it.
///
/// The socket is duplicated into this process (`pidfd_getfd`, Linux 5.6), which needs the right to trace the other one. The inode
/// of the duplicate is compared before the option is set, so that no other socket is ever changed, even if the process closes
/// descriptors or reuses their numbers meanwhile.
///
/// # Errors
/// `NotFound` if the process no longer has the socket open; `AlreadyExists` if it has joined that already; and the errors of
/// the system calls.
pub fn change(pid: u32, inode: u64, change: &SocketChange) -> io::Result<SocketChange> {
    with_socket(pid, inode, |socket| socket.change(change))
}

/// Returns the change that results in the present state of what `change` would change: `change` itself if the socket is in that
/// state already, and for a membership its opposite if it is not. `None` if the kernel does not report the state: an interface
/// that an IPv4 socket chose by index.
///
/// # Errors
/// `NotFound` if the process no longer has the socket open; and the errors of the system calls.
pub fn present(pid: u32, inode: u64, change: &SocketChange) -> io::Result<Option<SocketChange>> {
    with_socket(pid, inode, |socket| socket.present(change))
}

/// Borrows the socket with this inode.
pub(super) fn with_socket<T>(
    pid: u32,
    inode: u64,
    work: impl FnOnce(&BorrowedSocket) -> io::Result<T>,
) -> io::Result<T> {
    let _mark = Mark::set();
    let open = processes::open(pid)?;
    let lender = Lender::open(pid)?;
    for (descriptor, _) in open.sockets.into_iter().filter(|(_, each)| *each == inode) {
        if let Some(socket) = BorrowedSocket::of(&lender, descriptor, inode)? {
            return work(&socket);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the process no longer has this socket open"))
}

impl BorrowedSocket {
    fn change(&self, change: &SocketChange) -> io::Result<SocketChange> {
        let inverse = self.inverse(change)?;
        match change {
            SocketChange::Join(one) => {
                self.request([libc::MCAST_JOIN_GROUP, libc::MCAST_JOIN_SOURCE_GROUP], one)
            }
            SocketChange::Leave(one) => {
                self.request([libc::MCAST_LEAVE_GROUP, libc::MCAST_LEAVE_SOURCE_GROUP], one)
            }
            SocketChange::Block(one) => self.request([libc::MCAST_BLOCK_SOURCE; 2], one),
            SocketChange::Unblock(one) => self.request([libc::MCAST_UNBLOCK_SOURCE; 2], one),
            SocketChange::SendBy { family, by, .. } => self.send_by(*family, *by),
            SocketChange::HopLimit { family, hops } => {
                self.set_number(options(*family).hops, option_level(*family), i32::from(*hops))
            }
            SocketChange::Loopback { family, on } => {
                self.set_number(options(*family).loopback, option_level(*family), i32::from(*on))
            }
            SocketChange::AllGroups { family, on } => {
                self.set_number(options(*family).all, option_level(*family), i32::from(*on))
            }
            SocketChange::ReceiveBuffer(bytes) => {
                let bytes = i32::try_from(*bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
                self.set_number(libc::SO_RCVBUFFORCE, libc::SOL_SOCKET, bytes)
                    .or_else(|_| self.set_number(libc::SO_RCVBUF, libc::SOL_SOCKET, bytes))
            }
        }?;
        Ok(inverse)
    }

    /// Returns the change that restores the present state.
    fn inverse(&self, change: &SocketChange) -> io::Result<SocketChange> {
        let number = |family: Family, option| self.number(option_level(family), option);
        Ok(match *change {
            SocketChange::Join(one) => SocketChange::Leave(one),
            SocketChange::Leave(one) => SocketChange::Join(one),
            SocketChange::Block(one) => SocketChange::Unblock(one),
            SocketChange::Unblock(one) => SocketChange::Block(one),
            SocketChange::SendBy { family, by, instead_of } => {
                let former = self.sends_by(family)?.unwrap_or(instead_of);
                SocketChange::SendBy { family, by: former, instead_of: by }
            }
            SocketChange::HopLimit { family, .. } => {
                let hops = number(family, options(family).hops)?;
                SocketChange::HopLimit { family, hops: u8::try_from(hops).unwrap_or(1) }
            }
            SocketChange::Loopback { family, .. } => {
                SocketChange::Loopback { family, on: number(family, options(family).loopback)? != 0 }
            }
            SocketChange::AllGroups { family, .. } => {
                SocketChange::AllGroups { family, on: number(family, options(family).all)? != 0 }
            }
            SocketChange::ReceiveBuffer(_) => {
                // The kernel reports the double of what was requested.
                let bytes = self.number(libc::SOL_SOCKET, libc::SO_RCVBUF)? / 2;
                SocketChange::ReceiveBuffer(usize::try_from(bytes).unwrap_or_default())
            }
        })
    }

    /// Returns the present state of what a change would change.
    fn present(&self, change: &SocketChange) -> io::Result<Option<SocketChange>> {
        let is_there = |one: &SocketMembership, admits: fn(&SourceFilter, Option<&IpAddr>) -> bool| {
            let filter = self.filter(one.group, one.interface);
            filter.is_some_and(|filter| admits(&filter, one.source.as_ref()))
        };
        Ok(Some(match *change {
            SocketChange::Join(one) | SocketChange::Leave(one) => {
                let is_member = is_there(&one, |filter, source| match (filter, source) {
                    (SourceFilter::Include(sources), Some(source)) => sources.contains(source),
                    (SourceFilter::Include(_), None) => false,
                    (SourceFilter::Exclude(_), source) => source.is_none(),
                });
                if is_member { SocketChange::Join(one) } else { SocketChange::Leave(one) }
            }
            SocketChange::Block(one) | SocketChange::Unblock(one) => {
                let is_blocked = is_there(&one, |filter, source| match (filter, source) {
                    (SourceFilter::Exclude(sources), Some(source)) => sources.contains(source),
                    _ => false,
                });
                if is_blocked { SocketChange::Block(one) } else { SocketChange::Unblock(one) }
            }
            SocketChange::SendBy { family, instead_of, .. } => {
                let Some(by) = self.sends_by(family)? else { return Ok(None) };
                SocketChange::SendBy { family, by, instead_of }
            }
            // The inverse of setting a value is to set the present one.
            SocketChange::HopLimit { .. }
            | SocketChange::Loopback { .. }
            | SocketChange::AllGroups { .. }
            | SocketChange::ReceiveBuffer(_) => self.inverse(change)?,
        }))
    }

    /// Returns what chooses the interface for groups; `None` if the kernel does not report it: an index, in IPv4.
    fn sends_by(&self, family: Family) -> io::Result<Option<SendInterface>> {
        match family {
            Family::V4 => {
                let bytes: [u8; 4] = option_of(&self.descriptor, libc::IPPROTO_IP, libc::IP_MULTICAST_IF)?;
                let address = Ipv4Addr::from(bytes);
                Ok((!address.is_unspecified()).then_some(SendInterface::Address(address)))
            }
            Family::V6 => {
                let index = self.number(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF)?;
                let index = u32::try_from(index).ok().and_then(mcast_group::InterfaceIndex::new);
                Ok(Some(index.map_or(SendInterface::Route, SendInterface::Index)))
            }
        }
    }

    fn send_by(&self, family: Family, by: SendInterface) -> io::Result<()> {
        let index = match by {
            SendInterface::Index(index) => index.number().cast_signed(),
            _ => 0,
        };
        match family {
            Family::V4 => {
                let address = match by {
                    SendInterface::Address(address) => address,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let request = libc::ip_mreqn {
                    imr_multiaddr: libc::in_addr { s_addr: 0 },
                    imr_address: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                    imr_ifindex: index,
                };
                set(self.descriptor.as_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
            }
            Family::V6 => self.set_number(libc::IPV6_MULTICAST_IF, libc::IPPROTO_IPV6, index),
        }
    }

    /// Makes a request about a group, or the second one about a group and a source.
    fn request(&self, options: [libc::c_int; 2], one: &SocketMembership) -> io::Result<()> {
        let level = option_level(one.group.family());
        let group = request_address(one.group.addr());
        let result = match one.source {
            None => {
                let request = GroupRequest { interface: one.interface.number(), group };
                set(self.descriptor.as_fd(), level, options[0], &request)
            }
            Some(source) => {
                let source: IpAddr = source;
                let request = GroupSourceRequest {
                    interface: one.interface.number(),
                    group,
                    source: request_address(source),
                };
                set(self.descriptor.as_fd(), level, options[1], &request)
            }
        };
        result.map_err(|error| match error.raw_os_error() {
            Some(libc::EADDRINUSE) => {
                io::Error::new(io::ErrorKind::AlreadyExists, "the socket has joined it already")
            }
            _ => error,
        })
    }

    fn number(&self, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
        option_of(&self.descriptor, level, option)
    }

    fn set_number(&self, option: libc::c_int, level: libc::c_int, value: libc::c_int) -> io::Result<()> {
        set(self.descriptor.as_fd(), level, option, &value)
    }
}

/// `struct group_req` of RFC 3678 section 5.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct GroupRequest {
    interface: u32,
    group: libc::sockaddr_storage,
}

/// `struct group_source_req` of RFC 3678 section 5.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct GroupSourceRequest {
    interface: u32,
    group: libc::sockaddr_storage,
    source: libc::sockaddr_storage,
}

/// The numbers of the options of a family.
struct OptionNumbers {
    hops: libc::c_int,
    loopback: libc::c_int,
    all: libc::c_int,
}

const fn options(family: Family) -> OptionNumbers {
    match family {
        Family::V4 => OptionNumbers {
            hops: libc::IP_MULTICAST_TTL,
            loopback: libc::IP_MULTICAST_LOOP,
            all: libc::IP_MULTICAST_ALL,
        },
        Family::V6 => OptionNumbers {
            hops: libc::IPV6_MULTICAST_HOPS,
            loopback: libc::IPV6_MULTICAST_LOOP,
            all: libc::IPV6_MULTICAST_ALL,
        },
    }
}

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
            sends_by: self.sends_by(family).ok().flatten(),
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
    use std::net::UdpSocket;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;

    use socket2::{SockFilter, Socket};

    use super::*;

    fn inode(socket: &UdpSocket) -> u64 {
        std::fs::File::from(OwnedFd::from(socket.try_clone().unwrap())).metadata().unwrap().ino()
    }

    fn apply(socket: &UdpSocket, text: &str) -> io::Result<String> {
        let inverse = change(std::process::id(), inode(socket), &text.parse().unwrap())?;
        Ok(inverse.to_string())
    }

    #[test]
    fn every_option_is_set_and_restored_by_its_inverse() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for (text, former) in [
            ("hops ipv4 16", "hops ipv4 1"),
            ("loopback ipv4 off", "loopback ipv4 on"),
            ("all-groups ipv4 off", "all-groups ipv4 on"),
            ("send-by ipv4 1 instead-of route", "send-by ipv4 route instead-of 1"),
            ("send-by ipv4 127.0.0.1 instead-of route", "send-by ipv4 route instead-of 127.0.0.1"),
        ] {
            assert_eq!(apply(&socket, text).unwrap(), former);
            apply(&socket, former).unwrap();
        }
        apply(&socket, "send-by ipv4 127.0.0.1 instead-of route").unwrap();
        let former = apply(&socket, "send-by ipv4 1 instead-of route").unwrap();
        assert_eq!(former, "send-by ipv4 127.0.0.1 instead-of 1");
        let small = apply(&socket, "receive-buffer 65536").unwrap();
        assert_eq!(apply(&socket, &small).unwrap(), "receive-buffer 65536");
    }

    #[test]
    fn group_is_joined_and_left_and_not_joined_twice() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(apply(&socket, "join 239.61.7.9%1").unwrap(), "leave 239.61.7.9%1");
        assert_eq!(apply(&socket, "join 239.61.7.9%1").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        apply(&socket, "leave 239.61.7.9%1").unwrap();
        assert!(apply(&socket, "leave 239.61.7.9%1").is_err());
        apply(&socket, "join 127.0.0.1@232.61.7.9%1").unwrap();
        apply(&socket, "leave 127.0.0.1@232.61.7.9%1").unwrap();
    }

    #[test]
    fn socket_that_is_not_open_any_more_is_not_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (inode, hops) = (inode(&socket), "hops ipv4 9".parse().unwrap());
        drop(socket);
        let _other = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(change(std::process::id(), inode, &hops).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

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
        let sends_by = Some(SendInterface::Route);
        let v6 = GroupOptions { all: true, loopback: false, hop_limit: 7, sends_by };
        assert_eq!(read.groups[&Family::V6], v6);
        let v4 = GroupOptions { all: false, loopback: true, hop_limit: 1, sends_by: None };
        assert_eq!(read.groups[&Family::V4], v4);
    }

    #[test]
    fn chosen_interface_is_read_as_far_as_the_kernel_reports_it() {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_multicast_if_v6(1).unwrap();
        let index = InterfaceIndex::new(1).unwrap();
        assert_eq!(options(&socket).groups[&Family::V6].sends_by, Some(SendInterface::Index(index)));
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        let address = SendInterface::Address(Ipv4Addr::LOCALHOST);
        assert_eq!(options(&socket).groups[&Family::V4].sends_by, Some(address));
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
