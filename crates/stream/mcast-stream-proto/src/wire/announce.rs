//! Announcements: the name and the paths of a stream, sent to a well-known group.
//!
//! The body is a list of fields: kind, length, value. Unknown fields are ignored.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{WireError, array, u16_at, u64_at};
use super::view::{DatagramWriter, WriteError};

const NAME: u8 = 1;
const PATH: u8 = 2;
const SNAPSHOT: u8 = 3;
const RATE: u8 = 4;
const KEY: u8 = 5;
const VERSIONS: u8 = 6;
const PUBLIC_KEY: u8 = 7;
/// The largest number of paths: the header has two bits for the path.
const MOST_PATHS: usize = 4;

/// A path of a stream as announced: the group, and the source if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnouncedPath {
    /// The group and its port.
    pub group: SocketAddr,
    /// The unicast address of the publisher, if announced.
    pub source: Option<IpAddr>,
}

impl AnnouncedPath {
    /// Creates a path.
    #[must_use]
    pub const fn new(group: SocketAddr, source: Option<IpAddr>) -> Self {
        Self { group, source }
    }
}

/// The body of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announce<'a> {
    /// The stream's name, at most 255 bytes.
    pub name: &'a str,
    /// The paths; the first `None` ends the list.
    pub paths: [Option<AnnouncedPath>; MOST_PATHS],
    /// The TCP address of the snapshot server.
    pub snapshot: Option<SocketAddr>,
    /// The rate of the publisher in bytes per second; 0 if it is unlimited.
    pub rate: u64,
    /// The first 8 bytes of a hash of the group's secret; 0 if the stream is not sealed.
    pub key: u64,
    /// The least and the greatest minor version.
    pub minors: (u8, u8),
    /// The Ed25519 public key of the publisher, if the stream is signed.
    pub public_key: Option<&'a [u8; 32]>,
}

impl<'a> Announce<'a> {
    /// Creates an announcement with only a name.
    #[must_use]
    pub const fn new(name: &'a str) -> Self {
        Self {
            name,
            paths: [None; MOST_PATHS],
            snapshot: None,
            rate: 0,
            key: 0,
            minors: (0, 0),
            public_key: None,
        }
    }

    /// Returns the announcement with a change. Outside this crate, it cannot be written as a literal, so that fields can be added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when a field is malformed, the name is missing, or there are more than four paths.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut announce = Self::new("");
        let (mut rest, mut paths) = (body, 0);
        while let [kind, length, behind @ ..] = rest {
            let (value, next) = behind.split_at_checked(usize::from(*length)).ok_or(WireError::Body)?;
            match *kind {
                NAME => announce.name = core::str::from_utf8(value).map_err(|_| WireError::Body)?,
                PATH => {
                    let slot = announce.paths.get_mut(paths).ok_or(WireError::Body)?;
                    *slot = Some(read_path(value).ok_or(WireError::Body)?);
                    paths += 1;
                }
                SNAPSHOT => announce.snapshot = Some(read_socket(value).ok_or(WireError::Body)?.0),
                RATE => announce.rate = u64_at(value, 0).ok_or(WireError::Body)?,
                KEY => announce.key = u64_at(value, 0).ok_or(WireError::Body)?,
                VERSIONS => announce.minors = array(value, 0).map(|[a, b]| (a, b)).ok_or(WireError::Body)?,
                PUBLIC_KEY => announce.public_key = Some(value.first_chunk().ok_or(WireError::Body)?),
                _ => {}
            }
            rest = next;
        }
        match rest.is_empty() && !announce.name.is_empty() {
            true => Ok(announce),
            false => Err(WireError::Body),
        }
    }

    /// Writes the body. The name is truncated to 255 bytes.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        let name = truncate(self.name, 255);
        writer.put(&[NAME, name.len() as u8])?;
        writer.put(name.as_bytes())?;
        for path in self.paths.iter().map_while(|path| *path) {
            let source = path.source.map_or(0, address_length);
            writer.put(&[PATH, (3 + address_length(path.group.ip()) + source) as u8])?;
            put_socket(writer, path.group)?;
            if let Some(source) = path.source {
                put_address(writer, source)?;
            }
        }
        if let Some(snapshot) = self.snapshot {
            writer.put(&[SNAPSHOT, (3 + address_length(snapshot.ip())) as u8])?;
            put_socket(writer, snapshot)?;
        }
        writer.put(&[RATE, 8])?;
        writer.put(&self.rate.to_be_bytes())?;
        writer.put(&[KEY, 8])?;
        writer.put(&self.key.to_be_bytes())?;
        writer.put(&[VERSIONS, 2, self.minors.0, self.minors.1])?;
        self.public_key.map_or(Ok(()), |key| {
            writer.put(&[PUBLIC_KEY, key.len() as u8])?;
            writer.put(key)
        })
    }
}

/// Returns the start of a text, at most this many bytes long.
fn truncate(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

const fn address_length(address: IpAddr) -> usize {
    if address.is_ipv4() { 4 } else { 16 }
}

fn put_address(writer: &mut DatagramWriter<'_>, address: IpAddr) -> Result<(), WriteError> {
    match address {
        IpAddr::V4(address) => writer.put(&address.octets()),
        IpAddr::V6(address) => writer.put(&address.octets()),
    }
}

/// The family's number (4 or 6), the port, the address.
pub(crate) fn put_socket(writer: &mut DatagramWriter<'_>, address: SocketAddr) -> Result<(), WriteError> {
    writer.put(&[if address.is_ipv4() { 4 } else { 6 }])?;
    writer.put(&address.port().to_be_bytes())?;
    put_address(writer, address.ip())
}

fn read_address(family: u8, bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    match family {
        4 => bytes.split_first_chunk().map(|(octets, rest)| (Ipv4Addr::from(*octets).into(), rest)),
        6 => bytes.split_first_chunk().map(|(octets, rest)| (Ipv6Addr::from(*octets).into(), rest)),
        _ => None,
    }
}

pub(crate) fn read_socket(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (address, rest) = read_address(*bytes.first()?, bytes.get(3..)?)?;
    Some((SocketAddr::new(address, u16_at(bytes, 1)?), rest))
}

fn read_path(bytes: &[u8]) -> Option<AnnouncedPath> {
    let (group, rest) = read_socket(bytes)?;
    let source = match rest.is_empty() {
        true => None,
        false => Some(read_address(bytes[0], rest)?.0),
    };
    Some(AnnouncedPath { group, source })
}
