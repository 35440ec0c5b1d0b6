//! Frames of a file that are not sent, with the reason.

use std::ops::AddAssign;

use mcast_packet::{Packet, protocol};

/// Counts of the frames of a file that cannot be sent as a datagram to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedFrames {
    /// Not UDP: for example IGMP, ARP or TCP.
    pub not_udp: u64,
    /// UDP to a unicast or broadcast address.
    pub not_multicast: u64,
    /// Fragments of datagrams.
    pub fragments: u64,
    /// Frames that the file contains only in part.
    pub truncated: u64,
    /// Malformed frames.
    pub malformed: u64,
    /// Frames with an unsupported link type.
    pub unsupported_link_type: u64,
    /// Datagrams of groups or sources that are not selected.
    pub not_selected: u64,
}

/// Why a frame is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NotUdp,
    NotMulticast,
    Fragment,
    Truncated,
    Malformed,
    NotSelected,
}

impl SkippedFrames {
    pub(super) fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::NotUdp => &mut self.not_udp,
            Reason::NotMulticast => &mut self.not_multicast,
            Reason::Fragment => &mut self.fragments,
            Reason::Truncated => &mut self.truncated,
            Reason::Malformed => &mut self.malformed,
            Reason::NotSelected => &mut self.not_selected,
        } += 1;
    }
}

/// Adds the counts of another round.
impl AddAssign for SkippedFrames {
    fn add_assign(&mut self, other: Self) {
        self.not_udp += other.not_udp;
        self.not_multicast += other.not_multicast;
        self.fragments += other.fragments;
        self.truncated += other.truncated;
        self.malformed += other.malformed;
        self.unsupported_link_type += other.unsupported_link_type;
        self.not_selected += other.not_selected;
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
    let is_udp = ip.protocol == protocol::UDP;
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
