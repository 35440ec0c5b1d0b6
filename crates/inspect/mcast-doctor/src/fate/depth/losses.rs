//! What became of datagrams that arrived: those that a socket took, which were read, dropped for lack of room, or refused by a
//! filter, and those that the kernel dropped with a reason.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast::Family;
use mcast_sys::Encapsulation;

use super::{Depth, LostFlow};
use crate::kernel_drops::{DropDirection, KernelDrop, NO_SOCKET, is_same_or_unknown};
use crate::netfilter::{Hook, Layer};
use crate::observation::{Interest, Observation, ProcessState, ProgramSocket, TrialMembership};
use crate::snapshot::{Counter, UdpSocket, explains};
use crate::wire::{Destination, Flow};

/// The least memory that the kernel accounts for a queued datagram.
const MIN_QUEUED: u64 = 512;
/// The number of arrivals from which on it means something that none of them was read.
const MIN_ARRIVALS: u64 = 3;
/// The kernel's reason for drops because a receive buffer is full.
pub(crate) const BUFFER_FULL: &str = "SOCKET_RCVBUFF";
/// The kernel's reason for drops by a filter of a socket or of its cgroup.
pub(crate) const REJECTED: &str = "SOCKET_FILTER";
/// The kernel's reason for drops by a policy of IPsec, which a socket counts, too.
const IPSEC: &str = "XFRM_POLICY";
/// The kernel's reasons for drops at a socket, which other sockets do not share.
const AT_SOCKET: [&str; 4] = [BUFFER_FULL, REJECTED, "PROTO_MEM", NO_SOCKET];
/// The counters of packets that arrived as ESP and that no security association is for.
pub(crate) const UNKNOWN_ESP: [&str; 2] = ["XfrmInNoStates", "XfrmInHdrError"];
/// How long the queue must have been watched at least.
const MIN_WATCHED: Duration = Duration::from_millis(500);

/// The datagrams that a socket has dropped while listening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketLosses {
    /// Because its receive buffer was full.
    pub(crate) full: u64,
    /// By a filter of the socket or of its cgroup, as no other counter increased.
    pub(crate) refused: u64,
}

impl Observation {
    /// Returns how many datagrams a socket has dropped, by their reason. Its own counter is for all reasons together. The
    /// kernel's reasons for drops of its groups decide; if there are none, or several, the counters of UDP limit how many
    /// each reason can explain.
    pub(crate) fn losses_of(&self, socket: &ProgramSocket) -> SocketLosses {
        let dropped = socket.drops.1.saturating_sub(socket.drops.0);
        let by_kernel = |reason| self.drops_at(socket, reason).map(|drop| drop.packets).sum::<u64>();
        let by_counters = self.losses_by_counters(dropped);
        match (by_kernel(BUFFER_FULL), by_kernel(REJECTED)) {
            _ if self.kernel_drops.uncounted > 0 => by_counters,
            // The kernel would have reported a filter as well.
            (0, 0) if by_kernel(IPSEC) > 0 => SocketLosses { refused: 0, ..by_counters },
            (0, 0) | (1.., 1..) => by_counters,
            (full, refused) => SocketLosses { full: full.min(dropped), refused: refused.min(dropped) },
        }
    }

    /// Returns how many datagrams of a flow the kernel takes for a tunnel, instead of delivering them to a socket
    /// (`UDP_ENCAP`). `None` if it may take them, but only the tunnel knows which.
    pub(crate) fn decapsulated(&self, socket: Option<&ProgramSocket>, flow: &Flow) -> Option<u64> {
        let Some(socket) = socket else { return Some(0) };
        match socket.options.as_ref().map(|options| options.encapsulation) {
            Some(None) => Some(0),
            Some(Some(Encapsulation::Esp)) => Some(flow.like_esp),
            Some(Some(Encapsulation::Other(_))) => None,
            // Where the program may not be inspected, IPsec shows that something was taken for ESP.
            None => {
                let taken = UNKNOWN_ESP.iter().filter_map(|name| self.rise_of(name)).sum::<u64>();
                (taken.min(flow.like_esp).saturating_mul(20) < flow.datagrams.max(1)).then_some(0)
            }
        }
    }

