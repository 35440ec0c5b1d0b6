//! What was captured on the wire, by interface.

mod control;
mod flow;
mod fragments;
mod loss_pattern;
mod numbering;
mod recorder;
mod unicast;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::{Family, InterfaceIndex};

use crate::snapshot::Link;
pub(crate) use control::{ControlDefect, ControlMessage, ControlPacket, DamagedControl};
#[cfg(test)]
pub(crate) use flow::DatagramSummary;
pub(crate) use flow::{Defect, Flow, FlowKey, Tagging};
pub(crate) use fragments::FragmentedDatagram;
pub(crate) use loss_pattern::LossPattern;
pub(crate) use numbering::Gap;
pub(crate) use recorder::Recorder;
pub(crate) use unicast::{UnicastFlow, UnicastRecorder};

/// What was captured on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    /// The interfaces that were tapped, or could not be.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    /// IGMP, MLD and PIM messages.
    pub(crate) control: Vec<ControlPacket>,
    /// Datagrams to groups that arrived in fragments.
    pub(crate) fragmented: Vec<FragmentedDatagram>,
    /// The time of the first and the last observation.
    pub(crate) span: Option<(SystemTime, SystemTime)>,
    /// How many packets to groups the IP layer accepted in that span, where the system counts them.
    pub(crate) accepted: BTreeMap<Family, u64>,
    /// How many frames each interface had refused at the beginning and at the end of that span.
    pub(crate) refused: BTreeMap<InterfaceIndex, (u64, u64)>,
    /// How many frames of other protocols than IP and ARP arrived, which an interface refuses if nothing takes them; where
    /// all were counted.
    pub(crate) other_protocols: BTreeMap<InterfaceIndex, u64>,
    /// Captured frames that were not recorded, because they were of too many flows, datagrams or messages.
    pub(crate) unrecorded: u64,
    /// Frames of a file whose link layer cannot be decoded.
    pub(crate) undecodable: u64,
    /// What was captured on the ports of tapped bridges and bonds.
    pub(crate) ports: PortTraffic,
    /// All frames that arrived behind the XDP program of an interface that has one, and their bytes.
    pub(crate) unfiltered: BTreeMap<InterfaceIndex, (u64, u64)>,
    /// Datagrams from and to the examined ports that were not sent to a group.
    pub(crate) unicast: Vec<UnicastFlow>,
    /// Messages of IGMP and MLD that arrived and are ignored, and how many.
    pub(crate) damaged_control: BTreeMap<DamagedControl, u64>,
}

/// What was captured on the ports of bridges and bonds, before it reaches the bridge or after it has left it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortTraffic {
    /// The ports that were tapped.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) control: Vec<ControlPacket>,
}

/// A packet tap on an interface, or the failure to open one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) interface: InterfaceIndex,
    pub(crate) name: String,
    /// Why it could not be tapped.
    pub(crate) refused: Option<Refusal>,
    /// Frames that the tap dropped.
    pub(crate) dropped: u64,
}

/// Why an interface could not be tapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// Whether a privilege is missing.
    pub(crate) needs_rights: bool,
}

impl Tap {
    /// Returns a tap that has captured everything so far.
    pub(crate) fn on(link: &Link) -> Self {
        Self { interface: link.index(), name: link.name().to_owned(), refused: None, dropped: 0 }
    }
}

impl Refusal {
    pub(crate) fn new(error: &mcast_capture::Error) -> Self {
        let needs_rights = error.kind() == mcast_capture::ErrorKind::Permission;
        Self { why: error.to_string(), needs_rights }
    }
}

#[cfg(test)]
impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), needs_rights: true }
    }
}

impl Wire {
    /// Returns whether there was a tap on an interface.
    pub(crate) fn is_tapped(&self, interface: InterfaceIndex) -> bool {
        self.taps.iter().any(|tap| tap.interface == interface && tap.refused.is_none())
    }

    /// Returns whether an interface was tapped and every frame was recorded. Only then is silence conclusive.
    pub(crate) fn is_complete(&self, interface: InterfaceIndex) -> bool {
        self.is_tapped(interface) && self.unrecorded == 0 && self.taps.iter().all(|tap| tap.dropped == 0)
    }

    /// Returns why an interface was not tapped.
    pub(crate) fn refusal(&self, interface: InterfaceIndex) -> Option<&Refusal> {
        self.taps.iter().find(|tap| tap.interface == interface)?.refused.as_ref()
    }

    pub(crate) fn duration(&self) -> Duration {
        let length = self.span.and_then(|(from, until)| until.duration_since(from).ok());
        length.unwrap_or_default()
    }

    /// Returns the flows to a group that arrived.
    pub(crate) fn incoming(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| !flow.key.outgoing && flow.key.group == group)
    }

    /// Returns the flows to a group that this machine sent.
    pub(crate) fn outgoing(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.key.outgoing && flow.key.group == group)
    }

    /// Returns the queries of one family that were received or sent on an interface.
    pub(crate) fn queries(
        &self,
        interface: InterfaceIndex,
        v4: bool,
    ) -> impl Iterator<Item = &ControlPacket> {
        self.control.iter().filter(move |packet| {
            packet.interface == interface
                && packet.source.is_ipv4() == v4
                && matches!(packet.message, ControlMessage::Query { .. })
        })
    }
}
