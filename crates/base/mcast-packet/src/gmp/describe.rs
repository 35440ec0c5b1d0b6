//! Text representation of messages.

use core::fmt;
use core::time::Duration;

use super::{Address, GmpMessage, Query, Record, RecordKind, Sources};
use crate::list::write_separated;

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
