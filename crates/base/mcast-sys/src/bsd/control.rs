//! Control messages: the metadata that the kernel reports with a datagram.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

use super::os;
use crate::Received;
use crate::cmsg::{self, Value};

/// The size of the control messages of a received datagram: packet info (or a destination and a
/// link address), hop limit, traffic class and a time.
pub(crate) const RECEIVE_SPACE: usize = 256;
/// The size of the control messages of a sent datagram: packet info, hop limit and traffic class.
pub(crate) const SEND_SPACE: usize = 128;

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` left it, and its control buffer must be alive.
pub(crate) unsafe fn read(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller guarantees it.
    unsafe { cmsg::each(header, |level, kind, value| apply(level, kind, &value, received)) };
}

fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    match (level, kind) {
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(info) = value.get::<libc::in6_pktinfo>() {
                received.destination = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                received.interface = InterfaceIndex::new(info.ipi6_ifindex);
            }
        }
        (libc::IPPROTO_IP, libc::IP_RECVTTL) => received.hop_limit = value.get(),
        (libc::IPPROTO_IP, libc::IP_RECVTOS) => received.traffic_class = value.get(),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => received.hop_limit = small_number(value),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => received.traffic_class = small_number(value),
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMP) => {
            received.time = value.get::<libc::timeval>().and_then(|time| {
                let microseconds = u32::try_from(time.tv_usec).ok()?;
                system_time(time.tv_sec, microseconds.checked_mul(1000)?)
            });
        }
        _ => os::apply(level, kind, value, received),
    }
}

/// Reads a number of at most 255, which is an `int`, or a byte on some Apple kernels.
fn small_number(value: &Value) -> Option<u8> {
    match value.get::<libc::c_int>() {
        Some(number) => u8::try_from(number).ok(),
        None => value.get(),
    }
}

pub(super) fn system_time(seconds: libc::time_t, nanoseconds: u32) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}
