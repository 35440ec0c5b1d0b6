//! The datagrams of a tunnel, the way that one has come through tunnels, and reading bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_stream_proto::seal::{Cipher, Keys, Purpose, Sealed, TunnelPart};
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, StreamId};

use crate::MAX_NAME;

pub(crate) const TAG: usize = 16;
/// Magic, and version 1.0.
const HEAD: [u8; 3] = [b'M', b'T', 0x10];
const HELLO: u8 = 1;
const COOKIE: u8 = 2;
const WELCOME: u8 = 3;
const DATA: u8 = 4;

/// The header of a datagram of data.
pub(crate) const DATA_HEADER: usize = 20;
/// Data is padded to this length, so that a path challenge is not longer than what has caused it.
const MIN_DATA: usize = 48;
/// A hello is longer than each answer to it.
const HELLO_LENGTH: usize = 160;
const HELLO_HEADER: usize = 32;
const WELCOME_HEADER: usize = 32;

/// What a dialer begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) nonce: u64,
    /// Another one in every datagram with the same nonce.
    pub(crate) count: u64,
    pub(crate) epoch: KeyEpoch,
    /// What the listener has sent to this address; 0 before.
    pub(crate) cookie: u64,
    pub(crate) relay: u64,
    pub(crate) name: String,
}

/// The listener's answer to a hello with its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) dialer_nonce: u64,
    pub(crate) count: u64,
    pub(crate) epoch: KeyEpoch,
    pub(crate) listener_nonce: u64,
    pub(crate) relay: u64,
    pub(crate) verdict: Verdict,
}

/// Whether the listener accepts a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    UnknownName,
    InUse,
}

/// A datagram that has arrived, before its seal is opened.
#[derive(Debug)]
pub(crate) enum Packet {
    Hello,
    Cookie { nonce: u64, count: u64, cookie: u64 },
    Welcome { dialer_nonce: u64 },
    Data { session: u64, counter: u64 },
}

/// Reads what is in the clear.
pub(crate) fn parse(bytes: &[u8]) -> Option<Packet> {
    let mut reader = Reader(bytes);
    if reader.take::<3>()? != HEAD {
        return None;
    }
    let packet = match reader.byte()? {
        HELLO if bytes.len() == HELLO_LENGTH => Packet::Hello,
        COOKIE => {
            Packet::Cookie { nonce: reader.number()?, count: reader.number()?, cookie: reader.number()? }
        }
        WELCOME if bytes.len() > WELCOME_HEADER + TAG => Packet::Welcome { dialer_nonce: reader.number()? },
        DATA if bytes.len() >= MIN_DATA => {
            Packet::Data { session: reader.number()?, counter: reader.number()? }
        }
        _ => return None,
    };
    Some(packet)
}

/// Returns the cipher of one part of a tunnel.
pub(crate) fn cipher(
    keys: &Keys,
    epoch: KeyEpoch,
    nonces: (u64, u64),
    part: TunnelPart,
    block: u64,
) -> Option<Box<dyn Cipher>> {
    keys.cipher(&Purpose {
        stream: StreamId(nonces.0),
        incarnation: Incarnation(0),
        epoch,
        sealed: Sealed::Tunnel(part, nonces.1),
        block,
    })
}

impl Hello {
    pub(crate) fn emit(&self, keys: &Keys) -> Option<Vec<u8>> {
        let mut bytes = head(HELLO, &[self.nonce, self.count]);
        bytes.extend(self.epoch.0.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.cookie.to_be_bytes());
        bytes.extend(self.relay.to_be_bytes());
        bytes.push(u8::try_from(self.name.len()).ok().filter(|length| usize::from(*length) <= MAX_NAME)?);
        bytes.extend(self.name.as_bytes());
        bytes.resize(HELLO_LENGTH - TAG, 0);
        let cipher = cipher(keys, self.epoch, (self.nonce, 0), TunnelPart::Hello, 0)?;
        seal(&*cipher, self.count, HELLO_HEADER, bytes)
    }

    /// Opens a datagram that [`parse`] has recognized as one.
    pub(crate) fn open(keys: &Keys, bytes: &mut [u8]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        let (nonce, count) = (reader.number()?, reader.number()?);
        let epoch = KeyEpoch(reader.short()?);
        reader.short()?;
        let cookie = reader.number()?;
        let cipher = cipher(keys, epoch, (nonce, 0), TunnelPart::Hello, 0)?;
        let mut body = Reader(open(&*cipher, count, HELLO_HEADER, bytes)?);
        let relay = body.number()?;
        let length = body.byte()?;
        let name = body.bytes(usize::from(length).min(MAX_NAME))?;
        Some(Self { nonce, count, epoch, cookie, relay, name: String::from_utf8(name.to_vec()).ok()? })
    }
}

pub(crate) fn emit_cookie(hello: &Hello, cookie: u64) -> Vec<u8> {
    head(COOKIE, &[hello.nonce, hello.count, cookie])
}

