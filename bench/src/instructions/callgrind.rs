//! Counting with callgrind.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mcast_lab::Host;

use super::Case;
use super::limits::is_within;
use crate::network::INTERFACE;
use crate::run::{Cpu, start};

/// How often to run a case.
const TIMES: u32 = 50;
/// Under callgrind, a program is about fifty times slower.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Counts instructions per datagram. Repeats a count above the limit, and returns the lowest.
pub(super) fn count(
    host: &Host,
    program: &Path,
    case: &Case,
    limit: Option<f64>,
    attempts: usize,
) -> Result<f64> {
    let mut fewest = f64::INFINITY;
    for _ in 0..attempts {
        fewest = fewest.min(count_once(host, program, case)?);
        if limit.is_none_or(|limit| is_within(fewest, limit)) {
            break;
        }
    }
    Ok(fewest)
}

fn count_once(host: &Host, program: &Path, case: &Case) -> Result<f64> {
    let mut words: Vec<OsString> = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--collect-atstart=no",
        "--toggle-collect=*measured_case*",
    ]
    .map(OsString::from)
    .into();
    words.push(program.into());
    words.extend([&case.name, INTERFACE, &TIMES.to_string()].map(OsString::from));
    let running = start(host, Cpu::Receiver, &words)
        .context("valgrind is needed to count instructions (package valgrind)")?;
    let output = running.text(TIMEOUT)?;
    let collected = output.lines().find_map(|line| line.split_once("Collected :"));
    let collected: Option<f64> = collected.and_then(|(_, number)| number.trim().parse().ok());
    match collected {
        Some(collected) if collected > 0.0 => Ok(collected / (f64::from(TIMES) * f64::from(case.datagrams))),
        _ => bail!("callgrind counted nothing for {}; its output:\n{output}", case.name),
    }
}
