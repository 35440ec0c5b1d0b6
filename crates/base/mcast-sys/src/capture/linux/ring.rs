//! A ring of blocks that a packet socket shares with the kernel (`packet_mmap`, `TPACKET_V3`).
//!
//! The kernel fills a block until it is full or its time is over, and then releases it to user space until it
//! is returned. A block is copied as a whole and returned at once: a copy is cheap compared with a system
//! call per packet, and the kernel can then never write to memory that has been lent to callers.

use std::io;
use std::mem::{offset_of, size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use libc::{c_int, c_uint};

use super::super::{BatchPacket, PacketBatch};
use crate::{Direction, socket_option};

/// A block holds the largest packet, and is a power of two of pages of any size.
const BLOCK_BYTES: usize = 256 << 10;

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
    let union = offset_of!(libc::tpacket3_hdr, hv1);
    let control = u32_of(union + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tci))? as u16;
    let protocol = u16_of(union + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tpid))?;
    let status = u32_of(offset_of!(libc::tpacket3_hdr, tp_status))?;
    let seconds = u32_of(offset_of!(libc::tpacket3_hdr, tp_sec))?;
    let nanoseconds = u32_of(offset_of!(libc::tpacket3_hdr, tp_nsec))?;
    let auxiliary = Auxiliary {
        time: Some(Duration::new(seconds.into(), nanoseconds)),
        original_length: u32_of(offset_of!(libc::tpacket3_hdr, tp_len))? as usize,
        tag: tag(status, protocol, control),
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

/// Maximum number of packets per call.
const SLOTS: usize = 32;

/// Room before a packet for the VLAN tag that the kernel removed.
const TAG_ROOM: usize = 4;

/// The largest IP packet, a link header, and the tag.
const SLOT_BYTES: usize = 65_536 + 64;

/// The maximum number of packets in a batch.
pub const BATCH_PACKETS: usize = SLOTS;
/// The memory that a batch needs, in bytes.
pub const BATCH_BYTES: usize = SLOTS * SLOT_BYTES;
/// The memory for one frame, in bytes.
pub const MAX_FRAME_BYTES: usize = SLOT_BYTES;

/// Length of `struct virtio_net_hdr`, which describes the offloads that the kernel left to the device.
const OFFLOAD_BYTES: usize = 10;

/// Memory for the control messages of a packet: a time and a `tpacket_auxdata`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 128]);

pub(super) fn receive(fd: BorrowedFd<'_>, batch: &mut PacketBatch) -> io::Result<()> {
    let mut offloads = [[0u8; OFFLOAD_BYTES]; SLOTS];
    let mut controls = [Control([0; 128]); SLOTS];
    // SAFETY: zeros are valid addresses, buffers of length zero, and messages without buffers.
    let (mut addresses, mut buffers, mut messages): (
        [libc::sockaddr_ll; SLOTS],
        [[libc::iovec; 2]; SLOTS],
        [libc::mmsghdr; SLOTS],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };

    let slots = batch.memory.chunks_exact_mut(SLOT_BYTES);
    for (number, slot) in slots.take(SLOTS).enumerate() {
        let space = slot.get_mut(TAG_ROOM..).unwrap_or_default();
        buffers[number] = [buffer(&mut offloads[number]), buffer(space)];
        let header = &mut messages[number].msg_hdr;
        header.msg_name = ptr::from_mut(&mut addresses[number]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_ll>() as _;
        header.msg_iov = buffers[number].as_mut_ptr();
        header.msg_iovlen = 2;
        header.msg_control = controls[number].0.as_mut_ptr().cast();
        header.msg_controllen = controls[number].0.len() as _;
    }
    // SAFETY: each of the `SLOTS` messages points to memory that lives until the end of this function and
    // that nothing else points to.
    let count = unsafe {
        let flags = libc::MSG_DONTWAIT;
        libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), SLOTS as _, flags as _, ptr::null_mut())
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;

    for (number, message) in messages.iter().take(count).enumerate() {
        // SAFETY: the kernel has filled this message, and its control buffer is still valid.
        let auxiliary = unsafe { read_control(&message.msg_hdr) };
        let length = (message.msg_len as usize).saturating_sub(OFFLOAD_BYTES);
        let offload = Offload::from_bytes(offloads[number]);
        let start = number * SLOT_BYTES + TAG_ROOM;
        batch.push(start, length, addresses[number].sll_pkttype, &offload, &auxiliary);
    }
    Ok(())
}

fn buffer(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

impl PacketBatch {
    /// Adds a packet that the kernel has written at `start`, with room for a tag before it.
    pub(super) fn push(
        &mut self,
        start: usize,
        length: usize,
        kind: u8,
        offload: &Offload,
        auxiliary: &Auxiliary,
    ) {
        let mut range = start..start + length;
        let mut original_length = auxiliary.original_length.max(length);
        if let Some(tag) = auxiliary.tag.filter(|_| length >= ADDRESSES) {
            self.restore_tag(start, tag);
            range.start -= TAG_ROOM;
            original_length += TAG_ROOM;
        }
        self.packets.push(BatchPacket {
            range,
            original_length,
            direction: direction(kind),
            // The kernel also uses the current time for a packet without timestamp.
            time: auxiliary.time.map_or_else(SystemTime::now, since_epoch),
            lacks_checksum: offload.lacks_checksum(),
            segment_size: offload.segment_size(),
        });
    }

    /// Moves the two Ethernet addresses forward and inserts the tag after them.
    fn restore_tag(&mut self, start: usize, tag: VlanTag) {
        let Some(header) = self.memory.get_mut(start - TAG_ROOM..start + ADDRESSES) else { return };
        header.copy_within(TAG_ROOM.., 0);
        if let Some(bytes) = header.last_chunk_mut::<TAG_ROOM>() {
            let ([a, b], [c, d]) = (tag.ether_type.to_be_bytes(), tag.control.to_be_bytes());
            *bytes = [a, b, c, d];
        }
    }
}

/// The length of the two addresses at the start of an Ethernet header.
const ADDRESSES: usize = 12;

const fn direction(kind: u8) -> Direction {
    match kind as _ {
        libc::PACKET_BROADCAST => Direction::Broadcast,
        libc::PACKET_MULTICAST => Direction::Multicast,
        libc::PACKET_OTHERHOST => Direction::ToOthers,
        libc::PACKET_OUTGOING => Direction::Outgoing,
        _ => Direction::ToUs,
    }
}

fn since_epoch(time: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + time
}

/// The header that `PACKET_VNET_HDR` adds before a packet (`linux/virtio_net.h`), in native byte order.
pub(super) struct Offload {
    flags: u8,
    kind: u8,
    segment_size: u16,
}

impl Offload {
    /// The device is to compute the transport checksum.
    const NEEDS_CHECKSUM: u8 = 1;

    /// The packet is several coalesced UDP datagrams (`VIRTIO_NET_HDR_GSO_UDP_L4`). Coalesced TCP is not
    /// split, because it is never multicast.
    const UDP: u8 = 5;

    /// A flag (ECN) that some TCP packets have in addition to their type.
    const CONGESTION: u8 = 0x80;

    const fn from_bytes(bytes: [u8; OFFLOAD_BYTES]) -> Self {
        let [flags, kind, _, _, size_low, size_high, ..] = bytes;
        Self {
            flags,
            kind: kind & !Self::CONGESTION,
            segment_size: u16::from_ne_bytes([size_low, size_high]),
        }
    }

    const fn lacks_checksum(&self) -> bool {
        self.flags & Self::NEEDS_CHECKSUM != 0
    }

    fn segment_size(&self) -> Option<u16> {
        (self.kind == Self::UDP).then_some(self.segment_size)
    }
}

/// Metadata that the kernel reports about a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Auxiliary {
    /// When the packet was seen, since 1970.
    pub(super) time: Option<Duration>,
    /// The packet's length before truncation.
    pub(super) original_length: usize,
    /// The VLAN tag that the kernel removed.
    pub(super) tag: Option<VlanTag>,
}

/// The contents of a VLAN tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct VlanTag {
    pub(super) ether_type: u16,
    pub(super) control: u16,
}

