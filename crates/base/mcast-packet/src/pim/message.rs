//! The messages of PIM version 2, and their text representation.

use core::fmt;
use core::net::IpAddr;

use super::{Bootstrap, CandidateRp, EncodedGroup, EncodedSource, GroupSet, HelloOption, JoinPrune, List};
use crate::ip::Ip;
use crate::list::write_separated;

/// A PIM message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PimMessage<'a> {
    /// Announces a router to its neighbors.
    Hello(List<'a, HelloOption<'a>>),
    /// Carries a packet of a source to the rendezvous point.
    Register(Register<'a>),
    /// Sent by the rendezvous point to make a router stop sending Register messages.
    RegisterStop {
        /// The group.
        group: EncodedGroup,
        /// The source.
        source: IpAddr,
    },
    /// Joins and prunes, sent to the upstream neighbor.
    JoinPrune(JoinPrune<'a>),
    /// Announces the rendezvous points.
    Bootstrap(Bootstrap<'a>),
    /// Elects one forwarder if two routers forward the same traffic to a network.
    Assert(Assert),
    /// Dense mode: joins a pruned branch again (RFC 3973).
    Graft(JoinPrune<'a>),
    /// Dense mode: acknowledges a graft.
    GraftAck(JoinPrune<'a>),
    /// Announces a candidate rendezvous point to the bootstrap router.
    CandidateRp(CandidateRp<'a>),
    /// Elects the designated forwarder of bidirectional trees (RFC 5015).
    DfElection(DfElection),
    /// Another message.
    Other {
        /// The message type, 0 to 15 (IANA, PIM Message Types).
        kind: u8,
        /// The bytes after the header.
        body: &'a [u8],
    },
}

impl PimMessage<'_> {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Register(_) => kind::REGISTER,
            Self::RegisterStop { .. } => kind::REGISTER_STOP,
            Self::JoinPrune(_) => kind::JOIN_PRUNE,
            Self::Bootstrap(_) => kind::BOOTSTRAP,
            Self::Assert(_) => kind::ASSERT,
            Self::Graft(_) => kind::GRAFT,
            Self::GraftAck(_) => kind::GRAFT_ACK,
            Self::CandidateRp(_) => kind::CANDIDATE_RP,
            Self::DfElection(_) => kind::DF_ELECTION,
            Self::Other { kind, .. } => *kind,
        }
    }
}

/// The types of messages (IANA, PIM Message Types).
pub(super) mod kind {
    pub(in crate::pim) const HELLO: u8 = 0;
    pub(in crate::pim) const REGISTER: u8 = 1;
    pub(in crate::pim) const REGISTER_STOP: u8 = 2;
    pub(in crate::pim) const JOIN_PRUNE: u8 = 3;
    pub(in crate::pim) const BOOTSTRAP: u8 = 4;
    pub(in crate::pim) const ASSERT: u8 = 5;
    pub(in crate::pim) const GRAFT: u8 = 6;
    pub(in crate::pim) const GRAFT_ACK: u8 = 7;
    pub(in crate::pim) const CANDIDATE_RP: u8 = 8;
    pub(in crate::pim) const DF_ELECTION: u8 = 10;
}

/// A Register message: a packet of a source, sent to the rendezvous point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<'a> {
    /// Whether the router is at the border of a PIM domain (the B bit).
    pub border: bool,
    /// Whether this is a Null-Register (the N bit), which only checks whether to resume sending. Its packet
    /// has no payload.
    pub null: bool,
    /// The packet of the source, with its IP header.
    pub packet: &'a [u8],
}

/// The metric of a route to a source. Lower is better; the preference is compared first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    /// The preference of the routing protocol (administrative distance), up to 31 bits.
    pub preference: u32,
    /// The metric of the routing protocol.
    pub metric: u32,
}

/// An Assert message: a router's metric to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Assert {
    /// The group.
    pub group: EncodedGroup,
    /// The source; the unspecified address stands for all sources.
    pub source: IpAddr,
    /// Whether the traffic arrived on the tree of the rendezvous point (the R bit).
    pub rendezvous_tree: bool,
    /// The metric of the route.
    pub metric: Metric,
}

/// A message in the election of a designated forwarder (RFC 5015 section 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DfElection {
    /// The rendezvous point for which the forwarder is elected.
    pub rendezvous_point: IpAddr,
    /// The metric of the sender's route to the rendezvous point.
    pub metric: Metric,
    /// The step of the election.
    pub step: DfStep,
}

/// A step in the election of a designated forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DfStep {
    /// The sender is a candidate.
    Offer,
    /// The sender has won.
    Winner,
    /// The current forwarder has received a better offer than its own and requests a delay.
    Backoff {
        /// The router with the better offer.
        offering: IpAddr,
        /// The metric of its route.
        metric: Metric,
        /// The delay in milliseconds.
        interval: u16,
    },
    /// The current forwarder passes its role on.
    Pass {
        /// The new forwarder.
        new_winner: IpAddr,
        /// The metric of its route.
        metric: Metric,
    },
}

impl DfStep {
    /// Returns the subtype in the header.
    pub(super) const fn number(&self) -> u8 {
        match self {
            Self::Offer => 1,
            Self::Winner => 2,
            Self::Backoff { .. } => 3,
            Self::Pass { .. } => 4,
        }
    }
}

impl fmt::Display for PimMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title(), self.content())
    }
}

