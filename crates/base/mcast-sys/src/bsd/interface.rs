//! Listing interfaces with `getifaddrs(3)`.

use std::collections::BTreeMap;
use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use mcast_group::InterfaceIndex;
use socket2::{Domain, Socket, Type};

use super::os;
use crate::interface_names::getifaddrs::{Entries, Entry};
use crate::{AddressState, HardwareAddress, Interface, InterfaceAddress};

pub use crate::interface_names::{index_of, name_of};

/// The offset in `sockaddr_dl` of the name, which the hardware address follows.
const LINK_DATA: usize = std::mem::offset_of!(libc::sockaddr_dl, sdl_data);

/// Returns all interfaces, ordered by index.
pub fn list() -> io::Result<Vec<Interface>> {
    let entries = Entries::read()?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let mut interfaces: BTreeMap<_, _> =
        entries.iter().filter_map(|entry| Some((entry.name(), link(&entry, &socket)?))).collect();
    let states = AddressStates::open();
    for entry in entries.iter() {
        if let (Some(interface), Some(address)) = (interfaces.get_mut(entry.name()), entry.ip_address()) {
            let state = states.of(&entry, address);
            interface.addresses.push(InterfaceAddress { address, prefix: entry.prefix(), state });
        }
    }
    let mut interfaces: Vec<_> = interfaces.into_values().collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// Returns the interface of an entry with a link-level address, which every interface has.
fn link(entry: &Entry<'_>, socket: &Socket) -> Option<Interface> {
    let address = entry.address().filter(|_| entry.family() == Some(libc::AF_LINK))?;
    let (name_length, hardware_length) = (usize::from(*address.get(5)?), usize::from(*address.get(6)?));
    let hardware = LINK_DATA + name_length..LINK_DATA + name_length + hardware_length;
    // SAFETY: these systems attach an `if_data` to a link-level address.
    let data: Option<libc::if_data> = unsafe { entry.data() };
    let up = entry.has_flag(libc::IFF_UP);
    Some(Interface {
        index: InterfaceIndex::new(u16::from_ne_bytes(*address.get(2..)?.first_chunk()?).into())?,
        ipv6_index: None,
        name: entry.name().to_string_lossy().into_owned(),
        up,
        running: up
            && entry.has_flag(libc::IFF_RUNNING)
            && os::has_carrier(socket, entry.name(), data.as_ref()),
        multicast: entry.has_flag(libc::IFF_MULTICAST),
        loopback: entry.has_flag(libc::IFF_LOOPBACK),
        point_to_point: entry.has_flag(libc::IFF_POINTOPOINT),
        mtu: data.map_or(0, |data| data.ifi_mtu),
        hardware_address: address.get(hardware).and_then(HardwareAddress::from_slice),
        addresses: Vec::new(),
        port_of: None,
    })
}

/// Queries the state of IPv6 addresses, where IPv6 is available.
struct AddressStates(Option<Socket>);

impl AddressStates {
    fn open() -> Self {
        Self(Socket::new(Domain::IPV6, Type::DGRAM, None).ok())
    }

    /// Returns the state of an address; one that cannot be queried counts as ready.
    fn of(&self, entry: &Entry<'_>, address: IpAddr) -> AddressState {
        let (Some(socket), IpAddr::V6(_), Some(bytes)) = (&self.0, address, entry.address()) else {
            return AddressState::Ready;
        };
        match address_flags(socket, entry.name().to_bytes(), bytes).unwrap_or(0) {
            flags if flags & IN6_IFF_DUPLICATED != 0 => AddressState::Duplicate,
            flags if flags & IN6_IFF_TENTATIVE != 0 => AddressState::Tentative,
            _ => AddressState::Ready,
        }
    }
}

/// Flags of IPv6 addresses (`netinet6/in6_var.h`, the same on macOS and FreeBSD).
const IN6_IFF_TENTATIVE: libc::c_int = 0x02;
const IN6_IFF_DUPLICATED: libc::c_int = 0x04;

/// `struct in6_ifreq`: the name of an interface, and a union of 272 bytes that first holds an
/// address (`ifr_addr`), then its flags (`ifr_flags6`).
#[repr(C)]
struct AddressRequest {
    name: [u8; libc::IFNAMSIZ],
    value: [u64; 34],
}

/// `SIOCGIFAFLAG_IN6`, which is `_IOWR('i', 73, struct in6_ifreq)`.
const SIOCGIFAFLAG_IN6: libc::c_ulong = 0xc120_6949;
const _: () = assert!(size_of::<AddressRequest>() == (SIOCGIFAFLAG_IN6 >> 16 & 0x1fff) as usize);

fn address_flags(socket: &Socket, name: &[u8], address: &[u8]) -> io::Result<libc::c_int> {
    let mut request = AddressRequest { name: [0; libc::IFNAMSIZ], value: [0; 34] };
    for (slot, byte) in request.name.iter_mut().zip(name) {
        *slot = *byte;
    }
    for (slot, bytes) in request.value.iter_mut().zip(address.chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        *slot = u64::from_ne_bytes(word);
    }
    // SAFETY: the request has the size and layout of `in6_ifreq` and is valid for reads and writes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFAFLAG_IN6, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let [a, b, c, d, ..] = request.value[0].to_ne_bytes();
    Ok(libc::c_int::from_ne_bytes([a, b, c, d]))
}
