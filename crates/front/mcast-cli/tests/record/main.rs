//! `mcast record` and `mcast replay` on hosts of a lab, with real packets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod frames;
mod recording;
mod replaying;
mod rotating;
#[path = "../command/schemas.rs"]
mod schemas;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod surviving;
