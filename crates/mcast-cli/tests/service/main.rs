//! `mcast` as a service: what the manager is told, which rights are left, and what those without any can do.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod journal;
mod manager;
mod ordinary;
mod rights;
mod running;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod unit;
