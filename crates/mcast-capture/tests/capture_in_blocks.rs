//! What `capture.rs` tests, with frames that come in blocks.
#![cfg(target_os = "linux")]

mod capture;
