//! The command on hosts of a lab, with real packets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ask;
mod completion;
mod documents;
mod errors;
mod execute;
mod help;
mod hosts;
mod interfaces;
mod interop;
mod limits;
mod log;
mod narrow;
#[path = "../top/pseudoterminal.rs"]
mod pseudoterminal;
mod recv;
mod schema_conventions;
mod schemas;
mod send;
mod settings;
mod stalled;
mod support;
mod traced;
mod unread;
