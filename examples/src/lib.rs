//! Programs that show the library, one idea each: `cargo run --example NAME -- --help` explains each.
//!
//! They are the files beside this package's manifest; its tests run them in networks of the lab.
#![forbid(unsafe_code)]
