//! Frames of a file that are not sent, with the reason.

use mcast_packet::Packet;
use serde::Serialize;

use crate::output::count;

/// Frames that were not sent, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Skipped {
    /// Not UDP: for example IGMP, ARP or TCP.
    pub(super) not_udp: u64,
    /// UDP to a unicast or broadcast address.
    pub(super) not_multicast: u64,
    /// Fragments of datagrams.
    pub(super) fragments: u64,
    /// Frames that the file contains only in part.
    pub(super) truncated: u64,
    /// Malformed frames.
    pub(super) malformed: u64,
    /// Frames with an unsupported link type.
    pub(super) unknown_link: u64,
    /// Frames of groups or sources that are not selected.
    pub(super) not_asked_for: u64,
}

/// Why a frame is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NotUdp,
    NotMulticast,
    Fragment,
    Truncated,
    Malformed,
    NotAskedFor,
}

impl Skipped {
    pub(super) fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::NotUdp => &mut self.not_udp,
            Reason::NotMulticast => &mut self.not_multicast,
            Reason::Fragment => &mut self.fragments,
            Reason::Truncated => &mut self.truncated,
            Reason::Malformed => &mut self.malformed,
            Reason::NotAskedFor => &mut self.not_asked_for,
        } += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.not_udp += other.not_udp;
        self.not_multicast += other.not_multicast;
        self.fragments += other.fragments;
        self.truncated += other.truncated;
        self.malformed += other.malformed;
        self.unknown_link += other.unknown_link;
        self.not_asked_for += other.not_asked_for;
    }

    /// Returns the counts as text; `None` if nothing was skipped.
    pub(super) fn description(&self) -> Option<String> {
        let reasons = [
            (self.not_udp, "not UDP"),
            (self.not_multicast, "not to a group"),
            (self.fragments, "fragments"),
            (self.truncated, "truncated by the capture"),
            (self.malformed, "malformed"),
            (self.unknown_link, "of an unknown link type"),
            (self.not_asked_for, "not selected"),
        ];
        let parts: Vec<_> = reasons
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, reason)| format!("{} {reason}", count(*number)))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Returns why a frame cannot be sent as one datagram to a group; `None` if it can.
pub(super) fn reason_not_to(packet: &Packet<'_>, is_cut_off: bool) -> Option<Reason> {
    let Some(ip) = packet.ip_layer() else {
        return Some(match packet.malformed {
            _ if is_cut_off => Reason::Truncated,
            Some(_) => Reason::Malformed,
            None => Reason::NotUdp,
        });
    };
    let is_udp = ip.protocol == mcast_packet::protocol::UDP;
    match packet.udp() {
        _ if !is_udp => Some(Reason::NotUdp),
        _ if !ip.destination.is_multicast() => Some(Reason::NotMulticast),
        _ if ip.fragment.is_some() => Some(Reason::Fragment),
        _ if is_cut_off || ip.truncated => Some(Reason::Truncated),
        None => Some(Reason::Malformed),
        Some(udp) if udp.payload.len() + 8 < usize::from(udp.length) => Some(Reason::Malformed),
        Some(_) if packet.malformed.is_some() => Some(Reason::Malformed),
        Some(_) => None,
    }
}
