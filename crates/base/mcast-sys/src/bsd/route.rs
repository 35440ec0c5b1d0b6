//! The interface that the routing table selects, queried on a routing socket with `RTM_GET`.
//!
//! Connecting a socket and reading its local address would not find an interface without an
//! address.

use std::io::{self, Read};
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use mcast_group::InterfaceIndex;
use socket2::{Domain, Protocol, Socket, Type};

use super::os::{ROUTE_ALIGNMENT, ROUTE_HEADER};
use crate::readable::readable;

/// The kernel replies at once; the timeout is for a reply that gets lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// Distinguishes replies to this process's requests.
static SEQUENCE: AtomicI32 = AtomicI32::new(1);

/// Opens a socket on which the kernel reports changes and replies to requests.
pub(super) fn open_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(libc::PF_ROUTE), Type::RAW, Some(Protocol::from(libc::AF_UNSPEC)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns the interface by which datagrams to the address leave unless a socket option names
/// another; `None` if there is no route, or one that rejects.
pub fn interface_towards(address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
    let socket = open_socket()?;
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    match socket.send(&request(address, sequence)) {
        Ok(_) => read_reply(&socket, sequence),
        Err(error) if is_no_route(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn request(address: IpAddr, sequence: i32) -> Vec<u8> {
    let mut bytes = vec![0; ROUTE_HEADER];
    bytes[2] = libc::RTM_VERSION as u8;
    bytes[3] = libc::RTM_GET as u8;
    bytes[12..16].copy_from_slice(&(libc::RTA_DST | libc::RTA_IFP).to_ne_bytes());
    bytes[20..24].copy_from_slice(&sequence.to_ne_bytes());
    push_padded(&mut bytes, destination(&address).as_slice());
    // Including an (empty) interface in the addresses requests the interface.
    let mut link = vec![0; size_of::<libc::sockaddr_dl>()];
    link[0] = link.len() as u8;
    link[1] = libc::AF_LINK as u8;
    push_padded(&mut bytes, &link);
    let length = bytes.len() as u16;
    bytes[0..2].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// Returns the address as `sockaddr_in` or `sockaddr_in6`; the port and all other fields are zero.
fn destination(address: &IpAddr) -> Vec<u8> {
    let (family, size, position, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET, size_of::<libc::sockaddr_in>(), 4, &address.octets()[..]),
        IpAddr::V6(address) => (libc::AF_INET6, size_of::<libc::sockaddr_in6>(), 8, &address.octets()[..]),
    };
    let mut bytes = vec![0; size];
    bytes[0] = size as u8;
    bytes[1] = family as u8;
    bytes[position..position + octets.len()].copy_from_slice(octets);
    bytes
}

fn push_padded(bytes: &mut Vec<u8>, address: &[u8]) {
    bytes.extend_from_slice(address);
    bytes.resize(ROUTE_HEADER + (bytes.len() - ROUTE_HEADER).next_multiple_of(ROUTE_ALIGNMENT), 0);
}

/// Reads messages up to the reply, skipping notifications.
fn read_reply(socket: &Socket, sequence: i32) -> io::Result<Option<InterfaceIndex>> {
    let deadline = Instant::now() + REPLY_TIMEOUT;
    let mut buffer = [0; 2048];
    while readable(socket.as_fd(), Some(deadline.saturating_duration_since(Instant::now())))? {
        let length = match (&*socket).read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(found) = buffer.get(..length).and_then(|message| parse_reply(message, sequence)) {
            return found;
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not reply to a route request"))
}

/// Returns the reply in a message if it belongs to this request of this process.
fn parse_reply(message: &[u8], sequence: i32) -> Option<io::Result<Option<InterfaceIndex>>> {
    let int_at = |position: usize| {
        message.get(position..).and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes))
    };
    let is_ours = libc::c_int::from(*message.get(3)?) == libc::RTM_GET
        && int_at(16)?.cast_unsigned() == std::process::id()
        && int_at(20)? == sequence;
    if !is_ours {
        return None;
    }
    let refuses = int_at(8)? & (libc::RTF_REJECT | libc::RTF_BLACKHOLE) != 0;
    Some(match int_at(24)? {
        0 if refuses => Ok(None),
        0 => {
            let index = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
            Ok(InterfaceIndex::new(index.into()))
        }
        number => match io::Error::from_raw_os_error(number) {
            error if is_no_route(&error) => Ok(None),
            error => Err(error),
        },
    })
}

/// Returns whether the error means that there is no route, including a system without the address
/// family.
fn is_no_route(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ESRCH | libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}
