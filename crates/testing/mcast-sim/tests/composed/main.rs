//! The whole message layer in one simulation: a publisher with a log, its history server, and subscribers that start in the
//! past, heal, resume and acknowledge, under one generator of faults. Each part is simulated on its own elsewhere; here they
//! are together, because what was wrong was between them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod admission;
mod audit;
mod connection;
mod defects;
mod feed;
mod judge;
mod link;
mod outages;
mod plan;
mod reader;
mod retention;
#[path = "../../../../stream/mcast-stream-proto/tests/simulation/signer.rs"]
mod signer;
mod world;

use mcast_sim::for_seeds;

use crate::plan::ComposedPlan;
use crate::world::World;

/// Returns the simplest plan that does not hold either, and why.
fn reduced(mut plan: ComposedPlan, mut why: Vec<String>) -> (ComposedPlan, Vec<String>) {
    'simpler: loop {
        for simpler in plan.simpler() {
            let violations = World::run(&simpler);
            if !violations.is_empty() {
                (plan, why) = (simpler, violations);
                continue 'simpler;
            }
        }
        return (plan, why);
    }
}

#[test]
fn the_promises_of_the_parts_hold_for_the_whole() {
    for_seeds(1_000, |seed| {
        let plan = ComposedPlan::draw(seed);
        let violations = World::run(&plan);
        if !violations.is_empty() {
            let shrinks = mcast_sim::number("MCAST_SHRINK") != Some(0);
            let (plan, why) = if shrinks { reduced(plan, violations.clone()) } else { (plan, Vec::new()) };
            panic!("{violations:#?}\nthe simplest plan that fails: {plan:#?}\n{why:#?}");
        }
    });
}
