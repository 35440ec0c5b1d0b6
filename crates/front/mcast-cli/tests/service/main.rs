//! `mcast` as a service: reports to the manager, the rights that are left, and use without any rights.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod journal;
mod manager;
mod ordinary;
mod prometheus;
mod rights;
mod running;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod unit;
