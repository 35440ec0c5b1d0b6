//! The messages of all versions of IGMP and MLD, the group records of reports, and their text representation.

use core::fmt;
use core::time::Duration;

use super::Address;
use crate::EmitError;
use crate::list::{Element, List, Writer, u8_at, u16_at, write_separated};

/// A message of IGMP (`A` is `Ipv4Addr`) or MLD (`A` is `Ipv6Addr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GmpMessage<'a, A: Address> {
    /// A membership query.
    Query(Query<'a, A>),
    /// An IGMPv1 membership report (RFC 1112). MLD has no equivalent.
    V1Report {
        /// The group.
        group: A,
    },
    /// An IGMPv2 (RFC 2236) or MLDv1 (RFC 2710) membership report.
    Report {
        /// The group.
        group: A,
    },
    /// An IGMPv2 leave or MLDv1 done message: the host may have been the last member of the group.
    Leave {
        /// The group.
        group: A,
    },
    /// An IGMPv3 (RFC 3376) or MLDv2 (RFC 3810) membership report, with source lists.
    V3Report(Records<'a, A>),
    /// A message of multicast router discovery (RFC 4286).
    RouterDiscovery(RouterDiscovery),
}

impl<A: Address> GmpMessage<'_, A> {
    /// Returns the protocol version that defines this message: 1 to 3 for IGMP, 1 or 2 for MLD, and 0 for
    /// router discovery, which has no versions.
    #[must_use]
    pub const fn version(&self) -> u8 {
        match self {
            Self::Query(query) => query.version(),
            Self::V1Report { .. } => 1,
            Self::Report { .. } | Self::Leave { .. } => A::SOURCE_VERSION - 1,
            Self::V3Report(_) => A::SOURCE_VERSION,
            Self::RouterDiscovery(_) => 0,
        }
    }

    /// Returns the destination that the RFCs define for the message.
    #[must_use]
    pub fn destination(&self) -> A {
        match self {
            Self::Query(query) => query.group.unwrap_or(A::ALL_NODES),
            Self::V1Report { group } | Self::Report { group } => *group,
            Self::Leave { .. } => A::ALL_ROUTERS,
            Self::V3Report(_) => A::ALL_REPORT_ROUTERS,
            Self::RouterDiscovery(discovery) => discovery.destination(),
        }
    }
}

/// A membership query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a, A: Address> {
    /// The queried group; `None` in a general query.
    pub group: Option<A>,
    /// The maximum time that hosts may wait before they report. The resolution is 100 ms in IGMP and 1 ms in
    /// MLD, and coarser for long times. IGMPv1 queries contain zero, which means 10 s.
    pub max_response_time: Duration,
    /// The fields added by IGMPv3 and MLDv2; `None` in a query of an older version.
    pub source_query: Option<SourceQuery<'a, A>>,
}

impl<A: Address> Query<'_, A> {
    /// Returns the protocol version of this query (RFC 3376 section 7.1, RFC 3810 section 8.1).
    #[must_use]
    pub const fn version(&self) -> u8 {
        let older = A::SOURCE_VERSION - 1;
        match self.source_query {
            Some(_) => A::SOURCE_VERSION,
            None if A::V1_REPORT.is_some() && self.max_response_time.is_zero() => 1,
            None => older,
        }
    }

    /// Returns the robustness of the querier, if the query states it.
    #[must_use]
    pub fn robustness(&self) -> Option<u8> {
        self.source_query.map(|query| query.robustness).filter(|robustness| *robustness > 0)
    }

    /// Returns the query interval of the querier, if the query states it.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.source_query.map(|query| query.interval).filter(|interval| !interval.is_zero())
    }
}

