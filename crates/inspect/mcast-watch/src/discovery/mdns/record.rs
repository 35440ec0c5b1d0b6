//! The records of a name, and how long they hold.

use std::net::IpAddr;
use std::time::Duration;

use mcast_packet::payload::{DnsKind, DnsRecord, DnsValue};

use super::name::{NameKey, NameRole, OwnedName};
use crate::clock::Time;

/// How long a record stays after a goodbye (RFC 6762 section 10.1) or a flush (section 10.2).
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// Further records of a name are not kept.
const MAX_RECORDS: usize = 32;
/// The rest of a longer TXT record is not kept.
const MAX_TEXT: usize = 2_048;

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Node {
    /// The name as it was first announced.
    pub(super) name: OwnedName,
    pub(super) records: Vec<Record>,
    /// Whether a PTR record has pointed to it. If so, it is listed as long as one does.
    pub(super) was_pointed_to: bool,
    /// The hop limit of the latest response with a record of it.
    pub(super) hop_limit: Option<u8>,
    pub(super) first_seen: Time,
    /// When its place in `due` comes.
    pub(super) due: Option<Time>,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) data: Data,
    /// The time to live, limited, in seconds.
    pub(super) time_to_live: u32,
    pub(super) received: Time,
    pub(super) expires: Time,
    pub(super) leaving: Option<Leaving>,
    /// The latest sender by IPv4, and by IPv6, and when it sent.
    sources: [Option<(IpAddr, Time)>; 2],
    /// How many questions to keep it were due.
    pub(super) refreshes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Data {
    /// A PTR record of this name, a type or subtype, points here.
    Pointer(OwnedName),
    /// SRV.
    Service { host: OwnedName, port: u16 },
    /// TXT, undecoded.
    Text(Box<[u8]>),
    /// A and AAAA.
    Address(IpAddr),
    /// NSEC: whether there are records of each of these.
    Only { v4: bool, v6: bool, service: bool, text: bool },
}

/// Why a record lapses before its time to live ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Goodbye,
    /// Another record has taken its place.
    Flushed,
}

impl Node {
    pub(super) fn new(now: Time, name: OwnedName) -> Self {
        // Its bytes are counted once it has records.
        Self {
            name,
            records: Vec::with_capacity(1),
            was_pointed_to: false,
            hop_limit: None,
            first_seen: now,
            due: None,
            bytes: 0,
        }
    }

    /// Adds a record, or begins its time to live again. Returns whether there was room.
    pub(super) fn renew(&mut self, now: Time, source: IpAddr, time_to_live: u32, data: Data) -> bool {
        let expires = now.after(Duration::from_secs(time_to_live.into()));
        let known = self.records.iter().position(|record| record.data == data);
        let position = match known {
            Some(position) => position,
            None if self.records.len() >= MAX_RECORDS => return false,
            None => {
                self.records.push(Record {
                    data,
                    time_to_live,
                    received: now,
                    expires,
                    leaving: None,
                    sources: [None; 2],
                    refreshes: 0,
                });
                self.records.len() - 1
            }
        };
        if let Some(record) = self.records.get_mut(position) {
            (record.time_to_live, record.received, record.expires) = (time_to_live, now, expires);
            (record.leaving, record.refreshes) = (None, 0);
            record.sources[usize::from(source.is_ipv6())] = Some((source, now));
        }
        true
    }

    pub(super) fn has(&self, data: &Data) -> bool {
        self.records.iter().any(|record| record.data == *data)
    }

    /// Returns until when an instance is listed unless it is withdrawn; `None` if it is not.
    pub(super) fn listed_until(&self) -> Option<Time> {
        let decides = |record: &&Record| match record.data {
            Data::Pointer(_) => true,
            Data::Service { .. } => !self.was_pointed_to,
            _ => false,
        };
        self.records.iter().filter(decides).map(Record::stated_end).max()
    }

    /// Returns the records of one type that have not been replaced.
    pub(super) fn current(&self, kind: DnsKind) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| {
            record.data.kind() == Some(kind) && record.leaving != Some(Leaving::Flushed)
        })
    }

    /// Returns whether the host has stated that it has no records of this type.
    pub(super) fn denies(&self, kind: DnsKind) -> bool {
        self.records.iter().any(|record| match (&record.data, kind) {
            (Data::Only { v4, .. }, DnsKind::A) => !v4,
            (Data::Only { v6, .. }, DnsKind::AAAA) => !v6,
            (Data::Only { service, .. }, DnsKind::SRV) => !service,
            (Data::Only { text, .. }, DnsKind::TXT) => !text,
            _ => false,
        })
    }

    /// Returns the bytes that the node needs, with its places in the tables.
    pub(super) fn count_bytes(&self, key: &NameKey) -> usize {
        const TABLES: usize = size_of::<(NameKey, Node)>() + 3 * size_of::<(Time, NameKey)>();
        const LINK: usize = size_of::<(NameKey, OwnedName)>();
        let records = self.records.iter().map(|record| {
            let data = match &record.data {
                Data::Pointer(name) | Data::Service { host: name, .. } => name.len() + LINK,
                Data::Text(text) => text.len(),
                Data::Address(_) | Data::Only { .. } => 0,
            };
            size_of::<Record>() + data
        });
        TABLES + key.name.len() + records.sum::<usize>()
    }
}

