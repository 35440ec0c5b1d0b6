//! What programs of other systems print, taken apart. They run only there; their output is read
//! everywhere, so that tests can.

pub(crate) mod netsh;
pub(crate) mod netstat;
pub(crate) mod sysctl;
