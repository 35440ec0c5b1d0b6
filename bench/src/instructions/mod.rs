//! The guard of the hot path: instructions a datagram, counted under callgrind.
//!
//! Times on a shared machine are noise; instructions are not. Each piece is exercised by this same
//! program under `valgrind --tool=callgrind`, on a host of a lab, with real sockets: the kernel's
//! part is not counted, everything of ours between the caller and the system call is. What was
//! counted must not exceed the limits in `bench/instructions.toml`.

mod callgrind;
mod limits;
mod pieces;

use anyhow::{Result, bail};
use mcast_lab::Lab;

use crate::arguments::{Exercise, InstructionOptions};
use crate::network::INTERFACE;
use limits::Limits;
use pieces::PIECES;

/// Counts a piece again if it exceeds its limit: a packet that came late costs a call more.
const ATTEMPTS: usize = 3;

/// Counts every piece, and compares with the limits.
///
/// # Errors
/// When a piece exceeds its limit; without valgrind, or where namespaces are refused.
pub fn guard(options: &InstructionOptions) -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("host")?, lab.host("other")?);
    lab.link(&host, INTERFACE, &["10.77.0.1/24"], &other, INTERFACE, &["10.77.0.2/24"])?;
    let limits = Limits::load()?;
    let mut counted = Vec::new();
    println!("{:18} {:>8} {:>8}", "a datagram", "counted", "limit");
    for piece in PIECES {
        let limit = limits.of(piece.name);
        let count = callgrind::count(&host, piece, limit, ATTEMPTS)?;
        let exceeded = !options.update && !limits.holds(piece.name, count);
        let verdict = if exceeded { "  exceeded" } else { "" };
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit:.1}"));
        println!("{:18} {count:8.1} {limit:>8}{verdict}", piece.name);
        counted.push((piece.name, count));
    }
    if options.update {
        return Limits::write(&counted);
    }
    let over = counted.iter().filter(|(name, count)| !limits.holds(name, *count));
    let over: Vec<_> = over.map(|(name, _)| *name).collect();
    if !over.is_empty() {
        bail!(
            "more instructions a datagram than allowed: {}. Find out why, or run `cargo bench-peers instructions \
             --update` and say in the commit why they are worth it",
            over.join(", ")
        );
    }
    for name in limits.slack(&counted) {
        println!("{name} has become cheaper: `cargo bench-peers instructions --update` holds it there");
    }
    Ok(())
}

/// Exercises one piece: what the guard starts under callgrind.
///
/// # Errors
/// When no piece has the name; what the sockets say.
pub fn exercise(exercise: &Exercise) -> Result<()> {
    match PIECES.iter().find(|piece| piece.name == exercise.piece) {
        Some(piece) => (piece.exercise)(exercise.times),
        None => bail!("no piece is called {}", exercise.piece),
    }
}
