//! Selects the datagrams of the message layer, including unicast ones.

use std::collections::HashSet;

use mcast_capture::{PacketContext, PacketFilter};
use mcast_packet::Packet;
use mcast_stream::dissect::StreamDatagram;
use mcast_stream::wire::StreamId;

/// Selects the datagrams of the message layer. Remembers the streams seen on the selected groups.
///
/// Datagrams from subscribers, and some repairs, are sent by unicast. They are recognized by the id of a stream that
/// was seen on a group.
#[derive(Debug, Default)]
pub struct StreamFilter {
    known: HashSet<StreamId>,
}

impl StreamFilter {
    /// The maximum number of remembered streams, because ids can be forged.
    const MAX_STREAMS: usize = 4_096;

    /// Returns whether a packet belongs to the selected groups, or to a stream that was seen there.
    pub fn admit(&mut self, packet: &Packet<'_>, filter: &PacketFilter, context: &PacketContext<'_>) -> bool {
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return false };
        let Some(datagram) = StreamDatagram::recognize(udp.payload, None) else { return false };
        let stream = datagram.header().map(|header| header.stream);
        if !ip.destination.is_multicast() {
            return filter.is_unrestricted() || stream.is_some_and(|stream| self.known.contains(&stream));
        }
        let is_selected = filter.admits(packet, context);
        if let Some(stream) = stream.filter(|_| is_selected && self.known.len() < Self::MAX_STREAMS) {
            self.known.insert(stream);
        }
        is_selected
    }
}
