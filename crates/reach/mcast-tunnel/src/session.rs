//! The keys of one handshake, the records that they seal, and why a datagram is dropped.

use std::fmt;
use std::net::SocketAddr;

use mcast_group::SourceFilter;
use mcast_stream_proto::seal::{Cipher, Keys, Purpose, TunnelPart};
use mcast_stream_proto::wire::KeyEpoch;

use crate::wire::{self, Reader, RelayPath, put_address, put_socket_address};

/// Datagrams that may overtake each other.
const WINDOW: usize = 4_096;

/// The cipher of a block of counters.
type BlockCipher = (u64, Box<dyn Cipher>);

/// Seals and opens the datagrams of data of one handshake.
pub(crate) struct Session {
    /// Those of the dialer and of the listener. Each end sends to that of the other one.
    nonces: (u64, u64),
    epoch: KeyEpoch,
    is_dialer: bool,
    keys: Keys,
    sent: u64,
    received: SequenceWindow,
    sealing: Option<BlockCipher>,
    opening: Option<BlockCipher>,
}

impl Session {
    pub(crate) fn new(keys: &Keys, epoch: KeyEpoch, nonces: (u64, u64), is_dialer: bool) -> Self {
        Self {
            nonces,
            epoch,
            is_dialer,
            keys: keys.clone(),
            sent: 0,
            received: SequenceWindow::new(WINDOW),
            sealing: None,
            opening: None,
        }
    }

    pub(crate) const fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    pub(crate) const fn nonces(&self) -> (u64, u64) {
        self.nonces
    }

    /// Returns the number that the other end puts into datagrams for this session.
    pub(crate) const fn id(&self) -> u64 {
        if self.is_dialer { self.nonces.0 } else { self.nonces.1 }
    }

    /// Seals frames as a datagram.
    pub(crate) fn seal(&mut self, frames: &[u8]) -> Option<Vec<u8>> {
        let counter = self.sent.checked_add(1)?;
        let part = if self.is_dialer { TunnelPart::FromDialer } else { TunnelPart::FromListener };
        let block = counter / Purpose::BLOCK;
        if self.sealing.as_ref().is_none_or(|(known, _)| *known != block) {
            self.sealing = Some((block, wire::cipher(&self.keys, self.epoch, self.nonces, part, block)?));
        }
        let (_, cipher) = self.sealing.as_ref()?;
        let to = if self.is_dialer { self.nonces.1 } else { self.nonces.0 };
        let datagram = wire::seal_data(&**cipher, to, counter, frames)?;
        self.sent = counter;
        Some(datagram)
    }

    /// Opens a datagram in place. Returns its frames, and whether it is newer than all before.
    pub(crate) fn open<'a>(
        &mut self,
        counter: u64,
        bytes: &'a mut [u8],
    ) -> Result<(&'a [u8], bool), DropReason> {
        if !self.received.is_new(counter) {
            return Err(DropReason::Replayed);
        }
        let part = if self.is_dialer { TunnelPart::FromListener } else { TunnelPart::FromDialer };
        let block = counter / Purpose::BLOCK;
        let derived = match &self.opening {
            Some((known, _)) if *known == block => None,
            _ => {
                let cipher = wire::cipher(&self.keys, self.epoch, self.nonces, part, block);
                Some((block, cipher.ok_or(DropReason::Unsealed)?))
            }
        };
        let (_, cipher) = derived.as_ref().or(self.opening.as_ref()).ok_or(DropReason::Unsealed)?;
        let frames = wire::open_data(&**cipher, counter, bytes).ok_or(DropReason::Unsealed)?;
        self.opening = derived.or_else(|| self.opening.take());
        Ok((frames, self.received.record(counter)))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The greatest number received, and a bitmap of those before it.
#[derive(Clone, Debug)]
pub struct SequenceWindow {
    greatest: u64,
    bits: Vec<u64>,
}

impl SequenceWindow {
    /// Creates a window of this many numbers, a multiple of 64. Numbers begin with 1.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { greatest: 0, bits: vec![0; (length / 64).max(1)] }
    }

    /// Returns whether the number has not been received. One that is too old for the window counts as received.
    #[must_use]
    pub fn is_new(&self, number: u64) -> bool {
        if number > self.greatest {
            return true;
        }
        let (word, bit) = self.place(number);
        number > 0 && self.greatest - number < self.length() && self.bits[word] & bit == 0
    }

    /// Records a number. Returns whether it is the greatest so far.
    pub fn record(&mut self, number: u64) -> bool {
        let is_greatest = number > self.greatest;
        if is_greatest {
            if number - self.greatest >= self.length() {
                self.bits.fill(0);
            } else {
                for passed in self.greatest + 1..number {
                    let (word, bit) = self.place(passed);
                    self.bits[word] &= !bit;
                }
            }
            self.greatest = number;
        }
        let (word, bit) = self.place(number);
        if self.greatest - number < self.length() {
            self.bits[word] |= bit;
        }
        is_greatest
    }

    const fn length(&self) -> u64 {
        self.bits.len() as u64 * 64
    }

    const fn place(&self, number: u64) -> (usize, u64) {
        ((number / 64 % self.bits.len() as u64) as usize, 1 << (number % 64))
    }
}

