//! What a datagram of the message layer says of its place in its stream.

use mcast_packet::Packet;
use mcast_stream::seal::Keys;
use mcast_stream::wire::{self, Flags, Heartbeat, KeyEpoch, Kind};
use mcast_watch::{SequenceInfo, StreamIdentity};

use crate::message_layer::opened;

/// `None` for what is somebody else's, or broken. The header is clear also where the body is sealed; only where a
/// stream ends for now takes a key then.
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
