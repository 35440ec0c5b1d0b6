//! macOS and FreeBSD: BPF devices (`bpf(4)`).
//!
//! They do not report a frame's direction, nor whether a checksum was left to the device, so frames that this
//! machine sends may appear to have bad checksums. The interface's address filter cannot be opened for single
//! groups or for all groups, so promiscuous mode is used instead. The capture filter is applied in user
//! space.

mod device;

pub use device::{BATCH_BYTES, BATCH_PACKETS, CaptureSocket, MAX_FRAME_BYTES, is_unreadable, missing};

use super::bpf_records::Layout;

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
