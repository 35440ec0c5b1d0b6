//! Receives many packets with one call.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime};
use std::{io, ptr};

use super::super::{BatchPacket, PacketBatch};
use crate::Direction;

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
pub(super) const OFFLOAD_BYTES: usize = 10;

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

    pub(super) const fn from_bytes(bytes: [u8; OFFLOAD_BYTES]) -> Self {
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
pub(super) unsafe fn read_control(header: &libc::msghdr) -> Auxiliary {
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
