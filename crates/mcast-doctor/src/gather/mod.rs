//! Gathers the observations. All input and output of this crate is here.

// On Linux only the tests need it.
pub(crate) mod listen;
pub(crate) mod program;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod system_tools;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "other/mod.rs"]
mod platform;

pub(crate) use platform::{processes, snapshot};
