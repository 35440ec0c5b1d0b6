//! Unix: the names and indices of interfaces, and where no netlink lists them, their addresses.

use std::ffi::{CStr, CString};
use std::io;

use mcast_group::InterfaceIndex;

/// Returns the index of the interface with this name.
pub fn index_of(name: &str) -> io::Result<InterfaceIndex> {
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    InterfaceIndex::new(index).ok_or_else(io::Error::last_os_error)
}

/// Returns the name of the interface with this index.
pub fn name_of(interface: InterfaceIndex) -> io::Result<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the system writes a NUL-terminated name into the buffer, which has the required length.
    let found = unsafe { libc::if_indextoname(interface.number(), name.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(any(target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
pub(crate) mod getifaddrs {
    //! A safe wrapper around the list of `getifaddrs(3)`.

    use std::ffi::CStr;
    use std::io;
    use std::marker::PhantomData;
    use std::net::{IpAddr, Ipv6Addr};
    use std::ptr;

    use crate::platform::sockaddr_length;

    /// The whole list, which is freed when dropped.
    pub(crate) struct Entries {
        first: *mut libc::ifaddrs,
    }

    /// One address (of any family) of one interface.
    pub(crate) struct Entry<'a> {
        raw: libc::ifaddrs,
        list: PhantomData<&'a Entries>,
    }

    impl Entries {
        pub(crate) fn read() -> io::Result<Self> {
            let mut first = ptr::null_mut();
            // SAFETY: `first` is valid for the pointer that getifaddrs writes.
            match unsafe { libc::getifaddrs(&raw mut first) } {
                0 => Ok(Self { first }),
                _ => Err(io::Error::last_os_error()),
            }
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
            let mut next = self.first;
            std::iter::from_fn(move || {
                // SAFETY: the list's pointers are null or point to entries that live as long as `self`.
                let raw = unsafe { next.as_ref() }?;
                next = raw.ifa_next;
                Some(Entry { raw: *raw, list: PhantomData })
            })
        }
    }

    impl Drop for Entries {
        fn drop(&mut self) {
            // SAFETY: `first` came from getifaddrs, and no entry outlives the list.
            unsafe { libc::freeifaddrs(self.first) };
        }
    }

    impl<'a> Entry<'a> {
        pub(crate) fn name(&self) -> &'a CStr {
            // SAFETY: every entry has a NUL-terminated name that lives as long as the list.
            unsafe { CStr::from_ptr(self.raw.ifa_name) }
        }

        pub(crate) fn has_flag(&self, bit: libc::c_int) -> bool {
            self.raw.ifa_flags.cast_signed() & bit != 0
        }

        /// Returns the IP address of this entry, if it has one.
        ///
        /// BSD kernels store the interface index in the third and fourth byte of a link-local address.
        /// These bytes are zero outside the kernel (RFC 4291 section 2.5.6).
        pub(crate) fn ip_address(&self) -> Option<IpAddr> {
            let bytes = self.address()?;
            match self.family()? {
                libc::AF_INET => Some(IpAddr::from(*bytes.get(4..)?.first_chunk::<4>()?)),
                libc::AF_INET6 => {
                    let mut octets = *bytes.get(8..)?.first_chunk::<16>()?;
                    if Ipv6Addr::from(octets).is_unicast_link_local() {
                        octets[2..4].fill(0);
                    }
                    Some(IpAddr::from(octets))
                }
                _ => None,
            }
        }

        /// Returns the prefix length. BSD kernels omit the trailing zero bytes of a mask.
        pub(crate) fn prefix(&self) -> u8 {
            let mask = match self.family() {
                Some(libc::AF_INET) => 4..8,
                Some(libc::AF_INET6) => 8..24,
                _ => return 0,
            };
            let bytes = bytes_of(self.raw.ifa_netmask).unwrap_or_default();
            let end = mask.end.min(bytes.len());
            bytes.get(mask.start..end).unwrap_or_default().iter().map(|byte| byte.count_ones() as u8).sum()
        }

        pub(crate) fn family(&self) -> Option<libc::c_int> {
            // SAFETY: an entry's address is null or a complete sockaddr that lives as long as the list.
            unsafe { self.raw.ifa_addr.as_ref() }.map(|address| address.sa_family.into())
        }

        /// Returns the bytes of this entry's `sockaddr`.
        pub(crate) fn address(&self) -> Option<&'a [u8]> {
            bytes_of(self.raw.ifa_addr)
        }

        /// Returns the data about the link that the system attaches to a link-level address.
        ///
        /// # Safety
        /// `T` must be plain data, and the type that this system attaches to addresses of this family.
        #[cfg(not(target_os = "android"))]
        pub(crate) unsafe fn data<T: Copy>(&self) -> Option<T> {
            let data = self.raw.ifa_data.cast::<T>();
            // SAFETY: the pointer is not null, and the caller guarantees that it points to a `T`; the
            // read need not be aligned.
            (!data.is_null()).then(|| unsafe { data.read_unaligned() })
        }
    }

    fn bytes_of<'a>(address: *const libc::sockaddr) -> Option<&'a [u8]> {
        // SAFETY: the addresses in the list are null or complete and live as long as the list, to which
        // the public functions above bind their results.
        let length = sockaddr_length(unsafe { address.as_ref() }?);
        // SAFETY: as above, and the length is the address's own.
        Some(unsafe { std::slice::from_raw_parts(address.cast(), length) })
    }
}
