//! The fallback where Android refuses netlink to apps (since Android 11): `getifaddrs`, which then
//! lists only interfaces with addresses, and neither hardware addresses nor bridges.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use mcast_group::InterfaceIndex;

use crate::interface_names::getifaddrs::{Entries, Entry};
use crate::{AddressState, Interface, InterfaceAddress};

pub(crate) fn list(_refusal: io::Error) -> io::Result<Vec<Interface>> {
    let mut interfaces = BTreeMap::new();
    for entry in Entries::read()?.iter() {
        // SAFETY: the name is NUL-terminated.
        let index = unsafe { libc::if_nametoindex(entry.name().as_ptr()) };
        // The interface may have been deleted meanwhile; then it has no index.
        let Some(index) = InterfaceIndex::new(index) else { continue };
        let interface = interfaces.entry(index).or_insert_with(|| without_addresses(index, &entry));
        interface.addresses.extend(entry.ip_address().map(|address| InterfaceAddress {
            address,
            prefix: entry.prefix(),
            state: AddressState::Ready,
        }));
    }
    Ok(interfaces.into_values().collect())
}

/// Looks up the interface by connecting a socket: the kernel then chooses a source address, which
/// identifies the interface. This does not find interfaces without addresses, nor a route to
/// link-local IPv6 groups.
pub(crate) fn interface_towards(address: IpAddr, refusal: io::Error) -> io::Result<Option<InterfaceIndex>> {
    const ANY_PORT: u16 = 9;

    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    if socket.connect(SocketAddr::new(address, ANY_PORT)).is_err() {
        return Ok(None);
    }
    let source = socket.local_addr()?.ip();
    Ok(list(refusal)?
        .into_iter()
        .find(|interface| interface.addresses.iter().any(|entry| entry.address == source))
        .map(|interface| interface.index))
}

fn without_addresses(index: InterfaceIndex, entry: &Entry<'_>) -> Interface {
    Interface {
        index,
        ipv6_index: None,
        name: entry.name().to_string_lossy().into_owned(),
        up: entry.has_flag(libc::IFF_UP),
        running: entry.has_flag(libc::IFF_UP) && entry.has_flag(libc::IFF_RUNNING),
        multicast: entry.has_flag(libc::IFF_MULTICAST),
        loopback: entry.has_flag(libc::IFF_LOOPBACK),
        point_to_point: entry.has_flag(libc::IFF_POINTOPOINT),
        mtu: mtu(entry.name()).unwrap_or(0),
        hardware_address: None,
        addresses: Vec::new(),
        port_of: None,
    }
}

fn mtu(name: &CStr) -> io::Result<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // SAFETY: `ifreq` is plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *slot = *byte as libc::c_char;
    }
    // SAFETY: SIOCGIFMTU reads and writes one `ifreq`.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as libc::c_int, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: SIOCGIFMTU has set this field.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
}
