//! The packet filter: its hooks, and how many packets passed each of them.

mod counts;
mod packet;
mod ruleset;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use counts::{CountedTraffic, HookCount, HookCounts};
pub(crate) use packet::{ControlKind, KnownPacket};
#[cfg(any(test, target_os = "linux", target_os = "android"))]
pub(crate) use ruleset::{BaseChain, Chain, Expression, Rule, RuleVerdict, TableFamily};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use ruleset::{Comparison, LookupResult, Register, RuleSet, SetElement};
pub(crate) use ruleset::{Header, RuleEffect, Ruleset};
pub(crate) use trace::Outcome;

/// The part of the network stack that a hook belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Layer {
    /// One device: the family `netdev`.
    Device,
    /// The frames that a bridge forwards or passes up: the family `bridge`.
    Bridge,
    /// IPv4 and IPv6.
    Ip,
}

/// A point on the path of a packet at which filters act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

impl Hook {
    /// Returns its name in `nft` syntax.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Egress => "egress",
        }
    }
}
