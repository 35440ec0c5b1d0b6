//! What the kernel says about a packet in control messages.

use std::ptr;
use std::time::Duration;

/// What the kernel says about a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Auxiliary {
    /// When the packet was seen, since 1970.
    pub(super) time: Option<Duration>,
    /// The packet's length before it was cut off.
    pub(super) original_length: usize,
    /// The VLAN tag that was taken off.
    pub(super) tag: Option<Tag>,
}

/// The four bytes of a VLAN tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) ether_type: u16,
    pub(super) control: u16,
}

/// Reads the control messages of a message.
///
/// # Safety
/// The kernel has filled `header`, and the control buffer that it points to is still there.
pub(super) unsafe fn read_control(header: &libc::msghdr) -> Auxiliary {
    let mut auxiliary = Auxiliary::default();
    // SAFETY: the caller vouches for the buffer, and the kernel for the messages in it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: a header that these calls give lies whole in the buffer, and its data, of the type
        // that level and type say, behind it; `read_unaligned` asks for no more.
        unsafe {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    auxiliary.time = duration(&ptr::read_unaligned(data.cast::<libc::timespec>()));
                }
                (libc::SOL_PACKET, kind) if kind == libc::PACKET_AUXDATA as libc::c_int => {
                    let facts = ptr::read_unaligned(data.cast::<libc::tpacket_auxdata>());
                    auxiliary.original_length = facts.tp_len as usize;
                    auxiliary.tag = tag(facts.tp_status, facts.tp_vlan_tpid, facts.tp_vlan_tci);
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

/// Kernels before 3.13 took off only tags of 802.1Q and did not say so.
pub(super) fn tag(status: u32, protocol: u16, control: u16) -> Option<Tag> {
    let says = |flag| status & flag != 0;
    let ether_type =
        if says(libc::TP_STATUS_VLAN_TPID_VALID) { protocol } else { mcast_packet::ether_type::VLAN };
    says(libc::TP_STATUS_VLAN_VALID).then_some(Tag { ether_type, control })
}
