//! The protocol in networks that never were: seeded, with a clock of their own, as bad as the dice
//! will have them. What must hold is said in `audit.rs` and in `World::judge`.
//!
//! `MCAST_SEEDS=100000` tries so many; `MCAST_SEED=17` tries that one and tells what happens.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod cipher;
mod content;
mod dice;
mod link;
mod plan;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use link::Quality;
use mcast_stream::receiver::{OnLoss, Policy, Start};
use plan::{MILLISECOND, Plan, ReceiverPlan, SECOND, Sizes};
use world::{Outcome, World};

fn attempt(plan: &Plan) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| World::run(plan))).unwrap_or_else(|_| Err("it panicked".into()))
}

/// The simplest plan that still fails in the same way.
fn shrunk(mut plan: Plan, mut why: String) -> (Plan, String) {
    let manner = |why: &str| -> String {
        why.chars().take_while(|sign| *sign != '(').filter(|sign| !sign.is_ascii_digit()).take(60).collect()
    };
    let sought = manner(&why);
    let fails = |simpler: Plan| Some((attempt(&simpler).err().filter(|why| manner(why) == sought)?, simpler));
    while let Some((reason, simpler)) = plan.simpler().into_iter().find_map(fails) {
        (plan, why) = (simpler, reason);
    }
    (plan, why)
}

fn must_hold(seed: u64) -> Outcome {
    let plan = Plan::of(seed);
    attempt(&plan).unwrap_or_else(|why| {
        if number("MCAST_SHRINK") == Some(0) {
            panic!("seed {seed}: {why}");
        }
        let (simple, simple_why) = shrunk(plan, why.clone());
        panic!("seed {seed}: {why}\nshrunk to {simple:#?}\n{simple_why}");
    })
}

/// One loss near the sender is everybody's: few may ask, and one repair must do for all.
#[test]
fn of_a_thousand_receivers_few_ask_for_what_all_have_lost() {
    const LOST_EVERY: u64 = 41;
    let receiver = ReceiverPlan {
        joins: 0,
        start: Start::Now,
        policy: Policy::Reliable(OnLoss::Continue),
        window: 128,
        down: Quality::GOOD,
        up: Quality::GOOD,
        sleeps: None,
        restarts: None,
    };
    let plan = Plan {
        seed: 1,
        receivers: vec![receiver; 1_000],
        paths: 1,
        trunk: Quality { every: Some(LOST_EVERY), ..Quality::FREE },
        messages: 400,
        pause: 2 * MILLISECOND,
        sizes: Sizes::Small,
        keyed: false,
        datagram: 1232,
        slots: 1024,
        waits: true,
        rate: None,
        sealed: false,
        rotate: None,
        restart: None,
        jump: None,
        hostile: None,
        flush: true,
    };
    let outcome = World::run(&plan).unwrap();
    let losses = outcome.lost_in_trunk;
    assert_eq!(outcome.messages, 400 * 1_000);
    assert!(losses >= 8, "{outcome:?}");
    assert!(outcome.naks < 5 * losses, "{} naks for {losses} losses", outcome.naks);
    let repairs = outcome.statistics.group_repairs + outcome.statistics.single_repairs;
    assert!(repairs <= 3 * losses, "{repairs} repairs of {losses} losses of {}", outcome.data);
    assert!(outcome.finished < 60 * SECOND);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_the_network_does_the_promises_hold() {
    if let Some(seed) = number("MCAST_SEED") {
        eprintln!("{:#?}\n{:?}", Plan::of(seed), must_hold(seed));
        return;
    }
    let seeds = number("MCAST_SEEDS").unwrap_or(2_000);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let work = || {
            while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds) {
                must_hold(seed);
            }
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in all {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
