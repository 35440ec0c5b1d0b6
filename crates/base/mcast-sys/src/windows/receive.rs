//! Receiving.

use std::ffi::c_void;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;
use std::{io, ptr};

use mcast_group::InterfaceIndex;
use socket2::SockAddr;
use windows_sys::Win32::Networking::WinSock::{
    CMSGHDR, IP_HOPLIMIT, IP_PKTINFO, IP_RECVTOS, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP,
    IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS, LPFN_WSARECVMSG, MSG_TRUNC,
    SIO_GET_EXTENSION_FUNCTION_POINTER, SOCKET, UDP_SEND_MSG_SIZE, WSABUF, WSAECONNRESET, WSAEMSGSIZE,
    WSAENETRESET, WSAID_WSARECVMSG, WSAIoctl, WSAMSG,
};

use super::errors::last_socket_error;
use super::socket::Socket;
use crate::{Received, SendRequest};

impl Socket {
    /// Does nothing: naming the interface with each datagram costs little here.
    pub fn set_default_interface(&self, _index: InterfaceIndex) {}

    /// Receives one datagram. On Windows the metadata costs nothing extra, so it is included.
    pub fn receive_bare(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.try_receive(buffer) {
                Err(error) if is_icmp_error(&error) => {}
                result => return result,
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::new();
        let mut data =
            WSABUF { len: u32::try_from(buffer.len()).unwrap_or(u32::MAX), buf: buffer.as_mut_ptr() };
        let mut message = WSAMSG {
            name: ptr::null_mut(),
            namelen: 0,
            lpBuffers: &raw mut data,
            dwBufferCount: 1,
            Control: WSABUF { len: Space::len(), buf: space.as_mut_ptr() },
            dwFlags: 0,
        };
        // SAFETY: the closure makes Windows write an address and its length; every pointer in the
        // message points to memory that outlives the call.
        let ((length, truncated), source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                message.name = name.cast();
                message.namelen = *name_length;
                let result = receive_message(self.raw(), &mut message);
                *name_length = message.namelen;
                match result {
                    Ok(length) => Ok((length, message.dwFlags & MSG_TRUNC != 0)),
                    // The part that fits has been received.
                    Err(error) if error.raw_os_error() == Some(WSAEMSGSIZE) => Ok((buffer.len(), true)),
                    Err(error) => Err(error),
                }
            })
        }?;
        let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let length = length.min(buffer.len());
        // The system does not report the full length of a truncated datagram.
        let mut received = Received { truncated, ..Received::bare(length, length, source) };
        space.read(message.Control.len as usize, &mut received);
        Ok(received)
    }
}

/// Returns whether the error is an ICMP error about a sent datagram, reported to a receive call.
fn is_icmp_error(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAECONNRESET | WSAENETRESET))
}

/// Receives a datagram with its control messages; returns its length.
///
/// # Safety
/// Every pointer in the message must point to live memory of the given length.
pub(super) unsafe fn receive_message(socket: SOCKET, message: &mut WSAMSG) -> io::Result<usize> {
    let Some(receive) = function(socket)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut length = 0;
    // SAFETY: guaranteed by the caller. Without an overlapped structure, the call is complete when
    // it returns.
    match unsafe { receive(socket, message, &raw mut length, ptr::null_mut(), None) } {
        0 => Ok(length as usize),
        _ => Err(last_socket_error()),
    }
}

/// Returns the function, looked up once: it is the same for all UDP sockets of Windows' own
/// provider.
fn function(socket: SOCKET) -> io::Result<LPFN_WSARECVMSG> {
    static FUNCTION: OnceLock<LPFN_WSARECVMSG> = OnceLock::new();

    if let Some(function) = FUNCTION.get() {
        return Ok(*function);
    }
    let id = WSAID_WSARECVMSG;
    let mut function: LPFN_WSARECVMSG = None;
    let mut returned = 0;
    // SAFETY: the identifier is read and the pointer written, each with its size. A null pointer is
    // `None` of the optional function.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast::<c_void>(),
            size_of_val(&id) as u32,
            (&raw mut function).cast::<c_void>(),
            size_of::<LPFN_WSARECVMSG>() as u32,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    if result != 0 {
        return Err(last_socket_error());
    }
    Ok(*FUNCTION.get_or_init(|| function))
}

