//! macOS and FreeBSD: BPF devices (`bpf(4)`).
//!
//! What they cannot say: which way a frame went, and whether a checksum was left to the device, so that
//! frames this machine sends may seem to have bad ones. There is no opening of the interface's filter for some
//! groups or for all: it is opened for everything instead. The filter is applied here, not in the kernel.

mod device;
mod poller;

pub(crate) use super::names::{interface_index, interface_name};
pub(crate) use device::{BATCH_BYTES, BATCH_PACKETS, LONGEST_FRAME, Socket, error_kind, is_unreadable};
pub(crate) use poller::Poller;

use crate::bpf_records::Layout;

/// How the headers of this system are laid out.
const LAYOUT: Layout = if cfg!(target_vendor = "apple") {
    Layout { time: 4, alignment: libc::BPF_ALIGNMENT }
} else {
    Layout { time: 8, alignment: libc::BPF_ALIGNMENT }
};

/// The layout is the system's own.
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
