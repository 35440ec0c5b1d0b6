//! Control messages that describe a packet.

use std::ptr;
use std::time::Duration;

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
