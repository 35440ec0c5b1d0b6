//! Requests to the kernel over netlink, and parsing its replies.
//!
//! Unknown attributes and malformed messages are skipped: every kernel release adds attributes, and
//! a listing must not fail because of one.

use std::ffi::CStr;
use std::io::{self, Read};
use std::mem::size_of;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Larger than any dump message of the kernel (at most 32 KiB).
const BUFFER: usize = 64 * 1024;
/// How often a dump is attempted that changes interrupt.
const DUMP_ATTEMPTS: u32 = 20;

/// `NLA_TYPE_MASK`: the attribute type without the "nested" and "byte order" flags.
const KIND_MASK: u16 = 0x3fff;

/// The size of `struct genlmsghdr`.
pub const GENERIC_HEADER: usize = 4;

/// The part of the kernel that a netlink socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetlinkProtocol {
    /// Interfaces, addresses, routes and bridges (`rtnetlink(7)`).
    Route,
    /// The firewall (nftables).
    Netfilter,
    /// Policies and associations of IPsec (`ip-xfrm(8)`).
    Ipsec,
    /// Families by name, such as that of network devices ([`Netlink::family`]).
    Generic,
}

/// A socket for requests. It operates in the network namespace it was opened in, whichever thread
/// uses it later.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A change in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetlinkChange {
    /// The message type.
    pub kind: u16,
    /// Flags (`NLM_F_CREATE`, ...) beside the usual ones.
    pub flags: u16,
    /// The header of that type, and the attributes.
    pub body: Vec<u8>,
}

/// A message of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetlinkReply {
    /// The message type, such as `RTM_NEWLINK`.
    pub kind: u16,
    /// The header of that type, and the attributes.
    pub payload: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(protocol: NetlinkProtocol) -> io::Result<Self> {
        Ok(Self { socket: open_socket(protocol)?, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Requests a whole table, consistent at one moment.
    pub fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<NetlinkReply>> {
        Ok(self.dump_at_most(kind, body, usize::MAX)?.unwrap_or_default())
    }

    /// Like [`Self::dump`], unless the table takes more than this number of bytes: returns `None` then. The rest of the table
    /// remains in the socket, which must be dropped.
    pub fn dump_at_most(
        &mut self,
        kind: u16,
        body: &[u8],
        bytes: usize,
    ) -> io::Result<Option<Vec<NetlinkReply>>> {
        for _ in 0..DUMP_ATTEMPTS {
            let collected = self.exchange(kind, libc::NLM_F_DUMP, body, bytes)?;
            if !collected.is_complete {
                return Ok(None);
            }
            if !collected.is_interrupted {
                return Ok(Some(collected.replies));
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the table kept changing while it was read"))
    }

    /// Sends a single request, with these flags (`NLM_F_CREATE`, ...) beside the usual ones. A
    /// refusal by the kernel is returned as the error.
    pub fn request_one(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<NetlinkReply>> {
        Ok(self.exchange(kind, libc::NLM_F_ACK | i32::from(flags), body, usize::MAX)?.replies)
    }

    /// Returns the message type of a family of generic netlink; `None` if the kernel does not have it.
    pub fn family(&mut self, name: &CStr) -> io::Result<Option<u16>> {
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut body = generic(GET_FAMILY);
        push_attribute(&mut body, FAMILY_NAME, name.to_bytes_with_nul());
        match self.request_one(libc::GENL_ID_CTRL as u16, 0, &body) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
            Ok(replies) => Ok(replies
                .iter()
                .find_map(|reply| attribute(reply.payload.get(GENERIC_HEADER..)?, FAMILY_ID))
                .and_then(|value| u16_at(value, 0))),
        }
    }

    /// Applies changes of a subsystem of netfilter (`NFNL_SUBSYS_…`), either all of them or none. The first refusal
    /// by the kernel is returned as the error.
    pub fn apply(&mut self, subsystem: u16, changes: &[NetlinkChange]) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let last = first.wrapping_add(changes.len() as u32);
        self.sequence = last.wrapping_add(1);
        self.socket.send(&batch(subsystem, first, changes))?;
        let mut answered = 0;
        while answered < changes.len() {
            let length = match (&self.socket).read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            for message in messages(&self.buffer[..length]) {
                if i32::from(message.kind) == libc::NLMSG_ERROR && (first..=last).contains(&message.sequence)
                {
                    error_number(message.payload)?;
                    answered += 1;
                }
            }
        }
        Ok(())
    }

    /// Sends a request and collects the messages up to the end marker, which both a dump and an
    /// acknowledged request have, or until there are more than this number of bytes.
    fn exchange(
        &mut self,
        kind: u16,
        flags: libc::c_int,
        body: &[u8],
        most: usize,
    ) -> io::Result<CollectedReplies> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(kind, libc::NLM_F_REQUEST | flags, self.sequence, body))?;
        let mut collected = CollectedReplies::to(self.sequence);
        while !collected.is_complete && collected.bytes <= most {
            match (&self.socket).read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                length => collected.take(&self.buffer[..length?])?,
            }
        }
        Ok(collected)
    }
}

