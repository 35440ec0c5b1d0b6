//! Networks for the stream protocol that no run of the tests tries. The seed of one that fails is kept, so that every run does.

use std::fs;
use std::io::Write as _;

use anyhow::{Context, Result};

use crate::command::{cargo, finish};
use crate::step::{Outcome, Step};

/// Every run of the simulation begins with the seeds in it.
const KEPT: &str = "crates/mcast-stream/tests/simulation/seeds.txt";

pub(super) fn step(networks: u32, seed: u32) -> Step {
    let about = format!("the stream protocol keeps its promises in {networks} networks");
    Step::new("simulation", about, move |manner| {
        let head = ["test", "--quiet", "--release", "--package", "mcast-stream", "--no-default-features"];
        let mut command = cargo(head.iter().chain(&["--test", "simulation"]));
        // Far from those that every landing tries.
        let first = 1_000_000 + u64::from(seed) * 1_000_000;
        command.env("MCAST_FIRST_SEED", first.to_string()).env("MCAST_SEEDS", networks.to_string());
        let finished = finish(command, manner.verbose)?;
        if finished.success {
            return Ok(Outcome::passed(format!("seeds {first} and on")));
        }
        let failed = Outcome::failed(finished.status, finished.output);
        match failing(&failed.evidence) {
            Some((seed, why)) => {
                keep(seed, why)?;
                Ok(Outcome { note: format!("{}; seed {seed} is kept in {KEPT}", failed.note), ..failed })
            }
            None => Ok(failed),
        }
    })
}

/// The seed that failed and why: the simulation says `seed 17: why`.
fn failing(output: &str) -> Option<(u64, &str)> {
    output.lines().find_map(|line| {
        let (seed, why) = line.strip_prefix("seed ")?.split_once(": ")?;
        Some((seed.parse().ok()?, why))
    })
}

fn keep(seed: u64, why: &str) -> Result<()> {
    let path = crate::root().join(KEPT);
    let kept = fs::read_to_string(&path).with_context(|| format!("reading {KEPT}"))?;
    if kept.lines().any(|line| line.split(' ').next() == Some(&seed.to_string())) {
        return Ok(());
    }
    let mut file = fs::OpenOptions::new().append(true).open(&path);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("opening {KEPT}: {error}"))?;
    let why: String = why.chars().take(120).collect();
    writeln!(file, "{seed} {why}").with_context(|| format!("writing {KEPT}"))
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn the_seed_that_failed_is_read_from_what_the_simulation_says() {
        let output = "running 9 tests\nthread 'x' panicked at main.rs:1:\nseed 10949: it lost 3\nshrunk to Plan {\n    seed: 10949,\n";
        assert_eq!(failing(output), Some((10949, "it lost 3")));
        assert_eq!(failing("test result: ok"), None);
    }

    #[test]
    fn seeds_are_kept_where_the_simulation_reads_them() {
        let kept = fs::read_to_string(crate::root().join(KEPT)).unwrap();
        assert!(kept.ends_with('\n') && kept.lines().any(|line| line.starts_with("10949 ")));
    }
}
