//! The owners of sockets, which systems other than Linux do not report without extra tools.

use std::collections::BTreeMap;

use crate::Error;

/// Returns an empty map: the owners are unknown.
pub(crate) fn owners() -> BTreeMap<u64, Vec<String>> {
    BTreeMap::new()
}

/// Returns an empty list: descendants are unknown.
pub(crate) fn family(_pid: u32) -> Vec<u32> {
    Vec::new()
}

/// Returns a process as `process PID`, because its name is unknown.
pub(crate) fn name(pid: u32) -> String {
    format!("process {pid}")
}

/// Returns the error for a process whose UDP sockets were not found.
pub(crate) fn not_found_error(_pid: u32) -> Error {
    Error::Unsupported("this system does not report the owners of sockets; examine the membership instead")
}
