//! A long run of the message layer's chaos test, which `cargo verify` runs for 20 s.

use anyhow::Result;

use crate::command::{cargo, finish};
use crate::step::{Outcome, RunOptions, Step};

pub(super) fn step(minutes: u64, seed: u32) -> Step {
    let about = format!("{minutes} minutes of kills, stops, partitions and floods, seed {seed}");
    Step::new("chaos", about, move |options| run(minutes, seed, options))
}

fn run(minutes: u64, seed: u32, options: &RunOptions) -> Result<Outcome> {
    let head = ["test", "--quiet", "--package", "mcast-cli", "--test", "chaos", "--", "--nocapture"];
    let mut command = cargo(head);
    command.env("MCAST_SEED", seed.to_string()).env("MCAST_CHAOS_SECONDS", (60 * minutes).to_string());
    let finished = finish(command, options.verbose)?;
    let rounds = finished.output.lines().find(|line| line.ends_with(" rounds")).unwrap_or_default();
    Ok(match finished.success {
        true => Outcome::passed(rounds),
        false => Outcome::failed(finished.status, finished.output),
    })
}
