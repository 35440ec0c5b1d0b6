//! An `AF_XDP` socket: slots in memory shared with the kernel, which fills them with frames.
//!
//! Contract: two rings of numbers pass slots back and forth. The kernel writes only to slots that the fill ring lends
//! it, and never to one that it has returned by the receive ring, so a frame is valid until its slot is lent again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use mcast_group::InterfaceIndex;

use super::program::{STAMP_BYTES, STAMP_MARK};
use crate::poller::Poller;
use crate::socket_option;

/// What the kernel leaves free at the start of each slot (`XDP_PACKET_HEADROOM`).
pub(super) const HEADROOM: u32 = 256;

/// How many frames before its turn a frame is loaded into the cache.
const AHEAD: usize = 4;
/// The size of a line of the cache, on most processors.
const CACHE_LINE: usize = 64;
/// The lines of a small datagram with its headers, and of the time before it. Processors load the rest of longer ones by
/// themselves.
const PREFETCHED_LINES: usize = 3;

/// A frame taken off an interface.
#[derive(Clone, Copy, Debug)]
pub struct WireFrame<'a> {
    /// The frame from the link layer on.
    pub bytes: &'a [u8],
    /// When the driver received it, in nanoseconds of `CLOCK_MONOTONIC`, if times were requested and the driver leaves
    /// space for them.
    pub time: Option<u64>,
}

/// The frames of one queue of an interface.
#[derive(Debug)]
pub struct FrameRing {
    slots: Mapping,
    slot_bytes: u32,
    receive: SharedRing,
    fill: SharedRing,
    /// The kernel's counter of taken frames, which is ours to advance.
    taken: u32,
    /// The value of `taken` before the last frames were taken.
    before: u32,
    /// The number of slots lent so far.
    lent: u32,
    // Closed last: closing it ends the kernel's access to the memory.
    socket: OwnedFd,
}

/// Memory shared with the kernel, mapped until it is dropped.
#[derive(Debug)]
struct Mapping {
    memory: NonNull<u8>,
    length: usize,
}

/// A ring of numbers in a mapping.
#[derive(Debug)]
struct SharedRing {
    mapping: Mapping,
    producer: usize,
    consumer: usize,
    entries: usize,
    mask: u32,
}

// SAFETY: apart from the kernel, only the owner accesses the memory, and it is not bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference gives access only to the atomic counters.
unsafe impl Sync for Mapping {}

// SAFETY: integers only.
unsafe impl socket_option::Plain for libc::xdp_umem_reg {}
// SAFETY: integers only.
unsafe impl socket_option::Plain for libc::xdp_mmap_offsets {}
// SAFETY: integers only.
unsafe impl socket_option::Plain for libc::xdp_statistics {}

