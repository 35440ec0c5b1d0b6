//! Counting by callgrind.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mcast_lab::Host;

use super::limits::is_within;
use super::pieces::Piece;
use crate::run::{Cpu, start};

/// How often a piece is exercised.
const TIMES: u32 = 50;
/// Callgrind runs a program some fifty times slower.
const PATIENCE: Duration = Duration::from_secs(120);

/// Instructions a datagram; the fewest of some attempts, and of one if that is within the limit.
pub(super) fn count(host: &Host, piece: &Piece, limit: Option<f64>, attempts: usize) -> Result<f64> {
    let mut fewest = f64::INFINITY;
    for _ in 0..attempts {
        fewest = fewest.min(count_once(host, piece)?);
        if limit.is_none_or(|limit| is_within(fewest, limit)) {
            break;
        }
    }
    Ok(fewest)
}

fn count_once(host: &Host, piece: &Piece) -> Result<f64> {
    let this = std::env::current_exe().context("finding this program")?;
    let mut program: Vec<OsString> = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--collect-atstart=no",
        "--toggle-collect=*measured_piece*",
    ]
    .map(OsString::from)
    .into();
    program.push(this.into());
    program.extend(["exercise", piece.name, &TIMES.to_string()].map(OsString::from));
    let running = start(host, Cpu::Receiver, &program)
        .context("valgrind is needed to count instructions (package valgrind)")?;
    let said = running.text(PATIENCE)?;
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let collected: Option<f64> = collected.and_then(|(_, number)| number.trim().parse().ok());
    match collected {
        Some(collected) if collected > 0.0 => Ok(collected / (f64::from(TIMES) * f64::from(piece.datagrams))),
        _ => bail!("callgrind counted nothing of {}; it said:\n{said}", piece.name),
    }
}
