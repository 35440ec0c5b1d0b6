//! Questions to the kernel over netlink. Only the attributes that are wanted are looked at; what is
//! unknown or malformed is passed over, as every kernel has more of them.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// `NETLINK_ROUTE` and `NETLINK_NETFILTER`.
pub(super) const ROUTE: isize = 0;
pub(super) const NETFILTER: isize = 12;

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// The kernel's answers are at most half as long.
const LONGEST: usize = 64 * 1024;

/// A message of an answer: what it is, and its header and attributes.
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
}

/// Asks for a whole table, in the calling thread's network namespace.
pub(super) fn dump(protocol: isize, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(kind, body), 0)?;
    let mut answers = Vec::new();
    loop {
        let mut bytes = Vec::with_capacity(LONGEST);
        match socket.recv(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        for message in messages(&bytes) {
            match message.kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => return refusal(&message.payload).map_or(Ok(answers), Err),
                _ => answers.push(message),
            }
        }
    }
}

/// The attributes behind a header, or nested in another: their kinds and values.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Without the flags for "nested" and "network byte order".
    const KIND_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = (u16_at(bytes, 2)? & KIND_MASK, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// The value of one attribute.
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

/// A number in network byte order, as nftables has them.
pub(super) fn be32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn be64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Text with the zero byte at its end.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(REQUEST | DUMP).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(body);
    bytes
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Message { kind: u16_at(bytes, 4)?, payload: bytes.get(HEADER..length)?.to_vec() };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn refusal(payload: &[u8]) -> Option<io::Error> {
    let number = u32_at(payload, 0)?.cast_signed();
    (number != 0).then(|| io::Error::from_raw_os_error(number.saturating_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
