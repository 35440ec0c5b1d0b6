//! A ring of blocks that a packet socket shares with the kernel (`packet_mmap`, `TPACKET_V3`).
//!
//! The kernel fills a block until it is full or its time is over, and then releases it to user space until it
//! is returned. A block is copied as a whole and returned at once: a copy is cheap compared with a system
//! call per packet, and the kernel can then never write to memory that has been lent to callers.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::{c_int, c_uint};

use super::super::PacketBatch;
use super::receive::{self, Auxiliary, OFFLOAD_BYTES, Offload};
use crate::socket_option;

/// A block holds the largest packet, and is a power of two of pages of any size.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// With a single block, the kernel could not continue while it is read.
const MIN_BLOCKS: usize = 2;

/// The frame size to declare to the kernel, which `TPACKET_V3` ignores apart from checking it.
const FRAME_BYTES: usize = 2048;

/// Time after which the kernel releases a block that is not full. The kernel checks at this interval, so a
/// packet may be delayed twice as long.
const BLOCK_MILLISECONDS: c_uint = 20;

/// A block starts with its version and the offset of private data, followed by its header.
const HEADER: usize = 2 * size_of::<u32>();
const STATUS: usize = HEADER + offset_of!(libc::tpacket_hdr_v1, block_status);
const LENGTH: usize = HEADER + offset_of!(libc::tpacket_hdr_v1, blk_len);

/// The shared memory, mapped until it is dropped.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    blocks: usize,
    /// The block that the kernel will release next.
    next: usize,
}

// SAFETY: apart from the kernel, only the ring accesses the memory, and it is not bound to a thread.
unsafe impl Send for Ring {}

// SAFETY: a shared reference gives no access to the memory.
unsafe impl Sync for Ring {}

impl Ring {
    /// Makes the kernel write the packets of this socket to a ring of about `bytes` bytes from now on.
    /// Packets that are queued in the socket are lost.
    pub(super) fn enable(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let max_blocks = c_int::MAX as usize / BLOCK_BYTES;
        let blocks = bytes.div_ceil(BLOCK_BYTES).clamp(MIN_BLOCKS, max_blocks);
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES as c_uint,
            tp_block_nr: blocks as c_uint,
            tp_frame_size: FRAME_BYTES as c_uint,
            tp_frame_nr: (blocks * (BLOCK_BYTES / FRAME_BYTES)) as c_uint,
            tp_retire_blk_tov: BLOCK_MILLISECONDS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        socket_option::set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        socket_option::set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        map(fd, blocks).inspect_err(|_| {
            // Without a ring, the socket delivers packets by system calls again.
            let none = libc::tpacket_req3 { tp_block_size: 0, tp_block_nr: 0, tp_frame_nr: 0, ..request };
            let _ = socket_option::set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &none);
        })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// Copies the block that the kernel has released into `memory` and returns it to the kernel. Returns its
    /// length in bytes; `None` if the kernel has released none.
    pub(super) fn take(&mut self, memory: &mut [u8]) -> Option<usize> {
        // SAFETY: `next` is less than `blocks`, so the block lies in the mapped memory.
        let block = unsafe { self.memory.add(self.next * BLOCK_BYTES) };
        // SAFETY: the status is an aligned number in that block, which the kernel, too, reads and writes as a
        // whole.
        let status = unsafe { AtomicU32::from_ptr(block.add(STATUS).cast().as_ptr()) };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the number lies in the block, which is ours until it is returned.
        let length = unsafe { block.add(LENGTH).cast::<u32>().read() } as usize;
        let length = length.min(BLOCK_BYTES).min(memory.len());
        // SAFETY: both are at least `length` long, and the kernel no longer writes to the block. The mapped
        // memory belongs only to the ring, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(block.as_ptr(), memory.as_mut_ptr(), length) };
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % self.blocks;
        Some(length)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping, and nothing refers to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.bytes()) };
    }
}

fn map(fd: BorrowedFd<'_>, blocks: usize) -> io::Result<Ring> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let length = blocks * BLOCK_BYTES;
    // SAFETY: requests new memory at an address that the system chooses.
    let memory = unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    Ok(Ring { memory, blocks, next: 0 })
}

/// Offsets in the header of a block: the number of packets, and the offset of the first.
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
        tag: receive::tag(status, protocol, control),
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
