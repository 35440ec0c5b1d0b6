//! Dependable messages over IP multicast.
//!
//! The protocol is written down in `docs/protocol.md`. [`wire`] is its bytes, as views that
//! allocate nothing.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod wire;
