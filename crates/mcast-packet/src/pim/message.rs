//! The messages of PIM version 2.

use core::net::IpAddr;

use super::{Bootstrap, CandidateRp, EncodedGroup, HelloOption, JoinPrune, List};

/// A PIM message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A router is there.
    Hello(List<'a, HelloOption<'a>>),
    /// A sender's packet on its way to the rendezvous point.
    Register(Register<'a>),
    /// The rendezvous point asks a router to stop wrapping up a sender's packets.
    RegisterStop {
        /// The group.
        group: EncodedGroup,
        /// The sender.
        source: IpAddr,
    },
    /// A router asks the one before it for traffic, or not to send it any more.
    JoinPrune(JoinPrune<'a>),
    /// Which routers are rendezvous points.
    Bootstrap(Bootstrap<'a>),
    /// Two routers forward the same traffic to a network: the better one goes on.
    Assert(Assert),
    /// Dense mode: a pruned branch is wanted again (RFC 3973).
    Graft(JoinPrune<'a>),
    /// Dense mode: the answer to a graft.
    GraftAck(JoinPrune<'a>),
    /// A router would be a rendezvous point.
    CandidateRp(CandidateRp<'a>),
    /// Which router forwards for bidirectional trees (RFC 5015).
    DfElection(DfElection),
    /// Something else.
    Other {
        /// Its type, 0 to 15 (IANA, PIM Message Types).
        kind: u8,
        /// What follows the header.
        body: &'a [u8],
    },
}

impl Message<'_> {
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

/// A sender's packet on its way to the rendezvous point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<'a> {
    /// Whether the router is at the border of a PIM domain (the B bit).
    pub border: bool,
    /// Whether the packet is but a question whether to go on (the N bit); it then has no payload.
    pub null: bool,
    /// The sender's packet, with its IP header.
    pub packet: &'a [u8],
}

/// How good a router's way to a source is: the lower the better, preference first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    /// How much the routing protocol is trusted, up to 31 bits.
    pub preference: u32,
    /// The routing protocol's own measure.
    pub metric: u32,
}

/// A router says how good its way to a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Assert {
    /// The group.
    pub group: EncodedGroup,
    /// The source; unspecified when all sources are meant.
    pub source: IpAddr,
    /// Whether the traffic came down the tree of the rendezvous point (the R bit).
    pub rendezvous_tree: bool,
    /// How good the way is.
    pub metric: Metric,
}

/// A step in the election of a designated forwarder (RFC 5015 section 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DfElection {
    /// The rendezvous point that it is about.
    pub rendezvous_point: IpAddr,
    /// How good the sender's way there is.
    pub metric: Metric,
    /// What is said.
    pub step: DfStep,
}

/// What is said in an election of a designated forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DfStep {
    /// The sender offers itself.
    Offer,
    /// The sender says that it has won.
    Winner,
    /// The present forwarder asks for time: a better offer than its own has been made.
    Backoff {
        /// Who made the better offer.
        offering: IpAddr,
        /// How good its way is.
        metric: Metric,
        /// For how long, in milliseconds.
        interval: u16,
    },
    /// The present forwarder hands over.
    Pass {
        /// To whom.
        new_winner: IpAddr,
        /// How good its way is.
        metric: Metric,
    },
}

impl DfStep {
    /// The number that stands for it in the header.
    pub(super) const fn number(&self) -> u8 {
        match self {
            Self::Offer => 1,
            Self::Winner => 2,
            Self::Backoff { .. } => 3,
            Self::Pass { .. } => 4,
        }
    }
}
