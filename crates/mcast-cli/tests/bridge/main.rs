//! `mcast bridge` to a real Redis server, over networks that lose datagrams, with programs that are killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod killed;
mod network;
mod redis;
mod reverse;
#[path = "../command/schemas.rs"]
mod schemas;
mod stored;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
