//! Sending and receiving frames on an interface: a packet socket with a receive ring shared with the kernel
//! (TPACKET_V2).
//!
//! Unlike a receive buffer, the ring is not limited by `net.core.rmem_max`, which an ordinary user cannot exceed.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use mcast_group::InterfaceIndex;

use super::socket_option;
use crate::socket_option::packet_socket;

/// The size of a slot in bytes: room for the kernel's header and a frame of 1,514 bytes.
const SLOT_SIZE: usize = 2048;
const SLOTS: usize = 4096;
const BLOCK_SIZE: usize = 1 << 16;

/// A socket that receives all frames of an interface and sends frames on it.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
    ring: Ring,
    next: usize,
}

/// A frame in the ring. Dropping it returns its slot to the kernel.
#[derive(Debug)]
pub struct RingFrame<'a> {
    bytes: &'a [u8],
    /// Whether the whole frame fitted in the slot and its checksum was not offloaded.
    pub is_complete: bool,
    status: &'a AtomicU32,
}

/// Frames that are ready to be sent, in one buffer.
#[derive(Debug, Default)]
pub struct FrameBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Debug)]
struct Ring(*mut u8);

// SAFETY: the mapping has no other owner and is accessed only through `&mut FrameSocket`.
unsafe impl Send for Ring {}

impl FrameSocket {
    /// Opens a socket on the interface of this index in the namespace of the calling thread.
    pub fn open(index: u32) -> io::Result<Self> {
        let interface =
            InterfaceIndex::new(index).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        // With protocol 0 the socket receives nothing before the bind.
        let socket = socket_option::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let set = |name, value| socket_option::set(socket.as_fd(), libc::SOL_PACKET, name, &value);
        set(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as libc::c_int)?;
        // Frames sent by this socket must not be received by it.
        set(libc::PACKET_IGNORE_OUTGOING, 1)?;
        set(libc::PACKET_QDISC_BYPASS, 1)?;
        let ring = Ring::new(&socket)?;
        packet_socket::add_membership(socket.as_fd(), interface, libc::PACKET_MR_PROMISC, &[])?;
        packet_socket::bind(socket.as_fd(), interface)?;
        Ok(Self { socket, ring, next: 0 })
    }

    /// Returns the next frame, if one has arrived.
    pub fn take_next(&mut self) -> Option<RingFrame<'_>> {
        let frame = self.ring.frame(self.next)?;
        self.next = (self.next + 1) % SLOTS;
        Some(frame)
    }

    /// Sends Ethernet frames in order, and returns how many could not be sent.
    pub fn send(&self, frames: &FrameBatch) -> usize {
        let mut vectors: Vec<_> = frames.iter().map(vector_of).collect();
        let mut messages: Vec<_> = vectors.iter_mut().map(message_of).collect();
        let (mut next, mut failed) = (0, 0);
        while let Some(rest) = messages.get_mut(next..).filter(|rest| !rest.is_empty()) {
            // SAFETY: the count is that of the messages. Each points to one vector, and that to a frame; all outlive the
            // call. The frames are only read.
            let sent = unsafe {
                libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0)
            };
            // An error concerns the first remaining frame only; the others are tried all the same.
            failed += usize::from(sent <= 0);
            next += usize::try_from(sent).unwrap_or(0).max(1);
        }
        failed
    }

    /// Returns how many frames the ring had no room for since the last call.
    pub fn overruns(&self) -> io::Result<u64> {
        let statistics: libc::tpacket_stats =
            socket_option::read(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(statistics.tp_drops.into())
    }

    /// Clears the pending error of the socket, for instance after its interface went down. Otherwise every wait would
    /// end at once.
    pub fn clear_error(&self) {
        let _: io::Result<libc::c_int> =
            socket_option::read(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR);
    }
}

impl FrameBatch {
    /// Appends a frame.
    pub fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    /// Removes all frames.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Ring {
    fn new(socket: &OwnedFd) -> io::Result<Self> {
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_SIZE as u32,
            tp_block_nr: (SLOT_SIZE * SLOTS / BLOCK_SIZE) as u32,
            tp_frame_size: SLOT_SIZE as u32,
            tp_frame_nr: SLOTS as u32,
        };
        socket_option::set(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of the ring that has just been set up, with the size of the ring.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SLOT_SIZE * SLOTS,
                protection,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(start.cast()))
    }

    /// Returns the frame in a slot, if the kernel has filled it.
    fn frame(&mut self, slot: usize) -> Option<RingFrame<'_>> {
        let start = self.0.wrapping_add(slot * SLOT_SIZE);
        let header: *const libc::tpacket2_hdr = start.cast_const().cast();
        // SAFETY: the slot begins with a header, aligned to 16 bytes; its first word is shared with the kernel
        // and only reached atomically.
        let status = unsafe { AtomicU32::from_ptr(start.cast()) };
        let flags = status.load(Ordering::Acquire);
        if flags & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the kernel has finished writing the slot (acquired above) and does not touch it until it is
        // returned. The fields after the status are read one by one, without a reference to the whole header.
        let (length, captured, offset) = unsafe {
            let length = ptr::addr_of!((*header).tp_len).read() as usize;
            let captured = ptr::addr_of!((*header).tp_snaplen).read() as usize;
            (length, captured, usize::from(ptr::addr_of!((*header).tp_mac).read()))
        };
        let captured = captured.min(SLOT_SIZE.saturating_sub(offset));
        // SAFETY: as above; offset and length lie within the slot.
        let bytes =
            unsafe { std::slice::from_raw_parts(start.wrapping_add(offset.min(SLOT_SIZE)), captured) };
        let is_complete = captured == length && flags & libc::TP_STATUS_CSUMNOTREADY == 0;
        Some(RingFrame { bytes, is_complete, status })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of this value, and no frame borrows from it any more.
        unsafe { libc::munmap(self.0.cast(), SLOT_SIZE * SLOTS) };
    }
}

impl std::ops::Deref for RingFrame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for RingFrame<'_> {
    fn drop(&mut self) {
        self.status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

fn vector_of(frame: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() }
}

fn message_of(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: all zeroes is a message without address, data and control.
    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
    message.msg_hdr.msg_iov = vector;
    message.msg_hdr.msg_iovlen = 1;
    message
}
