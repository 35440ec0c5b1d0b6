//! Listing interfaces with `GetAdaptersAddresses`.

use std::collections::BTreeMap;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::InterfaceIndex;
use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_NO_DATA, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses,
    IF_TYPE_PPP, IF_TYPE_SOFTWARE_LOOPBACK, IF_TYPE_TUNNEL, IP_ADAPTER_ADDRESSES_LH, IP_ADAPTER_NO_MULTICAST,
    IP_ADAPTER_UNICAST_ADDRESS_LH,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, IpDadStateDuplicate, IpDadStateInvalid, IpDadStateTentative, SOCKADDR_IN,
    SOCKADDR_IN6, SOCKET_ADDRESS,
};

use crate::{AddressState, HardwareAddress, Interface, InterfaceAddress};

/// The initial size that Windows recommends; Windows requests more if it is too small.
const FIRST_BUFFER: usize = 16 * 1024;
/// The list can grow between two calls, so it is requested at most this many times.
const ATTEMPTS: u32 = 10;

/// Returns the index of the interface with this name.
pub fn index_of(name: &str) -> io::Result<InterfaceIndex> {
    let found = list()?.into_iter().find(|interface| interface.name == name);
    found.map(|interface| interface.index).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Returns the name of the interface with this index.
pub fn name_of(index: InterfaceIndex) -> io::Result<String> {
    let found = list()?.into_iter().find(|interface| interface.index == index);
    found.map(|interface| interface.name).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Returns all interfaces, ordered by index. Disabled interfaces are not included, and one without
/// a carrier counts as down, because Windows refuses to join on it.
pub fn list() -> io::Result<Vec<Interface>> {
    const WITHOUT: u32 = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER;

    let adapters = Adapters::read(WITHOUT)?;
    // SAFETY: the adapters belong to a live list.
    let interfaces = adapters.iter().filter_map(|adapter| unsafe { interface(adapter) });
    let interfaces: BTreeMap<_, _> = interfaces.map(|interface| (interface.index, interface)).collect();
    Ok(interfaces.into_values().collect())
}

/// The list as Windows writes it, empty if there are no adapters. It is stored in eight-byte words
/// for alignment.
pub(super) struct Adapters(Vec<u64>);

impl Adapters {
    /// Reads the list without the parts that these flags (`GAA_FLAG_SKIP_…`) omit.
    pub(super) fn read(without: u32) -> io::Result<Self> {
        let mut memory = vec![0_u64; FIRST_BUFFER / size_of::<u64>()];
        for _ in 0..ATTEMPTS {
            let mut size = u32::try_from(memory.len() * size_of::<u64>()).unwrap_or(u32::MAX);
            // SAFETY: the memory is writable, has that size, and is aligned for the structure.
            let result = unsafe {
                GetAdaptersAddresses(
                    AF_UNSPEC.into(),
                    without,
                    std::ptr::null(),
                    memory.as_mut_ptr().cast(),
                    &raw mut size,
                )
            };
            match result {
                ERROR_SUCCESS => return Ok(Self(memory)),
                ERROR_NO_DATA => return Ok(Self(Vec::new())),
                ERROR_BUFFER_OVERFLOW => memory = vec![0; (size as usize).div_ceil(size_of::<u64>()) + 128],
                error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the adapters kept changing while they were read"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &IP_ADAPTER_ADDRESSES_LH> {
        let mut next: *const IP_ADAPTER_ADDRESSES_LH =
            if self.0.is_empty() { std::ptr::null() } else { self.0.as_ptr().cast() };
        std::iter::from_fn(move || {
            // SAFETY: the memory holds the list that GetAdaptersAddresses wrote. Its pointers are
            // null or point into the same memory, which lives as long as the result.
            let adapter = unsafe { next.as_ref() }?;
            next = adapter.Next;
            Some(adapter)
        })
    }
}

/// Converts an adapter to an interface.
///
/// # Safety
/// The adapter must be part of a live list that GetAdaptersAddresses wrote.
pub(super) unsafe fn interface(adapter: &IP_ADAPTER_ADDRESSES_LH) -> Option<Interface> {
    // SAFETY: both unions are always written through these members.
    let (index, flags) = unsafe { (adapter.Anonymous1.Anonymous.IfIndex, adapter.Anonymous2.Flags) };
    let ipv6_index = InterfaceIndex::new(adapter.Ipv6IfIndex);
    // The first is zero if IPv4 is off, the second if IPv6 is.
    let index = InterfaceIndex::new(index).or(ipv6_index)?;
    let hardware = &adapter.PhysicalAddress;
    let hardware = hardware.get(..adapter.PhysicalAddressLength as usize).unwrap_or_default();
    let running = adapter.OperStatus == IfOperStatusUp;
    Some(Interface {
        index,
        ipv6_index: ipv6_index.filter(|other| *other != index),
        // SAFETY: the name is a NUL-terminated string or null.
        name: unsafe { text(adapter.FriendlyName) },
        up: running,
        running,
        multicast: flags & IP_ADAPTER_NO_MULTICAST == 0,
        loopback: adapter.IfType == IF_TYPE_SOFTWARE_LOOPBACK,
        point_to_point: matches!(adapter.IfType, IF_TYPE_PPP | IF_TYPE_TUNNEL),
        mtu: adapter.Mtu,
        hardware_address: HardwareAddress::from_slice(hardware),
        // SAFETY: guaranteed by the caller.
        addresses: unsafe { addresses(adapter.FirstUnicastAddress) },
        port_of: None,
    })
}

/// Returns the unicast addresses of a list.
///
/// # Safety
/// `next` must be null or in a live list that GetAdaptersAddresses wrote.
unsafe fn addresses(mut next: *const IP_ADAPTER_UNICAST_ADDRESS_LH) -> Vec<InterfaceAddress> {
    let mut addresses = Vec::new();
    // SAFETY: guaranteed by the caller.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: guaranteed by the caller; the entry's address is complete.
        if let Some(address) = unsafe { ip_address(&entry.Address) } {
            let state = match entry.DadState {
                state if state == IpDadStateTentative => AddressState::Tentative,
                state if state == IpDadStateDuplicate || state == IpDadStateInvalid => {
                    AddressState::Duplicate
                }
                _ => AddressState::Ready,
            };
            addresses.push(InterfaceAddress { address, prefix: entry.OnLinkPrefixLength, state });
        }
        next = entry.Next;
    }
    addresses
}

/// Reads an IP address; `None` for other families.
///
/// # Safety
/// `address` must point to a socket address of the length it contains.
pub(super) unsafe fn ip_address(address: &SOCKET_ADDRESS) -> Option<IpAddr> {
    let length = usize::try_from(address.iSockaddrLength).ok()?;
    // SAFETY: null, or a socket address as the caller guarantees.
    let family = unsafe { address.lpSockaddr.as_ref() }?.sa_family;
    match family {
        AF_INET if length >= size_of::<SOCKADDR_IN>() => {
            // SAFETY: family and length identify it as a `SOCKADDR_IN`.
            let address = unsafe { address.lpSockaddr.cast::<SOCKADDR_IN>().read_unaligned() };
            // SAFETY: every member of this union covers the same four bytes.
            Some(Ipv4Addr::from(unsafe { address.sin_addr.S_un.S_addr }.to_ne_bytes()).into())
        }
        AF_INET6 if length >= size_of::<SOCKADDR_IN6>() => {
            // SAFETY: family and length identify it as a `SOCKADDR_IN6`.
            let address = unsafe { address.lpSockaddr.cast::<SOCKADDR_IN6>().read_unaligned() };
            // SAFETY: every member of this union covers the same sixteen bytes.
            Some(Ipv6Addr::from(unsafe { address.sin6_addr.u.Byte }).into())
        }
        _ => None,
    }
}

/// Decodes a UTF-16 string; a null pointer gives an empty one.
///
/// # Safety
/// `string` must be null or point to NUL-terminated UTF-16.
unsafe fn text(string: *const u16) -> String {
    if string.is_null() {
        return String::new();
    }
    let mut length = 0;
    // SAFETY: the loop stops at the terminating NUL.
    while unsafe { *string.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: this many characters were just read.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(string, length) })
}