impl FrameRing {
    /// Opens a socket on a queue of an interface, in the calling thread's network namespace. `slots` is a power of two.
    pub(super) fn open(
        interface: InterfaceIndex,
        queue: u32,
        slots: u32,
        slot_bytes: u32,
    ) -> io::Result<Self> {
        let (socket, memory) = Self::socket(slots, slot_bytes)?;
        let fd = socket.as_fd();
        let size = slots.cast_signed();
        socket_option::set(fd, libc::SOL_XDP, libc::XDP_UMEM_FILL_RING, &size)?;
        // Nothing is ever sent, but a socket needs this ring, too.
        socket_option::set(fd, libc::SOL_XDP, libc::XDP_UMEM_COMPLETION_RING, &2)?;
        socket_option::set(fd, libc::SOL_XDP, libc::XDP_RX_RING, &size)?;
        let offsets: libc::xdp_mmap_offsets = socket_option::read(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        let fill_page = libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t;
        let fill = SharedRing::map(fd, fill_page, &offsets.fr, slots, size_of::<u64>())?;
        let receive_page = libc::XDP_PGOFF_RX_RING;
        let receive = SharedRing::map(fd, receive_page, &offsets.rx, slots, size_of::<libc::xdp_desc>())?;
        let mut ring =
            Self { slots: memory, slot_bytes, receive, fill, taken: 0, before: 0, lent: 0, socket };
        (0..slots).for_each(|slot| ring.lend(u64::from(slot) * u64::from(slot_bytes)));
        ring.fill.producer().store(ring.lent, Ordering::Release);
        ring.bind(interface, queue)?;
        Ok(ring)
    }

    /// Finds out whether this process may open a socket with the memory for that many frames.
    pub(super) fn probe(slots: u32, slot_bytes: u32) -> io::Result<()> {
        Self::socket(slots, slot_bytes).map(drop)
    }

    /// Opens a socket with memory for frames.
    fn socket(slots: u32, slot_bytes: u32) -> io::Result<(OwnedFd, Mapping)> {
        let socket = socket_option::open(libc::AF_XDP, libc::SOCK_RAW, 0)?;
        let memory = Mapping::anonymous(slots as usize * slot_bytes as usize)?;
        let register = libc::xdp_umem_reg {
            addr: memory.memory.as_ptr() as u64,
            len: memory.length as u64,
            chunk_size: slot_bytes,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        socket_option::set(socket.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &register)?;
        Ok((socket, memory))
    }

    /// Passes the frames that have arrived to `handle`, at most `limit`, until it returns `false`; returns how many.
    /// `handle` receives the number of each frame, counted from 0 and wrapping.
    #[inline]
    pub fn take(&mut self, limit: usize, mut handle: impl FnMut(u32, WireFrame<'_>) -> bool) -> usize {
        let ready = self.receive.producer().load(Ordering::Acquire).wrapping_sub(self.taken) as usize;
        let mut count = 0;
        let mut more = true;
        self.before = self.taken;
        let ready = ready.min(limit);
        (0..AHEAD.min(ready)).for_each(|ahead| self.prefetch(ahead as u32));
        while more && count < ready {
            if count + AHEAD < ready {
                self.prefetch(AHEAD as u32);
            }
            // SAFETY: the index is masked, and the ring has `mask + 1` such entries, of which this one is ours.
            let frame = unsafe { self.receive.entry::<libc::xdp_desc>(self.taken).read() };
            more = handle(self.taken, self.frame(&frame));
            self.taken = self.taken.wrapping_add(1);
            self.lend(frame.addr & !u64::from(self.slot_bytes - 1));
            count += 1;
        }
        if count > 0 {
            self.receive.consumer().store(self.taken, Ordering::Release);
            self.fill.producer().store(self.lent, Ordering::Release);
        }
        count
    }

    /// Loads the frame that is `ahead` places behind the next one into the cache. Another processor has just written it, so
    /// waiting for it would take longer than everything else that is done with a small datagram.
    #[inline]
    fn prefetch(&self, ahead: u32) {
        // SAFETY: the index is masked, and the ring has `mask + 1` such entries.
        let frame = unsafe { self.receive.entry::<libc::xdp_desc>(self.taken.wrapping_add(ahead)).read() };
        let start = self.slots.memory.as_ptr().wrapping_add(frame.addr as usize).cast_const();
        for line in 0..PREFETCHED_LINES {
            prefetch(start.wrapping_sub(STAMP_BYTES).wrapping_add(line * CACHE_LINE));
        }
    }

    /// Returns whether frames have arrived.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.receive.producer().load(Ordering::Acquire) != self.taken
    }

    /// Returns the number that the next frame to arrive will have.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.receive.producer().load(Ordering::Acquire)
    }

    /// Returns whether the ring may have been full since the frames before the last ones were taken. Unless it was, no
    /// frame was dropped.
    #[must_use]
    pub fn may_have_been_full(&self) -> bool {
        let arrived = self.receive.producer().load(Ordering::Acquire).wrapping_sub(self.before);
        arrived > self.receive.mask
    }

    /// Returns how many frames were dropped so far because the ring was full.
    pub fn drops(&self) -> io::Result<u64> {
        let counted: libc::xdp_statistics =
            socket_option::read(self.socket.as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS)?;
        // Frames that found no slot are in `rx_dropped`.
        Ok(counted.rx_dropped + counted.rx_ring_full)
    }

    /// Returns why no more frames will arrive; `None` if they may.
    pub fn failure(&self) -> Option<io::Error> {
        let number =
            socket_option::read::<libc::c_int>(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR);
        match number {
            Ok(0) => None,
            Ok(number) => Some(io::Error::from_raw_os_error(number)),
            Err(error) => Some(error),
        }
    }

    /// Registers the ring with a poller under this token.
    pub fn register(&self, poller: &Poller, token: usize) -> io::Result<()> {
        poller.add_descriptor(self.socket.as_fd(), token)
    }

    /// Removes the ring from a poller.
    pub fn unregister(&self, poller: &Poller) -> io::Result<()> {
        poller.remove_descriptor(self.socket.as_fd())
    }

    fn bind(&self, interface: InterfaceIndex, queue: u32) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            // Zero copy would stop and restart the queue, which loses frames of others.
            sxdp_flags: libc::XDP_COPY,
            sxdp_ifindex: interface.number(),
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a value that outlives the call.
        socket_option::check(unsafe {
            libc::bind(self.socket.as_raw_fd(), ptr::from_ref(&address).cast(), length)
        })
        .map(drop)
    }

