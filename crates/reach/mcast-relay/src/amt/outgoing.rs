//! Writing messages.

use std::net::SocketAddr;

use mcast_packet::payload::AmtMessage;
use mcast_packet::{EmitError, UdpPacket};

/// The longest header of IP with that of UDP.
const HEADERS: usize = 48;

/// Returns a message as bytes.
pub(super) fn bytes(message: &AmtMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 64 + message.packet().map_or(0, <[u8]>::len)];
    // Every message fits in the buffer.
    let length = message.emit(&mut buffer).unwrap_or(0);
    buffer.truncate(length);
    buffer
}

/// Returns a datagram as a multicast data message.
///
/// # Errors
/// Returns an error if the datagram is too long for an IP packet, or the addresses are of different families.
pub fn encapsulate(
    source: SocketAddr,
    destination: SocketAddr,
    hop_limit: u8,
    payload: &[u8],
) -> Result<Vec<u8>, EmitError> {
    let mut buffer = vec![0; AmtMessage::DATA_HEADER_LENGTH + HEADERS + payload.len()];
    let start = AmtMessage::MulticastData { packet: &[] }.emit(&mut buffer)?;
    let packet = UdpPacket { source, destination, hop_limit, traffic_class: 0, payload };
    let length = packet.emit(buffer.get_mut(start..).unwrap_or_default())?;
    buffer.truncate(start + length);
    Ok(buffer)
}