    /// Returns the drops that the kernel reports for a reason, of the groups that a socket has joined. They may be those of
    /// another socket that has joined them.
    pub(crate) fn drops_at<'a>(
        &'a self,
        socket: &'a ProgramSocket,
        reason: &'a str,
    ) -> impl Iterator<Item = &'a KernelDrop> {
        self.kernel_drops.drops.iter().filter(move |drop| {
            let is_of = |interest: Interest<'_>| {
                drop.arrived_on == Some(interest.interface)
                    && drop.is_to(interest.destination())
                    && interest.sources.admits(drop.source.ip())
            };
            drop.reason == reason && socket.interests().any(is_of)
        })
    }

    /// Attributes the drops of the doctor's own socket. A socket that received nothing was never full.
    pub(crate) fn losses_of_trial(&self, trial: &TrialMembership) -> SocketLosses {
        let losses = self.losses_by_counters(trial.dropped);
        SocketLosses { full: if trial.received_count() == 0 { 0 } else { losses.full }, ..losses }
    }

    fn losses_by_counters(&self, dropped: u64) -> SocketLosses {
        let rise = |counter| {
            let rises = [Family::V4, Family::V6].map(|family| self.rise(counter, family));
            rises.into_iter().flatten().reduce(u64::saturating_add)
        };
        let Some(full) = rise(Counter::ReceiveBufferErrors) else {
            return SocketLosses { full: dropped, refused: 0 };
        };
        let others =
            [Counter::ChecksumErrors, Counter::MemoryErrors].into_iter().filter_map(rise).sum::<u64>();
        let others = others.saturating_add(self.refused_by_ipsec());
        SocketLosses { full: dropped.min(full), refused: dropped.saturating_sub(full).saturating_sub(others) }
    }

    /// Returns how many datagrams arrived for a socket, if the wire was observed.
    fn arrived_for(&self, socket: &ProgramSocket) -> Option<u64> {
        let interfaces = socket.interests().map(|interest| interest.interface);
        let is_observed = interfaces.into_iter().all(|interface| self.wire.is_complete(interface));
        // What became of datagrams that are counted together is not known for each.
        let is_alone = |interest: Interest<'_>| {
            self.wire.datagrams_together(interest.family(), |to| to.address() == interest.destination()) == 0
        };
        let is_observed = is_observed && socket.interests().all(is_alone);
        is_observed.then(|| self.taken_by(socket).iter().map(|flow| self.reached_udp(flow)).sum())
    }

    /// Returns how many datagrams of a flow reached the sockets that take it, as far as is known.
    fn reached_udp(&self, flow: &Flow) -> u64 {
        let key = &flow.key;
        let is_lost = |trial: &TrialMembership| trial.received_from(key.interface, key.source) == 0;
        if self.trial().is_some_and(is_lost) {
            return 0;
        }
        let is_earlier = |drop: &&KernelDrop| drop.is_of(key) && !AT_SOCKET.contains(&drop.reason.as_str());
        let earlier = self.kernel_drops.drops.iter().filter(is_earlier).map(|drop| drop.packets).sum();
        let passed = self.passed_firewall(flow).unwrap_or(u64::MAX);
        flow.sound().min(flow.datagrams.saturating_sub(earlier)).min(passed)
    }

    /// Returns how many packets of a flow passed the hooks up to the input hook, which no program can have read more of. The counters of
    /// the machine count for longer than the taps, so without this limit another flow may stand in for one that is lost.
    /// `None` if it is unknown.
    fn passed_firewall(&self, flow: &Flow) -> Option<u64> {
        // The rules count fragments and coalesced datagrams in other numbers. What this machine sends need not come back.
        let is_counted = flow.fragmented == 0 && flow.resegmented == 0 && !flow.key.outgoing;
        let (reached, passed) = self.hooks.at_input(&flow.key).filter(|_| is_counted)?;
        let at_input = share_passed(flow.datagrams, reached, passed);
        // Where none passes an earlier hook, it may be changed there, and count as another flow.
        let earlier = [(Layer::Device, Hook::Ingress), (Layer::Ip, Hook::Prerouting)].into_iter();
        let earlier = earlier.filter_map(|(layer, hook)| self.hooks.of_flow(layer, hook, &flow.key));
        let shares = earlier
            .filter(|(_, passed)| *passed > 0)
            .map(|(reached, passed)| share_passed(flow.datagrams, reached, passed));
        Some(shares.fold(at_input, u64::min))
    }

    /// Returns whether datagrams arrived for a socket, and none of them was read: its queue never became shorter, and what
    /// is queued and what was dropped are all of them.
    pub(crate) fn is_unread(&self, socket: &ProgramSocket) -> bool {
        let (Some(first), Some(last)) = (socket.queued.first(), socket.queued.last()) else { return false };
        let Some(arrived) = self.arrived_for(socket) else { return false };
        let queued = last.saturating_sub(*first).div_ceil(MIN_QUEUED);
        let dropped = socket.drops.1.saturating_sub(socket.drops.0);
        socket.queued.is_sorted()
            && *last > 0
            && self.listened() >= MIN_WATCHED
            && arrived >= MIN_ARRIVALS
            && arrived.saturating_sub(dropped).saturating_sub(queued) <= 1
            && !self.is_certainly_read(socket)
    }

    /// Returns whether datagrams were read that no other socket can have had. Where few of many are read, the counts of what
    /// arrived and of what was dropped are too close together to show it.
    fn is_certainly_read(&self, socket: &ProgramSocket) -> bool {
        const SEVERAL: u64 = 3;
        let Some(local) = socket.local else { return false };
        let family = self
            .taken_by(socket)
            .first()
            .map_or_else(|| Family::of(local.ip()), |flow| Family::of(flow.key.group));
        let is_receiver = |other: &UdpSocket| {
            let to = |flow: &Flow| {
                let own = other.local.ip();
                flow.key.port == other.local.port() && (own.is_unspecified() || own == flow.key.group)
            };
            other.inode != socket.inode && self.wire.flows.iter().any(to)
        };
        let read = self.rise(Counter::DatagramsRead, family).unwrap_or_default();
        let by_unicast = unicast_packets(self, family).unwrap_or(u64::MAX);
        !self.after.udp_sockets.iter().any(is_receiver) && read >= by_unicast.saturating_add(SEVERAL)
    }
}

