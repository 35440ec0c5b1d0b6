//! A ring of blocks that a packet socket shares with the kernel (`packet_mmap`, `TPACKET_V3`).
//!
//! The kernel fills a block until it is full or its time is over, and then leaves it to us until we give it back.
//! A block is copied out whole and given back at once: a copy costs little beside what a system call does for each
//! packet, and nothing that is handed out can then be written to by the kernel.

use std::io;
use std::mem::{offset_of, size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_uint, c_void};

use super::socket::check;

/// A block holds the largest packet there is, and a power of two of pages of any size.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// With fewer, the kernel would have nowhere to go on while one is read.
const FEWEST_BLOCKS: usize = 2;

/// What the kernel is told a packet takes. For this kind of ring it is a formality.
const FRAME_BYTES: usize = 2048;

/// After so many milliseconds the kernel leaves a block to us that is not full. It looks only so often, so that a packet
/// may wait twice as long.
const BLOCK_MILLISECONDS: c_uint = 20;

/// The header of a block is at its beginning, behind two numbers that say its version and the place of private data.
const HEADER: usize = 2 * size_of::<u32>();
const STATUS: usize = HEADER + offset_of!(libc::tpacket_hdr_v1, block_status);
const LENGTH: usize = HEADER + offset_of!(libc::tpacket_hdr_v1, blk_len);

/// The memory that is shared, from when it is mapped until it is dropped.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    blocks: usize,
    /// The block that the kernel will leave to us next.
    next: usize,
}

// SAFETY: the memory belongs to the ring alone, apart from the kernel, and is not bound to a thread.
unsafe impl Send for Ring {}

// SAFETY: a shared reference gives no access to the memory.
unsafe impl Sync for Ring {}

impl Ring {
    /// Has the kernel put the packets of this socket into a ring of about so many bytes from now on. Those that wait in the
    /// socket are lost.
    pub(super) fn share(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let most = c_int::MAX as usize / BLOCK_BYTES;
        let blocks = bytes.div_ceil(BLOCK_BYTES).clamp(FEWEST_BLOCKS, most);
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
        set(fd, libc::PACKET_VERSION as c_int, &version)?;
        set(fd, libc::PACKET_RX_RING as c_int, &request)?;
        map(fd, blocks).inspect_err(|_| {
            // Without its ring, the socket hands packets out by calls again.
            let none = libc::tpacket_req3 { tp_block_size: 0, tp_block_nr: 0, tp_frame_nr: 0, ..request };
            let _ = set(fd, libc::PACKET_RX_RING as c_int, &none);
        })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// Copies the block that the kernel has left to us into this memory and gives it back. Says how many bytes it has;
    /// `None` when the kernel has left none.
    pub(super) fn take(&mut self, memory: &mut [u8]) -> Option<usize> {
        // SAFETY: `next` is less than `blocks`, so that the block lies in the memory that is mapped.
        let block = unsafe { self.memory.add(self.next * BLOCK_BYTES) };
        // SAFETY: the status is an aligned number in that block, which the kernel, too, only reads and writes whole.
        let status = unsafe { AtomicU32::from_ptr(block.add(STATUS).cast().as_ptr()) };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the number lies in the block, which is ours until we give it back.
        let length = unsafe { block.add(LENGTH).cast::<u32>().read() } as usize;
        let length = length.min(BLOCK_BYTES).min(memory.len());
        // SAFETY: both are at least `length` long, and the kernel writes to the block no more. The memory that is
        // mapped is nobody else's, so that they do not overlap.
        unsafe { ptr::copy_nonoverlapping(block.as_ptr(), memory.as_mut_ptr(), length) };
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % self.blocks;
        Some(length)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the whole of what was mapped, and nothing refers to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.bytes()) };
    }
}

fn map(fd: BorrowedFd<'_>, blocks: usize) -> io::Result<Ring> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let length = blocks * BLOCK_BYTES;
    // SAFETY: new memory is asked for, at a place of the system's choice.
    let memory = unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    Ok(Ring { memory, blocks, next: 0 })
}

fn set<T>(fd: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    let length = size_of_val(value) as libc::socklen_t;
    let value = ptr::from_ref(value).cast::<c_void>();
    // SAFETY: `value` points to `length` bytes that outlive the call, of the type that the option takes.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, value, length) })?;
    Ok(())
}