/// Reads the control messages of a message.
///
/// # Safety
/// The kernel has filled `header`, and its control buffer is still valid.
unsafe fn read_control(header: &libc::msghdr) -> Auxiliary {
    let mut auxiliary = Auxiliary::default();
    // SAFETY: the caller guarantees the buffer, and the kernel the messages in it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: headers returned by these calls lie completely in the buffer, followed by data of the type
        // that level and type determine; `read_unaligned` requires nothing else.
        unsafe {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    auxiliary.time = duration(&ptr::read_unaligned(data.cast::<libc::timespec>()));
                }
                (libc::SOL_PACKET, kind) if kind == libc::PACKET_AUXDATA as libc::c_int => {
                    let data = ptr::read_unaligned(data.cast::<libc::tpacket_auxdata>());
                    auxiliary.original_length = data.tp_len as usize;
                    auxiliary.tag = tag(data.tp_status, data.tp_vlan_tpid, data.tp_vlan_tci);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    auxiliary
}

fn duration(time: &libc::timespec) -> Option<Duration> {
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}

/// Returns the removed VLAN tag. Kernels before 3.13 removed only 802.1Q tags and did not report the type.
pub(super) fn tag(status: u32, protocol: u16, control: u16) -> Option<VlanTag> {
    let has = |flag| status & flag != 0;
    let ether_type = if has(libc::TP_STATUS_VLAN_TPID_VALID) { protocol } else { libc::ETH_P_8021Q as u16 };
    has(libc::TP_STATUS_VLAN_VALID).then_some(VlanTag { ether_type, control })
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
