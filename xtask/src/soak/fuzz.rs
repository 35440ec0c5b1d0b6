//! Fuzzing with the targets in `fuzz/`.

use std::process::Command;

use anyhow::Result;

use crate::command::{command_line, finish, program, succeeds};
use crate::step::{Outcome, RunOptions, Step};

/// Returns a step for each fuzz target, or one skipped step if they cannot run.
pub(super) fn steps(seconds: u64, seed: u32) -> Result<Vec<Step>> {
    if !crate::root().join("fuzz").is_dir() {
        return Ok(vec![unavailable("there is no folder fuzz/ with targets")]);
    }
    if !succeeds(cargo_fuzz(&["--version"])) {
        return Ok(vec![unavailable(
            "cargo-fuzz and a nightly toolchain are needed (`cargo install --locked cargo-fuzz`, `rustup toolchain install nightly`)",
        )]);
    }
    let listed = finish(cargo_fuzz(&["list"]), false)?;
    if !listed.success {
        return Ok(vec![Step::new("fuzz", "lists its targets", move |_| {
            Ok(Outcome::failed(listed.status.clone(), listed.output.clone()))
        })]);
    }
    Ok(listed.output.lines().map(|target| step(target.trim(), seconds, seed)).collect())
}

fn step(target: &str, seconds: u64, seed: u32) -> Step {
    let name = target.to_owned();
    Step::new(format!("fuzz:{target}"), format!("{seconds} s of fuzzing, seed {seed}"), move |options| {
        fuzz(&name, seconds, seed, options)
    })
}

fn fuzz(target: &str, seconds: u64, seed: u32, options: &RunOptions) -> Result<Outcome> {
    let (time, seed) = (format!("-max_total_time={seconds}"), format!("-seed={seed}"));
    let command = cargo_fuzz(&["run", target, "--", &time, &seed, "-rss_limit_mb=2048", "-timeout=10"]);
    let called = command_line(&command);
    let finished = finish(command, options.verbose)?;
    Ok(match finished.success {
        true => Outcome::passed(last_figures(&finished.output)),
        false => Outcome::failed(finished.status, format!("`{called}`:\n{}", finished.output)),
    })
}

/// Parses libFuzzer's last lines, `#123456 DONE cov: 812 ft: 2034 corp: 310/41Kb ...` and `Done 123456 runs in 61
/// second(s)`: returns the number of runs, the coverage, and the size of the corpus.
fn last_figures(output: &str) -> String {
    let last = |start: &str| output.lines().rev().find_map(|line| line.trim().strip_prefix(start));
    let done = last("Done ").unwrap_or_default();
    let line = output.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "));
    let number = |name: &str| {
        let after = line.and_then(|line| line.split_once(name)).map(|(_, rest)| rest.trim_start());
        after.and_then(|rest| rest.split([' ', '/']).next()).unwrap_or("?")
    };
    format!("{done}, coverage {}, {} inputs", number(" cov: "), number(" corp: "))
}

/// Uses rustup to select the toolchain, because the cargo that runs this task is the stable one.
fn cargo_fuzz(arguments: &[&str]) -> Command {
    let head = ["run", "nightly", "cargo", "fuzz"].iter();
    program("rustup", head.chain(arguments))
}

fn unavailable(why: &'static str) -> Step {
    Step::new("fuzz", "fuzzing of every parser", move |_| Ok(Outcome::skipped(why)))
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn figures_are_read_from_the_last_lines() {
        let output = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                      #9000\tDONE   cov: 812 ft: 2034 corp: 310/41Kb lim: 4096 exec/s: 150 rss: 70Mb\n\
                      Done 9000 runs in 61 second(s)\n";

        assert_eq!(last_figures(output), "9000 runs in 61 second(s), coverage 812, 310 inputs");
    }
}
