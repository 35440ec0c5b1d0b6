//! Guards the hot path: counts its instructions per datagram with callgrind.
//!
//! Times on a shared machine are noisy; instruction counts are not. This program runs each case under
//! `valgrind --tool=callgrind`, on a host of a lab, with real sockets. Instructions in user space between the caller and
//! the system call are counted; the kernel is not. The counts must not exceed the limits in `bench/instructions.toml`.

mod callgrind;
mod cases;
mod limits;

use anyhow::{Result, bail};
use mcast_lab::Lab;

use crate::arguments::{Exercise, InstructionOptions};
use crate::network::INTERFACE;
use cases::CASES;
use limits::Limits;

/// How often to count a case that exceeds its limit: a packet that arrives late costs an extra call.
const ATTEMPTS: usize = 3;

/// Counts every case and compares it with its limit.
///
/// # Errors
/// If a case exceeds its limit, valgrind is not installed, or namespaces are not allowed.
pub fn guard(options: &InstructionOptions) -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("host")?, lab.host("other")?);
    lab.link(&host, INTERFACE, &["10.77.0.1/24"], &other, INTERFACE, &["10.77.0.2/24"])?;
    let limits = Limits::load()?;
    let mut counted = Vec::new();
    println!("{:18} {:>8} {:>8}", "per datagram", "counted", "limit");
    for case in CASES {
        let limit = limits.of(case.name);
        let count = callgrind::count(&host, case, limit, ATTEMPTS)?;
        let exceeded = !options.update && !limits.holds(case.name, count);
        let verdict = if exceeded { "  exceeded" } else { "" };
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit:.1}"));
        println!("{:18} {count:8.1} {limit:>8}{verdict}", case.name);
        counted.push((case.name, count));
    }
    if options.update {
        return Limits::write(&counted);
    }
    let over = counted.iter().filter(|(name, count)| !limits.holds(name, *count));
    let over: Vec<_> = over.map(|(name, _)| *name).collect();
    if !over.is_empty() {
        bail!(
            "more instructions per datagram than allowed: {}. Find out why, or run `cargo bench-peers instructions \
             --update` and justify it in the commit message",
            over.join(", ")
        );
    }
    for name in limits.slack(&counted) {
        println!(
            "{name} needs fewer instructions than before: lower its limit with `cargo bench-peers instructions --update`"
        );
    }
    Ok(())
}

/// Runs one case; the guard starts this under callgrind.
///
/// # Errors
/// If there is no such case, or a socket fails.
pub fn exercise(exercise: &Exercise) -> Result<()> {
    match CASES.iter().find(|case| case.name == exercise.case) {
        Some(case) => (case.exercise)(exercise.times),
        None => bail!("there is no case {}", exercise.case),
    }
}
