//! Counts frames other than IP multicast.

use mcast_packet::Packet;
use serde::Serialize;

use crate::output::count;

/// Counts of frames to several hosts that are not IP multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct OtherFrames {
    /// To all hosts: ARP, DHCP.
    broadcast: u64,
    /// To an Ethernet group: spanning tree, LLDP.
    link_multicast: u64,
}

impl OtherFrames {
    pub(super) fn add(&mut self, packet: &Packet<'_>) {
        let is_multicast = packet.ip_layer().is_some_and(|ip| ip.destination.is_multicast());
        if packet.is_broadcast() {
            self.broadcast += 1;
        } else if packet.is_group_addressed() && !is_multicast {
            self.link_multicast += 1;
        }
    }

    /// Returns the counts as text; `None` if there were no such frames.
    pub(super) fn description(&self) -> Option<String> {
        let part = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", count(number)));
        let parts = [part(self.broadcast, "broadcast"), part(self.link_multicast, "to groups of Ethernet")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_is_counted_once() {
        let mut other_frames = OtherFrames::default();
        let frame = |destination: [u8; 6], ether_type: u16| {
            let mut bytes = destination.to_vec();
            bytes.extend([2, 0, 0, 0, 0, 1]);
            bytes.extend(ether_type.to_be_bytes());
            bytes
        };
        other_frames.add(&Packet::ethernet(&frame([0xff; 6], 0x0806)));
        other_frames.add(&Packet::ethernet(&frame([0x01, 0x80, 0xc2, 0, 0, 0], 0x0026)));
        other_frames.add(&Packet::ethernet(&frame([2, 0, 0, 0, 0, 2], 0x0800)));
        assert_eq!(other_frames, OtherFrames { broadcast: 1, link_multicast: 1 });
        assert_eq!(other_frames.description().unwrap(), "1 broadcast, 1 to groups of Ethernet");
        assert_eq!(OtherFrames::default().description(), None);
    }
}
