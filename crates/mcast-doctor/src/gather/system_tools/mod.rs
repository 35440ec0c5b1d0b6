//! Parsers for the output of tools of other systems. The tools run only there, but the parsers compile
//! everywhere so that they are tested everywhere.

#[cfg_attr(not(windows), allow(dead_code))]
pub(crate) mod netsh;
#[cfg_attr(not(any(target_vendor = "apple", target_os = "freebsd")), allow(dead_code))]
pub(crate) mod netstat;
#[cfg_attr(not(any(target_vendor = "apple", target_os = "freebsd")), allow(dead_code))]
pub(crate) mod sysctl;
