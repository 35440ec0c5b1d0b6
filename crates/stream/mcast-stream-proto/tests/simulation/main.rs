//! The protocol in simulated networks with their own clock. A seed determines each network and its faults. `audit.rs`
//! and `World::judge` check the results.
//!
//! `MCAST_SURVEY=500` runs the first 500 seeds and prints the number of failures of each kind, and their first seeds; the
//! test fails if there are any.
//! `MCAST_SEEDS=100000` runs 100,000 seeds, from `MCAST_FIRST_SEED` on; `MCAST_SEED=17` runs seed 17 and prints its
//! outcome. `MCAST_HALF=1` runs the first half of the seeds, as `cargo verify` does. Seeds that once failed are in `seeds.txt`; every run starts with them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod acknowledged;
mod audit;
mod bounds;
mod buffer;
mod cipher;
mod clocks;
mod content;
mod continued;
mod cost;
mod crowd;
mod feedback;
mod healed;
mod link;
mod lives;
mod local;
mod members;
mod parity;
mod plan;
mod reports;
mod signed;
mod signer;
mod stuck;
mod traffic;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use link::Quality;
use mcast_sim::{number, seeds};
use mcast_stream_proto::subscriber::Start;
use plan::{MILLISECOND, NetworkPlan, SECOND, SubscriberPlan};
use world::{Outcome, World};

fn attempt(plan: &NetworkPlan) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| World::run(plan))).unwrap_or_else(|_| Err("it panicked".into()))
}

/// Returns the text of a failure without its numbers.
fn failure_kind(why: &str) -> String {
    why.chars().take_while(|sign| *sign != '(').filter(|sign| !sign.is_ascii_digit()).take(60).collect()
}

/// Returns the simplest plan that still fails in the same way, and its failure.
fn shrunk(mut plan: NetworkPlan, mut why: String) -> (NetworkPlan, String) {
    let sought = failure_kind(&why);
    let fails = |simpler: NetworkPlan| {
        Some((attempt(&simpler).err().filter(|why| failure_kind(why) == sought)?, simpler))
    };
    while let Some((reason, simpler)) = plan.simpler().into_iter().find_map(fails) {
        (plan, why) = (simpler, reason);
    }
    (plan, why)
}

fn must_hold(seed: u64) -> Outcome {
    let plan = NetworkPlan::of(seed);
    attempt(&plan).unwrap_or_else(|why| {
        if number("MCAST_SHRINK") == Some(0) {
            panic!("seed {seed}: {why}\nof {plan:#?}");
        }
        let (simple, simple_why) = shrunk(plan, why.clone());
        panic!("seed {seed}: {why}\nshrunk to {simple:#?}\n{simple_why}\nadd the seed to tests/simulation/seeds.txt");
    })
}

/// A loss at the end of a burst is noticed by the next heartbeat, not only by later data.
#[test]
fn the_last_of_a_burst_is_repaired_within_a_few_round_trips() {
    let mut lost = 0;
    for every in 8..40 {
        let trunk = Quality { every: Some(every), ..Quality::FREE };
        let plan = NetworkPlan { messages: 11, trunk, ..NetworkPlan::simple(vec![SubscriberPlan::simple()]) };
        let outcome = World::run(&plan).unwrap();
        lost += outcome.lost_in_trunk;
        // A round trip takes 200 µs; the initial estimate is a millisecond.
        assert!(outcome.slowest < 4 * MILLISECOND, "it took {} ns, {every}", outcome.slowest);
    }
    assert!(lost > 3, "only {lost} were lost");
}

/// In a small group, neither a lost status nor the allowance of NAKs may hold up everybody for long.
#[test]
fn a_small_group_is_repaired_within_some_round_trips_after_a_burst() {
    let lossy = Quality { loss: 0.05, ..Quality::GOOD };
    for seed in 0..8 {
        let subscriber = SubscriberPlan {
            down: lossy.clone(),
            up: lossy.clone(),
            start: Start::Oldest,
            ..SubscriberPlan::simple()
        };
        let plan =
            NetworkPlan { seed, messages: 4_000, pause: 20_000, ..NetworkPlan::simple(vec![subscriber; 8]) };
        let outcome = World::run(&plan).unwrap();
        assert_eq!(outcome.messages, 8 * 4_000);
        assert!(outcome.lost_in_links > 1_000, "{outcome:?}");
        // The window has 128 datagrams, so that publisher and subscribers wait for each other 31 times.
        assert!(outcome.slowest < 350 * MILLISECOND, "it took {} ns, {seed}", outcome.slowest);
        assert!(outcome.naks < outcome.lost_in_links / 2, "{outcome:?}");
    }
}