/// The fields of a query that IGMPv3 and MLDv2 add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceQuery<'a, A: Address> {
    /// Whether routers suppress the timer updates for this query (the S flag).
    pub suppress: bool,
    /// The querier's robustness variable (QRV), up to 7; 0 if it is larger or not stated.
    pub robustness: u8,
    /// The querier's query interval (QQI), with a resolution of 1 s, coarser for long intervals.
    pub interval: Duration,
    /// The queried sources. An empty list queries the whole group.
    pub sources: Sources<'a, A>,
}

/// The records of a report.
pub type Records<'a, A> = List<'a, Record<'a, A>>;

/// The sources of a query or a record.
pub type Sources<'a, A> = List<'a, A>;

/// A group record of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a, A: Address> {
    /// The record type: a current state or a change.
    pub kind: RecordKind,
    /// The group.
    pub group: A,
    /// The sources.
    pub sources: Sources<'a, A>,
}

impl<A: Address> Record<'_, A> {
    /// The length of type, auxiliary data length and number of sources.
    pub(super) const HEADER_LENGTH: usize = 4;

    /// Returns the length of the record in a packet, in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        Self::HEADER_LENGTH + A::LENGTH * (1 + self.sources.len())
    }
}

impl<'a, A: Address> Element<'a> for Record<'a, A> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let kind = RecordKind::from(u8_at(bytes, 0)?);
        let auxiliary_length = usize::from(u8_at(bytes, 1)?) * 4;
        let count = usize::from(u16_at(bytes, 2)?);
        let (group, rest) = A::split(bytes.get(Self::HEADER_LENGTH..)?)?;
        let (sources, rest) = rest.split_at_checked(count * A::LENGTH)?;
        let record = Self { kind, group, sources: Sources::in_packet(sources, count) };
        Some((record, rest.get(auxiliary_length..)?))
    }
}

/// The type of a record (RFC 3376 section 4.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Current state, in response to a query: include mode with the listed sources.
    ModeIsInclude,
    /// Current state, in response to a query: exclude mode with the listed sources.
    ModeIsExclude,
    /// Change to include mode with the listed sources. An empty list is a leave.
    ChangeToInclude,
    /// Change to exclude mode with the listed sources. An empty list is an any-source join.
    ChangeToExclude,
    /// Change of the source list: the listed sources are additionally requested.
    AllowNewSources,
    /// Change of the source list: the listed sources are no longer requested.
    BlockOldSources,
    /// An undefined type. Receivers must ignore the record.
    Unknown(u8),
}

impl RecordKind {
    /// Returns the number of the type in a packet.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::ModeIsInclude => 1,
            Self::ModeIsExclude => 2,
            Self::ChangeToInclude => 3,
            Self::ChangeToExclude => 4,
            Self::AllowNewSources => 5,
            Self::BlockOldSources => 6,
            Self::Unknown(number) => number,
        }
    }

    /// All names.
    pub const NAMES: [&'static str; 7] = [
        "unknown",
        "mode-is-include",
        "mode-is-exclude",
        "change-to-include",
        "change-to-exclude",
        "allow-new-sources",
        "block-old-sources",
    ];

    /// Returns the name, as JSON and Python have it: that of RFC 3376, section 4.2.12, or `unknown`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown(_) => Self::NAMES[0],
            known => Self::NAMES[known.number() as usize],
        }
    }
}

impl From<u8> for RecordKind {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::ModeIsInclude,
            2 => Self::ModeIsExclude,
            3 => Self::ChangeToInclude,
            4 => Self::ChangeToExclude,
            5 => Self::AllowNewSources,
            6 => Self::BlockOldSources,
            _ => Self::Unknown(number),
        }
    }
}

impl<A: Address> fmt::Display for GmpMessage<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title(), self.content())
    }
}