/// The replies to a request received so far.
struct CollectedReplies {
    sequence: u32,
    replies: Vec<NetlinkReply>,
    /// The length of their payloads.
    bytes: usize,
    is_complete: bool,
    /// The table changed while it was dumped, so entries may be missing or doubled.
    is_interrupted: bool,
}

impl CollectedReplies {
    const fn to(sequence: u32) -> Self {
        Self { sequence, replies: Vec::new(), bytes: 0, is_complete: false, is_interrupted: false }
    }

    /// Adds the messages of one read, ignoring those of earlier requests. Returns an error if the
    /// kernel refused the request.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        for message in messages(bytes).filter(|message| message.sequence == self.sequence) {
            self.is_interrupted |= message.flags & libc::NLM_F_DUMP_INTR != 0;
            match i32::from(message.kind) {
                libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                    self.is_complete = true;
                    return error_number(message.payload);
                }
                _ => {
                    self.bytes += message.payload.len();
                    let (kind, payload) = (message.kind, message.payload.to_vec());
                    self.replies.push(NetlinkReply { kind, payload });
                }
            }
        }
        Ok(())
    }
}

/// Opens a nonblocking socket on which the kernel reports changes in these groups (`RTMGRP_…`) of
/// the current namespace.
pub(crate) fn listen(groups: u32) -> io::Result<Socket> {
    let socket = open_socket(NetlinkProtocol::Route)?;
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

fn open_socket(protocol: NetlinkProtocol) -> io::Result<Socket> {
    let number = match protocol {
        NetlinkProtocol::Route => libc::NETLINK_ROUTE,
        NetlinkProtocol::Netfilter => libc::NETLINK_NETFILTER,
        NetlinkProtocol::Ipsec => libc::NETLINK_XFRM,
        NetlinkProtocol::Generic => libc::NETLINK_GENERIC,
    };
    Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(number)))
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
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = (u16_at(bytes, 2)? & KIND_MASK, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// Returns the value of one attribute.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(each, _)| *each == kind).map(|(_, value)| value)
}

/// Decodes a NUL-terminated string.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Appends an attribute to a request's body. `value` must be short.
pub fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    body.extend_from_slice(&(length as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Reads a number in native byte order.
pub fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Reads a number in native byte order.
pub fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Returns the header of a command of a family of generic netlink, in the first version.
#[must_use]
pub fn generic(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

/// Reads a number in native byte order.
pub fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
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

/// Returns the bytes of a batch: a begin marker with the sequence number `first`, the changes with the following
/// numbers, and an end marker.
fn batch(subsystem: u16, first: u32, changes: &[NetlinkChange]) -> Vec<u8> {
    const BEGIN: u16 = 0x10;
    const END: u16 = 0x11;
    // `struct nfgenmsg`: family, version, and the subsystem in network byte order.
    let [high, low] = subsystem.to_be_bytes();
    let marker = |kind, sequence| request(kind, libc::NLM_F_REQUEST, sequence, &[0, 0, high, low]);
    let mut bytes = marker(BEGIN, first);
    for (sequence, change) in (first.wrapping_add(1)..).zip(changes) {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | i32::from(change.flags);
        bytes.extend(request(change.kind, flags, sequence, &change.body));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend(marker(END, first.wrapping_add(changes.len() as u32 + 1)));
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
    fn batch_numbers_its_changes_between_two_markers() {
        let change = NetlinkChange { kind: 0xa00, flags: libc::NLM_F_CREATE as u16, body: vec![9; 6] };
        let bytes = batch(10, 7, &[change.clone(), change]);
        let read: Vec<_> = messages(&bytes).map(|m| (m.kind, m.sequence, m.payload.len())).collect();
        assert_eq!(read, [(0x10, 7, 4), (0xa00, 8, 6), (0xa00, 9, 6), (0x11, 10, 4)]);
    }

    #[test]
    fn an_interrupted_dump_is_detected() {
        let collected = |flags| {
            let mut collected = CollectedReplies::to(7);
            let end = request(libc::NLMSG_DONE as u16, 0, 7, &[]);
            collected.take(&[request(16, flags, 7, &[]), end].concat()).unwrap();
            (collected.is_complete, collected.is_interrupted)
        };
        assert_eq!(collected(0), (true, false));
        assert_eq!(collected(libc::NLM_F_DUMP_INTR), (true, true));
    }

    #[test]
    fn messages_of_an_earlier_request_are_ignored() {
        let mut collected = CollectedReplies::to(7);
        let end = request(libc::NLMSG_DONE as u16, 0, 6, &[]);
        collected.take(&[request(16, 0, 6, &[]), end, request(16, 0, 7, &[])].concat()).unwrap();
        assert_eq!((collected.replies.len(), collected.is_complete), (1, false));
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
