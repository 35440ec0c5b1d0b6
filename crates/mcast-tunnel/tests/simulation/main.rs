//! Two ends of tunnels and a network between them, simulated with its own clock: loss, reordering, duplicates, NATs that
//! change their addresses, replays, flipped bits, paths of different lengths, restarts. A seed determines each network.
//!
//! `MCAST_SEEDS=100000` runs 100,000 seeds instead of 60, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed 17.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code)]
mod dice;
mod promises;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

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
