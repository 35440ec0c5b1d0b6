//! What was seen on the wire, by interface.

mod control;
mod flow;
mod pieces;
mod recorder;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

pub(crate) use control::{ControlSeen, Said};
#[cfg(test)]
pub(crate) use flow::Look;
pub(crate) use flow::{Flow, FlowKey};
pub(crate) use pieces::Pieces;
pub(crate) use recorder::Recorder;

/// What was seen on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    /// Where it was listened.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    /// IGMP, MLD and PIM.
    pub(crate) control: Vec<ControlSeen>,
    /// Datagrams to groups that came in pieces.
    pub(crate) pieces: Vec<Pieces>,
    /// From when on, and until when.
    pub(crate) span: Option<(SystemTime, SystemTime)>,
}

/// An interface that was listened on, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) interface: u32,
    pub(crate) name: String,
    /// Why it could not be listened on.
    pub(crate) refused: Option<String>,
    /// Frames that were lost on the way to the tap.
    pub(crate) dropped: u64,
}

impl Wire {
    /// Whether there was a tap on an interface.
    pub(crate) fn is_tapped(&self, interface: u32) -> bool {
        self.taps.iter().any(|tap| tap.interface == interface && tap.refused.is_none())
    }

    /// Whether taps lost nothing: only then does silence mean something.
    pub(crate) fn is_complete(&self, interface: u32) -> bool {
        self.is_tapped(interface) && self.taps.iter().all(|tap| tap.dropped == 0)
    }

    pub(crate) fn duration(&self) -> Duration {
        let length = self.span.and_then(|(from, until)| until.duration_since(from).ok());
        length.unwrap_or_default()
    }

    /// What came in for a group.
    pub(crate) fn incoming(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| !flow.key.outgoing && flow.key.group == group)
    }

    /// What this machine sent to a group.
    pub(crate) fn outgoing(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.key.outgoing && flow.key.group == group)
    }

    /// The queries of one family that came in on an interface, or were sent from it.
    pub(crate) fn queries(&self, interface: u32, v4: bool) -> impl Iterator<Item = &ControlSeen> {
        self.control.iter().filter(move |seen| {
            seen.interface == interface
                && seen.source.is_ipv4() == v4
                && matches!(seen.said, Said::Query { .. })
        })
    }
}
