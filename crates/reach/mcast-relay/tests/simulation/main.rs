//! Relays in simulated networks with their own clock: ours, and those without a guard. A seed determines each network.
//!
//! `MCAST_SEEDS=100000` runs 100,000 seeds instead of 2,000, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed 17.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod foreign;
mod policies;
mod random;
mod repeats;
mod storms;
mod table;
mod takeover;
mod world;
