//! Bridges out of a model engine, real publishers and subscribers as state machines, and a network that loses datagrams.
//! A seed determines what the engine holds and when, which bridges are killed, stopped and woken, and what is lost.
//!
//! `MCAST_SEEDS=100000` runs 100,000 seeds instead of the default, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed
//! 17.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod engine;
mod promises;
mod world;

use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
