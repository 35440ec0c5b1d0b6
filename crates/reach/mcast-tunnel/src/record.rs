//! Records: a datagram, or what an end wants. They are sent in pieces.

use std::net::SocketAddr;

use mcast_group::SourceFilter;

use crate::trail::RelayPath;
use crate::wire::{Reader, put_address, put_socket_address};

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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

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
