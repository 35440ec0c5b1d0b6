//! Parses a block of a ring: a list of packets, each with a header that gives the offset of the next.

use std::mem::{offset_of, size_of};
use std::time::Duration;

use super::super::PacketBatch;
use super::message::{self, Auxiliary};
use super::receive::{OFFLOAD_BYTES, Offload};

/// Offsets in the header of a block: the number of packets, and the offset of the first.
const HEADER: usize = 2 * size_of::<u32>();
const COUNT: usize = HEADER + offset_of!(libc::tpacket_hdr_v1, num_pkts);
const FIRST: usize = HEADER + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt);

/// Offset of the packet type in the address, which follows the header of a packet.
const KIND: usize = size_of::<libc::tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT)
    + offset_of!(libc::sockaddr_ll, sll_pkttype);

/// The contents of a packet's header.
struct Packet {
    /// Offset of its bytes.
    start: usize,
    length: usize,
    kind: u8,
    offload: Offload,
    auxiliary: Auxiliary,
    /// Offset of the next header from this one.
    next: usize,
}

/// Adds the packets of the block in the batch's memory to the batch, ending at the first one that is
/// truncated or inconsistent.
pub(super) fn read(batch: &mut PacketBatch, length: usize) {
    let block = batch.memory.get(..length).unwrap_or_default();
    let (Some(count), Some(first)) = (u32_at(block, COUNT), u32_at(block, FIRST)) else { return };
    let mut header = first as usize;
    for _ in 0..count {
        let block = batch.memory.get(..length).unwrap_or_default();
        let Some(packet) = packet(block, header) else { return };
        batch.push(packet.start, packet.length, packet.kind, &packet.offload, &packet.auxiliary);
        if packet.next == 0 {
            return;
        }
        header += packet.next;
    }
}

fn packet(block: &[u8], start: usize) -> Option<Packet> {
    let header = block.get(start..)?;
    let u32_of = |offset| u32_at(header, offset);
    let u16_of = |offset| Some(u16::from_ne_bytes(*header.get(offset..)?.first_chunk()?));
    let tag = offset_of!(libc::tpacket3_hdr, hv1);
    let control = u32_of(tag + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tci))? as u16;
    let protocol = u16_of(tag + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tpid))?;
    let status = u32_of(offset_of!(libc::tpacket3_hdr, tp_status))?;
    let seconds = u32_of(offset_of!(libc::tpacket3_hdr, tp_sec))?;
    let nanoseconds = u32_of(offset_of!(libc::tpacket3_hdr, tp_nsec))?;
    let auxiliary = Auxiliary {
        time: Some(Duration::new(seconds.into(), nanoseconds)),
        original_length: u32_of(offset_of!(libc::tpacket3_hdr, tp_len))? as usize,
        tag: message::tag(status, protocol, control),
    };
    let length = u32_of(offset_of!(libc::tpacket3_hdr, tp_snaplen))? as usize;
    let bytes = usize::from(u16_of(offset_of!(libc::tpacket3_hdr, tp_mac))?);
    // The offload header is located before the bytes, after the address.
    let offload = bytes.checked_sub(OFFLOAD_BYTES).filter(|offload| *offload > KIND)?;
    header.get(bytes..)?.get(..length)?;
    Some(Packet {
        start: start + bytes,
        length,
        kind: *header.get(KIND)?,
        offload: Offload::from_bytes(*header.get(offload..)?.first_chunk()?),
        auxiliary,
        next: u32_of(offset_of!(libc::tpacket3_hdr, tp_next_offset))? as usize,
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_loop(
            rest in proptest::collection::vec(0..70u8, 0..600),
            count in any::<u32>(),
            first in 0..200u32,
        ) {
            let mut batch = PacketBatch::new(rest.len() + 48);
            batch.memory[48..].copy_from_slice(&rest);
            batch.memory[COUNT..COUNT + 4].copy_from_slice(&count.to_ne_bytes());
            batch.memory[FIRST..FIRST + 4].copy_from_slice(&first.to_ne_bytes());
            let length = batch.memory.len();
            read(&mut batch, length);
            prop_assert!(batch.packets.iter().all(|packet| packet.range.end <= length));
        }
    }
}
