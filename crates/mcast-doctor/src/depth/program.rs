//! How far a flow came towards another program, as far as counters prove it.

use mcast::Family;

use super::Depth;
use crate::observation::{Interest, Observation, explains};
use crate::snapshot::{Counter, UdpSocket};
use crate::wire::Flow;

/// Fewer datagrams may still be on their way.
const MIN_DATAGRAMS: u64 = 3;

/// Returns the depth of a flow that another program should read.
pub(super) fn depth(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Depth {
    let (before, after) = interest.socket.map(|socket| socket.drops).unwrap_or_default();
    // 5 %, as for the doctor's own socket.
    if after.saturating_sub(before).saturating_mul(20) >= flow.datagrams.max(1) {
        return Depth::AtSocket;
    }
    let family = interest.family();
    let Some(read) = observation.rise(Counter::DatagramsRead, family) else { return Depth::Unknown };
    if read == 0 && flow.datagrams >= MIN_DATAGRAMS {
        return where_unread(observation, flow);
    }
    match certainly_read(observation, flow, read) {
        Some(certain) if certain.saturating_mul(20) >= flow.datagrams.saturating_mul(19) => Depth::Arrives,
        _ => Depth::Unknown,
    }
}

/// Returns whether a program that loses datagrams at its socket reads others: some were not dropped, and programs read.
pub(super) fn reads_some(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> bool {
    let Some(socket) = interest.socket else { return false };
    let dropped = socket.drops.1.saturating_sub(socket.drops.0);
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
/// groups, and at most as many of them were of other flows as were captured, times their sockets.
fn certainly_read(observation: &Observation, flow: &Flow, read: u64) -> Option<u64> {
    let family = Family::of(flow.key.group);
    let other_family = if family == Family::V4 { Family::V6 } else { Family::V4 };
    // TCP is counted for both families together, and without IPv6 there are no counters for it.
    let segments = observation.rise_of("TcpInSegs").unwrap_or_default();
    let segments = segments.saturating_sub(unicast(observation, other_family).unwrap_or_default());
    let by_unicast = unicast(observation, family)?.saturating_sub(segments);
    let sockets = |flow: &Flow| {
        let is_open = |socket: &&UdpSocket| {
            let local = socket.local.ip();
            socket.local.port() == flow.key.port && (local.is_unspecified() || local == flow.key.group)
        };
        observation.after.udp_sockets.iter().filter(is_open).count() as u64
    };
    let is_other = |other: &&Flow| other.key != flow.key && Family::of(other.key.group) == family;
    let others = observation.wire.flows.iter().filter(is_other);
    let by_others: u64 = others.map(|other| other.datagrams.saturating_mul(sockets(other))).sum();
    // If the flow has several sockets, all but this one may have read all of it.
    let by_other_sockets = flow.datagrams.saturating_mul(sockets(flow).saturating_sub(1));
    Some([by_unicast, by_others, by_other_sockets].into_iter().fold(read, u64::saturating_sub))
}

/// Returns the number of packets that arrived and were not sent to a group.
fn unicast(observation: &Observation, family: Family) -> Option<u64> {
    let received = observation.rise(Counter::InReceives, family)?;
    Some(received.saturating_sub(observation.rise(Counter::InMulticast, family)?))
}
