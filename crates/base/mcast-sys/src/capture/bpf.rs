//! macOS and FreeBSD: BPF devices (`bpf(4)`).
//!
//! They do not report a frame's direction, nor whether a checksum was left to the device, so frames that this
//! machine sends may appear to have bad checksums. The interface's address filter cannot be opened for single
//! groups or for all groups, so promiscuous mode is used instead. The capture filter is applied in user
//! space.

use std::cell::Cell;
use std::ffi::CString;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, ptr};

use libc::{c_int, c_uint, c_ulong, c_void};
use mcast_group::InterfaceIndex;

use super::bpf_records::Layout;
use super::{BatchPacket, CaptureSettings, LinkLayer, PacketBatch};
use crate::{Direction, interface};

/// The header layout of this system.
const LAYOUT: Layout = if cfg!(target_vendor = "apple") {
    Layout { time: 4, alignment: libc::BPF_ALIGNMENT }
} else {
    Layout { time: 8, alignment: libc::BPF_ALIGNMENT }
};

/// Checks the layout against the system's.
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(libc::bpf_hdr, bh_tstamp) == 0);
    assert!(offset_of!(libc::bpf_hdr, bh_caplen) == 2 * LAYOUT.time);
    assert!(offset_of!(libc::bpf_hdr, bh_datalen) == 2 * LAYOUT.time + 4);
    assert!(offset_of!(libc::bpf_hdr, bh_hdrlen) == 2 * LAYOUT.time + 8);
    assert!(LAYOUT.alignment == LAYOUT.time);
    assert!(std::mem::size_of::<libc::ifreq>() == 32);
    assert!(libc::DLT_NULL == 0 && libc::DLT_EN10MB == 1 && libc::DLT_RAW == 12 && libc::DLT_LOOP == 108);
    assert!(libc::EVFILT_READ == -1 && libc::EV_ADD == 1);
};

/// The default maximum of both systems (`debug.bpf_maxbufsize`, `net.bpf.maxbufsize`).
pub const BATCH_BYTES: usize = 512 << 10;
/// A read returns all available packets, so a batch never leaves any.
pub const BATCH_PACKETS: usize = usize::MAX;
/// The memory for one frame, in bytes.
pub const MAX_FRAME_BYTES: usize = 65_536 + 64;

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
pub struct CaptureSocket {
    fd: OwnedFd,
    /// The exact buffer length that a read requires.
    length: usize,
    /// The number of drops at the last reading.
    dropped: Cell<u32>,
}

impl CaptureSocket {
    /// Opens a capture on the interface. When it returns, the system buffers at least the frames that
    /// the settings accept.
    pub fn open(interface: InterfaceIndex, settings: &CaptureSettings<'_>) -> io::Result<Self> {
        if settings.in_blocks {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let name = interface::name_of(interface)?;
        let mut socket = Self { fd: open_device()?, length: 0, dropped: Cell::new(0) };
        let mut length = c_uint::try_from(settings.buffer_size.min(BATCH_BYTES)).unwrap_or(c_uint::MAX);
        // The buffer length cannot be changed once the interface is set.
        socket.request(BIOCSBLEN, &mut length)?;
        socket.bind_interface(&name)?;
        let mut granted: c_uint = 0;
        socket.request(BIOCGBLEN, &mut granted)?;
        socket.length = (granted as usize).min(BATCH_BYTES);
        socket.request(BIOCIMMEDIATE, &mut 1_u32)?;
        socket.request(BIOCSSEESENT, &mut c_uint::from(settings.outgoing))?;
        if settings.promiscuous || settings.all_multicast || !settings.hardware_groups.is_empty() {
            socket.request(BIOCPROMISC, &mut 0_u32)?;
        }
        Ok(socket)
    }

    /// Returns the kind of link; the inner error is the number of an unknown kind.
    pub fn link_layer(&self) -> io::Result<Result<LinkLayer, u16>> {
        let mut number: c_uint = 0;
        self.request(BIOCGDLT, &mut number)?;
        Ok(match number {
            libc::DLT_EN10MB => Ok(LinkLayer::Ethernet),
            libc::DLT_RAW => Ok(LinkLayer::Ip),
            libc::DLT_NULL | libc::DLT_LOOP => Ok(LinkLayer::Loopback),
            other => Err(u16::try_from(other).unwrap_or(u16::MAX)),
        })
    }

    /// Fills the batch without waiting; `WouldBlock` when there is nothing.
    pub fn receive(&self, batch: &mut PacketBatch) -> io::Result<()> {
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
            lacks_checksum: false,
            segment_size: None,
        }));
        Ok(())
    }

    /// Returns the number of packets dropped since the last call.
    pub fn take_dropped(&self) -> io::Result<u32> {
        let mut statistics = Statistics { received: 0, dropped: 0 };
        self.request(BIOCGSTATS, &mut statistics)?;
        let before = self.dropped.replace(statistics.dropped);
        Ok(statistics.dropped.wrapping_sub(before))
    }

    /// Returns the size of the receive buffer that the system granted, in bytes.
    pub fn buffer_size(&self) -> io::Result<usize> {
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

impl AsFd for CaptureSocket {
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

/// Returns what this system lacks for capturing, if that is what the error means.
pub fn missing(os: &io::Error) -> Option<&'static str> {
    let lacks_devices = os.raw_os_error() == Some(libc::ENOENT);
    lacks_devices.then_some("this system has no BPF devices (/dev/bpf)")
}

/// Returns `false`: every packet that a device delivers can be read.
pub fn is_unreadable(_os: &io::Error) -> bool {
    false
}
