//! How far a flow came towards another program, as far as counters prove it.

use mcast::Family;

use super::Depth;
use super::losses::{MIN_QUEUED, share_passed, unicast_packets};
use crate::netfilter::{Hook, Layer};
use crate::observation::{Interest, Observation};
use crate::snapshot::{Counter, UdpSocket, explains};
use crate::wire::Flow;

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

/// Returns whether a program that loses datagrams at its socket reads others: some were not dropped, and programs read.
pub(super) fn reads_some(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> bool {
    let Some(socket) = interest.socket else { return false };
    let decapsulated = observation.decapsulated(interest.socket, flow).unwrap_or_default();
    let dropped = socket.drops.1.saturating_sub(socket.drops.0).saturating_add(decapsulated);
    let is_read = observation.rise(Counter::DatagramsRead, interest.family()).is_some_and(|read| read > 0);
    is_read
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
