//! `mcast doctor` on hosts of a lab, with real faults.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apply;
mod examine;
#[path = "../command/film.rs"]
mod film;
mod fleet;
#[allow(dead_code)]
#[path = "../record/frames.rs"]
mod frames;
mod path;
mod patient;
mod program;
#[path = "../command/schemas.rs"]
mod schemas;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod watch;
