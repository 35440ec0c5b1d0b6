//! Guards the hot path: counts its instructions per datagram with callgrind.
//!
//! Times on a shared machine are noisy; instruction counts are not. Each case of the program `hot-path` runs under
//! `valgrind --tool=callgrind`, on a host of a lab, with real sockets. Instructions in user space between the caller and
//! the system call are counted; the kernel is not. The counts must not exceed the limits in `bench/instructions.toml`.

mod callgrind;
mod limits;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use mcast_lab::Lab;

use crate::arguments::InstructionOptions;
use crate::network::INTERFACE;
use crate::tools;
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
    let program = tools::hot_path()?;
    let cases = cases(&program)?;
    let limits = Limits::load()?;
    let mut counted = Vec::new();
    println!("{:18} {:>8} {:>8}", "per datagram", "counted", "limit");
    for case in cases {
        let limit = limits.of(&case.name);
        let count = callgrind::count(&host, &program, &case, limit, ATTEMPTS)?;
        let exceeded = !options.update && !limits.holds(&case.name, count);
        let verdict = if exceeded { "  exceeded" } else { "" };
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit:.1}"));
        println!("{:18} {count:8.1} {limit:>8}{verdict}", case.name);
        counted.push((case.name, count));
    }
    if options.update {
        return Limits::write(&counted);
    }
    let over = counted.iter().filter(|(name, count)| !limits.holds(name, *count));
    let over: Vec<_> = over.map(|(name, _)| name.as_str()).collect();
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

/// A case of the hot path.
#[derive(Debug)]
struct Case {
    name: String,
    /// Datagrams per run.
    datagrams: u32,
}

/// Returns the cases that the program lists.
fn cases(program: &Path) -> Result<Vec<Case>> {
    let output = Command::new(program).output().with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "{} lists no cases: {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let case = |line: &str| {
        let (name, datagrams) = line.split_once(' ')?;
        Some(Case { name: name.to_owned(), datagrams: datagrams.parse().ok()? })
    };
    let cases = text.lines().map(|line| case(line).with_context(|| format!("not a case: {line}")));
    let cases = cases.collect::<Result<Vec<_>>>()?;
    ensure!(!cases.is_empty(), "{} lists no cases", program.display());
    Ok(cases)
}
