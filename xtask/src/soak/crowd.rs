//! The stream protocol with crowds of subscribers, of which the tests simulate small ones.

use anyhow::Result;

use crate::command::{cargo, finish};
use crate::step::{Outcome, RunOptions, Step};

const SUBSCRIBERS: u32 = 10_000;

pub(super) fn step() -> Step {
    let about = format!(
        "up to {SUBSCRIBERS} simulated subscribers get everything, and send and take no more than docs/scale.md says"
    );
    Step::new("crowd", about, run)
}

fn run(options: &RunOptions) -> Result<Outcome> {
    let head = ["test", "--quiet", "--release", "--package", "mcast-stream-proto", "--test", "simulation"];
    let mut measured = Vec::new();
    // In a process each: one measures its memory.
    for (test, figure) in [("members::", "bytes of memory".into()), ("crowd::", format!("| {SUBSCRIBERS} |"))]
    {
        let mut command = cargo(head.iter().chain(&["--", "--nocapture", test]));
        command.env("MCAST_CROWD", SUBSCRIBERS.to_string());
        let finished = finish(command, options.verbose)?;
        let figures: Vec<_> = finished.output.lines().filter(|line| line.contains(&figure)).collect();
        if !finished.success || figures.is_empty() {
            return Ok(Outcome::failed(finished.status, finished.output));
        }
        measured.extend(figures.into_iter().map(|line| line.trim().to_owned()));
    }
    Ok(Outcome::passed(measured.join("; ")))
}