const DATAGRAM: u8 = 1;
const WANTS: u8 = 2;
/// The longest record. A datagram of UDP with its head is shorter, and so are all wants.
pub(crate) const MAX_RECORD: usize = 128 << 10;
/// What an end wants at most.
const MAX_WANTS: usize = 4_096;
/// Sources of one want. With more, all are requested: the end that receives filters them too.
const MAX_SOURCES: usize = 16;

/// A datagram in a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelDatagram {
    /// The way that it has come.
    pub trail: RelayPath,
    /// The path that its sender has opened for it: replies are sent to this number.
    pub path: u32,
    /// For a reply: the path of the receiver that it belongs to.
    pub to_path: Option<u32>,
    /// The hop limit.
    pub hop_limit: u8,
    /// The source.
    pub source: SocketAddr,
    /// The group or broadcast address, or for a reply the host that it is for.
    pub destination: SocketAddr,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What an end wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelWant {
    /// The group or broadcast address, and the port.
    pub destination: SocketAddr,
    /// The sources.
    pub sources: SourceFilter,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Datagram(TunnelDatagram),
    Wants { version: u32, wants: Vec<TunnelWant> },
}

impl TunnelDatagram {
    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![DATAGRAM, self.hop_limit];
        bytes.extend(self.path.to_be_bytes());
        bytes.extend(self.to_path.unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(self.trail.origin.to_be_bytes());
        bytes.extend(self.trail.number.to_be_bytes());
        bytes.push(self.trail.relays().len() as u8);
        self.trail.relays().iter().for_each(|relay| bytes.extend(relay.to_be_bytes()));
        put_socket_address(&mut bytes, self.source);
        put_socket_address(&mut bytes, self.destination);
        bytes.extend(&self.payload);
        bytes
    }

    fn read(mut reader: Reader<'_>) -> Option<Self> {
        let hop_limit = reader.byte()?;
        let (path, to_path) = (reader.word()?, reader.word()?);
        let (origin, number, length) = (reader.number()?, reader.number()?, reader.byte()?);
        let relays: Option<Vec<u64>> = (0..length).map(|_| reader.number()).collect();
        let trail = RelayPath::new(origin, number, &relays?)?;
        Some(Self {
            trail,
            path,
            to_path: (to_path != u32::MAX).then_some(to_path),
            hop_limit,
            source: reader.socket_address()?,
            destination: reader.socket_address()?,
            payload: reader.0.to_vec(),
        })
    }
}

/// Writes what an end wants. Beyond the greatest numbers, it requests more than it wants, or less.
pub(crate) fn emit_wants(version: u32, wants: &[TunnelWant]) -> Vec<u8> {
    let write = |with_sources: bool| {
        let mut bytes = vec![WANTS];
        bytes.extend(version.to_be_bytes());
        for want in wants.iter().take(MAX_WANTS) {
            put_socket_address(&mut bytes, want.destination);
            let is_exclude = matches!(want.sources, SourceFilter::Exclude(_));
            let count = want.sources.sources().len();
            match with_sources && count <= MAX_SOURCES {
                true => {
                    bytes.extend([u8::from(is_exclude), count as u8]);
                    want.sources.sources().for_each(|source| put_address(&mut bytes, source));
                }
                false => bytes.extend([1, 0]),
            }
        }
        bytes
    };
    let bytes = write(true);
    if bytes.len() <= MAX_RECORD { bytes } else { write(false) }
}

