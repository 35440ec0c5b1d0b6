//! `mcast perf` and `mcast ping` on hosts of a lab, with real packets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod help;
mod hosts;
mod latency;
mod loss;
mod messages;
mod perf;
mod ping;
#[path = "../command/schemas.rs"]
mod schemas;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod sweep;
