//! Frames on an interface: a packet socket that receives into a ring shared with the kernel (TPACKET_V2).
//!
//! The ring's size does not depend on `net.core.rmem_max`, which an ordinary user cannot pass.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{check, socket_option};

/// Room for a frame of 1,514 bytes behind the kernel's own header.
const SLOT: usize = 2048;
const SLOTS: usize = 4096;
const BLOCK: usize = 1 << 16;

/// All the frames that arrive at an interface, and a way to send others.
#[derive(Debug)]
pub(crate) struct FrameSocket {
    socket: OwnedFd,
    ring: Ring,
    next: usize,
}

/// A frame in the ring; its place goes back to the kernel when this is dropped.
pub(crate) struct Frame<'a> {
    bytes: &'a [u8],
    /// It is all here: it fitted into the ring, and its checksum was not left to a device.
    pub(crate) is_complete: bool,
    status: &'a AtomicU32,
}

/// Frames that are ready to be sent, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Debug)]
struct Ring(*mut u8);

// SAFETY: the mapping belongs to the ring alone, and is reached by `&mut FrameSocket` only.
unsafe impl Send for Ring {}

impl FrameSocket {
    /// Opens a socket on the interface of this index in the calling thread's namespace.
    pub(crate) fn open(index: u32) -> io::Result<Self> {
        let index = index.try_into().map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        // Protocol 0: nothing is received before the bind.
        let socket = socket_option::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let set = |name, value| socket_option::set(socket.as_fd(), libc::SOL_PACKET, name, &value);
        set(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as libc::c_int)?;
        // What is sent here must not come back as received.
        set(libc::PACKET_IGNORE_OUTGOING, 1)?;
        set(libc::PACKET_QDISC_BYPASS, 1)?;
        let ring = Ring::new(&socket)?;
        listen_to_all(&socket, index)?;
        Ok(Self { socket, ring, next: 0 })
    }

    /// The next frame, if one has arrived.
    pub(crate) fn next(&mut self) -> Option<Frame<'_>> {
        let frame = self.ring.frame(self.next)?;
        self.next = (self.next + 1) % SLOTS;
        Some(frame)
    }

    /// Sends whole Ethernet frames, in order, and returns how many could not be sent.
    pub(crate) fn send(&self, frames: &Outbox) -> usize {
        let mut vectors: Vec<_> = frames.iter().map(vector_of).collect();
        let mut messages: Vec<_> = vectors.iter_mut().map(message_of).collect();
        let (mut next, mut failed) = (0, 0);
        while let Some(rest) = messages.get_mut(next..).filter(|rest| !rest.is_empty()) {
            // SAFETY: as many messages as said; each points to one vector, and that to a frame, which all outlive
            // the call. The frames are only read.
            let sent = unsafe {
                libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0)
            };
            // An error is that of the first of the rest, and no reason not to try the others.
            failed += usize::from(sent <= 0);
            next += usize::try_from(sent).unwrap_or(0).max(1);
        }
        failed
    }

    /// How many frames the ring had no room for since the last call.
    pub(crate) fn overruns(&self) -> io::Result<u64> {
        let statistics: libc::tpacket_stats =
            socket_option::read(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(statistics.tp_drops.into())
    }

    /// Takes the socket's pending error, such as that its interface went down, so that waiting works again.
    pub(crate) fn clear_error(&self) {
        let _: io::Result<libc::c_int> =
            socket_option::read(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR);
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn clear(&mut self) {
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
            tp_block_size: BLOCK as u32,
            tp_block_nr: (SLOT * SLOTS / BLOCK) as u32,
            tp_frame_size: SLOT as u32,
            tp_frame_nr: SLOTS as u32,
        };
        socket_option::set(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of the ring that has just been made, as long as the ring.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), SLOT * SLOTS, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(start.cast()))
    }

    /// The frame in a slot, if the kernel has given it to us.
    fn frame(&mut self, slot: usize) -> Option<Frame<'_>> {
        let start = self.0.wrapping_add(slot * SLOT);
        let header: *const libc::tpacket2_hdr = start.cast_const().cast();
        // SAFETY: the slot begins with a header, aligned to 16 bytes; its first word is shared with the kernel
        // and only reached atomically.
        let status = unsafe { AtomicU32::from_ptr(start.cast()) };
        let flags = status.load(Ordering::Acquire);
        if flags & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the kernel has finished writing the slot (acquired above) and leaves it alone until it is given
        // back. The fields after the status are read one by one, without a reference to the whole header.
        let (length, kept, offset) = unsafe {
            let length = ptr::addr_of!((*header).tp_len).read() as usize;
            let kept = ptr::addr_of!((*header).tp_snaplen).read() as usize;
            (length, kept, usize::from(ptr::addr_of!((*header).tp_mac).read()))
        };
        let kept = kept.min(SLOT.saturating_sub(offset));
        // SAFETY: as above; offset and length lie within the slot.
        let bytes = unsafe { std::slice::from_raw_parts(start.wrapping_add(offset.min(SLOT)), kept) };
        let is_complete = kept == length && flags & libc::TP_STATUS_CSUMNOTREADY == 0;
        Some(Frame { bytes, is_complete, status })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and no frame borrows from it any more.
        unsafe { libc::munmap(self.0.cast(), SLOT * SLOTS) };
    }
}

impl std::ops::Deref for Frame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Frame<'_> {
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

/// Makes the socket receive every frame of an interface, whomever it is for.
fn listen_to_all(socket: &OwnedFd, index: libc::c_int) -> io::Result<()> {
    let promiscuous = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    socket_option::set(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
    // SAFETY: all zeroes is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index;
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address and its length; both outlive the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) }).map(drop)
}