impl<'a, A: Address> GmpMessage<'a, A> {
    /// Returns protocol, version and type: `IGMPv3 report`.
    #[must_use]
    pub fn title(&self) -> impl fmt::Display + use<A> {
        let kind = match self {
            Self::Query(Query { group: None, .. }) => "general query",
            Self::Query(_) => "query",
            Self::Leave { .. } => A::LEAVE_NAME,
            Self::V1Report { .. } | Self::Report { .. } | Self::V3Report(_) => "report",
            Self::RouterDiscovery(discovery) => discovery.name(),
        };
        Title { protocol: A::NAME, version: self.version(), kind }
    }

    /// Returns the content of the message: `join 234.3.2.1 (exclude none)`.
    #[must_use]
    pub fn content(&self) -> impl fmt::Display + use<'a, A> {
        Content(*self)
    }
}

struct Title {
    protocol: &'static str,
    version: u8,
    kind: &'static str,
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => write!(f, "{} {}", self.protocol, self.kind),
            version => write!(f, "{}v{version} {}", self.protocol, self.kind),
        }
    }
}

struct Content<'a, A: Address>(GmpMessage<'a, A>);

impl<A: Address> fmt::Display for Content<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            GmpMessage::Query(query) => query.fmt(f),
            GmpMessage::V1Report { group } | GmpMessage::Report { group } => write!(f, "member of {group}"),
            GmpMessage::Leave { group } => write!(f, "leave {group}"),
            GmpMessage::V3Report(records) if records.is_empty() => f.write_str("no records"),
            GmpMessage::V3Report(records) => write_separated(f, "; ", *records),
            GmpMessage::RouterDiscovery(discovery) => discovery.fmt(f),
        }
    }
}

impl<A: Address> fmt::Display for Query<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Some(group) => write!(f, "members of {group}")?,
            None => f.write_str("members of any group")?,
        }
        if let Some(extension) = self.source_query.filter(|extension| !extension.sources.is_empty()) {
            write!(f, " from {}", SourceList(extension.sources))?;
        }
        f.write_str(", answer within ")?;
        // RFC 2236 section 4: the zero of an IGMPv1 query means 10 s.
        match self.version() {
            1 if A::V1_REPORT.is_some() => Seconds(Duration::from_secs(10)).fmt(f),
            _ => Seconds(self.max_response_time).fmt(f),
        }
    }
}

impl<A: Address> fmt::Display for Record<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, sources, .. } = self;
        let list = SourceList(*sources);
        match self.kind {
            RecordKind::ModeIsInclude => write!(f, "member of {group} (include {list})"),
            RecordKind::ModeIsExclude => write!(f, "member of {group} (exclude {list})"),
            RecordKind::ChangeToInclude if sources.is_empty() => {
                write!(f, "leave {group} (include {list})")
            }
            RecordKind::ChangeToInclude => write!(f, "change {group} (include {list})"),
            RecordKind::ChangeToExclude => write!(f, "join {group} (exclude {list})"),
            RecordKind::AllowNewSources => write!(f, "allow {list} to {group}"),
            RecordKind::BlockOldSources => write!(f, "block {list} to {group}"),
            RecordKind::Unknown(number) => write!(f, "record of unknown type {number} for {group}"),
        }
    }
}

/// Writes sources separated by commas, or "none" if there are none.
struct SourceList<'a, A>(Sources<'a, A>);

impl<A: Address> fmt::Display for SourceList<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        write_separated(f, ", ", self.0)
    }
}

/// Writes seconds with the necessary decimals: `10 s`, `0.1 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// Why bytes are not a valid IGMP or MLD message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GmpError {
    /// The protocol has no message of this type.
    #[error("has the unknown type {0}")]
    UnknownType(u8),
    /// The message is shorter than its fixed fields.
    #[error("is too short: {0} bytes")]
    TooShort(usize),
    /// A query has a length between those of two versions.
    #[error("is a query with a length that no version defines: {0} bytes")]
    QueryLength(usize),
    /// A query ends before the number of sources that it states.
    #[error("states {0} sources but ends before the last")]
    Sources(u16),
    /// A report ends before the number of records that it states.
    #[error("states {count} records but ends within record {cut_off}")]
    Records {
        /// The stated number of records.
        count: u16,
        /// The number of the truncated record, counted from 1.
        cut_off: u16,
    },
}

