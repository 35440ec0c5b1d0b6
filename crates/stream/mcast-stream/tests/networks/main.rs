//! Publishers and subscribers on real kernels, over links with configured impairments.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod net;

mod acknowledged;
mod delays;
mod dropped;
mod hosts;
mod logged;
mod lossy;
mod members;
mod named;
mod outages;
mod paths;
mod price_feed;
mod processes;
mod restarts;
#[cfg(feature = "seal")]
mod sealed;
#[cfg(feature = "seal")]
mod second;
mod spinning;
#[cfg(feature = "futures")]
mod tokio;
#[cfg(feature = "tracing")]
mod traced;
mod unnamed;
