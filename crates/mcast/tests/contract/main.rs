//! The contract, line by line, against real kernels: every test makes its own hosts and networks.
//!
//! That something does not arrive is shown by what arrives after it: each test sends a last
//! datagram that must come, and looks at all that came before.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod net;

mod alive;
mod by_index;
mod exact;
mod explained;
mod fast;
mod honest;
mod interleaved;
mod many;
mod model;
mod polite;
mod reply;
mod takes_nothing;
mod timing;
#[cfg(feature = "tokio")]
mod tokio;
mod waiting;
