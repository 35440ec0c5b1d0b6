//! The messages of PIM version 2.

use core::net::IpAddr;

use super::{Bootstrap, CandidateRp, EncodedGroup, HelloOption, JoinPrune, List};

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
