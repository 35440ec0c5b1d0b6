//! `--streams`: datagrams of the message layer alone, also those that go to one host.

use std::collections::HashSet;

use mcast_packet::Packet;
use mcast_stream::wire::StreamId;

use crate::arguments::{PacketContext, PacketFilter};
use crate::message_layer::StreamDatagram;

/// The streams that were seen on the groups that are wanted.
///
/// What receivers say goes to the sender's own address, and so may repairs: these belong to no group, but to a
/// stream that is known from one.
#[derive(Debug, Default)]
pub(super) struct Streams {
    known: HashSet<StreamId>,
}

impl Streams {
    /// Streams that are remembered; anybody can make some up.
    const MOST: usize = 4_096;

    pub(super) fn admit(
        &mut self,
        packet: &Packet<'_>,
        wanted: &PacketFilter,
        sight: &PacketContext<'_>,
    ) -> bool {
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return false };
        let Some(datagram) = StreamDatagram::recognize(udp.payload, None) else { return false };
        let stream = datagram.header().map(|header| header.stream);
        if !ip.destination.is_multicast() {
            return wanted.is_unrestricted() || stream.is_some_and(|stream| self.known.contains(&stream));
        }
        let is_wanted = wanted.admits(packet, sight);
        if let Some(stream) = stream.filter(|_| is_wanted && self.known.len() < Self::MOST) {
            self.known.insert(stream);
        }
        is_wanted
    }
}
