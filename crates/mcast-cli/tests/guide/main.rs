//! The guide says what is so: its commands run, their output is what stands there, its links lead
//! somewhere, and its remedies are taken by the programs they are for.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod console;
mod links;
mod markdown;
mod network;
mod remedies;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
