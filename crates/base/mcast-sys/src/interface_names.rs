//! Unix: the names and indices of interfaces.

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
