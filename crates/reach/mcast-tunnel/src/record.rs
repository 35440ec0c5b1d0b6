//! Datagrams of groups in a tunnel, what an end wants to receive, and reading bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use mcast_group::SourceFilter;

/// The longest record. A datagram of UDP with its head is shorter, and so are all wants.
pub(crate) const MAX_RECORD: usize = 128 << 10;
/// What an end wants at most.
const MAX_WANTS: usize = 4_096;
/// Sources of one want. With more, all are requested: the end that receives filters them too.
const MAX_SOURCES: usize = 16;

/// A datagram in a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelDatagram<P = Bytes> {
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
    pub payload: P,
}

/// What an end wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelWant {
    /// The group or broadcast address, and the port.
    pub destination: SocketAddr,
    /// The sources.
    pub sources: SourceFilter,
}

impl<P> TunnelDatagram<P> {
    /// Writes what stands before the payload into a buffer, after it has been cleared: of the datagram that came this many
    /// after this one.
    pub(crate) fn write_head(&self, later: u64, bytes: &mut Vec<u8>) {
        let trail = self.trail.of_later(later);
        bytes.clear();
        bytes.push(self.hop_limit);
        bytes.extend(self.path.to_be_bytes());
        bytes.extend(self.to_path.unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(trail.origin.to_be_bytes());
        bytes.extend(trail.number.to_be_bytes());
        bytes.push(trail.relays().len() as u8);
        trail.relays().iter().for_each(|relay| bytes.extend(relay.to_be_bytes()));
        put_socket_address(bytes, self.source);
        put_socket_address(bytes, self.destination);
    }
}

impl TunnelDatagram {
    /// Reads a record. The payload is not copied.
    pub(crate) fn read(record: &Bytes) -> Option<Self> {
        let mut reader = Reader(record);
        let hop_limit = reader.byte()?;
        let (path, to_path) = (reader.word()?, reader.word()?);
        let (origin, number, length) = (reader.number()?, reader.number()?, reader.byte()?);
        let mut relays = [0; RelayPath::MAX];
        let relays = relays.get_mut(..usize::from(length))?;
        for relay in &mut *relays {
            *relay = reader.number()?;
        }
        Some(Self {
            trail: RelayPath::new(origin, number, relays)?,
            path,
            to_path: (to_path != u32::MAX).then_some(to_path),
            hop_limit,
            source: reader.socket_address()?,
            destination: reader.socket_address()?,
            payload: record.slice_ref(reader.0),
        })
    }
}

/// Writes what an end wants. Beyond the greatest numbers, it requests more than it wants, or less.
pub(crate) fn emit_wants(wants: &[TunnelWant]) -> Vec<u8> {
    let write = |with_sources: bool| {
        let mut bytes = Vec::new();
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

/// Reads what the other end wants.
pub(crate) fn read_wants(bytes: &[u8]) -> Option<Vec<TunnelWant>> {
    let (mut reader, mut wants) = (Reader(bytes), Vec::new());
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
    Some(wants)
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

    /// Returns the trail of the datagram that came this many after this one, by the same way.
    #[must_use]
    pub const fn of_later(mut self, datagrams: u64) -> Self {
        self.number = self.number.wrapping_add(datagrams);
        self
    }

    /// Returns the trail after this relay; `None` if it would be too long.
    #[must_use]
    pub fn after(mut self, relay: u64) -> Option<Self> {
        *self.relays.get_mut(usize::from(self.length))? = relay;
        self.length += 1;
        Some(self)
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn datagrams_round_trip(
            origin: u64, number: u64, relays in prop::collection::vec(any::<u64>(), 0..=RelayPath::MAX), path: u32,
            to_path in prop::option::of(0..u32::MAX), hop_limit: u8, source: (IpAddr, u16), destination: (IpAddr, u16),
            payload in prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        ) {
            let trail = RelayPath::new(origin, number, &relays).unwrap();
            let (source, destination) = (source.into(), destination.into());
            let datagram = TunnelDatagram { trail, path, to_path, hop_limit, source, destination, payload };
            let mut record = Vec::new();
            datagram.write_head(0, &mut record);
            record.extend(&datagram.payload);
            let record = Bytes::from(record);
            prop_assert_eq!(TunnelDatagram::read(&record), Some(datagram));
        }

        #[test]
        fn wants_round_trip(
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
            prop_assert_eq!(read_wants(&emit_wants(&wants)), Some(wants));
        }

        #[test]
        fn reading_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_wants(&bytes);
            let _ = TunnelDatagram::read(&Bytes::from(bytes));
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
        assert!(emit_wants(&vec![want; MAX_WANTS + 1]).len() <= MAX_RECORD);
    }
}
