//! Messages in words.

use core::fmt;
use core::time::Duration;

use super::{Address, Message, Query, Record, RecordKind, Sources};

impl<A: Address> fmt::Display for Message<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title(), self.content())
    }
}

impl<'a, A: Address> Message<'a, A> {
    /// Protocol, version and kind: `IGMPv3 report`.
    #[must_use]
    pub fn title(&self) -> impl fmt::Display + use<A> {
        let kind = match self {
            Self::Query(Query { group: None, .. }) => "general query",
            Self::Query(_) => "query",
            Self::Leave { .. } => A::LEAVE_NAME,
            Self::FirstReport { .. } | Self::Report { .. } | Self::SourceReport(_) => "report",
            Self::RouterDiscovery(discovery) => discovery.name(),
        };
        Title { protocol: A::NAME, version: self.version(), kind }
    }

    /// What the message says: `join 234.3.2.1 (exclude nobody)`.
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

struct Content<'a, A: Address>(Message<'a, A>);

impl<A: Address> fmt::Display for Content<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Message::Query(query) => query.fmt(f),
            Message::FirstReport { group } | Message::Report { group } => write!(f, "member of {group}"),
            Message::Leave { group } => write!(f, "leave {group}"),
            Message::SourceReport(records) if records.is_empty() => f.write_str("no records"),
            Message::SourceReport(records) => separated(f, "; ", records.iter()),
            Message::RouterDiscovery(discovery) => discovery.fmt(f),
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
            write!(f, " from {}", List(extension.sources))?;
        }
        f.write_str(", answer within ")?;
        // RFC 2236 section 4: the zero of an IGMPv1 router means 10 seconds.
        match self.version() {
            1 if A::FIRST_REPORT.is_some() => Time(Duration::from_secs(10)).fmt(f),
            _ => Time(self.max_response_time).fmt(f),
        }
    }
}

impl<A: Address> fmt::Display for Record<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, sources, .. } = self;
        let list = List(*sources);
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

/// Sources by comma, or "nobody".
struct List<'a, A>(Sources<'a, A>);

impl<A: Address> fmt::Display for List<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        separated(f, ", ", self.0.iter())
    }
}

fn separated(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    for (position, item) in items.enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// Seconds, with as many decimals as there are: `10 s`, `0.1 s`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