impl<'a> PimMessage<'a> {
    /// Returns protocol, version and type: `PIMv2 hello`.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::Hello(_) => "PIMv2 hello",
            Self::Register(_) => "PIMv2 register",
            Self::RegisterStop { .. } => "PIMv2 register-stop",
            Self::JoinPrune(_) => "PIMv2 join/prune",
            Self::Bootstrap(_) => "PIMv2 bootstrap",
            Self::Assert(_) => "PIMv2 assert",
            Self::Graft(_) => "PIMv2 graft",
            Self::GraftAck(_) => "PIMv2 graft-ack",
            Self::CandidateRp(_) => "PIMv2 candidate-RP",
            Self::DfElection(_) => "PIMv2 DF election",
            Self::Other { .. } => "PIMv2",
        }
    }

    /// Returns the content of the message: `join 10.0.0.7 to 232.1.2.3, upstream 10.0.0.2, hold 210 s`.
    #[must_use]
    pub fn content(&self) -> impl fmt::Display + use<'a> {
        Content(*self)
    }
}

struct Content<'a>(PimMessage<'a>);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PimMessage::Hello(options) if options.is_empty() => f.write_str("no options"),
            PimMessage::Hello(options) => write_separated(f, ", ", *options),
            PimMessage::Register(register) => register.fmt(f),
            PimMessage::RegisterStop { group, source } => write!(f, "{source} to {group}"),
            PimMessage::JoinPrune(message) | PimMessage::Graft(message) | PimMessage::GraftAck(message) => {
                message.fmt(f)
            }
            PimMessage::Bootstrap(message) => message.fmt(f),
            PimMessage::Assert(assert) => {
                let (group, source, metric) = (assert.group, assert.source, assert.metric);
                write!(f, "{source} to {group}, metric {}/{}", metric.preference, metric.metric)
            }
            PimMessage::CandidateRp(message) => message.fmt(f),
            PimMessage::DfElection(election) => election.fmt(f),
            PimMessage::Other { kind, body } => write!(f, "type {kind}, {} bytes", body.len()),
        }
    }
}

impl fmt::Display for HelloOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HoldTime(0) => f.write_str("goodbye"),
            Self::HoldTime(u16::MAX) => f.write_str("hold forever"),
            Self::HoldTime(seconds) => write!(f, "hold {seconds} s"),
            Self::LanPruneDelay { propagation_delay, override_interval, .. } => {
                write!(f, "prune delay {propagation_delay} ms, override {override_interval} ms")
            }
            Self::DrPriority(priority) => write!(f, "DR priority {priority}"),
            Self::GenerationId(number) => write!(f, "generation {number:#010x}"),
            Self::AddressList(addresses) => {
                f.write_str("secondary addresses ")?;
                write_separated(f, " and ", *addresses)
            }
            Self::BidirectionalCapable => f.write_str("bidirectional"),
            Self::Other { kind, .. } => write!(f, "option {kind}"),
        }
    }
}

impl fmt::Display for Register<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.null {
            f.write_str("null, ")?;
        }
        match Ip::decode(self.packet) {
            Ok((ip, _)) => write!(f, "{} to {}", ip.source, ip.destination),
            Err(reason) => write!(f, "a packet that {reason}"),
        }
    }
}

impl fmt::Display for JoinPrune<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.groups.is_empty() {
            f.write_str("no groups")?;
        }
        write_separated(f, "; ", self.groups)?;
        write!(f, ", upstream {}", self.upstream_neighbor)?;
        match self.hold_time {
            u16::MAX => f.write_str(", hold forever"),
            seconds => write!(f, ", hold {seconds} s"),
        }
    }
}

impl fmt::Display for GroupSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.joined.is_empty() {
            f.write_str("join ")?;
            write_separated(f, ", ", self.joined)?;
        }
        if !self.pruned.is_empty() {
            f.write_str(if self.joined.is_empty() { "prune " } else { " and prune " })?;
            write_separated(f, ", ", self.pruned)?;
        }
        if self.joined.is_empty() && self.pruned.is_empty() {
            f.write_str("nothing")?;
        }
        write!(f, " to {}", self.group)
    }
}

impl fmt::Display for EncodedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.wildcard, self.rendezvous_tree) {
            (true, _) => write!(f, "any source (through {})", self.address),
            (false, true) => write!(f, "{} on the shared tree", self.address),
            (false, false) => self.address.fmt(f),
        }
    }
}

impl fmt::Display for EncodedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = Self::single(self.address).prefix;
        match self.prefix {
            prefix if prefix == single => self.address.fmt(f),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

impl fmt::Display for Bootstrap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, priority {}", self.router, self.priority)?;
        for mapping in self.mappings {
            write!(f, "; {} through ", mapping.groups)?;
            let mut points = mapping.rendezvous_points.iter().map(|point| point.address);
            match points.next() {
                Some(first) => first.fmt(f)?,
                None => f.write_str("none")?,
            }
            points.try_for_each(|point| write!(f, ", {point}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for CandidateRp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, priority {}, hold {} s", self.address, self.priority, self.hold_time)?;
        if self.groups.is_empty() {
            return f.write_str(", all groups");
        }
        f.write_str(", ")?;
        write_separated(f, ", ", self.groups)
    }
}

impl fmt::Display for DfElection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rendezvous_point, metric, step } = self;
        match step {
            DfStep::Offer => f.write_str("offer")?,
            DfStep::Winner => f.write_str("winner")?,
            DfStep::Backoff { offering, interval, .. } => {
                write!(f, "back off {interval} ms for {offering}")?;
            }
            DfStep::Pass { new_winner, .. } => write!(f, "pass to {new_winner}")?,
        }
        write!(f, ", towards {rendezvous_point}, metric {}/{}", metric.preference, metric.metric)
    }
}
