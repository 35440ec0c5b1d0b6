//! What crosses the interfaces beside multicast, and is only counted.

use mcast_packet::Packet;
use serde::Serialize;

use crate::output::count;

/// Frames that are for many hosts and are no IP multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Beside {
    /// To everybody: ARP, DHCP.
    broadcast: u64,
    /// To a group of Ethernet alone: the spanning tree, LLDP.
    link_multicast: u64,
}

impl Beside {
    pub(super) fn add(&mut self, packet: &Packet<'_>) {
        let is_multicast = packet.ip_layer().is_some_and(|ip| ip.destination.is_multicast());
        if packet.is_broadcast() {
            self.broadcast += 1;
        } else if packet.is_group_addressed() && !is_multicast {
            self.link_multicast += 1;
        }
    }

    /// In words; `None` if there was nothing.
    pub(super) fn told(&self) -> Option<String> {
        let told = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", count(number)));
        let parts = [told(self.broadcast, "broadcast"), told(self.link_multicast, "to groups of Ethernet")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_is_counted_as_one_thing() {
        let mut beside = Beside::default();
        let frame = |destination: [u8; 6], ether_type: u16| {
            let mut bytes = destination.to_vec();
            bytes.extend([2, 0, 0, 0, 0, 1]);
            bytes.extend(ether_type.to_be_bytes());
            bytes
        };
        beside.add(&Packet::ethernet(&frame([0xff; 6], 0x0806)));
        beside.add(&Packet::ethernet(&frame([0x01, 0x80, 0xc2, 0, 0, 0], 0x0026)));
        beside.add(&Packet::ethernet(&frame([2, 0, 0, 0, 0, 2], 0x0800)));
        assert_eq!(beside, Beside { broadcast: 1, link_multicast: 1 });
        assert_eq!(beside.told().unwrap(), "1 broadcast, 1 to groups of Ethernet");
        assert_eq!(Beside::default().told(), None);
    }
}
