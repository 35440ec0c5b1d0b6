//! Two ends of tunnels and a network between them, simulated with its own clock: loss, reordering, duplicates, NATs that
//! change their addresses, replays, flipped bits, paths of different lengths, restarts. A seed determines each network.
//!
//! `MCAST_SEEDS=100000` runs 100,000 seeds instead of 60, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed 17.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod promises;
mod world;
