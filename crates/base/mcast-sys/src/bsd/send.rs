//! Sending.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::PoisonError;

use mcast_group::{Family, Group, InterfaceIndex};
use socket2::SockAddr;

use super::layout::is_scoped;
use super::os;
use super::receive::SEND_SPACE;
use super::socket::{MulticastV4, Socket};
use crate::cmsg::{Space, Writer};
use crate::{Interface, SendRequest};

impl Socket {
    /// Sends one datagram.
    pub fn send(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        if !transmit.to.ip().is_multicast() {
            return self.send_to_one(transmit);
        }
        match self.family {
            Family::V4 => {
                let mut options = self.multicast_v4.lock().unwrap_or_else(PoisonError::into_inner);
                self.use_interface(&mut options, transmit.interface)?;
                let hop_limit = transmit.hop_limit.unwrap_or(options.hop_limit);
                self.use_hop_limit(&mut options, hop_limit)?;
                self.send_message(transmit)
            }
            Family::V6 => self.send_message(transmit),
        }
    }

    /// Sends to a unicast address.
    ///
    /// A socket bound to a group would send from the group's address, so another socket sends
    /// instead. It is bound to the interface's address and the same port, and connected, so that it
    /// does not receive datagrams that others send to that port.
    fn send_to_one(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        let Some(interface) = transmit.interface.filter(|_| self.bound_to_group) else {
            return self.send_message(transmit);
        };
        let source = match transmit.source {
            Some(source) => source,
            None => source_towards(transmit.to.ip(), interface)?,
        };
        let substitute = Self::open(self.family)?;
        substitute.share_port()?;
        let port = self.local_address()?.port();
        substitute.bind(scoped(SocketAddr::new(source, port), Some(interface)))?;
        os::leave_by(&substitute.socket, self.family, interface)?;
        substitute.socket.connect(&SockAddr::from(scoped(transmit.to, Some(interface))))?;
        substitute.socket.send(transmit.payload).map(|_| ())
    }

    fn send_message(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        let to = SockAddr::from(scoped(transmit.to, transmit.interface));
        let mut vector = libc::iovec {
            iov_base: transmit.payload.as_ptr().cast_mut().cast(),
            iov_len: transmit.payload.len(),
        };
        // SAFETY: `msghdr` is plain data, for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        let mut space = Space::<SEND_SPACE>::new();
        let mut control = Writer::new(&mut space);
        match self.family {
            Family::V4 => push_control_v4(&mut control, transmit),
            Family::V6 => control.push_ipv6(transmit),
        }
        control.finish(&mut header);
        // SAFETY: every pointer in the header points to memory that outlives the call.
        match unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const header, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Sets the interface for outgoing IPv4 multicast, unless it is already set.
    fn use_interface(&self, options: &mut MulticastV4, interface: Option<InterfaceIndex>) -> io::Result<()> {
        if options.interface_set == interface {
            return Ok(());
        }
        let request = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: 0 },
            // Zero returns the choice to the routing table.
            imr_ifindex: interface.map_or(0, InterfaceIndex::number).cast_signed(),
        };
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)?;
        options.interface_set = interface;
        Ok(())
    }

    /// Sets the hop limit for IPv4 multicast, unless it is already set.
    pub(super) fn use_hop_limit(&self, options: &mut MulticastV4, hops: u8) -> io::Result<()> {
        if options.hop_limit_set == hops {
            return Ok(());
        }
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, hops)?;
        options.hop_limit_set = hops;
        Ok(())
    }
}

/// Writes the control messages for IPv4. Interface and hop limit are options of the socket; see
/// [`Socket::send`].
fn push_control_v4(control: &mut Writer<'_, SEND_SPACE>, transmit: &SendRequest<'_>) {
    if let Some(class) = transmit.traffic_class {
        control.push(libc::IPPROTO_IP, libc::IP_TOS, os::TrafficClassV4::from(class));
    }
}

/// Returns the best address of an interface to send to this host from: one in the same network, or
/// else the first that is ready.
fn source_towards(to: IpAddr, interface: InterfaceIndex) -> io::Result<IpAddr> {
    let interfaces = super::interface::list()?;
    let addresses = interfaces.iter().find(|each| each.index == interface).map(Interface::usable_addresses);
    let mut candidates =
        addresses.into_iter().flatten().filter(|each| each.address.is_ipv4() == to.is_ipv4());
    let first = candidates.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let best = std::iter::once(first).chain(candidates).find(|each| each.contains(to)).unwrap_or(first);
    Ok(best.address)
}

/// Adds the interface to an address that is only meaningful on one link.
fn scoped(address: SocketAddr, interface: Option<InterfaceIndex>) -> SocketAddr {
    match (address, interface) {
        (SocketAddr::V6(address), Some(interface))
            if address.scope_id() == 0 && needs_scope(*address.ip()) =>
        {
            SocketAddrV6::new(*address.ip(), address.port(), address.flowinfo(), interface.number()).into()
        }
        _ => address,
    }
}

fn needs_scope(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local() || Group::new(address.into()).is_ok_and(is_scoped)
}
