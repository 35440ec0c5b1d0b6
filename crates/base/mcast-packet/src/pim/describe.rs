//! Text representation of messages.

use core::fmt;

use super::{
    Bootstrap, CandidateRp, DfElection, DfStep, EncodedGroup, EncodedSource, GroupSet, HelloOption,
    JoinPrune, PimMessage, Register,
};
use crate::ip::Ip;
use crate::list::write_separated;

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
