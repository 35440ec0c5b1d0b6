//! Networks drawn by seed, several at a time: they wait for intervals most of the time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Whether a test was asked for its default number of networks, which must be checked within 15 s.
pub(crate) fn is_short() -> bool {
    ["MCAST_SEED", "MCAST_SEEDS"].iter().all(|variable| mcast_sim::number(variable).is_none())
}

/// Checks the networks of `mcast_sim::seeds`, as `mcast_sim::for_seeds` does, but several at a time and all of them.
pub(crate) fn for_networks(default: u64, check: impl Fn(u64) + Sync) {
    const AT_ONCE: usize = 3;
    if let Some(seed) = mcast_sim::number("MCAST_SEED") {
        return check(seed);
    }
    let (seeds, failed) = (Mutex::new(mcast_sim::seeds(default)), Mutex::new(Vec::new()));
    let next = || seeds.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    if catch_unwind(AssertUnwindSafe(|| check(seed))).is_err() {
                        eprintln!("seed {seed} failed: run it with MCAST_SEED={seed}");
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} networks failed: {failed:?}", failed.len());
}