impl Welcome {
    pub(crate) fn emit(&self, keys: &Keys) -> Option<Vec<u8>> {
        let mut bytes = head(WELCOME, &[self.dialer_nonce, self.count]);
        bytes.extend(self.epoch.0.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.listener_nonce.to_be_bytes());
        bytes.extend(self.relay.to_be_bytes());
        bytes.push(self.verdict as u8);
        let nonces = (self.dialer_nonce, self.listener_nonce);
        let cipher = cipher(keys, self.epoch, nonces, TunnelPart::Welcome, 0)?;
        seal(&*cipher, self.count, WELCOME_HEADER, bytes)
    }

    pub(crate) fn open(keys: &Keys, bytes: &mut [u8]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        let (dialer_nonce, count) = (reader.number()?, reader.number()?);
        let epoch = KeyEpoch(reader.short()?);
        reader.short()?;
        let listener_nonce = reader.number()?;
        let cipher = cipher(keys, epoch, (dialer_nonce, listener_nonce), TunnelPart::Welcome, 0)?;
        let mut body = Reader(open(&*cipher, count, WELCOME_HEADER, bytes)?);
        let relay = body.number()?;
        let verdict = match body.byte()? {
            0 => Verdict::Accepted,
            1 => Verdict::UnknownName,
            2 => Verdict::InUse,
            _ => return None,
        };
        Some(Self { dialer_nonce, count, epoch, listener_nonce, relay, verdict })
    }
}

/// Seals frames as a datagram of data.
pub(crate) fn seal_data(cipher: &dyn Cipher, session: u64, counter: u64, frames: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = head(DATA, &[session, counter]);
    bytes.extend(frames);
    if bytes.len() + TAG < MIN_DATA {
        bytes.resize(MIN_DATA - TAG, 0);
    }
    seal(cipher, counter, DATA_HEADER, bytes)
}

/// Opens a datagram of data; returns its frames.
pub(crate) fn open_data<'a>(cipher: &dyn Cipher, counter: u64, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    open(cipher, counter, DATA_HEADER, bytes)
}

fn head(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.push(kind);
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes
}

fn seal(cipher: &dyn Cipher, count: u64, header: usize, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (head, text) = bytes.split_at_mut_checked(header)?;
    let tag = cipher.seal(count, head, text)?;
    bytes.extend(tag);
    Some(bytes)
}

fn open<'a>(cipher: &dyn Cipher, count: u64, header: usize, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    let (head, sealed) = bytes.split_at_mut_checked(header)?;
    let length = sealed.len().checked_sub(TAG)?;
    if cipher.open(count, head, sealed) { sealed.get(..length) } else { None }
}

/// Reads big-endian numbers and addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn address(&mut self) -> Option<IpAddr> {
        match self.byte()? {
            4 => Some(Ipv4Addr::from(self.take::<4>()?).into()),
            6 => Some(Ipv6Addr::from(self.take::<16>()?).into()),
            _ => None,
        }
    }

    pub(crate) fn socket_address(&mut self) -> Option<SocketAddr> {
        let address = self.address()?;
        Some(SocketAddr::new(address, self.short()?))
    }
}

pub(crate) fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend([4].iter().chain(&address.octets())),
        IpAddr::V6(address) => bytes.extend([6].iter().chain(&address.octets())),
    }
}

pub(crate) fn put_socket_address(bytes: &mut Vec<u8>, address: SocketAddr) {
    put_address(bytes, address.ip());
    bytes.extend(address.port().to_be_bytes());
}

/// What identifies a datagram in tunnels, and the relays that it has passed. A copy of it that comes by another way has the
/// same origin and number. An equal datagram of its sender has another number, so it is not mistaken for a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RelayPath {
    /// The relay at which it entered the tunnels, or that has last changed its group or port.
    pub origin: u64,
    /// Its number there, from 1 on.
    pub number: u64,
    relays: [u64; Self::MAX],
    length: u8,
}

impl RelayPath {
    /// The largest number of relays.
    pub const MAX: usize = 8;

    /// Creates the trail of a datagram that has passed these relays. `None` if they are too many.
    #[must_use]
    pub fn new(origin: u64, number: u64, relays: &[u64]) -> Option<Self> {
        let mut trail = Self { origin, number, ..Self::default() };
        trail.relays.get_mut(..relays.len())?.copy_from_slice(relays);
        trail.length = relays.len() as u8;
        Some(trail)
    }

    /// Returns the relays. A datagram that has not been in a tunnel has none.
    #[must_use]
    pub fn relays(&self) -> &[u64] {
        &self.relays[..usize::from(self.length)]
    }

    /// Returns the trail after this relay; `None` if it would be too long.
    #[must_use]
    pub fn after(mut self, relay: u64) -> Option<Self> {
        *self.relays.get_mut(usize::from(self.length))? = relay;
        self.length += 1;
        Some(self)
    }
}