/// A message of multicast router discovery. It is sent as IGMP or ICMPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouterDiscovery {
    /// Announces a multicast router.
    Advertisement {
        /// The advertisement interval in whole seconds: 4 to 180 according to the RFC; up to 255 here.
        interval: Duration,
        /// The query interval used when the router is the querier, in whole seconds; zero if it never is.
        query_interval: Duration,
        /// The robustness variable of the router.
        robustness: u16,
    },
    /// Solicits advertisements.
    Solicitation,
    /// Announces that a router will stop forwarding multicast.
    Termination,
}

impl RouterDiscovery {
    /// The length of an advertisement in bytes.
    const ADVERTISEMENT_LENGTH: usize = 8;
    /// The length of a solicitation or termination in bytes.
    const OTHER_LENGTH: usize = 4;

    /// Returns whether this message type belongs to router discovery.
    pub(super) fn has_kind<A: Address>(kind: u8) -> bool {
        [A::ROUTER_ADVERTISEMENT, A::ROUTER_SOLICITATION, A::ROUTER_TERMINATION].contains(&kind)
    }

    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Advertisement { .. } => Self::ADVERTISEMENT_LENGTH,
            Self::Solicitation | Self::Termination => Self::OTHER_LENGTH,
        }
    }

    /// Returns the destination that the RFC defines.
    pub(super) const fn destination<A: Address>(&self) -> A {
        match self {
            Self::Advertisement { .. } | Self::Termination => A::ALL_SNOOPERS,
            Self::Solicitation => A::ALL_ROUTERS,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Advertisement { .. } => "multicast router advertisement",
            Self::Solicitation => "multicast router solicitation",
            Self::Termination => "multicast router termination",
        }
    }

    pub(super) fn parse<A: Address>(kind: u8, bytes: &[u8]) -> Result<Self, GmpError> {
        let too_short = GmpError::TooShort(bytes.len());
        if bytes.len() < Self::OTHER_LENGTH {
            return Err(too_short);
        }
        if kind == A::ROUTER_SOLICITATION {
            return Ok(Self::Solicitation);
        }
        if kind == A::ROUTER_TERMINATION {
            return Ok(Self::Termination);
        }
        let seconds = |value: u16| Duration::from_secs(u64::from(value));
        Ok(Self::Advertisement {
            interval: seconds(u16::from(u8_at(bytes, 1).ok_or(too_short)?)),
            query_interval: seconds(u16_at(bytes, 4).ok_or(too_short)?),
            robustness: u16_at(bytes, 6).ok_or(too_short)?,
        })
    }

    pub(super) fn put<A: Address>(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        match *self {
            Self::Advertisement { interval, query_interval, robustness } => {
                let interval = u8::try_from(interval.as_secs()).unwrap_or(u8::MAX);
                let query_interval = u16::try_from(query_interval.as_secs()).unwrap_or(u16::MAX);
                writer.put(&[A::ROUTER_ADVERTISEMENT, interval, 0, 0])?;
                writer.put_u16(query_interval)?;
                writer.put_u16(robustness)
            }
            Self::Solicitation => writer.put(&[A::ROUTER_SOLICITATION, 0, 0, 0]),
            Self::Termination => writer.put(&[A::ROUTER_TERMINATION, 0, 0, 0]),
        }
    }
}

impl core::fmt::Display for RouterDiscovery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Advertisement { interval, query_interval, robustness } => write!(
                f,
                "interval {} s, query interval {} s, robustness {robustness}",
                interval.as_secs(),
                query_interval.as_secs()
            ),
            Self::Solicitation => f.write_str("solicits advertisements"),
            Self::Termination => f.write_str("stops forwarding multicast"),
        }
    }
}
