//! Simulated disks and publishers that die: what was reported durable is there after any crash, in order and once,
//! nothing is there that was never appended, and positions only grow.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod beginnings;
mod damage;
mod keys;

mod needs;
mod space;
mod world;

use std::cell::Cell;

use mcast_sim::{for_seeds, seeds};

use crate::world::{Counts, World};

const SEEDS: u64 = 1_000;

#[test]
fn what_was_durable_is_there_after_any_crash_and_nothing_else() {
    let all = Cell::new(Counts::default());
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        for _ in 0..8 {
            world.live();
        }
        let (
            Counts { crashes, torn, damaged, lost_unsynced, full, failed_syncs, appended, restarted },
            mut sum,
        ) = (world.counts, all.get());
        sum.crashes += crashes;
        sum.torn += torn;
        sum.damaged += damaged;
        sum.lost_unsynced += lost_unsynced;
        sum.full += full;
        sum.failed_syncs += failed_syncs;
        sum.appended += appended;
        sum.restarted += restarted;
        all.set(sum);
    });
    let Counts { crashes, torn, damaged, lost_unsynced, full, failed_syncs, appended, restarted } = all.get();
    if mcast_sim::number("MCAST_SEED").is_none() && mcast_sim::number("MCAST_SEEDS").is_none() {
        // The simulation did what it is for. The numbers are those of all seeds.
        let tried = seeds(SEEDS).count() as u64;
        let exceeds = |(count, least): (u64, u64)| count * SEEDS > least * tried;
        let least = [
            (torn, 100),
            (damaged, 20),
            (lost_unsynced, 100),
            (full, 100),
            (failed_syncs, 50),
            (restarted, 500),
        ];
        assert!(appended > crashes && least.into_iter().all(exceeds), "{:?}", all.get());
    }
}
