//! What is judged of an entry, with its types. The fields of the entry are the same for people to read.

use std::fmt;
use std::time::Duration;

use mcast_packet::payload::{RtpsLocator, RtpsLocatorUse, RtpsPrefix, RtpsVendor};

use super::text::UntrustedText;

/// What is judged of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveredFacts {
    /// Those of a participant, a reader or a writer of DDS.
    Dds(DdsFacts),
    /// The clock distributes the time.
    MasterClock,
}

/// What a participant of DDS announces of itself, or of a reader or writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DdsFacts {
    /// The identifier of the participant.
    pub participant: RtpsPrefix,
    /// The number of its domain, if it is known.
    pub domain: Option<u32>,
    /// What separates it from others in its domain; empty for nothing.
    pub tag: UntrustedText,
    /// Its implementation.
    pub vendor: Option<RtpsVendor>,
    /// Where the participant, the reader or the writer receives.
    pub locators: Vec<(RtpsLocatorUse, RtpsLocator)>,
    /// What the participant does not answer.
    pub unanswered: Option<&'static str>,
    /// What only readers and writers have.
    pub endpoint: Option<DdsEndpoint>,
}

/// What a reader requests, or a writer offers. The default is a reader that states nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DdsEndpoint {
    /// Whether it writes.
    pub is_writer: bool,
    /// Whether lost samples are repaired.
    pub is_reliable: bool,
    /// The policies that it states. The first one of a kind counts; of encodings, a reader decodes all.
    pub policies: Vec<DdsPolicy>,
    /// Its partitions; none means the one without a name.
    pub partitions: Vec<UntrustedText>,
}

/// A policy of which a writer must offer what a reader requests, with its value, such as the number of one in ascending order (DDS 1.4
/// section 2.2.3, XTypes 1.3 section 7.6.3.1). Writes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DdsPolicy {
    /// What late readers get: 0 nothing, 1 what the writer keeps, 2 and 3 what a service keeps.
    Durability(u8),
    /// How writers show that they are there: 0 automatically, 1 by participant, 2 by topic.
    Liveliness(u8),
    /// The time that orders samples: 0 that of the reception, 1 that of the writer.
    Order(u8),
    /// 1 if readers take samples from one writer at a time.
    Ownership(u8),
    /// How samples are encoded: 0 XCDR1, 1 XML, 2 XCDR2.
    Encoding(u8),
    /// How often a writer provides a sample, at least.
    Deadline(Duration),
    /// How often writers show that they are there, at least.
    LivelinessLease(Duration),
}

impl DiscoveredFacts {
    /// Returns the bytes that they take, at most.
    pub(super) fn bytes(&self) -> usize {
        let Self::Dds(DdsFacts { tag, locators, endpoint, .. }) = self else { return size_of::<Self>() };
        let policies = endpoint.iter().map(|endpoint| size_of_val(&endpoint.policies[..]));
        let names = endpoint.iter().flat_map(|endpoint| &endpoint.partitions).chain([tag]);
        let names = names.map(|name| size_of_val(name) + name.as_bytes().len());
        size_of::<Self>() + size_of_val(&locators[..]) + policies.chain(names).sum::<usize>()
    }
}

impl DdsEndpoint {
    /// Returns `writer` or `reader`.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        if self.is_writer { "writer" } else { "reader" }
    }
}

impl DdsPolicy {
    /// All policies, with the values of what does not state them.
    pub(super) const DEFAULTS: [Self; 7] = [
        Self::Durability(0),
        Self::Liveliness(0),
        Self::Order(0),
        Self::Ownership(0),
        Self::Encoding(0),
        Self::Deadline(Duration::MAX),
        Self::LivelinessLease(Duration::MAX),
    ];

    /// Returns the policy with the value of this number. One that is not known means as much as the last.
    pub(super) fn numbered(policy: fn(u8) -> Self, number: u32) -> Self {
        let (.., names) = policy(0).described();
        policy(number.min(names.len() as u32 - 1) as u8)
    }

    /// Returns the name of the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.described().0
    }

    /// Returns the name of the policy, its number, and the names of its numbers.
    const fn described(self) -> (&'static str, u8, &'static [&'static str]) {
        match self {
            Self::Durability(it) => {
                ("durability", it, &["volatile", "transient local", "transient", "persistent"])
            }
            Self::Liveliness(it) => {
                ("liveliness", it, &["automatic", "manual by participant", "manual by topic"])
            }
            Self::Order(it) => ("order of samples", it, &["by reception", "by the time of the writer"]),
            Self::Ownership(it) => ("ownership", it, &["shared", "exclusive"]),
            Self::Encoding(it) => ("encoding", it, &["XCDR1", "XML", "XCDR2"]),
            Self::Deadline(_) => ("deadline", 0, &["none"]),
            Self::LivelinessLease(_) => ("liveliness lease", 0, &["none"]),
        }
    }
}

impl fmt::Display for DdsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(time) | Self::LivelinessLease(time) if *time < Duration::MAX => {
                write!(f, "{} s", time.as_secs_f64())
            }
            other => {
                let (_, number, names) = other.described();
                f.write_str(names.get(usize::from(number)).unwrap_or(&"unknown"))
            }
        }
    }
}