    /// Returns the frame in a slot. One that the kernel cannot have written is empty.
    #[inline]
    fn frame(&self, descriptor: &libc::xdp_desc) -> WireFrame<'_> {
        let (start, length) = (descriptor.addr as usize, descriptor.len as usize);
        let in_slots = start.checked_add(length).is_some_and(|end| end <= self.slots.length);
        if !in_slots || start < STAMP_BYTES {
            debug_assert!(false, "a frame outside of the slots");
            return WireFrame { bytes: &[], time: None };
        }
        // SAFETY: the bytes lie in the mapping, and the kernel does not write to the slot until it is lent again, for
        // which `self` must be borrowed mutably.
        let bytes = unsafe { std::slice::from_raw_parts(self.slots.memory.as_ptr().add(start), length) };
        WireFrame { bytes, time: self.take_stamp(start - STAMP_BYTES) }
    }

    /// Returns the time noted before a frame, and removes the mark, which the next frame in the slot may not overwrite.
    #[inline]
    fn take_stamp(&self, start: usize) -> Option<u64> {
        // SAFETY: the caller has checked that the bytes lie in the mapping, before the frame.
        let stamp = unsafe { self.slots.memory.add(start).cast::<[u64; 2]>() };
        // SAFETY: as above; the slot is ours.
        let [mark, time] = unsafe { stamp.read_unaligned() };
        if mark != STAMP_MARK as u64 {
            return None;
        }
        // SAFETY: as above.
        unsafe { stamp.write_unaligned([0, 0]) };
        Some(time)
    }

    /// Prepares to lend a slot to the kernel. There are as many entries as slots, so the ring never overflows.
    #[inline]
    fn lend(&mut self, address: u64) {
        // SAFETY: the index is masked, the ring has `mask + 1` such entries, and the kernel has consumed this one.
        unsafe { self.fill.entry::<u64>(self.lent).write(address) };
        self.lent = self.lent.wrapping_add(1);
    }
}

impl AsFd for FrameRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl SharedRing {
    fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        entries: u32,
        entry_bytes: usize,
    ) -> io::Result<Self> {
        let start = offsets.desc as usize;
        let mapping = Mapping::shared(socket, page, start + entries as usize * entry_bytes)?;
        Ok(Self {
            mapping,
            producer: offsets.producer as usize,
            consumer: offsets.consumer as usize,
            entries: start,
            mask: entries - 1,
        })
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        self.counter(self.producer)
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        self.counter(self.consumer)
    }

    #[inline]
    fn counter(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the kernel states this offset of an aligned counter in the mapping, and accesses it atomically.
        unsafe { AtomicU32::from_ptr(self.mapping.memory.add(offset).cast().as_ptr()) }
    }

    /// Returns where an entry is.
    ///
    /// # Safety
    /// `T` must be the type of the ring's entries.
    #[inline]
    unsafe fn entry<T>(&self, number: u32) -> NonNull<T> {
        let index = (number & self.mask) as usize;
        // SAFETY: the mapping holds `mask + 1` entries from `entries` on.
        unsafe { self.mapping.memory.add(self.entries).cast::<T>().add(index) }
    }
}

impl Mapping {
    fn anonymous(length: usize) -> io::Result<Self> {
        Self::map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    fn shared(socket: BorrowedFd<'_>, page: libc::off_t, length: usize) -> io::Result<Self> {
        Self::map(length, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), page)
    }

    fn map(length: usize, flags: libc::c_int, file: libc::c_int, page: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: requests new memory at an address that the system chooses.
        let memory = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, file, page) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping, and nothing refers to it any more. The kernel holds its pages itself.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.length) };
    }
}

/// Loads the line with this address into the cache. Nothing happens if there is no memory.
#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 processor has this instruction, and it never fails.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

/// Does nothing: stable Rust cannot load a line into the cache on this processor.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch(_address: *const u8) {}
