//! Who has joined what, against real kernels: sockets of this process and of others, whole and
//! with rights missing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod host;
#[allow(unsafe_code)]
mod rights;

mod accounts;
mod others;
mod own;
mod versions;
mod watching;
