//! Publishers and subscribers on real kernels, over links as bad as they are told to be.
#![cfg(all(target_os = "linux", feature = "std"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod net;

mod dropped;
mod lives;
mod lossy;
mod members;
mod mold;
mod named;
mod outages;
mod paths;
mod price_feed;
mod processes;
#[cfg(feature = "seal")]
mod sealed;
#[cfg(feature = "seal")]
mod second;
#[cfg(feature = "tokio")]
mod tokio;
mod unnamed;
