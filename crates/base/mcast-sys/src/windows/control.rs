//! Control messages: metadata that Windows reports with a received datagram, and settings passed
//! with a sent one.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::InterfaceIndex;
use windows_sys::Win32::Networking::WinSock::{
    CMSGHDR, IP_HOPLIMIT, IP_PKTINFO, IP_RECVTOS, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP,
    IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS, UDP_SEND_MSG_SIZE,
};

use crate::{Received, SendRequest};

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
