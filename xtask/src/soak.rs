//! `cargo soak`: the long-running checks.

mod bridge;
mod chaos;
mod crowd;
mod doctor;
mod fuzz;
mod log;
mod memory;
mod mutants;
mod networks;
mod relay;
mod runs;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::command::{cargo, finish, succeeds};
use crate::report;
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::tests::{self, Suite};
use crate::verify::{chosen, instructions, kernel, packages, postponed, python, targets, wine};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step, or this family of steps (`fuzz`); repeatable
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// How often to run the integration tests
    #[arg(long, default_value_t = 100, value_name = "N")]
    runs: u32,
    /// Do not start another run after N minutes
    #[arg(long, default_value_t = 120, value_name = "N")]
    minutes: u64,
    /// Number of cases for each property test
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    cases: u32,
    /// Number of networks in which to simulate the stream protocol
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    networks: u32,
    /// Minutes of the chaos test of publishers and subscribers
    #[arg(long, default_value_t = 60, value_name = "N")]
    chaos_minutes: u64,
    /// Minutes of relays beside others without a guard
    #[arg(long, default_value_t = 30, value_name = "N")]
    relay_minutes: u32,
    /// Seconds to run each fuzz target
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    fuzz_seconds: u64,
    /// Seed of the random choices [default: from the clock]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// Treat skipped steps and tests as failures
    #[arg(long)]
    no_skip: bool,
    /// Print the output of all steps, not only of those that fail
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the steps; returns whether none failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(seed_from_the_clock);
    anstream::println!("seed {seed}: `cargo soak --seed {seed}` repeats these random choices");
    let mut steps = vec![
        properties(arguments.cases, seed),
        networks::step(arguments.networks, seed),
        networks::composed_step(arguments.networks, seed),
        model(),
        crowd::step(),
        chaos::step(arguments.chaos_minutes, seed),
        doctor::step(seed),
        relay::step(arguments.relay_minutes, seed),
        bridge::step(seed),
        bridge::rabbitmq(seed),
        bridge::kafka(),
        bridge::joining(),
        log::step(),
        advisories(),
        kernel::step(),
    ];
    // What `cargo verify` leaves to this command.
    steps.extend(postponed());
    steps.extend([tests::specialists_step(), tests::drawn_step()]);
    steps.extend([packages::system_step(), python::build_step(), packages::wheel_step()]);
    steps.extend(packages::released());
    steps.extend([instructions::build_step(), instructions::step(), wine::build_step()]);
    steps.extend(wine::steps());
    steps.extend(targets::all_systems());
    steps.extend(memory::steps());
    steps.extend(mutants::steps(seed));
    steps.push(runs::step(arguments.runs, Duration::from_secs(60 * arguments.minutes)));
    steps.extend(fuzz::steps(arguments.fuzz_seconds, seed)?);
    let options = RunOptions { require_all: arguments.no_skip, verbose: arguments.verbose, fail_fast: false };
    Ok(report::run(&chosen(steps, &arguments.only)?, options))
}

fn properties(cases: u32, seed: u32) -> Step {
    Step::new("properties", format!("each property holds for {cases} cases"), move |options| {
        let environment = [("PROPTEST_CASES", cases.to_string()), ("PROPTEST_RNG_SEED", seed.to_string())];
        tests::run(Suite::All, &environment, options)
    })
}

/// Explores paths that are longer by two than those of `cargo verify`.
fn model() -> Step {
    Step::new(
        "model",
        "failover, restart and key changes keep the guarantees in every order of events",
        |options| {
            let head = ["test", "--quiet", "--release", "--package", "mcast-stream-proto"];
            let mut command = cargo(head.iter().chain(&["--test", "model"]));
            command.env("MCAST_MODEL_DEEPER", "2");
            tests::outcome(command, "cargo test", options)
        },
    )
}

/// Known faults of the dependencies, by a database from the network.
fn advisories() -> Step {
    Step::new("advisories", "no dependency has a known fault", |options| {
        if !succeeds(cargo(["deny", "--version"])) {
            return Ok(Outcome::skipped("cargo-deny is not installed (`cargo install --locked cargo-deny`)"));
        }
        let finished = finish(cargo(["deny", "check", "advisories"]), options.verbose)?;
        if finished.output.contains("failed to fetch advisory database") {
            return Ok(Outcome::skipped("the database of advisories could not be fetched"));
        }
        Ok(match finished.success {
            true => Outcome::passed(""),
            false => Outcome::failed(finished.status, finished.output),
        })
    })
}

fn seed_from_the_clock() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.subsec_nanos())
}
