//! What is judged of an entry, with its types. The fields of the entry are the same for people to read.

use std::fmt;
use std::time::Duration;

use mcast_packet::payload::{RtpsLocator, RtpsLocatorUse, RtpsPrefix, RtpsVendor};

use super::entry::{Discovered, UntrustedText};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Whether the participant does not answer requests for its readers and writers.
    pub is_silent: bool,
    /// What only readers and writers have.
    pub endpoint: Option<DdsEndpoint>,
}

/// What a reader requests, or a writer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let of_dds = |facts: &DdsFacts| {
            let texts = facts.endpoint.iter().flat_map(|endpoint| &endpoint.partitions);
            let policies = facts.endpoint.iter().map(|endpoint| size_of_val(&endpoint.policies[..]));
            let texts = texts.map(|text| size_of_val(text) + text.as_bytes().len());
            facts.tag.as_bytes().len()
                + size_of_val(&facts.locators[..])
                + policies.sum::<usize>()
                + texts.sum::<usize>()
        };
        size_of::<Self>()
            + match self {
                Self::Dds(facts) => of_dds(facts),
                Self::MasterClock => 0,
            }
    }
}

impl Discovered {
    /// Returns what is judged of a participant, a reader or a writer of DDS.
    #[must_use]
    pub fn dds(&self) -> Option<&DdsFacts> {
        match self.facts.as_deref() {
            Some(DiscoveredFacts::Dds(facts)) => Some(facts),
            _ => None,
        }
    }

    /// Returns what is judged of a reader or a writer of DDS.
    #[must_use]
    pub fn dds_endpoint(&self) -> Option<&DdsEndpoint> {
        self.dds()?.endpoint.as_ref()
    }

    /// Returns the name in ROS 2 of the topic of a reader or a writer of DDS (ROS 2 design, "Topic and Service name mapping to DDS").
    #[must_use]
    pub fn ros_topic(&self) -> Option<&[u8]> {
        self.dds_endpoint()?;
        self.name.as_bytes().strip_prefix(b"rt").filter(|name| name.starts_with(b"/"))
    }
}

impl DdsFacts {
    /// Returns the facts of a participant of which nothing else is known.
    #[must_use]
    pub fn new(participant: RtpsPrefix) -> Self {
        Self {
            participant,
            domain: None,
            tag: UntrustedText::default(),
            vendor: None,
            locators: Vec::new(),
            is_silent: false,
            endpoint: None,
        }
    }

    /// Returns what the participant does not answer.
    #[must_use]
    pub fn unanswered(&self) -> Option<&'static str> {
        self.is_silent.then_some("requests by unicast for its readers and writers")
    }
}

impl DdsEndpoint {
    /// Returns a reader or a writer that states nothing: readers are best-effort, writers reliable (DDS 1.4 section 2.2.3).
    #[must_use]
    pub const fn new(is_writer: bool) -> Self {
        Self { is_writer, is_reliable: is_writer, policies: Vec::new(), partitions: Vec::new() }
    }

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
        let last = policy(0).described().1.len().saturating_sub(1);
        policy(u8::try_from(number).unwrap_or(u8::MAX).min(u8::try_from(last).unwrap_or(u8::MAX)))
    }

    /// Returns the name of the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.described().0
    }

    /// Returns the names of the policy and of its numbers.
    const fn described(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Durability(_) => {
                ("durability", &["volatile", "transient local", "transient", "persistent"])
            }
            Self::Liveliness(_) => ("liveliness", &["automatic", "manual by participant", "manual by topic"]),
            Self::Order(_) => ("order of samples", &["by reception", "by the time of the writer"]),
            Self::Ownership(_) => ("ownership", &["shared", "exclusive"]),
            Self::Encoding(_) => ("encoding", &["XCDR1", "XML", "XCDR2"]),
            Self::Deadline(_) => ("deadline", &[]),
            Self::LivelinessLease(_) => ("liveliness lease", &[]),
        }
    }
}

impl fmt::Display for DdsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(Duration::MAX) | Self::LivelinessLease(Duration::MAX) => f.write_str("none"),
            Self::Deadline(time) | Self::LivelinessLease(time) => write!(f, "{} s", time.as_secs_f64()),
            Self::Durability(number)
            | Self::Liveliness(number)
            | Self::Order(number)
            | Self::Ownership(number)
            | Self::Encoding(number) => {
                f.write_str(self.described().1.get(usize::from(*number)).unwrap_or(&"unknown"))
            }
        }
    }
}
