//! Every pair of faults of the doctor's lab, of which `cargo verify` draws a sample, and many repairs of a running program.

use anyhow::Result;

use crate::command::{cargo, finish};
use crate::step::{Outcome, RunOptions, Step};

const INJECTIONS: u32 = 400;
const ROUNDS: u32 = 200;

pub(super) fn step(seed: u32) -> Step {
    let about = format!(
        "the doctor names each fault of every pair, and of triples drawn with seed {seed}, and {INJECTIONS} faults drawn by seed, and repairs a program {ROUNDS} times"
    );
    Step::new("doctor", about, move |options| run(seed, options))
}

fn run(seed: u32, options: &RunOptions) -> Result<Outcome> {
    let head = ["test", "--quiet", "--package", "mcast-doctor", "--test", "lab", "--", "--nocapture"];
    let mut command = cargo(head);
    command.args(["combined::", "pairs::", "drawn::", "again_and_again"]);
    command.env("MCAST_INJECTIONS", INJECTIONS.to_string());
    command.env("MCAST_SEED", seed.to_string()).env("MCAST_COMBINATIONS", "all").env("MCAST_PAIRS", "all");
    command.env("MCAST_REPAIR_ROUNDS", ROUNDS.to_string());
    let finished = finish(command, options.verbose)?;
    // Without this line, no test ran.
    let combinations = finished.output.lines().find(|line| line.ends_with(" combinations"));
    Ok(match combinations.filter(|_| finished.success) {
        Some(combinations) => Outcome::passed(combinations),
        None => Outcome::failed(finished.status, finished.output),
    })
}
