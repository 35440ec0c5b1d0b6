//! Bridges out of a model engine, real publishers and subscribers as state machines, and a network that loses datagrams.
//! A seed determines what the engine holds and when, which bridges are killed, stopped and woken, and what is lost.
//!
//! `MCAST_SEEDS=100000` runs 100,000 seeds instead of the default, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed
//! 17.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the relay's simulation uses more of it")]
#[path = "../../../mcast-relay/tests/simulation/dice.rs"]
mod dice;
mod engine;
mod promises;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use mcast_stream::Nanos;

const MILLISECOND: Nanos = Nanos::from_millis(1);
const SECOND: Nanos = Nanos::SECOND;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Calls `check` for each seed; names the first one that fails.
fn for_seeds(default: u64, check: impl Fn(u64)) {
    if let Some(seed) = number("MCAST_SEED") {
        return check(seed);
    }
    let first = number("MCAST_FIRST_SEED").unwrap_or(0);
    for seed in first..first + number("MCAST_SEEDS").unwrap_or(default) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
            eprintln!("seed {seed} failed: run it with MCAST_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
