//! How far the datagrams of each expected flow came: the base of the verdict.
//!
//! A flow is expected if its source is admitted and its group is joined on the interface. What the doctor's own socket
//! received is known exactly. What another program has read follows only from sums of counters, so its flows have a
//! known depth only where the sums prove it.

mod losses;

use std::net::{IpAddr, SocketAddr};

use mcast::{Family, SourceFilter};

pub use crate::finding::{ArrivalStatus, Depth, FlowStatus};
use crate::kernel_drops::FRAGMENTS_MISSING;
use crate::observation::{ExaminationTarget, Interest, Loss, Observation, ReceivedCount, TrialMembership};
use crate::snapshot::UdpSocket;
use crate::wire::{Destination, Flow};
pub(crate) use losses::{BUFFER_FULL, DroppedFlow, KernelVerdict, REJECTED, UNKNOWN_ESP};

/// Fewer datagrams that this machine sends prove nothing: the last one may still be on its way back.
const MIN_OWN_DATAGRAMS: u64 = 3;
/// Fewer datagrams may have been captured before counting began and accepted after it, on a busy machine.
const MIN_ACCEPTED: u64 = 10;

/// A flow that should arrive, or an interest for which nothing was seen.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedFlow<'a> {
    pub(crate) interest: Interest<'a>,
    /// What the tap saw; `None` if nothing, or if there was no tap.
    pub(crate) flow: Option<&'a Flow>,
    pub(crate) status: FlowStatus,
}

/// A flow that was lost inside this machine, or may have been.
#[derive(Clone, Debug)]
pub(crate) struct LostFlow<'a> {
    pub(crate) flow: &'a Flow,
    /// How many of its datagrams are missing.
    pub(crate) lost: u64,
    pub(crate) status: FlowStatus,
}

