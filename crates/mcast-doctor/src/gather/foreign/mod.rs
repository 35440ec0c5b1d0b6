//! What programs of other systems print, taken apart. They run only there; their output is read
//! everywhere, so that tests can.

#[cfg_attr(not(windows), allow(dead_code))]
pub(crate) mod netsh;
#[cfg_attr(not(any(target_vendor = "apple", target_os = "freebsd")), allow(dead_code))]
pub(crate) mod netstat;
#[cfg_attr(not(any(target_vendor = "apple", target_os = "freebsd")), allow(dead_code))]
pub(crate) mod sysctl;