// Control messages: metadata that Windows reports with a received datagram, and settings passed
// with a sent one.

/// The size of the control messages of one datagram, received or sent.
const SPACE: usize = 256;

/// The offset of a message's data (`WSA_CMSG_DATA`): the header's size is a multiple of the data
/// alignment.
const HEADER: usize = size_of::<CMSGHDR>();
/// The alignment of messages (`WSA_CMSGHDR_ALIGN`).
const ALIGNMENT: usize = align_of::<CMSGHDR>();

/// Memory for control messages.
#[repr(C, align(8))]
pub(crate) struct Space([u8; SPACE]);

impl Space {
    pub(crate) const fn new() -> Self {
        Self([0; SPACE])
    }

    pub(crate) const fn len() -> u32 {
        SPACE as u32
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// Reads the messages in the first `length` bytes of the memory.
    pub(crate) fn read(&self, length: usize, received: &mut Received) {
        for (level, kind, value) in messages(self.0.get(..length).unwrap_or_default()) {
            apply(level, kind, value, received);
        }
    }

    /// Writes the control messages for a datagram, or for a segmented buffer with datagrams of this
    /// size; returns their length.
    pub(crate) fn write(&mut self, transmit: &SendRequest<'_>, segment: Option<u32>) -> u32 {
        let used = self.write_interface(transmit);
        match segment {
            Some(size) => self.put(used, IPPROTO_UDP, UDP_SEND_MSG_SIZE, &[&size.to_ne_bytes()]) as u32,
            None => used as u32,
        }
    }

    /// Writes the interface of a unicast datagram. For multicast, the interface is a socket option.
    fn write_interface(&mut self, transmit: &SendRequest<'_>) -> usize {
        let Some(interface) = transmit.interface.filter(|_| !transmit.to.ip().is_multicast()) else {
            return 0;
        };
        let index = interface.number().to_ne_bytes();
        match (transmit.to.ip(), transmit.source) {
            (IpAddr::V4(_), source) => {
                let source = match source {
                    Some(IpAddr::V4(source)) => source,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                self.put(0, IPPROTO_IP, IP_PKTINFO, &[&source.octets(), &index])
            }
            (IpAddr::V6(_), source) => {
                let source = match source {
                    Some(IpAddr::V6(source)) => source,
                    _ => Ipv6Addr::UNSPECIFIED,
                };
                self.put(0, IPPROTO_IPV6, IPV6_PKTINFO, &[&source.octets(), &index])
            }
        }
    }

    /// Appends a message and returns the length of all. The memory suffices for all messages that
    /// are written together.
    fn put(&mut self, used: usize, level: i32, kind: i32, parts: &[&[u8]]) -> usize {
        let length = HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
        let header = [&length.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes()];
        let bytes = header.iter().chain(parts).flat_map(|part| part.iter());
        for (slot, byte) in self.0.iter_mut().skip(used).zip(bytes) {
            *slot = *byte;
        }
        used + length.next_multiple_of(ALIGNMENT)
    }
}

/// Returns level, type and value of each message, up to the first incomplete one.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from_ne_bytes(*bytes.first_chunk()?);
        let level = number(bytes.get(size_of::<usize>()..)?)?;
        let kind = number(bytes.get(size_of::<usize>() + 4..)?)?;
        let value = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((level, kind, value))
    })
}

