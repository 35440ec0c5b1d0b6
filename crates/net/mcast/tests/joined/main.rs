//! Surveys of memberships on real kernels: sockets of this process and of others, with and without
//! privileges.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod accounts;
mod host;
mod others;
mod own;
mod versions;
mod watching;
