//! Dump requests over netlink. Unknown and malformed attributes are skipped, because newer kernels add
//! attributes.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// `NETLINK_ROUTE` and `NETLINK_NETFILTER`.
pub(super) const ROUTE: isize = 0;
pub(super) const NETFILTER: isize = 12;

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: the table changed while it was dumped, so entries may be missing or doubled.
const DUMP_INTERRUPTED: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// The size of the receive buffer. The kernel's replies are at most half as long.
const BUFFER_SIZE: usize = 64 * 1024;
/// How many times a dump is attempted if changes interrupt it.
const DUMP_ATTEMPTS: u32 = 20;

/// A netlink message: its type, and the family header with the attributes.
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
    flags: u16,
    sequence: u32,
}

/// Reads a consistent copy of a table in the calling thread's network namespace.
pub(super) fn dump(protocol: isize, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    for sequence in 1..=DUMP_ATTEMPTS {
        socket.send(&request(kind, sequence, body), 0)?;
        let mut reply = DumpReply::to(sequence);
        while !reply.is_complete {
            let mut bytes = Vec::with_capacity(BUFFER_SIZE);
            match socket.recv(&mut bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            reply.take(&bytes)?;
        }
        if !reply.is_interrupted {
            return Ok(reply.messages);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the table kept changing while it was read"))
}

/// The reply to a dump request received so far.
struct DumpReply {
    sequence: u32,
    messages: Vec<Message>,
    is_complete: bool,
    is_interrupted: bool,
}

impl DumpReply {
    fn to(sequence: u32) -> Self {
        Self { sequence, messages: Vec::new(), is_complete: false, is_interrupted: false }
    }

    /// Adds the messages of one read, ignoring those of earlier requests. Returns an error if the kernel
    /// rejected the request.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        for message in messages(bytes).filter(|message| message.sequence == self.sequence) {
            self.is_interrupted |= message.flags & DUMP_INTERRUPTED != 0;
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => {
                    self.is_complete = true;
                    return error_in(&message.payload).map_or(Ok(()), Err);
                }
                _ => self.messages.push(message),
            }
        }
        Ok(())
    }
}

/// Returns the types and values of the attributes after a header or nested in another attribute.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Masks the flags `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    const KIND_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = (u16_at(bytes, 2)? & KIND_MASK, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// Returns the value of one attribute.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(each, _)| *each == kind).map(|(_, value)| value)
}

pub(super) fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Reads a number in network byte order, which nftables uses.
pub(super) fn be32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn be64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Reads a zero-terminated string.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn request(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(REQUEST | DUMP).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    bytes
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER..length)?.to_vec(),
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn error_in(payload: &[u8]) -> Option<io::Error> {
    let number = u32_at(payload, 0)?.cast_signed();
    (number != 0).then(|| io::Error::from_raw_os_error(number.saturating_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns a message without a body.
    fn message(kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = request(kind, sequence, &[]);
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    #[test]
    fn interrupted_dump_is_detected() {
        let replied = |flags| {
            let mut reply = DumpReply::to(7);
            let bytes = [message(16, flags, 7), message(NLMSG_DONE, 0, 7)].concat();
            reply.take(&bytes).unwrap();
            (reply.is_complete, reply.is_interrupted)
        };
        assert_eq!(replied(0), (true, false));
        assert_eq!(replied(DUMP_INTERRUPTED), (true, true));
    }

    #[test]
    fn messages_of_an_earlier_request_are_ignored() {
        let mut reply = DumpReply::to(7);
        reply.take(&[message(16, 0, 6), message(NLMSG_DONE, 0, 6), message(16, 0, 7)].concat()).unwrap();
        assert_eq!((reply.messages.len(), reply.is_complete), (1, false));
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_terminates_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