/// Returns how many captured datagrams passed a hook of which other numbers reached and passed it: the rules count for longer
/// than the taps.
fn share_passed(captured: u64, reached: u64, passed: u64) -> u64 {
    let share = u128::from(captured) * u128::from(passed) / u128::from(reached.max(1));
    passed.min(u64::try_from(share).unwrap_or(u64::MAX))
}

impl ProgramSocket {
    /// Returns whether no process that has the socket open can read it; `false` if one runs.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped().is_some() && self.processes.iter().all(ProcessState::is_stopped)
    }

    /// Returns a process that has the socket open and does not run, if there is one.
    pub(crate) fn stopped(&self) -> Option<&ProcessState> {
        self.processes.iter().find(|process| process.is_stopped())
    }
}

/// Returns the number of packets that arrived, were not sent to a group, and may have been delivered to a socket.
fn unicast_packets(observation: &Observation, family: Family) -> Option<u64> {
    let received = observation.rise(Counter::InReceives, family)?;
    let (unclaimed, forwarded) = match family {
        Family::V4 => ("UdpNoPorts", "IpForwDatagrams"),
        Family::V6 => ("Udp6NoPorts", "Ip6OutForwDatagrams"),
    };
    // The counter includes the groups that a multicast router forwards.
    let forwarded = Some(forwarded).filter(|_| observation.after.multicast_routes.is_empty());
    let others = [Some(unclaimed), forwarded].into_iter().flatten();
    let others: u64 = others.filter_map(|name| observation.rise_of(name)).sum();
    Some(received.saturating_sub(observation.rise(Counter::InMulticast, family)?).saturating_sub(others))
}

/// The packets from one source to an interest that the kernel dropped for the reasons in question.
#[derive(Clone, Debug)]
pub(crate) struct DroppedFlow<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) packets: u64,
    /// The flow on the wire, if the capture recorded it.
    pub(crate) flow: Option<&'a Flow>,
    pub(crate) drops: Vec<&'a KernelDrop>,
}

