//! Bridges beside a model engine, with their own clock. A seed determines what is published, what each bridge receives
//! of it, and what happens to bridges, connections and the engine.
//!
//! `MCAST_SEEDS=100000` runs 100,000 seeds instead of the default, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed
//! 17.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod engine;
mod promises;
mod publisher;
mod world;

use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