impl Record {
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.data {
            Data::Address(address) if self.leaving != Some(Leaving::Flushed) => Some(address),
            _ => None,
        }
    }

    /// Returns when its time to live ends.
    pub(super) fn stated_end(&self) -> Time {
        self.received.after(Duration::from_secs(self.time_to_live.into()))
    }

    /// Returns whether others sent this record than another one. Hosts may send by IPv4 and IPv6.
    pub(super) fn is_from_others(&self, other: &Self) -> bool {
        let families = self.sources.iter().zip(&other.sources);
        let mut same = families.filter_map(|(a, b)| Some((*a)?.0 == (*b)?.0)).peekable();
        same.peek().is_some() && same.all(|is_same| !is_same)
    }

    /// Returns its latest sender.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.sources.into_iter().flatten().next().map(|(source, _)| source)
    }

    /// Returns whether this sender has announced it.
    pub(super) fn is_from(&self, sender: IpAddr) -> bool {
        self.sources.iter().flatten().any(|(source, _)| *source == sender)
    }

    /// Withdraws it. Of a record that was announced by IPv4 and by IPv6, a goodbye ends the announcements by its own family: a host
    /// that loses its addresses of one family says goodbye there, and is silent in the other.
    pub(super) fn withdraw(&mut self, now: Time, sender: IpAddr) {
        let family = usize::from(sender.is_ipv6());
        let [own, other] = [family, 1 - family].map(|family| self.sources[family]);
        let Some((_, received)) = other.filter(|_| own.is_some()) else {
            return self.leave(now, Leaving::Goodbye);
        };
        self.sources[family] = None;
        self.received = received;
        self.expires = self.expires.min(self.stated_end());
    }

    /// Returns whether the time to live is more than half over, so that an answer is of use (RFC 6762 section 7.1).
    pub(super) fn is_half_over(&self, now: Time) -> bool {
        self.leaving.is_some()
            || now.since(self.received) * 2 >= Duration::from_secs(self.time_to_live.into())
    }

    /// Returns whether its refreshing has begun.
    pub(super) const fn is_stale(&self) -> bool {
        self.refreshes > 0
    }

    /// Returns when a question is due to keep the record: at 80, 85, 90 and 95 % of its time to live, and up to 2 % later
    /// (RFC 6762 section 5.2).
    pub(super) fn refresh_due(&self) -> Option<Time> {
        const PER_MILLE: [u64; 4] = [800, 850, 900, 950];
        let is_refreshed =
            self.leaving.is_none() && !matches!(self.data, Data::Pointer(_) | Data::Only { .. });
        let per_mille = PER_MILLE.get(usize::from(self.refreshes)).filter(|_| is_refreshed)?;
        let later = self.received.as_nanos() / 1_000 % 20;
        Some(self.received.after(Duration::from_millis(u64::from(self.time_to_live) * (per_mille + later))))
    }

    pub(super) fn leave(&mut self, now: Time, leaving: Leaving) {
        self.expires = self.expires.min(now.after(GRACE));
        self.leaving = Some(leaving);
    }
}

impl Data {
    /// Reads what is kept of a record of this name, and the name that it describes.
    pub(super) fn read(record: &DnsRecord<'_>) -> Option<(OwnedName, Self)> {
        let owner = OwnedName::new(record.name);
        let data = match record.value() {
            DnsValue::Name(target) if record.kind == DnsKind::PTR.0 => {
                let target = OwnedName::new(target);
                let is_instance = matches!(owner.role(), NameRole::Type | NameRole::Subtype)
                    && target.role() == NameRole::Instance
                    && target.service_type() == owner.service_type();
                return is_instance.then_some((target, Self::Pointer(owner)));
            }
            DnsValue::Service { target, port } => Self::Service { host: OwnedName::new(target), port },
            DnsValue::Texts(_) => Self::Text(record.data.get(..MAX_TEXT).unwrap_or(record.data).into()),
            DnsValue::Address(address) => Self::Address(address),
            DnsValue::OnlyTypes(types) => Self::Only {
                v4: types.contains(DnsKind::A.0),
                v6: types.contains(DnsKind::AAAA.0),
                service: types.contains(DnsKind::SRV.0),
                text: types.contains(DnsKind::TXT.0),
            },
            _ => return None,
        };
        let is_known = match (&data, owner.role()) {
            (Self::Address(address), NameRole::Host) => !address.is_unspecified() && !address.is_multicast(),
            (Self::Service { .. } | Self::Text(_), NameRole::Instance) => true,
            (Self::Only { .. }, NameRole::Instance | NameRole::Host) => true,
            _ => false,
        };
        is_known.then_some((owner, data))
    }

    /// Returns the type of the record, if its name has one set of this type.
    pub(super) fn kind(&self) -> Option<DnsKind> {
        Some(match self {
            Self::Pointer(_) => return None,
            Self::Service { .. } => DnsKind::SRV,
            Self::Text(_) => DnsKind::TXT,
            Self::Address(IpAddr::V4(_)) => DnsKind::A,
            Self::Address(IpAddr::V6(_)) => DnsKind::AAAA,
            Self::Only { .. } => DnsKind::NSEC,
        })
    }

    pub(super) fn link(&self) -> Option<&OwnedName> {
        match self {
            Self::Pointer(name) | Self::Service { host: name, .. } => Some(name),
            _ => None,
        }
    }
}