/// A loss near the publisher affects all subscribers: few of them may send NAKs, and one repair must suffice.
#[test]
fn few_of_a_thousand_subscribers_request_a_common_loss() {
    let trunk = Quality { every: Some(41), ..Quality::FREE };
    let subscribers = vec![SubscriberPlan::simple(); 1_000];
    let plan =
        NetworkPlan { trunk, messages: 400, pause: 2 * MILLISECOND, ..NetworkPlan::simple(subscribers) };
    let outcome = World::run(&plan).unwrap();
    let losses = outcome.lost_in_trunk;
    assert_eq!(outcome.messages, 400 * 1_000);
    assert!(losses >= 8, "{outcome:?}");
    assert!(outcome.naks < 5 * losses, "{} NAKs for {losses} losses", outcome.naks);
    let repairs = outcome.statistics.group_repairs + outcome.statistics.single_repairs;
    assert!(repairs <= 3 * losses, "{repairs} repairs of {losses} losses of {}", outcome.data);
    assert!(outcome.finished < 60 * SECOND);
}

/// Losses near the subscribers differ: each subscriber gets its own repairs, within the common allowance.
#[test]
fn a_thousand_subscribers_with_independent_losses_are_repaired() {
    let down = Quality { loss: 0.01, ..Quality::GOOD };
    // From the oldest, so that a subscriber that misses the first heartbeat also gets the messages before the second.
    let subscribers = vec![SubscriberPlan { down, start: Start::Oldest, ..SubscriberPlan::simple() }; 1_000];
    let plan = NetworkPlan { messages: 60, pause: 4 * MILLISECOND, ..NetworkPlan::simple(subscribers) };
    let outcome = World::run(&plan).unwrap();
    assert_eq!(outcome.messages, 60 * 1_000);
    let losses = outcome.lost_in_links;
    assert!(losses >= 400, "{outcome:?}");
    assert!(outcome.naks < 3 * losses / 2, "{} NAKs for {losses} losses", outcome.naks);
    let repairs = outcome.statistics.group_repairs + outcome.statistics.single_repairs;
    assert!(repairs < losses, "{repairs} repairs of {losses} losses, of which many are of the same datagram");
}

/// Datagrams that arrive on one path are not requested, even if they are lost on the other.
#[test]
fn a_cut_path_causes_no_naks_and_no_delay() {
    for cut_path in [(0, SECOND), (3 * MILLISECOND, SECOND), (0, 5 * MILLISECOND)] {
        let plan = NetworkPlan {
            paths: 2,
            cut_path: Some(cut_path),
            pause: 100_000,
            ..NetworkPlan::simple(vec![SubscriberPlan::simple(); 3])
        };
        let outcome = World::run(&plan).unwrap();
        assert_eq!((outcome.messages, outcome.naks), (300, 0), "{cut_path:?}");
        assert!(outcome.lost_in_trunk > 0, "the cut hit nothing");
        assert!(outcome.slowest < MILLISECOND, "it took {} ns", outcome.slowest);
    }
}

/// Returns the seeds that once failed: the first word of each line that is not a comment.
fn failed_seeds() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// Prints the number of failures of each kind, with an example of each, and panics if there are any.
fn survey(seeds: impl Iterator<Item = u64>, run: impl Fn(u64) -> Result<(), String>) {
    let mut failures = BTreeMap::new();
    for seed in seeds {
        if let Err(why) = run(seed) {
            failures.entry(failure_kind(&why)).or_insert_with(|| (why, Vec::new())).1.push(seed);
        }
    }
    for (why, seeds) in failures.values() {
        let first: Vec<u64> = seeds.iter().copied().take(10).collect();
        eprintln!("{} fail, among them {first:?}: {}", seeds.len(), why.lines().next().unwrap_or_default());
    }
    let failed: usize = failures.values().map(|(_, seeds)| seeds.len()).sum();
    assert!(failed == 0, "{failed} seeds fail");
}

#[test]
#[should_panic(expected = "2 seeds fail")]
fn a_survey_fails_if_a_seed_does() {
    survey(1..5, |seed| if seed % 2 == 0 { Err("it hangs".into()) } else { Ok(()) });
}

#[test]
fn the_guarantees_hold_in_every_network() {
    if let Some(count) = number("MCAST_SURVEY") {
        let first = number("MCAST_FIRST_SEED").unwrap_or(0);
        return survey(first..first + count, |seed| attempt(&NetworkPlan::of(seed)).map(drop));
    }
    if let Some(seed) = number("MCAST_SEED") {
        eprintln!("{:#?}\n{:?}", NetworkPlan::of(seed), must_hold(seed));
        return;
    }
    let kept = failed_seeds();
    let drawn = seeds(2_000);
    let end = kept.len() as u64 + drawn.end - drawn.start;
    let seed = |turn: u64| match kept.get(turn as usize) {
        Some(seed) => *seed,
        None => drawn.start + turn - kept.len() as u64,
    };
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let work = || {
            while let Some(turn) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|turn| *turn < end) {
                let result = catch_unwind(|| must_hold(seed(turn)));
                // After one failure, the other threads stop after their current seed.
                if let Err(panic) = result {
                    next.store(end, Ordering::Relaxed);
                    std::panic::resume_unwind(panic);
                }
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
