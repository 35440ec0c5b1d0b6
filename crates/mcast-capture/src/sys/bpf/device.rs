//! A BPF device: opening, configuring and reading it.

use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_uint, c_ulong, c_void};
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType};

use super::{LAYOUT, interface_name};
use crate::batch::{Batch, BatchPacket};
use crate::{CaptureOptions, Direction, ErrorKind};

/// The default maximum of both systems (`debug.bpf_maxbufsize`, `net.bpf.maxbufsize`).
pub(crate) const BATCH_BYTES: usize = 512 << 10;
/// A read returns all available packets, so a batch never leaves any.
pub(crate) const BATCH_PACKETS: usize = usize::MAX;
pub(crate) const MAX_FRAME_BYTES: usize = 65_536 + 64;

/// Requests that libc does not define for both systems (`net/bpf.h`, `_IO('B', n)` and the like).
const BIOCGBLEN: c_ulong = 0x4004_4266;
const BIOCSBLEN: c_ulong = 0xc004_4266;
const BIOCPROMISC: c_ulong = 0x2000_4269;
const BIOCGDLT: c_ulong = 0x4004_426a;
const BIOCSETIF: c_ulong = 0x8020_426c;
const BIOCGSTATS: c_ulong = 0x4008_426f;
const BIOCIMMEDIATE: c_ulong = 0x8004_4270;
/// FreeBSD calls it `BIOCSDIRECTION`: 0 for received frames only, 1 for both directions.
const BIOCSSEESENT: c_ulong = 0x8004_4277;

/// Checks the numbers against the system's where libc has them.
const _: () = assert!(BIOCSSEESENT == libc::BIOCSSEESENT);

/// `struct bpf_stat`.
#[repr(C)]
struct Statistics {
    received: c_uint,
    dropped: c_uint,
}

/// Checks the argument sizes that are encoded in the requests (`sys/ioccom.h`).
const _: () = {
    const fn size_in(request: c_ulong) -> usize {
        (request >> 16 & 0x1fff) as usize
    }

    assert!(size_in(BIOCGSTATS) == size_of::<Statistics>() && size_in(BIOCSETIF) == size_of::<libc::ifreq>());
    assert!(size_in(BIOCSBLEN) == size_of::<c_uint>() && size_in(BIOCGBLEN) == size_of::<c_uint>());
    assert!(size_in(BIOCGDLT) == size_of::<c_uint>() && size_in(BIOCIMMEDIATE) == size_of::<c_uint>());
    assert!(size_in(BIOCSSEESENT) == size_of::<c_uint>() && size_in(BIOCPROMISC) == 0);
};

/// A BPF device that is bound to an interface.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    /// The exact buffer length that a read requires.
    length: usize,
    /// The number of drops at the last reading.
    dropped: Cell<u32>,
}

impl Socket {
    pub(crate) fn open(interface: InterfaceIndex, options: &CaptureOptions) -> io::Result<Self> {
        let name = interface_name(interface)?;
        let mut socket = Self { fd: open_device()?, length: 0, dropped: Cell::new(0) };
        let mut length = c_uint::try_from(options.buffer_size.min(BATCH_BYTES)).unwrap_or(c_uint::MAX);
        // The buffer length cannot be changed once the interface is set.
        socket.request(BIOCSBLEN, &mut length)?;
        socket.bind_interface(&name)?;
        let mut granted: c_uint = 0;
        socket.request(BIOCGBLEN, &mut granted)?;
        socket.length = (granted as usize).min(BATCH_BYTES);
        socket.request(BIOCIMMEDIATE, &mut 1_u32)?;
        socket.request(BIOCSSEESENT, &mut c_uint::from(options.outgoing))?;
        if options.promiscuous || options.all_multicast || !options.groups.is_empty() {
            socket.request(BIOCPROMISC, &mut 0_u32)?;
        }
        Ok(socket)
    }

    pub(crate) fn link_type(&self) -> io::Result<Result<LinkType, u16>> {
        let mut number: c_uint = 0;
        self.request(BIOCGDLT, &mut number)?;
        Ok(match number {
            libc::DLT_EN10MB => Ok(LinkType::Ethernet),
            libc::DLT_RAW => Ok(LinkType::Ip),
            libc::DLT_NULL | libc::DLT_LOOP => Ok(LinkType::Loopback),
            other => Err(u16::try_from(other).unwrap_or(u16::MAX)),
        })
    }

    pub(crate) fn enable_blocks(&mut self, _bytes: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        let room = batch.memory.get_mut(..self.length).unwrap_or_default();
        // SAFETY: `room` is memory of this length, and nothing else points to it.
        let count = unsafe { libc::read(self.fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let read = batch.memory.get(..count).unwrap_or_default();
        batch.packets.extend(LAYOUT.records(read).map(|record| BatchPacket {
            range: record.range,
            original_length: record.original_length,
            direction: Direction::Unknown,
            time: record.time,
            checksums: Checksums::Computed,
            segment_size: None,
        }));
        Ok(())
    }

    pub(crate) fn take_dropped(&self) -> io::Result<u32> {
        let mut statistics = Statistics { received: 0, dropped: 0 };
        self.request(BIOCGSTATS, &mut statistics)?;
        let before = self.dropped.replace(statistics.dropped);
        Ok(statistics.dropped.wrapping_sub(before))
    }

    pub(crate) fn buffer_size(&self) -> io::Result<usize> {
        Ok(self.length)
    }

    fn bind_interface(&self, name: &str) -> io::Result<()> {
        // SAFETY: zeros are a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { zeroed() };
        let room = request.ifr_name.len() - 1;
        let bytes = name.bytes().take(room);
        request.ifr_name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from.cast_signed());
        self.request(BIOCSETIF, &mut request)
    }

    /// Callers pass the type that the request is documented to take.
    fn request<T>(&self, number: c_ulong, value: &mut T) -> io::Result<()> {
        let value = ptr::from_mut(value).cast::<c_void>();
        // SAFETY: `value` points to a value of the request's type, which outlives the call; requests that
        // write to it write plain numbers.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), number, value) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a free device. FreeBSD clones `/dev/bpf` on each open; macOS has numbered devices, and creates
/// another when the last is in use.
fn open_device() -> io::Result<OwnedFd> {
    /// The maximum on macOS by default (`debug.bpf_maxdevices`).
    const MAX_DEVICES: usize = 256;

    let numbered = (0..MAX_DEVICES).map(|number| format!("/dev/bpf{number}"));
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in std::iter::once("/dev/bpf".to_owned()).chain(numbered) {
        match open(&path) {
            Ok(fd) => return Ok(fd),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            // Only FreeBSD has the device without a number.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == "/dev/bpf" => {}
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn open(path: &str) -> io::Result<OwnedFd> {
    let path = CString::new(path).map_err(io::Error::other)?;
    let flags: c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    match unsafe { libc::open(path.as_ptr(), flags) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor is new and has no other owner.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

pub(crate) fn error_kind(os: &io::Error) -> ErrorKind {
    match os.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => ErrorKind::NoSuchInterface,
        Some(libc::ENOENT) => ErrorKind::Unsupported("this system has no BPF devices (/dev/bpf)"),
        _ => ErrorKind::System,
    }
}

pub(crate) fn is_unreadable(_os: &io::Error) -> bool {
    false
}
