//! Sockets for peers that do not open them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, bail};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::{sys, work::Work};

/// How a receiving socket is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Options {
    /// Minimal: bound to the port, joined.
    AsWritten,
    /// As mcast's: bound to the group, without groups of other programs, with all metadata.
    AsMcast,
}

/// Opens a socket that has joined the group.
pub(super) fn receiving(work: &Work, options: Options) -> Result<UdpSocket> {
    let (group, interface) = v4(work)?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    if options == Options::AsMcast {
        enable_metadata(&socket)?;
        socket.set_multicast_all_v4(false)?;
    }
    if work.buffer > 0 {
        set_buffer(&socket, work.buffer)?;
    }
    let bound = match options {
        Options::AsWritten => Ipv4Addr::UNSPECIFIED,
        Options::AsMcast => group,
    };
    socket.bind(&SocketAddr::new(bound.into(), work.port).into())?;
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Address(interface)).context("join")?;
    Ok(socket.into())
}

/// Opens a socket that sends to groups on the interface.
pub(super) fn sending(work: &Work) -> Result<UdpSocket> {
    let (_, interface) = v4(work)?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_if_v4(&interface)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.bind(&SocketAddr::new(interface.into(), 0).into())?;
    Ok(socket.into())
}

/// Returns the group and the address of the interface.
fn v4(work: &Work) -> Result<(Ipv4Addr, Ipv4Addr)> {
    match (work.group, work.address) {
        (IpAddr::V4(group), IpAddr::V4(address)) => Ok((group, address)),
        _ => bail!("this peer is compared on IPv4 only"),
    }
}

fn enable_metadata(socket: &Socket) -> Result<()> {
    sys::set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    sys::set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    for option in [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS] {
        sys::set(socket, libc::IPPROTO_IP, option, 1)?;
    }
    Ok(())
}

/// Sets the receive buffer as mcast does: beyond `net.core.rmem_max` if permitted.
pub(crate) fn set_buffer(socket: &(impl AsRawFd + AsFd), bytes: usize) -> Result<()> {
    let requested = i32::try_from(bytes).context("the buffer is too large")?;
    if sys::set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, requested).is_err() {
        SockRef::from(socket).set_recv_buffer_size(bytes)?;
    }
    Ok(())
}
