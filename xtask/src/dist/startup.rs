//! Measures the startup time of the program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const RUNS: usize = 101;

/// Returns the median and the minimum of many runs of `--version`.
pub(super) fn measure(program: &Path) -> Result<(Duration, Duration)> {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
        let begun = Instant::now();
        let status = command.status().with_context(|| format!("starting {}", program.display()))?;
        times.push(begun.elapsed());
        anyhow::ensure!(status.success(), "{} --version: {status}", program.display());
    }
    times.sort();
    Ok((times[RUNS / 2], times[0]))
}
