//! The groups joined on each interface, from `getifmaddrs(3)`. These systems report neither the
//! holders nor their number.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::{io, ptr};

use mcast_group::{Group, InterfaceIndex};

use super::{interface, sockaddr_length};
pub use crate::fallbacks::plain::{Notices, shared};
use crate::kernel_share::KernelShare;
use crate::{Holding, Visibility};

/// Returns every membership of this machine (FreeBSD: of this jail's network stack), in no
/// particular order.
pub fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
    let interfaces = interface::list()?.into_iter();
    let names: BTreeMap<_, _> = interfaces.map(|interface| (interface.index, interface.name)).collect();
    let list = List::read()?;
    let mut holdings = Vec::new();
    for (interface, group) in list.iter() {
        // If the interface appeared after the names were read, the next survey includes it.
        let Some(interface_name) = names.get(&interface) else { continue };
        holdings.extend(KernelShare::attribute(group, None).map(|holder| Holding {
            group,
            interface,
            interface_name: interface_name.clone(),
            version: None,
            holder,
        }));
    }
    let why = "this system does not report which process has joined a group";
    Ok((holdings, Visibility::NoProcesses { why }))
}

/// `struct ifmaddrs` of `ifaddrs.h`, the same on macOS and FreeBSD.
#[repr(C)]
struct Entry {
    next: *mut Self,
    /// The interface, as a link-level address.
    name: *const libc::sockaddr,
    /// The group, possibly of a family other than IP.
    address: *const libc::sockaddr,
    hardware_address: *const libc::sockaddr,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Entry, name) == 8 && offset_of!(Entry, address) == 16 && size_of::<Entry>() == 32);
};

unsafe extern "C" {
    fn getifmaddrs(first: *mut *mut Entry) -> libc::c_int;
    fn freeifmaddrs(first: *mut Entry);
}

/// The whole list, which is freed when dropped.
struct List {
    first: *mut Entry,
}

impl List {
    fn read() -> io::Result<Self> {
        let mut first = ptr::null_mut();
        // SAFETY: `first` is valid for the pointer that getifmaddrs writes.
        match unsafe { getifmaddrs(&raw mut first) } {
            0 => Ok(Self { first }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (InterfaceIndex, Group)> {
        let mut next = self.first;
        let entries = std::iter::from_fn(move || {
            // SAFETY: the list's pointers are null or point to entries that live as long as `self`.
            let entry = unsafe { next.as_ref() }?;
            next = entry.next;
            Some(entry)
        });
        entries.filter_map(|entry| {
            // SAFETY: the entry's addresses are null or complete, and live as long as the list.
            let (name, address) = unsafe { (bytes_of(entry.name)?, bytes_of(entry.address)?) };
            Some((interface_index(name)?, group(address)?))
        })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: `first` came from getifmaddrs, and no reference into the list outlives it.
        unsafe { freeifmaddrs(self.first) };
    }
}

/// Returns the bytes of a socket address; `None` for null.
///
/// # Safety
/// `address` must be null or a complete socket address that lives as long as the result.
unsafe fn bytes_of<'a>(address: *const libc::sockaddr) -> Option<&'a [u8]> {
    // SAFETY: guaranteed by the caller.
    let length = sockaddr_length(unsafe { address.as_ref() }?);
    // SAFETY: as above, and the address contains its length.
    Some(unsafe { std::slice::from_raw_parts(address.cast(), length) })
}

/// Reads the interface index from a `sockaddr_dl`: its length, its family, then the index.
fn interface_index(address: &[u8]) -> Option<InterfaceIndex> {
    family(address).filter(|family| *family == libc::AF_LINK)?;
    InterfaceIndex::new(u16::from_ne_bytes(*address.get(2..)?.first_chunk()?).into())
}

/// Reads the group from a `sockaddr_in` or `sockaddr_in6`; `None` for other families.
fn group(address: &[u8]) -> Option<Group> {
    let address = match family(address)? {
        libc::AF_INET => IpAddr::from(*address.get(4..)?.first_chunk::<4>()?),
        libc::AF_INET6 => without_interface(*address.get(8..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    Group::new(address).ok()
}

fn family(address: &[u8]) -> Option<libc::c_int> {
    address.get(1).map(|family| libc::c_int::from(*family))
}

/// Removes the interface index that these kernels store in the third and fourth byte of
/// interface-local and link-local addresses (ff01::/16 and ff02::/16). These bytes are zero outside
/// the kernel.
fn without_interface(mut octets: [u8; 16]) -> Ipv6Addr {
    if octets[0] == 0xff && matches!(octets[1] & 0x0f, 0x01 | 0x02) {
        octets[2..4].fill(0);
    }
    octets.into()
}
