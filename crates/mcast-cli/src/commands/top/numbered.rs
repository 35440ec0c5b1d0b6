//! Sequence information of message-layer datagrams.

use mcast_packet::Packet;
use mcast_stream::seal::Keys;
use mcast_stream::wire::{self, Flags, Heartbeat, KeyEpoch, Kind};
use mcast_watch::{SequenceInfo, StreamIdentity};

use crate::message_layer::opened;

/// Returns the sequence information of a message-layer datagram; `None` for other or invalid ones. The header is clear
/// even if the body is sealed; a key is only needed for the current end of the stream, which is in the body.
pub(super) fn numbered(packet: &Packet<'_>, keys: &Keys) -> Option<SequenceInfo> {
    let payload = packet.udp()?.payload;
    let wire::Packet { header, head, body, .. } = wire::Packet::parse(payload).ok()?;
    let is_sealed = header.epoch != KeyEpoch::CLEAR;
    let is_data = header.kind == Kind::Data;
    let end = match header.kind {
        Kind::Heartbeat if is_sealed => {
            opened(payload, keys).and_then(|bytes| Some(Heartbeat::read(bytes.get(head.len()..)?).ok()?.next))
        }
        Kind::Heartbeat => Some(Heartbeat::read(body).ok()?.next),
        _ => None,
    };
    Some(SequenceInfo {
        identity: StreamIdentity {
            stream: header.stream.0,
            incarnation: header.incarnation.0,
            sealed: is_sealed,
        },
        number: is_data.then_some(header.sequence),
        repair: is_data && header.flags.has(Flags::REPAIR),
        end,
    })
}
