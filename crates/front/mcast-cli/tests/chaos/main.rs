//! Real publishers and subscribers that are killed, stopped, cut off, flooded and slowed down, on real kernels, by
//! chance.
//!
//! They are judged only by the input of the publishers, the output of the subscribers, and the reports of both ends;
//! `judge.rs` states the rules. `MCAST_CHAOS_SECONDS` is the duration, `MCAST_SEED` the seed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harm;
mod judge;
mod ledger;
mod publisher;
mod round;
mod subscriber;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;

use std::time::{Duration, Instant};

use mcast_sim::Dice;
use round::Round;

const GROUP: &str = "239.1.2.3:7000";
const NAME: &str = "chaos";

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

#[test]
fn under_faults_each_message_is_delivered_or_reported() {
    let (seed, seconds) = (number("MCAST_SEED", 1), number("MCAST_CHAOS_SECONDS", 20));
    println!("seed {seed}: MCAST_SEED={seed} MCAST_CHAOS_SECONDS={seconds} makes the same choices again");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut dice = Dice::new(seed);
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        rounds += 1;
        let left = end.saturating_duration_since(Instant::now());
        let mut round = Round::new(dice.next());
        round.run(left.min(Duration::from_secs(12)));
        let faults = round.judge();
        assert!(
            faults.is_empty(),
            "seed {seed}, round {rounds}:\n  {}\nwhat happened:\n{}",
            faults.join("\n  "),
            round.story()
        );
    }
    println!("{rounds} rounds");
}
