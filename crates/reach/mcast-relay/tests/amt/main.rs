//! AMT: gateways and relays of this crate with each other, and with hostile datagrams.
#![cfg(feature = "seal")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod gateway;
mod relay;
mod simulation;
mod world;
