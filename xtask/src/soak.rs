//! `cargo soak`: the checks of `cargo verify` at length, for a person or a night.

mod chaos;
mod fuzz;
mod memory;
mod networks;
mod runs;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::command::{cargo, finish, succeeds};
use crate::report;
use crate::step::{Manner, Outcome, Step};
use crate::verify::tests::{self, Suite};
use crate::verify::{chosen, kernel};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step, or this family of steps (`fuzz`); repeatable
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// How often to run the tests that stand in `tests/`, the lab's among them
    #[arg(long, default_value_t = 100, value_name = "N")]
    runs: u32,
    /// Start no further run after so many minutes
    #[arg(long, default_value_t = 120, value_name = "N")]
    minutes: u64,
    /// How many cases to try for each property
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    cases: u32,
    /// How many networks to simulate for the stream protocol
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    networks: u32,
    /// How long to let things happen to publishers and subscribers
    #[arg(long, default_value_t = 60, value_name = "N")]
    chaos_minutes: u64,
    /// How long to run each fuzz target
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    fuzz_seconds: u64,
    /// Where the random choices start; the clock chooses one where none is given
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// Count what is skipped as failed
    #[arg(long)]
    no_skip: bool,
    /// Show what runs as it comes, not only where it fails
    #[arg(short, long)]
    verbose: bool,
}

/// Runs all of it; true when nothing failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(seed_from_the_clock);
    anstream::println!("seed {seed}: `cargo soak --seed {seed}` makes the same random choices again");
    let mut steps = vec![
        properties(arguments.cases, seed),
        networks::step(arguments.networks, seed),
        model(),
        chaos::step(arguments.chaos_minutes, seed),
        advisories(),
        kernel::step(),
    ];
    steps.extend(memory::steps());
    steps.push(runs::step(arguments.runs, Duration::from_secs(60 * arguments.minutes)));
    steps.extend(fuzz::steps(arguments.fuzz_seconds, seed)?);
    let manner = Manner { require_all: arguments.no_skip, verbose: arguments.verbose, fail_fast: false };
    Ok(report::run(&chosen(steps, &arguments.only)?, manner))
}

fn properties(cases: u32, seed: u32) -> Step {
    Step::new("properties", format!("each property holds for {cases} cases"), move |manner| {
        let environment = [("PROPTEST_CASES", cases.to_string()), ("PROPTEST_RNG_SEED", seed.to_string())];
        tests::run(Suite::All, &environment, manner)
    })
}

/// Ways that are longer by two than those that every landing looks at.
fn model() -> Step {
    Step::new("model", "hand-over, restart and change of keys keep their promises in every order", |manner| {
        let head = ["test", "--quiet", "--release", "--package", "mcast-stream", "--no-default-features"];
        let mut command = cargo(head.iter().chain(&["--test", "model"]));
        command.env("MCAST_MODEL_DEEPER", "2");
        tests::outcome(command, "cargo test", manner)
    })
}

/// Known faults of the dependencies, by a database from the network.
fn advisories() -> Step {
    Step::new("advisories", "no dependency has a known fault", |manner| {
        if !succeeds(cargo(["deny", "--version"])) {
            return Ok(Outcome::skipped("cargo-deny is not installed (`cargo install --locked cargo-deny`)"));
        }
        let finished = finish(cargo(["deny", "--all-features", "check", "advisories"]), manner.verbose)?;
        Ok(match finished.success {
            true => Outcome::passed(""),
            false if finished.output.contains("failed to fetch advisory database") => {
                Outcome::skipped("the database of advisories could not be fetched")
            }
            false => Outcome::failed(finished.status, finished.output),
        })
    })
}

fn seed_from_the_clock() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.subsec_nanos())
}
