//! Gathers what the causes are judged by. All input and output of this crate is here.

// On Linux only their tests need them.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod foreign;
pub(crate) mod listen;
pub(crate) mod program;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "elsewhere/mod.rs"]
mod platform;

pub(crate) use platform::{processes, snapshot};
