//! Runs the tests of `capture.rs` with frames delivered in blocks.
#![cfg(target_os = "linux")]

mod capture;