/// What the kernel's reasons say about the cause of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelVerdict {
    /// It dropped datagrams of the flow for this reason.
    Proven,
    /// It dropped them for other reasons.
    Refuted,
    /// It gives no reason for most of them, or its reasons are not known.
    Unknown,
}

impl Observation {
    /// Returns the flows to an interest that the kernel dropped for one of these reasons, by source. Drops that explain
    /// no loss are omitted: those of a few packets of a flow, and of flows that the doctor's own socket received.
    pub(crate) fn dropped_flows(
        &self,
        interest: &Interest<'_>,
        is_reason: impl Fn(&KernelDrop) -> bool,
    ) -> Vec<DroppedFlow<'_>> {
        let mut flows: BTreeMap<SocketAddr, DroppedFlow<'_>> = BTreeMap::new();
        let drops = self.kernel_drops.drops.iter().filter(|drop| {
            drop.arrived_on == Some(interest.interface)
                && drop.is_to(interest.destination())
                && is_reason(drop)
        });
        for drop in drops {
            let new = || DroppedFlow { source: drop.source, packets: 0, flow: None, drops: Vec::new() };
            let flow = flows.entry(drop.source).or_insert_with(new);
            flow.packets += drop.packets;
            flow.drops.push(drop);
        }
        let mut flows: Vec<_> = flows.into_values().collect();
        let arrivals = self.arrivals(interest);
        for flow in &mut flows {
            let mut arrivals = arrivals.iter();
            flow.flow = arrivals.find(|arrived| is_same_or_unknown(flow.source, arrived.key.source)).copied();
        }
        let is_together =
            |source| self.wire.may_be_together(interest.interface, source, interest.destination());
        flows.retain(|flow| {
            (flow.flow.is_some() || !is_together(flow.source)) && self.is_lost(interest, flow)
        });
        flows
    }

    /// Returns the packets that this machine sends to the examined group, or that the examined program sends, and that the
    /// kernel dropped before they left, for one of these reasons.
    pub(crate) fn dropped_sending(&self, is_reason: impl Fn(&KernelDrop) -> bool) -> Vec<&KernelDrop> {
        let interests = self.interests();
        let is_sender = |port| {
            let program = self.program().filter(|_| port != 0);
            program.is_some_and(|program| program.sends_from(port))
        };
        let is_examined = |drop: &&KernelDrop| {
            let is_joined = interests.iter().any(|interest| drop.is_to(interest.destination()));
            drop.direction() == DropDirection::Outgoing && (is_joined || is_sender(drop.source.port()))
        };
        let drops = self.kernel_drops.drops.iter().filter(is_examined);
        drops.filter(|drop| is_reason(drop) && self.is_many_of_sent(drop)).collect()
    }

    /// Returns whether the drops are at least 5 % of what left at the same time.
    fn is_many_of_sent(&self, drop: &KernelDrop) -> bool {
        let same = |flow: &&Flow| {
            flow.key.source == drop.source
                && Some(flow.key.interface) == drop.interface
                && drop.is_to(flow.destination())
        };
        let sent = self.wire.outgoing(drop.destination.ip()).filter(same).map(|flow| flow.datagrams);
        drop.packets.saturating_mul(20) >= sent.sum()
    }

    /// Returns the IGMP or MLD reports on an interest's interface that the kernel dropped before they left.
    pub(crate) fn dropped_reports<'a>(&'a self, interest: &Interest<'_>) -> Vec<&'a KernelDrop> {
        const REPORTS_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 22));
        const REPORTS_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16));
        let (group, family) = (interest.group.addr(), interest.family());
        let all = if family == Family::V4 { REPORTS_V4 } else { REPORTS_V6 };
        let is_report = |drop: &&KernelDrop| {
            drop.direction() == DropDirection::Outgoing
                && drop.interface == Some(interest.interface)
                && drop.is_report()
                && [all, group].contains(&drop.destination.ip())
        };
        self.kernel_drops.drops.iter().filter(is_report).collect()
    }

    /// Returns whether the kernel dropped the datagrams of a lost flow for a reason.
    pub(crate) fn kernel_verdict(&self, lost: &LostFlow<'_>, reason: &str) -> KernelVerdict {
        let drops = self.kernel_drops.drops.iter().filter(|drop| drop.is_of(&lost.flow.key));
        let (own, others): (Vec<_>, Vec<_>) = drops.partition(|drop| drop.is_for(reason));
        let packets = |drops: Vec<&KernelDrop>| drops.iter().map(|drop| drop.packets).sum::<u64>();
        // The kernel gives one reason for each packet. What other causes took cannot have been lost by this one, too.
        match packets(own) {
            own if own > 0 && own.saturating_mul(20) >= lost.lost => KernelVerdict::Proven,
            _ if explains(packets(others), lost.lost) => KernelVerdict::Refuted,
            _ => KernelVerdict::Unknown,
        }
    }

    /// Returns whether drops explain a loss: at least 5 % of what was on the wire, and what the doctor's own socket did
    /// not receive.
    fn is_lost(&self, interest: &Interest<'_>, dropped: &DroppedFlow<'_>) -> bool {
        let Some(flow) = dropped.flow else {
            return match self.trial() {
                // Another program's socket may have lost what the doctor's socket received.
                Some(trial) => trial.received_from(interest.interface, dropped.source) == 0,
                // Without a capture, the examined program may have received most of them.
                None => self.wire.is_tapped(interest.interface),
            };
        };
        // The kernel counts coalesced datagrams as one packet.
        let is_many = flow.resegmented > 0 || dropped.packets.saturating_mul(20) >= flow.datagrams;
        let lost = match self.trial() {
            Some(trial) => {
                flow.datagrams.saturating_sub(trial.received_from(interest.interface, flow.key.source))
            }
            // What another program's socket received is unknown.
            None => dropped.packets,
        };
        lost > 0 && is_many
    }
}

