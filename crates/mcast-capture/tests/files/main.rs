//! Capture files: written, read, cut off, damaged, and shown to programs that others wrote.

#![allow(clippy::unwrap_used, clippy::panic)]

mod damage;
mod foreign;
mod round_trip;
mod sources;
mod support;
#[cfg(unix)]
mod survival;
#[cfg(target_os = "linux")]
mod together;
#[cfg(unix)]
mod tshark;
