//! Simulates the stream protocol and relays in networks that the tests do not cover. Seeds of the stream protocol that
//! fail are added to its tests.

use std::fs;
use std::io::Write as _;

use anyhow::{Context, Result};

use crate::command::{cargo, finish};
use crate::step::{Outcome, Step};

/// A network of relays takes that many times as long as one of the stream protocol, and is simulated by many tests.
const RELAY_COST: u32 = 100;

/// The simulation always starts with the seeds in this file.
const SEEDS: &str = "crates/stream/mcast-stream-proto/tests/simulation/seeds.txt";

pub(super) fn step(networks: u32, seed: u32) -> Step {
    let relays = networks / RELAY_COST;
    let about = format!(
        "the stream protocol keeps its guarantees in {networks} networks, relays in {relays}, and bridges in {relays}"
    );
    Step::new("simulation", about, move |options| {
        // Do not overlap with the seeds of the tests.
        let first = 1_000_000 + u64::from(seed) * 1_000_000;
        let simulate = |package: &str, networks: u32| {
            let head = ["test", "--quiet", "--release", "--package", package];
            let mut command = cargo(head.iter().chain(&["--test", "simulation"]));
            command.env("MCAST_FIRST_SEED", first.to_string()).env("MCAST_SEEDS", networks.to_string());
            finish(command, options.verbose)
        };
        let finished = simulate("mcast-stream-proto", networks)?;
        if finished.success {
            let mut finished = simulate("mcast-relay", relays)?;
            if finished.success {
                finished = simulate("mcast-bridge", relays)?;
            }
            if finished.success {
                finished = simulate("mcast-tunnel", relays)?;
            }
            return Ok(match finished.success {
                true => Outcome::passed(format!("seeds from {first}")),
                false => Outcome::failed(finished.status, finished.output),
            });
        }
        let failed = Outcome::failed(finished.status, finished.output);
        match failing(&failed.evidence) {
            Some((seed, why)) => {
                add(seed, why)?;
                Ok(Outcome { note: format!("{}; added seed {seed} to {SEEDS}", failed.note), ..failed })
            }
            None => Ok(failed),
        }
    })
}

/// The whole message layer: publishers with logs, histories, acknowledgements and keys.
pub(super) fn composed_step(networks: u32, seed: u32) -> Step {
    let about = format!("the parts of the message layer keep their promises together in {networks} networks");
    Step::new("composed", about, move |options| {
        let first = 1_000_000 + u64::from(seed) * 1_000_000;
        let head = ["test", "--quiet", "--release", "--package", "mcast-sim", "--test", "composed"];
        let mut command = cargo(head);
        command.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
        command.env("MCAST_FIRST_SEED", first.to_string()).env("MCAST_SEEDS", networks.to_string());
        let finished = finish(command, options.verbose)?;
        Ok(match finished.success {
            true => Outcome::passed(format!("seeds from {first}")),
            false => Outcome::failed(finished.status, finished.output),
        })
    })
}

/// Finds the failed seed and the reason: the simulation prints `seed 17: reason`.
fn failing(output: &str) -> Option<(u64, &str)> {
    output.lines().find_map(|line| {
        let (seed, why) = line.strip_prefix("seed ")?.split_once(": ")?;
        Some((seed.parse().ok()?, why))
    })
}

fn add(seed: u64, why: &str) -> Result<()> {
    let path = crate::root().join(SEEDS);
    let seeds = fs::read_to_string(&path).with_context(|| format!("reading {SEEDS}"))?;
    if seeds.lines().any(|line| line.split(' ').next() == Some(&seed.to_string())) {
        return Ok(());
    }
    let mut file = fs::OpenOptions::new().append(true).open(&path);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("opening {SEEDS}: {error}"))?;
    let why: String = why.chars().take(120).collect();
    writeln!(file, "{seed} {why}").with_context(|| format!("writing {SEEDS}"))
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn the_failed_seed_is_read_from_the_output() {
        let output = "running 9 tests\nthread 'x' panicked at main.rs:1:\nseed 10949: it lost 3\nshrunk to Plan {\n    seed: 10949,\n";
        assert_eq!(failing(output), Some((10949, "it lost 3")));
        assert_eq!(failing("test result: ok"), None);
    }

    #[test]
    fn the_file_of_seeds_exists() {
        let seeds = fs::read_to_string(crate::root().join(SEEDS)).unwrap();
        assert!(seeds.ends_with('\n') && seeds.lines().any(|line| line.starts_with("10949 ")));
    }
}
