//! Many packets with one call.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, SystemTime};

use mcast_packet::Checksums;

use super::message::{self, Auxiliary, Tag};
use crate::Direction;
use crate::batch::{Arrived, Batch};

/// How many packets one call takes at most.
const SLOTS: usize = 32;

/// Room in front of a packet for the VLAN tag that the kernel has taken off.
const TAG_ROOM: usize = 4;

/// The largest IP packet, a link header, and the tag.
const SLOT_BYTES: usize = 65_536 + 64;

pub(crate) const BATCH_PACKETS: usize = SLOTS;
pub(crate) const BATCH_BYTES: usize = SLOTS * SLOT_BYTES;
pub(crate) const LONGEST_FRAME: usize = SLOT_BYTES;

/// `struct virtio_net_hdr`: what the kernel would have a device do to the packet.
pub(super) const OFFLOAD_BYTES: usize = 10;

/// Room for the control messages of a packet: a time and a `tpacket_auxdata`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 128]);

pub(super) fn receive(fd: BorrowedFd<'_>, batch: &mut Batch) -> io::Result<()> {
    let mut offloads = [[0u8; OFFLOAD_BYTES]; SLOTS];
    let mut controls = [Control([0; 128]); SLOTS];
    // SAFETY: zeros are valid addresses, buffers of no length, and messages without buffers.
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
    // SAFETY: each of the `SLOTS` messages points to memory that lives until the end of this function
    // and that nothing else points to.
    let count = unsafe {
        let flags = libc::MSG_DONTWAIT;
        libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), SLOTS as _, flags as _, ptr::null_mut())
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;

    for (number, message) in messages.iter().take(count).enumerate() {
        // SAFETY: the kernel has filled this message, and its control buffer is still there.
        let auxiliary = unsafe { message::read_control(&message.msg_hdr) };
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

impl Batch {
    /// Notes a packet that the kernel has put here, with room for a tag in front of it.
    pub(super) fn push(
        &mut self,
        start: usize,
        length: usize,
        kind: u8,
        offload: &Offload,
        auxiliary: &Auxiliary,
    ) {
        let mut place = start..start + length;
        let mut original_length = auxiliary.original_length.max(length);
        if let Some(tag) = auxiliary.tag.filter(|_| length >= ADDRESSES) {
            self.put_back(start, tag);
            place.start -= TAG_ROOM;
            original_length += TAG_ROOM;
        }
        self.arrived.push(Arrived {
            place,
            original_length,
            direction: direction(kind),
            // The kernel itself takes the present when it has no other time for a packet.
            time: auxiliary.time.map_or_else(SystemTime::now, since_epoch),
            checksums: offload.checksums(),
            segment_size: offload.segment_size(),
        });
    }

    /// Moves the two Ethernet addresses forward and writes the tag behind them.
    fn put_back(&mut self, start: usize, tag: Tag) {
        let Some(header) = self.memory.get_mut(start - TAG_ROOM..start + ADDRESSES) else { return };
        header.copy_within(TAG_ROOM.., 0);
        if let Some(place) = header.last_chunk_mut::<TAG_ROOM>() {
            let ([a, b], [c, d]) = (tag.ether_type.to_be_bytes(), tag.control.to_be_bytes());
            *place = [a, b, c, d];
        }
    }
}

/// The length of the two addresses that an Ethernet header starts with.
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

/// The header that `PACKET_VNET_HDR` puts before a packet (`linux/virtio_net.h`), in the byte order of
/// this machine.
pub(super) struct Offload {
    flags: u8,
    kind: u8,
    segment_size: u16,
}

impl Offload {
    /// The device is to compute the transport checksum.
    const NEEDS_CHECKSUM: u8 = 1;

    /// The packet stands for several UDP datagrams (`VIRTIO_NET_HDR_GSO_UDP_L4`). Segmented TCP stays
    /// whole: no multicast is in it.
    const UDP: u8 = 5;

    /// Some TCP packets carry this besides their kind.
    const CONGESTION: u8 = 0x80;

    pub(super) const fn from_bytes(bytes: [u8; OFFLOAD_BYTES]) -> Self {
        let [flags, kind, _, _, size_low, size_high, ..] = bytes;
        Self {
            flags,
            kind: kind & !Self::CONGESTION,
            segment_size: u16::from_ne_bytes([size_low, size_high]),
        }
    }

    const fn checksums(&self) -> Checksums {
        if self.flags & Self::NEEDS_CHECKSUM == 0 { Checksums::Computed } else { Checksums::LeftToDevice }
    }

    fn segment_size(&self) -> Option<u16> {
        (self.kind == Self::UDP).then_some(self.segment_size)
    }
}
