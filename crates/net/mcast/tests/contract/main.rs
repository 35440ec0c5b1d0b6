//! The guarantees of the library, tested on real kernels. Every test creates its own hosts and
//! networks.
//!
//! To show that a datagram does not arrive, each test sends a last datagram that must arrive, and
//! checks everything before it.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod net;

mod alive;
mod by_index;
mod exact;
mod explained;
mod fast;
mod honest;
mod hosts;
mod interleaved;
mod many;
mod model;
mod polite;
mod reply;
mod takes_nothing;
mod timing;
#[cfg(feature = "futures")]
mod tokio;
mod waiting;
mod wire;
mod wire_changes;
