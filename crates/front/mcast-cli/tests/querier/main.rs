//! `mcast querier` on snooping switches, with real reports.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod becoming;
mod electing;
mod network;
#[path = "../command/schemas.rs"]
mod schemas;
mod showing;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