fn read_wants(mut reader: Reader<'_>) -> Option<Record> {
    let (version, mut wants) = (reader.word()?, Vec::new());
    while !reader.0.is_empty() && wants.len() < MAX_WANTS {
        let destination = reader.socket_address()?;
        let [mode, count] = reader.take()?;
        let sources = (0..count).map(|_| reader.address()).collect::<Option<_>>()?;
        let sources = match mode {
            0 => SourceFilter::Include(sources),
            1 => SourceFilter::Exclude(sources),
            _ => return None,
        };
        wants.push(TunnelWant { destination, sources });
    }
    Some(Record::Wants { version, wants })
}

impl Record {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        match reader.byte()? {
            DATAGRAM => TunnelDatagram::read(reader).map(Self::Datagram),
            WANTS => read_wants(reader),
            _ => None,
        }
    }
}

/// Why a datagram that arrived at the socket of a tunnel was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It is not a datagram of this protocol.
    Malformed,
    /// It belongs to no session, as after a restart of this end.
    UnknownSession,
    /// It is not sealed with a known secret, or was modified.
    Unsealed,
    /// It has been received before, or is too old to know.
    Replayed,
    /// A handshake for a name that no rule has.
    UnknownName,
    /// A handshake for a tunnel that another relay uses.
    InUse,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::UnknownSession,
        Self::Unsealed,
        Self::Replayed,
        Self::UnknownName,
        Self::InUse,
    ];

    /// Returns its name in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSession => "unknown-session",
            Self::Unsealed => "unsealed",
            Self::Replayed => "replayed",
            Self::UnknownName => "unknown-name",
            Self::InUse => "in-use",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_number_is_new_twice(steps in prop::collection::vec((0_u64..400, prop::bool::weighted(0.02)), 1..300)) {
            let (mut window, mut received, mut greatest) = (SequenceWindow::new(128), BTreeSet::new(), 0_u64);
            for (number, jumps) in steps {
                let number = if jumps { number * 1_000 } else { greatest.saturating_sub(200) + number };
                let expected = number > 0 && !received.contains(&number) && number + 128 > greatest;
                prop_assert_eq!(window.is_new(number), expected, "{} after {}", number, greatest);
                if expected {
                    prop_assert_eq!(window.record(number), number > greatest);
                    received.insert(number);
                    greatest = greatest.max(number);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn datagrams_round_trip(
            origin: u64, number: u64, relays in prop::collection::vec(any::<u64>(), 0..=RelayPath::MAX), path: u32,
            to_path in prop::option::of(0..u32::MAX), hop_limit: u8, source: (IpAddr, u16), destination: (IpAddr, u16),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let trail = RelayPath::new(origin, number, &relays).unwrap();
            let (source, destination) = (source.into(), destination.into());
            let datagram = TunnelDatagram { trail, path, to_path, hop_limit, source, destination, payload };
            let bytes = datagram.emit();
            prop_assert_eq!(Record::read(&bytes), Some(Record::Datagram(datagram)));
        }

        #[test]
        fn wants_round_trip(
            version: u32,
            wants in prop::collection::vec(
                (any::<(IpAddr, u16)>(), any::<bool>(), prop::collection::btree_set(any::<IpAddr>(), 0..=MAX_SOURCES)),
                0..20,
            ),
        ) {
            let wants: Vec<_> = wants
                .into_iter()
                .map(|(destination, is_exclude, sources)| TunnelWant {
                    destination: destination.into(),
                    sources: match is_exclude {
                        true => SourceFilter::Exclude(sources),
                        false => SourceFilter::Include(sources),
                    },
                })
                .collect();
            let bytes = emit_wants(version, &wants);
            prop_assert_eq!(Record::read(&bytes), Some(Record::Wants { version, wants }));
        }

        #[test]
        fn reading_does_not_panic(kind in 0_u8..4, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Record::read(&[&[kind], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn the_most_wants_fit_into_a_record() {
        let sources: std::collections::BTreeSet<IpAddr> =
            (0..MAX_SOURCES as u128).map(|number| std::net::Ipv6Addr::from_bits(number).into()).collect();
        let want = TunnelWant {
            destination: "[ff15::1]:5000".parse().unwrap(),
            sources: SourceFilter::Include(sources),
        };
        assert!(emit_wants(1, &vec![want; MAX_WANTS + 1]).len() <= MAX_RECORD);
    }
}
