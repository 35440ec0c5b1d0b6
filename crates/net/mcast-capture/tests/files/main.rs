//! Capture files: written, read, truncated, damaged, and exchanged with other programs.

#![allow(clippy::unwrap_used, clippy::panic)]

mod damage;
mod foreign;
mod recorder;
mod replay;
mod round_trip;
#[cfg(unix)]
mod services;
mod sources;
mod support;
#[cfg(unix)]
mod survival;
#[cfg(target_os = "linux")]
mod together;
#[cfg(unix)]
mod tshark;
mod unwrap;
