//! Requests to the kernel over rtnetlink, and parsing its replies.
//!
//! Unknown attributes and malformed messages are skipped: every kernel release adds attributes, and
//! a listing must not fail because of one.

use std::io::{self, Read};
use std::mem::size_of;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Larger than any dump message of the kernel (at most 32 KiB).
const BUFFER: usize = 64 * 1024;
/// How often a dump is attempted that changes interrupt.
const DUMP_ATTEMPTS: u32 = 20;

/// `NLA_TYPE_MASK`: the attribute type without the "nested" and "byte order" flags.
const KIND_MASK: u16 = 0x3fff;

/// A socket for requests. It operates in the network namespace it was opened in, whichever thread
/// uses it later.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A message of a reply: its type (`RTM_NEW…`), and its header and attributes.
pub(crate) struct Answer {
    pub kind: u16,
    pub payload: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: open_socket()?, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Requests a whole table, consistent at one moment.
    pub(crate) fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Answer>> {
        for _ in 0..DUMP_ATTEMPTS {
            let (answers, interrupted) = self.exchange(kind, libc::NLM_F_DUMP, body)?;
            if !interrupted {
                return Ok(answers);
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the table kept changing while it was read"))
    }

    /// Sends a single request. A refusal by the kernel is returned as the error.
    pub(crate) fn request_one(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Answer>> {
        Ok(self.exchange(kind, libc::NLM_F_ACK, body)?.0)
    }

    /// Sends a request and collects the messages up to the end marker, which both a dump and an
    /// acknowledged request have. Also returns whether a change interrupted the dump.
    fn exchange(&mut self, kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<(Vec<Answer>, bool)> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(kind, libc::NLM_F_REQUEST | flags, self.sequence, body))?;
        let (mut answers, mut interrupted) = (Vec::new(), false);
        loop {
            let length = (&self.socket).read(&mut self.buffer)?;
            for message in
                messages(&self.buffer[..length]).filter(|message| message.sequence == self.sequence)
            {
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        return error_number(message.payload).map(|()| (answers, interrupted));
                    }
                    _ => answers.push(Answer { kind: message.kind, payload: message.payload.to_vec() }),
                }
            }
        }
    }
}

/// Opens a nonblocking socket on which the kernel reports changes in these groups (`RTMGRP_…`) of
/// the current namespace.
pub(crate) fn listen(groups: u32) -> io::Result<Socket> {
    let socket = open_socket()?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_nl` is plain data that begins with its family, as every address does.
    let address = unsafe { storage.view_as::<libc::sockaddr_nl>() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    // SAFETY: the storage holds a `sockaddr_nl` of that size.
    let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_nl>() as libc::socklen_t) };
    socket.bind(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn open_socket() -> io::Result<Socket> {
    Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(libc::NETLINK_ROUTE)))
}

/// A netlink message in a buffer.
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub payload: &'a [u8],
    flags: libc::c_int,
    sequence: u32,
}

/// Returns the messages in the result of one read, up to the first incomplete one.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: i32::from(u16_at(bytes, 6)?),
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(size_of::<libc::nlmsghdr>()..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Returns the types and values of the attributes after a message's header or nested in another.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = (u16_at(bytes, 2)? & KIND_MASK, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// Appends an attribute to a request's body. `value` must be short.
pub(crate) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    body.extend_from_slice(&(length as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

pub(crate) fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Returns the bytes of a request: `nlmsghdr` and its body.
fn request(kind: u16, flags: libc::c_int, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = size_of::<libc::nlmsghdr>() + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&(length as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(flags as u16).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Reads the error number of an end marker, which is zero or negative. (Before Linux 4.x the end of
/// a dump carried no number.)
fn error_number(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0).map(u32::cast_signed) {
        None | Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pushed_attributes_are_read_back() {
        let mut body = Vec::new();
        push_attribute(&mut body, 3, b"eth0\0");
        push_attribute(&mut body, 0x8000 | 18, &[1, 2, 3, 4]);
        let read: Vec<_> = attributes(&body).collect();
        assert_eq!(read, [(3, &b"eth0\0"[..]), (18, &[1, 2, 3, 4][..])]);
    }

    #[test]
    fn encoded_messages_are_read_back() {
        let mut bytes = request(16, 0, 7, &[9; 16]);
        bytes.extend(request(3, libc::NLM_F_DUMP_INTR, 8, &[]));
        let read: Vec<_> = messages(&bytes).map(|m| (m.kind, m.flags, m.sequence, m.payload.len())).collect();
        assert_eq!(read, [(16, 0, 7, 16), (3, libc::NLM_F_DUMP_INTR, 8, 0)]);
    }

    #[test]
    fn a_refusal_is_its_error_number() {
        let error = error_number(&(-libc::ENETUNREACH).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
        assert!(error_number(&0_i32.to_ne_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