/// Reads one message. Windows reports the IPv4 hop limit and traffic class under the name of the
/// requesting option; Wine uses `IP_TTL` and `IP_TOS`.
fn apply(level: i32, kind: i32, value: &[u8], received: &mut Received) {
    match (level, kind) {
        (IPPROTO_IP, IP_PKTINFO) => {
            received.destination = value.first_chunk::<4>().map(|octets| IpAddr::from(*octets));
            received.interface = value.get(4..).and_then(index);
        }
        (IPPROTO_IPV6, IPV6_PKTINFO) => {
            received.destination = value.first_chunk::<16>().map(|octets| IpAddr::from(*octets));
            received.interface = value.get(16..).and_then(index);
        }
        (IPPROTO_IP, IP_HOPLIMIT | IP_TTL) | (IPPROTO_IPV6, IPV6_HOPLIMIT) => {
            received.hop_limit = number(value).and_then(|hops| u8::try_from(hops).ok());
        }
        (IPPROTO_IP, IP_TOS | IP_RECVTOS) | (IPPROTO_IPV6, IPV6_TCLASS | IPV6_RECVTCLASS) => {
            received.traffic_class = number(value).and_then(|class| u8::try_from(class).ok());
        }
        _ => {}
    }
}

fn number(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

fn index(bytes: &[u8]) -> Option<InterfaceIndex> {
    InterfaceIndex::new(number(bytes)?.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Received {
        Received::bare(0, 0, "10.0.0.1:1".parse().unwrap())
    }

    fn message(level: i32, kind: i32, value: &[u8]) -> Vec<u8> {
        let mut space = Space::new();
        let length = space.put(0, level, kind, &[value]);
        space.0[..length].to_vec()
    }

    fn read(bytes: &[u8]) -> Received {
        let mut space = Space::new();
        space.0[..bytes.len()].copy_from_slice(bytes);
        let mut received = received();
        space.read(bytes.len(), &mut received);
        received
    }

    #[test]
    fn the_control_messages_of_a_datagram_are_read() {
        let bytes = [
            message(IPPROTO_IP, IP_PKTINFO, &[239, 1, 2, 3, 7, 0, 0, 0]),
            message(IPPROTO_IP, IP_TTL, &4_i32.to_ne_bytes()),
            message(IPPROTO_IP, IP_TOS, &0xb8_i32.to_ne_bytes()),
        ]
        .concat();
        let received = read(&bytes);
        assert_eq!(received.destination, Some("239.1.2.3".parse().unwrap()));
        assert_eq!(received.interface, InterfaceIndex::new(7));
        assert_eq!((received.hop_limit, received.traffic_class), (Some(4), Some(0xb8)));
    }

    #[test]
    fn incomplete_messages_are_skipped() {
        let whole = message(IPPROTO_IP, IP_PKTINFO, &[239, 1, 2, 3, 7, 0, 0, 0]);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).destination, None, "{length} bytes");
        }
    }

    #[test]
    fn the_outgoing_interface_is_written() {
        for (to, source) in [("10.1.2.3:5", None), ("[fe80::2]:5", Some("fe80::1".parse().unwrap()))] {
            let transmit = SendRequest {
                payload: b"",
                to: to.parse().unwrap(),
                interface: InterfaceIndex::new(9),
                source,
                hop_limit: None,
                traffic_class: None,
                launch: None,
            };
            let mut space = Space::new();
            let length = space.write(&transmit, None) as usize;
            let mut received = received();
            space.read(length, &mut received);
            assert_eq!(received.interface, InterfaceIndex::new(9));
            assert!(
                received.destination.is_some_and(|address| source.is_none_or(|source| source == address))
            );
        }
    }

    #[test]
    fn the_segment_size_is_written_last() {
        for (to, others) in [("10.1.2.3:5", 1), ("239.1.2.3:5", 0)] {
            let transmit = SendRequest {
                payload: b"",
                to: to.parse().unwrap(),
                interface: InterfaceIndex::new(9),
                source: None,
                hop_limit: None,
                traffic_class: None,
                launch: None,
            };
            let mut space = Space::new();
            let length = space.write(&transmit, Some(1200)) as usize;
            let written: Vec<_> = messages(&space.0[..length]).collect();
            let last = (IPPROTO_UDP, UDP_SEND_MSG_SIZE, &1200_u32.to_ne_bytes()[..]);
            assert_eq!((written.len(), written.last()), (others + 1, Some(&last)), "{to}");
        }
    }
}
