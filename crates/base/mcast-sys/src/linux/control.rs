//! Control messages: metadata that the kernel reports with a received datagram, and settings passed
//! with a sent one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

use crate::Received;
use crate::cmsg::{self, Value};

/// The size of the control messages of a received buffer: both packet infos, hop limits and traffic
/// classes, a time, a drop count and a segment size.
pub(crate) const RECEIVE_SPACE: usize = 320;
/// The size of the control messages of a sent buffer.
pub(crate) const SEND_SPACE: usize = 160;

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` or `recvmmsg` left it, and its control buffer must be alive.
#[inline]
pub(crate) unsafe fn read(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller guarantees it.
    unsafe { cmsg::each(header, |level, kind, value| apply(level, kind, &value, received)) };
}

#[inline]
fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            if let Some(info) = value.get::<libc::in_pktinfo>() {
                let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                received.destination = Some(IpAddr::V4(address));
                received.interface = InterfaceIndex::new(info.ipi_ifindex.cast_unsigned());
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(info) = value.get::<libc::in6_pktinfo>() {
                received.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                // The field is signed on Android and unsigned elsewhere.
                received.interface = InterfaceIndex::new(u32::from_ne_bytes(info.ipi6_ifindex.to_ne_bytes()));
            }
        }
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            received.hop_limit = value.get::<libc::c_int>().and_then(|hops| u8::try_from(hops).ok());
        }
        (libc::IPPROTO_IP, libc::IP_TOS) => received.traffic_class = value.get::<u8>(),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            received.traffic_class = value.get::<libc::c_int>().and_then(|class| u8::try_from(class).ok());
        }
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
            received.time = value.get::<libc::timespec>().and_then(system_time);
        }
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPING) => {
            // Three times: software, deprecated, and the device's own (`struct scm_timestamping`).
            let times = value.get::<[libc::timespec; 3]>();
            received.hardware_time =
                times.filter(|times| times[2].tv_sec != 0).and_then(|times| system_time(times[2]));
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.overflow = value.get::<u32>(),
        (libc::SOL_UDP, libc::UDP_GRO) => {
            received.segment = value.get::<libc::c_int>().and_then(|size| usize::try_from(size).ok());
        }
        _ => {}
    }
}

fn system_time(time: libc::timespec) -> Option<SystemTime> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}