/// Fewer datagrams may still be on their way.
const MIN_DATAGRAMS: u64 = 3;

/// Returns the depth of a flow that another program should read. A socket that was closed has lost nothing since, and how
/// much came before is unknown.
pub(super) fn depth(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Depth {
    let depth = depth_of_open(observation, interest, flow);
    let is_closed = interest.socket.is_some_and(|socket| socket.closed);
    if is_closed && depth != Depth::Arrives { Depth::Unknown } else { depth }
}

/// Returns the depth of a flow if its socket was open all the time.
fn depth_of_open(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Depth {
    let (before, after) = interest.socket.map(|socket| socket.drops).unwrap_or_default();
    // 5 %, as for the doctor's own socket.
    if after.saturating_sub(before).saturating_mul(20) >= flow.datagrams.max(1) {
        return Depth::AtSocket;
    }
    let family = interest.family();
    // The kernel counts what it decapsulates as read.
    match observation.decapsulated(interest.socket, flow) {
        Some(taken) if taken.saturating_mul(20) >= flow.datagrams.max(1) => return Depth::AtSocket,
        Some(_) => {}
        None => return Depth::Unknown,
    }
    let Some(read) = observation.rise(Counter::DatagramsRead, family) else { return Depth::Unknown };
    if read == 0 && flow.datagrams >= MIN_DATAGRAMS {
        return where_unread(observation, flow);
    }
    let bounds =
        [certainly_read(observation, interest, flow, read), taken_from_queue(observation, interest, flow)];
    let least = bounds.into_iter().flatten().max().unwrap_or_default();
    let most = observation.passed_firewall(flow);
    if most == Some(0) && flow.datagrams >= MIN_DATAGRAMS {
        return before_delivery(observation, flow);
    }
    let read = least.min(most.unwrap_or(u64::MAX));
    if read.saturating_mul(20) >= flow.datagrams.saturating_mul(19) { Depth::Arrives } else { Depth::Unknown }
}

/// Returns the depth of a flow of which nothing was delivered to UDP.
fn before_delivery(observation: &Observation, flow: &Flow) -> Depth {
    let accepted = observation.accepted_by_ip(flow);
    let is_accepted = accepted.is_some_and(|accepted| explains(accepted, flow.datagrams));
    if is_accepted { Depth::AtIp } else { Depth::OnWire }
}

/// Returns a lower bound for the datagrams of a flow that its socket has read, whatever else this machine receives: those
/// that passed the firewall, that the socket takes, that it has not dropped, and that do not wait in its queue. `None` if
/// one of these is unknown.
fn taken_from_queue(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Option<u64> {
    // Fragments of IPv6 are put together behind this hook, where the first ones alone are counted.
    let is_counted = flow.fragmented == 0 || flow.key.group.is_ipv4();
    let socket = interest.socket.filter(|socket| !socket.closed && is_counted)?;
    let (reached, passed) = observation.hooks.of_flow(Layer::Ip, Hook::Input, &flow.key)?;
    let passed = share_passed(flow.datagrams, reached, passed);
    let is_taken = observation.taken_by(socket).iter().any(|taken| taken.key == flow.key);
    let waiting = socket.queued.last()?.div_ceil(MIN_QUEUED);
    let dropped = socket.drops.1.saturating_sub(socket.drops.0);
    is_taken.then(|| passed.min(flow.sound()).saturating_sub(dropped).saturating_sub(waiting))
}

/// Returns whether a program that loses datagrams reads others: some reached its socket and were not dropped there, and programs
/// read.
pub(super) fn reads_some(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> bool {
    let Some(socket) = interest.socket else { return false };
    let decapsulated = observation.decapsulated(interest.socket, flow).unwrap_or_default();
    let dropped = socket.drops.1.saturating_sub(socket.drops.0).saturating_add(decapsulated);
    let is_read = observation.rise(Counter::DatagramsRead, interest.family()).is_some_and(|read| read > 0);
    // What programs read may all be of other flows.
    let reached = observation.reached_udp(flow);
    is_read
        && reached.saturating_mul(20) > flow.datagrams
        && dropped.saturating_mul(20) < flow.datagrams.saturating_mul(19)
        && socket.stopped().is_none()
        && !observation.is_unread(socket)
}

/// Returns the depth of a flow while no program on this machine reads anything.
fn where_unread(observation: &Observation, flow: &Flow) -> Depth {
    let family = Family::of(flow.key.group);
    let is_ignored = observation
        .rise(Counter::IgnoredMulticast, family)
        .is_some_and(|ignored| explains(ignored, flow.datagrams));
    let is_accepted =
        observation.accepted_by_ip(flow).is_some_and(|accepted| explains(accepted, flow.datagrams));
    let is_delivered = observation
        .rise(Counter::InDelivers, family)
        .is_some_and(|delivered| explains(delivered, flow.datagrams));
    match (is_accepted, is_delivered && !is_ignored) {
        (true, true) => Depth::AtSocket,
        (true, false) => Depth::AtIp,
        (false, _) => Depth::OnWire,
    }
}

/// Returns a lower bound for the datagrams of a flow that each of its sockets has read; `None` if the system lacks a
/// counter.
///
/// Of the datagrams read, at most as many were unicast as unicast packets other than TCP arrived. All others came from
/// groups, and at most as many of them were of other flows as were captured, times their sockets. What had no room in
/// the buffers of other sockets was not read.
fn certainly_read(observation: &Observation, interest: &Interest<'_>, flow: &Flow, read: u64) -> Option<u64> {
    let family = Family::of(flow.key.group);
    let other_family = if family == Family::V4 { Family::V6 } else { Family::V4 };
    // TCP is counted for both families together, and without IPv6 there are no counters for it.
    let segments = observation.rise_of("TcpInSegs").unwrap_or_default();
    let segments = segments.saturating_sub(unicast_packets(observation, other_family).unwrap_or_default());
    let by_unicast = unicast_packets(observation, family)?.saturating_sub(segments);
    let is_open = |socket: &UdpSocket, flow: &Flow| {
        let local = socket.local.ip();
        socket.local.port() == flow.key.port && (local.is_unspecified() || local == flow.key.group)
    };
    let all_sockets = || observation.after.udp_sockets.iter();
    let sockets = |flow: &Flow| all_sockets().filter(|socket| is_open(socket, flow)).count() as u64;
    // On the loopback interface, what leaves is what arrives.
    let is_second_copy = |other: &Flow| {
        let is_loopback = observation.link(other.key.interface).is_some_and(|link| link.interface.loopback);
        other.key.outgoing && is_loopback
    };
    let is_other = |other: &&Flow| {
        other.key != flow.key && Family::of(other.key.group) == family && !is_second_copy(other)
    };
    let others = observation.wire.flows.iter().filter(is_other);
    let by_others: u64 = others.map(|other| other.datagrams.saturating_mul(sockets(other))).sum();
    let is_open_for =
        |to: &Destination| all_sockets().filter(|socket| socket.local.port() == to.port).count() as u64;
    let together = observation.wire.together.iter().filter(|(to, _)| Family::of(to.group) == family);
    let together: u64 = together
        .map(|(to, rest)| rest.datagrams.saturating_add(rest.unrecorded).saturating_mul(is_open_for(to)))
        .sum();
    let by_others = by_others.saturating_add(together);
    // If the flow has several sockets, all but this one may have read all of it.
    let by_other_sockets = flow.datagrams.saturating_mul(sockets(flow).saturating_sub(1));
    let own = interest.socket.map(|socket| socket.inode);
    let others = || observation.wire.flows.iter().filter(|other| Family::of(other.key.group) == family);
    let may_read =
        |socket: &&UdpSocket| Some(socket.inode) != own && others().any(|other| is_open(socket, other));
    let dropped: u64 = all_sockets().filter(may_read).map(|socket| dropped_at(observation, socket)).sum();
    let by_others = by_others.saturating_add(by_other_sockets).saturating_sub(dropped);
    Some(read.saturating_sub(by_unicast).saturating_sub(by_others))
}

/// Returns how many datagrams a socket dropped while listening.
fn dropped_at(observation: &Observation, socket: &UdpSocket) -> u64 {
    let mut before = observation.before.udp_sockets.iter();
    let before = before.find(|earlier| earlier.inode == socket.inode).map_or(0, |earlier| earlier.drops);
    socket.drops.saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;

    use super::*;
    use crate::causes::fixtures::{
        ETH0, flow, joined_socket, kernel_drop, membership, program, with_counters,
    };
    use crate::observation::RunState;
    use crate::snapshot::JoinedGroup;

    #[test]
    fn counts_of_a_longer_time_are_scaled() {
        assert_eq!(super::share_passed(147, 165, 149), 132);
        assert_eq!((super::share_passed(100, 80, 80), super::share_passed(100, 0, 0)), (80, 0));
    }

    const TO: &str = "239.1.2.3:5000";

    /// Returns an observation of a socket for which 10 datagrams arrived, with its queue while listening.
    fn observed(dropped: u64, queued: &[u64]) -> (Observation, ProgramSocket) {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        socket.drops = (5, 5 + dropped);
        socket.queued = queued.to_vec();
        let mut observation = program(vec![socket.clone()], vec![flow(ETH0, "10.9.0.1:6000", TO)]);
        observation.before.joined = vec![JoinedGroup { group: [239, 1, 2, 3].into(), interface: ETH0 }];
        (observation, socket)
    }

    #[test]
    fn drops_are_due_to_a_filter_only_if_no_counter_explains_them() {
        let losses = |rises: &[(&str, u64)]| {
            let (observation, socket) = observed(10, &[]);
            let losses = with_counters(observation, rises).losses_of(&socket);
            (losses.full, losses.refused)
        };
        assert_eq!(losses(&[]), (10, 0), "without counters");
        assert_eq!(losses(&[("UdpRcvbufErrors", 0)]), (0, 10));
        assert_eq!(losses(&[("UdpRcvbufErrors", 10)]), (10, 0));
        assert_eq!(losses(&[("UdpRcvbufErrors", 3)]), (3, 7));
        assert_eq!(losses(&[("UdpRcvbufErrors", 0), ("UdpInCsumErrors", 10)]), (0, 0));
        assert_eq!(losses(&[("UdpRcvbufErrors", 0), ("Udp6RcvbufErrors", 30)]), (10, 0));
    }

    #[test]
    fn kernel_reason_outweighs_the_counters_of_all_sockets() {
        let losses = |drops: &[(&str, u64)], full| {
            let (mut observation, socket) = observed(10, &[]);
            let drops = drops.iter();
            observation.kernel_drops.drops =
                drops.map(|(reason, packets)| kernel_drop(reason, "10.9.0.1:6000", TO, *packets)).collect();
            let losses = with_counters(observation, &[("UdpRcvbufErrors", full)]).losses_of(&socket);
            (losses.full, losses.refused)
        };
        assert_eq!(losses(&[(REJECTED, 10)], 30), (0, 10), "another socket is full");
        assert_eq!(losses(&[(BUFFER_FULL, 7)], 7), (7, 0), "three were dropped for other reasons");
        assert_eq!(losses(&[(REJECTED, 10), (BUFFER_FULL, 10)], 10), (10, 0), "one of each of two sockets");
        assert_eq!(losses(&[(IPSEC, 7)], 0), (0, 0));
        let other = kernel_drop(REJECTED, "10.9.0.1:6000", "239.9.9.9:5000", 10);
        let (mut observation, socket) = observed(10, &[]);
        observation.kernel_drops.drops = vec![other];
        assert_eq!(with_counters(observation, &[("UdpRcvbufErrors", 10)]).losses_of(&socket).full, 10);
    }

    #[test]
    fn socket_is_unread_only_if_nothing_was_taken_from_its_queue() {
        let is_unread = |dropped, queued: &[u64]| {
            let (observation, socket) = observed(dropped, queued);
            observation.is_unread(&socket)
        };
        assert!(is_unread(0, &[0, 768, 7680]));
        assert!(is_unread(10, &[2304, 2304, 2304]));
        assert!(!is_unread(10, &[2304, 768, 2304]), "something was read");
        assert!(!is_unread(3, &[2304, 2304]), "seven datagrams are missing");
        assert!(!is_unread(0, &[0, 0, 0]), "all were read, or none came");
        assert!(!is_unread(0, &[]));
    }

    #[test]
    fn datagrams_that_were_dropped_before_the_socket_were_not_read_either() {
        let is_unread = |reason| {
            let (mut observation, socket) = observed(3, &[2304, 2304]);
            observation.kernel_drops.drops = vec![kernel_drop(reason, "10.9.0.1:6000", TO, 7)];
            observation.is_unread(&socket)
        };
        assert!(is_unread("NETFILTER_DROP"));
        assert!(!is_unread("SOCKET_RCVBUFF"), "the drops of another socket");
    }

    #[test]
    fn socket_is_stopped_only_if_all_its_processes_are() {
        let state = |run_state| ProcessState { pid: 7, run_state, cgroup: None };
        let stopped = |states| {
            let socket = ProgramSocket { processes: states, ..joined_socket(ETH0, SourceFilter::ANY) };
            socket.is_stopped()
        };
        assert!(!stopped(vec![]));
        assert!(!stopped(vec![state(RunState::Stopped), state(RunState::Running)]));
        assert!(stopped(vec![state(RunState::Stopped)]));
    }

    fn verdict(drops: Vec<KernelDrop>) -> KernelVerdict {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
        observation.kernel_drops.drops = drops;
        let interests = observation.interests();
        let lost = observation.lost_flows(&interests[0]);
        observation.kernel_verdict(&lost[0], "IP_RPFILTER")
    }

    #[test]
    fn reasons_prove_or_refute_a_cause_only_for_their_own_flow() {
        let drop = |reason, packets| kernel_drop(reason, "10.9.0.1:6000", TO, packets);
        assert_eq!(verdict(vec![]), KernelVerdict::Unknown);
        assert_eq!(verdict(vec![drop("IP_RPFILTER", 10)]), KernelVerdict::Proven);
        assert_eq!(verdict(vec![drop("NETFILTER_DROP", 10)]), KernelVerdict::Refuted);
        assert_eq!(verdict(vec![drop("NETFILTER_DROP", 3)]), KernelVerdict::Unknown);
        assert_eq!(verdict(vec![drop("NETFILTER_DROP", 9), drop("IP_RPFILTER", 1)]), KernelVerdict::Proven);
        let other = kernel_drop("IP_RPFILTER", "10.9.0.7:6000", TO, 10);
        assert_eq!(verdict(vec![other]), KernelVerdict::Unknown);
    }

    #[test]
    fn drops_that_explain_no_loss_are_omitted() {
        let count = |received, packets| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
            observation.kernel_drops.drops =
                vec![kernel_drop("NETFILTER_DROP", "10.9.0.1:6000", TO, packets)];
            let interests = observation.interests();
            observation.dropped_flows(&interests[0], |_| true).len()
        };
        assert_eq!((count(0, 10), count(10, 10), count(9, 1)), (1, 0, 1));
    }
}