impl Observation {
    /// Returns the flows that should arrive, each with its depth, and an entry for each interest without a flow unless
    /// its group arrives on another interface.
    pub(crate) fn expected_flows(&self) -> Vec<ExpectedFlow<'_>> {
        let interests = self.interests();
        let mut flows: Vec<_> = interests.iter().flat_map(|interest| self.flows_of(interest)).collect();
        let is_seen = |interest: &&Interest<'_>| {
            flows.iter().any(|flow| flow.status.destination == interest.destination())
        };
        let silent: Vec<_> = interests.iter().filter(|interest| !is_seen(interest)).collect();
        flows.extend(silent.iter().map(|interest| self.silent(interest, &silent)));
        flows
    }

    /// Returns the flows of an interest on its interface: those that the tap saw, and those that only the socket or the
    /// kernel's counts of drops saw.
    fn flows_of<'a>(&'a self, interest: &Interest<'a>) -> Vec<ExpectedFlow<'a>> {
        let seen: Vec<_> = self.wire.flows.iter().filter(|flow| self.is_expected(interest, flow)).collect();
        let is_seen = |source: SocketAddr| seen.iter().any(|flow| flow.key.source == source);
        let received = self.trial().into_iter().flat_map(|trial| &trial.received);
        let unseen: Vec<_> = received
            .filter(|count| count.interface == interest.interface && !is_seen(count.source))
            .map(|count| ExpectedFlow {
                interest: *interest,
                flow: None,
                status: FlowStatus {
                    source: Some(count.source),
                    received: Some(count.datagrams),
                    depth: Depth::Arrives,
                    ..self.status(interest)
                },
            })
            .collect();
        let dropped = self.dropped_unseen(interest);
        let together = self.together(interest);
        seen.into_iter()
            .map(|flow| self.seen(interest, flow))
            .chain(unseen)
            .chain(dropped)
            .chain(together)
            .collect()
    }

    /// Returns the entry of the sources of an interest beyond those that are recorded. Those that fare like a recorded one need
    /// none. Which of them lost datagrams is unknown.
    fn together<'a>(&'a self, interest: &Interest<'a>) -> Option<ExpectedFlow<'a>> {
        let destination = Destination {
            interface: interest.interface,
            outgoing: false,
            group: interest.group.addr(),
            port: interest.port,
            vlan: None,
        };
        let rest = self.wire.together.get(&destination).filter(|rest| rest.unrecorded > 0)?;
        let is_recorded = |source: &IpAddr| {
            let mut recorded = self.wire.flows.iter().map(|flow| flow.key.source.ip());
            recorded.any(|recorded| recorded == *source)
                || rest.sources.iter().any(|recorded| recorded.ip() == *source)
        };
        if let SourceFilter::Include(sources) = interest.sources
            && sources.iter().all(is_recorded)
        {
            return None;
        }
        let received = self.trial().map(|_| rest.unrecorded_received);
        let is_whole = received.is_some_and(|received| {
            !Loss { expected: rest.unrecorded, received: received.min(rest.unrecorded), dropped: 0 }
                .is_serious()
        });
        let status = FlowStatus {
            on_wire: Some(rest.unrecorded),
            received,
            depth: if is_whole { Depth::Arrives } else { Depth::Unknown },
            some_arrive: received.is_some_and(|received| received > 0),
            ..self.status(interest)
        };
        Some(ExpectedFlow { interest: *interest, flow: None, status })
    }

    /// Returns the flows that the kernel dropped and that no capture shows, because they were dropped before it or do not
    /// parse. Fragments are not dropped for lack of others unless those were lost before this machine.
    fn dropped_unseen<'a>(&'a self, interest: &Interest<'a>) -> Vec<ExpectedFlow<'a>> {
        let mut dropped = self.dropped_flows(interest, |drop| drop.reason != FRAGMENTS_MISSING);
        dropped.retain(|dropped| {
            let source = dropped.source.ip();
            dropped.flow.is_none()
                && interest.sources.admits(source)
                && !self.before.is_own(source)
                && !self.forwards(interest, source)
        });
        let expected = |dropped: DroppedFlow<'_>| {
            let status = FlowStatus {
                source: Some(dropped.source),
                on_wire: Some(dropped.packets),
                received: self.trial().map(|_| 0),
                depth: Depth::OnWire,
                ..self.status(interest)
            };
            ExpectedFlow { interest: *interest, flow: None, status }
        };
        dropped.into_iter().map(expected).collect()
    }

    /// Returns whether this machine forwards datagrams from a source to the interface of an interest. Its own copies of
    /// them arrive there.
    fn forwards(&self, interest: &Interest<'_>, source: IpAddr) -> bool {
        let mut sent = self.wire.outgoing(interest.group.addr());
        sent.any(|flow| flow.key.interface == interest.interface && flow.key.source.ip() == source)
    }

    /// Returns the flows of an interest that the doctor's own socket did not receive; for another program, those of
    /// which nothing proves that it has read them.
    pub(crate) fn lost_flows<'a>(&'a self, interest: &Interest<'a>) -> Vec<LostFlow<'a>> {
        let lost = |expected: ExpectedFlow<'a>| {
            let ExpectedFlow { flow, status, .. } = expected;
            let is_lost = status.depth.is_lost_here() || status.depth == Depth::Unknown;
            let lost = status.on_wire?.saturating_sub(status.received.unwrap_or_default());
            flow.filter(|_| is_lost).map(|flow| LostFlow { flow, lost, status })
        };
        self.flows_of(interest).into_iter().filter_map(lost).collect()
    }

    /// Returns the flows to the group of a silent interest that arrive on ports which no socket has open. They pass the
    /// same filters, up to UDP.
    pub(crate) fn stray_flows<'a>(&'a self, interest: &Interest<'a>) -> Vec<LostFlow<'a>> {
        let is_open = |port| self.after.udp_sockets.iter().any(|socket| socket.local.port() == port);
        let is_stray = |flow: &&Flow| {
            flow.key.interface == interest.interface
                && flow.key.vlan.is_none()
                && interest.sources.admits(flow.key.source.ip())
                && !is_open(flow.key.port)
        };
        let stray = |flow: &'a Flow| {
            let lost = self.whole_datagrams(flow);
            let status = FlowStatus {
                destination: flow.destination(),
                source: Some(flow.key.source),
                on_wire: Some(lost),
                ..self.status(interest)
            };
            LostFlow { flow, lost, status }
        };
        match self.flows_of(interest).is_empty() {
            true => self.wire.incoming(interest.group.addr()).filter(is_stray).map(stray).collect(),
            false => Vec::new(),
        }
    }

    /// Returns whether the socket of an interest should receive a flow.
    fn is_expected(&self, interest: &Interest<'_>, flow: &Flow) -> bool {
        let source = flow.key.source;
        flow.key.interface == interest.interface
            && flow.destination() == interest.destination()
            && flow.key.vlan.is_none()
            && interest.sources.admits(source.ip())
            // What a router forwards does not come back to it.
            && (!flow.key.outgoing
                || (flow.datagrams >= MIN_OWN_DATAGRAMS && self.before.is_own(source.ip())))
            && !self.comes_back(interest, flow)
            && !self.is_looped_back_in_part(interest, flow)
            && !self.is_for_others(flow)
    }

    /// Returns whether a socket of this machine sends a flow to a group that it has joined, and wants nothing of that back, as those
    /// of PTP.
    pub(crate) fn is_for_others(&self, flow: &Flow) -> bool {
        let sender = self.without_loopback(flow).filter(|_| flow.key.outgoing);
        let mut sockets = self.trial().into_iter().flat_map(|trial| &trial.other_sockets);
        let is_joined = |interest: Interest<'_>| {
            (interest.group.addr(), interest.interface) == (flow.key.group, flow.key.interface)
        };
        sender.is_some_and(|sender| {
            sockets.any(|socket| socket.inode == sender.inode && socket.interests().any(is_joined))
        })
    }

    /// Returns whether several sockets of this machine sent a flow from one port, and what one of them sends is not looped back
    /// (`IP_MULTICAST_LOOP` off), as with a relay of mDNS beside a program that asks.
    fn is_looped_back_in_part(&self, interest: &Interest<'_>, flow: &Flow) -> bool {
        let received = self.received(interest, flow).unwrap_or_default();
        flow.key.outgoing
            && (1..self.whole_datagrams(flow)).contains(&received)
            && self.without_loopback(flow).is_some()
    }

    /// Returns a socket of this machine whose datagrams are not looped back (`IP_MULTICAST_LOOP` off), at the port from which it sent a
    /// flow.
    pub(crate) fn without_loopback(&self, flow: &Flow) -> Option<&UdpSocket> {
        let family = Family::of(flow.key.group);
        self.before.udp_sockets.iter().find(|socket| {
            let options = self.before.socket_options.get(&socket.inode);
            let of_family = options.and_then(|options| options.groups.get(&family));
            socket.local.port() == flow.key.source.port()
                && of_family.is_some_and(|options| !options.loopback)
        })
    }

    /// Returns whether a flow comes back to the machine that sent it by another interface, on which it was received.
    fn comes_back(&self, interest: &Interest<'_>, flow: &Flow) -> bool {
        let is_received = |trial: &TrialMembership| {
            let same = |count: &ReceivedCount| {
                count.source == flow.key.source && count.interface != interest.interface
            };
            trial.received.iter().any(same)
        };
        !flow.key.outgoing
            && self.before.is_own(flow.key.source.ip())
            && self.trial().is_some_and(is_received)
    }

    fn seen<'a>(&'a self, interest: &Interest<'a>, flow: &'a Flow) -> ExpectedFlow<'a> {
        let on_wire = self.whole_datagrams(flow);
        let received = self.received(interest, flow);
        let depth = match received {
            _ if on_wire == 0 => Depth::NotOnWire,
            Some(received) => self.depth_of_trial(flow, on_wire, received),
            None => losses::depth(self, interest, flow),
        };
        let status = FlowStatus {
            source: Some(flow.key.source),
            on_wire: Some(on_wire),
            received,
            depth,
            some_arrive: received
                .map_or_else(|| losses::reads_some(self, interest, flow), |received| received > 0),
            ..self.status(interest)
        };
        ExpectedFlow { interest: *interest, flow: Some(flow), status }
    }

    /// Returns the entry of an interest without a flow. Silence is certain only if no interface with the same group
    /// went unobserved.
    fn silent<'a>(&'a self, interest: &Interest<'a>, silent: &[&Interest<'_>]) -> ExpectedFlow<'a> {
        let leaves = |flow: &Flow| flow.key.port == interest.port && flow.key.vlan.is_none();
        let same = silent.iter().filter(|other| other.address() == interest.address());
        let depth = if self.wire.outgoing(interest.group.addr()).any(leaves) {
            Depth::OtherInterface
        } else if same.clone().all(|interest| self.wire.is_complete(interest.interface)) {
            Depth::NotOnWire
        } else {
            Depth::Unknown
        };
        let on_wire = self.wire.is_complete(interest.interface).then_some(0);
        let received = self.trial().map(|_| 0);
        let status = FlowStatus { on_wire, received, depth, ..self.status(interest) };
        ExpectedFlow { interest: *interest, flow: None, status }
    }

    fn status(&self, interest: &Interest<'_>) -> FlowStatus {
        FlowStatus {
            destination: interest.destination(),
            source: None,
            interface: self.link_name(interest.interface),
            program: interest.socket.map(|socket| socket.owner.clone()),
            on_wire: None,
            received: None,
            depth: Depth::Unknown,
            some_arrive: false,
        }
    }

    /// Returns the number of datagrams that were complete on the wire.
    pub(crate) fn whole_datagrams(&self, flow: &Flow) -> u64 {
        if flow.fragmented == 0 {
            return flow.datagrams;
        }
        let key = &flow.key;
        let whole = self.wire.fragmented.iter().filter(|datagram| {
            (datagram.interface, datagram.outgoing) == (key.interface, key.outgoing)
                && (datagram.source, datagram.group) == (key.source.ip(), key.group)
                && datagram.port == Some(key.port)
                && datagram.is_complete()
        });
        flow.datagrams.saturating_sub(flow.fragmented).saturating_add(whole.count() as u64)
    }

    /// Returns how many datagrams of a flow the doctor's own socket received; `None` for another program. A socket may
    /// report another interface than the one that was tapped (a VRF), so receipts without a captured flow count too.
    fn received(&self, interest: &Interest<'_>, flow: &Flow) -> Option<u64> {
        let trial = self.trial()?;
        let source = flow.key.source;
        let here = trial.received_from(interest.interface, source);
        let is_captured = |interface| {
            let same = |other: &Flow| other.key.interface == interface && other.key.source == source;
            self.wire.flows.iter().any(|other| other.destination() == flow.destination() && same(other))
        };
        let elsewhere = trial.received.iter().filter(|count| {
            count.source == source && count.interface != interest.interface && !is_captured(count.interface)
        });
        let received = here.saturating_add(elsewhere.map(|count| count.datagrams).sum());
        Some(if received == 0 { self.received_from_another_source(interest, flow) } else { received })
    }

    /// Returns how many datagrams of a flow the doctor's own socket received from a source that was not on the wire, because
    /// a rule of the packet filter changes it: as many as were on the wire, if this flow is the only one without receipts.
    fn received_from_another_source(&self, interest: &Interest<'_>, flow: &Flow) -> u64 {
        let Some(trial) = self.trial() else { return 0 };
        let same = |other: &&Flow| {
            other.destination() == flow.destination() && other.key.interface == interest.interface
        };
        let captured: Vec<_> = self.wire.flows.iter().filter(same).map(|other| other.key.source).collect();
        let is_received = |source| trial.received.iter().any(|count| count.source == source);
        let are_others_received =
            captured.iter().all(|source| *source == flow.key.source || is_received(*source));
        let unseen = trial
            .received
            .iter()
            .filter(|count| count.interface == interest.interface && !captured.contains(&count.source));
        let unseen: u64 = unseen.map(|count| count.datagrams).sum();
        let is_as_many = unseen.abs_diff(flow.datagrams).saturating_mul(20) <= flow.datagrams;
        if are_others_received && is_as_many { unseen } else { 0 }
    }

    fn depth_of_trial(&self, flow: &Flow, on_wire: u64, received: u64) -> Depth {
        let Some(trial) = self.trial() else { return Depth::Unknown };
        // A full buffer drops datagrams of every flow, and was empty once: it does not explain why all of one are missing.
        let dropped = if received == 0 { 0 } else { self.losses_of_trial(trial).full };
        let loss = Loss { expected: on_wire, received: received.min(on_wire), dropped };
        if !loss.is_serious() {
            return Depth::Arrives;
        }
        match self.accepted_by_ip(flow) {
            Some(accepted)
                if on_wire >= MIN_ACCEPTED && loss.is_explained_by(accepted.saturating_sub(received)) =>
            {
                Depth::AtIp
            }
            _ => Depth::OnWire,
        }
    }

    /// Returns how many datagrams of a flow the IP layer certainly accepted: what its counter for groups counted beyond
    /// all other captured packets to groups. `None` if the counter cannot be compared with captured packets.
    pub(crate) fn accepted_by_ip(&self, flow: &Flow) -> Option<u64> {
        let family = Family::of(flow.key.group);
        let counted = *self.wire.accepted.get(&family)?;
        let same_family = || self.wire.flows.iter().filter(|other| Family::of(other.key.group) == family);
        // The counter counts fragments and coalesced packets.
        if same_family().any(|other| other.fragmented > 0 || other.resegmented > 0) {
            return None;
        }
        let is_joined = |other: &&Flow| self.after.is_joined(other.key.group, other.key.interface);
        let datagrams: u64 = same_family().filter(is_joined).map(|other| other.datagrams).sum();
        let is_counted = |to: &Destination| self.after.is_joined(to.group, to.interface);
        let datagrams = datagrams.saturating_add(self.wire.datagrams_together(family, is_counted));
        let control = self.wire.control.iter().filter(|packet| Family::of(packet.source) == family).count();
        let others = datagrams.saturating_sub(flow.datagrams).saturating_add(control as u64);
        Some(counted.saturating_sub(others))
    }

    /// Returns the flows that an examined program sends, if it has joined no group.
    pub(crate) fn sent_flows(&self) -> Vec<FlowStatus> {
        let ExaminationTarget::Program(program) = &self.target else { return Vec::new() };
        if !self.interests().is_empty() {
            return Vec::new();
        }
        let sent = self.wire.flows.iter().filter(|flow| flow.key.outgoing && program.sends(flow));
        sent.map(|flow| FlowStatus {
            destination: flow.destination(),
            source: Some(flow.key.source),
            interface: self.link_name(flow.key.interface),
            program: Some(program.name.clone()),
            on_wire: Some(flow.datagrams),
            received: None,
            depth: Depth::Leaves,
            some_arrive: false,
        })
        .collect()
    }
}

/// Returns whether the datagrams of all flows arrive.
pub(crate) fn arrival<'a>(flows: impl IntoIterator<Item = &'a FlowStatus>) -> ArrivalStatus {
    let (mut arrives, mut lost, mut unknown) = (false, false, false);
    for flow in flows {
        match flow.depth {
            Depth::Arrives => arrives = true,
            // Why the doctor's own socket received nothing is unknown, that it did not is certain.
            Depth::Unknown if flow.received == Some(0) => lost = true,
            Depth::Unknown | Depth::Leaves => unknown = true,
            _ => (arrives, lost) = (arrives || flow.some_arrive, true),
        }
    }
    match (arrives, lost, unknown) {
        (true, true, _) => ArrivalStatus::Incomplete,
        (false, true, _) => ArrivalStatus::Nothing,
        (true, false, false) => ArrivalStatus::Arrives,
        (_, false, _) => ArrivalStatus::NotObserved,
    }
}

#[cfg(test)]
mod tests;
