//! The command line.

use clap::{Args, Parser, Subcommand};

use crate::peers::{MessagesArguments, PeerArguments};

/// Compares mcast with its peers on the same work, between the same two hosts of a lab, in
/// interleaved rounds, and writes docs/benchmarks.md.
#[derive(Parser, Debug)]
#[command(name = "bench-peers", bin_name = "cargo bench-peers", args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// Something else than measuring.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// What to measure.
    #[command(flatten)]
    pub measure: Measure,
}

/// Something else than measuring.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Count the instructions of the hot path under callgrind; fail where they exceed their limits
    Instructions(InstructionOptions),
    /// Write docs/benchmarks.md again from the figures that are kept in bench/results/
    Render,
    /// Count what is lost when all that crosses a link is written into a file, beside tcpdump and tshark
    Capture(CaptureOptions),
    /// Be one of the contestants (what the harness starts)
    #[command(hide = true)]
    Peer(PeerArguments),
    /// Publish or subscribe to messages (what the harness starts)
    #[command(hide = true)]
    Messages(MessagesArguments),
    /// Exercise one piece of the hot path (what the harness starts under callgrind)
    #[command(hide = true)]
    Exercise(Exercise),
}

/// How to count what is lost.
#[derive(Args, Clone, Debug)]
pub struct CaptureOptions {
    /// Runs of each program at each rate
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds that each is sent to
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Write the tables there, as into docs/capture.md [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub write: Option<std::path::PathBuf>,
}

/// What to measure, and how long.
#[derive(Args, Clone, Debug)]
pub struct Measure {
    /// Only the tables whose names begin so (repeatable): receive-a-64, pairs, latency, loss, groups…
    #[arg(long = "table", value_name = "NAME")]
    pub tables: Vec<String>,
    /// Only these contestants, beside the reference (repeatable)
    #[arg(long = "contestant", value_name = "NAME")]
    pub contestants: Vec<String>,
    /// A look in two or three minutes, written to target/bench-peers/quick.md instead
    #[arg(long)]
    pub quick: bool,
    /// Rounds that count, in each table [default: 5; quick: 1]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Seconds that each contestant is measured for, each time [default: 0.5; quick: 0.2]
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Keep rounds in which the reference moved by more than 10 %, too
    #[arg(long)]
    pub keep_all: bool,
    /// Don't install or build peers that are missing
    #[arg(long)]
    pub no_install: bool,
    /// Print each table's figures as a line of JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// List the tables and contestants, and what is missing
    #[arg(long)]
    pub list: bool,
}

impl Measure {
    /// Whether a contestant was asked for, or everybody was.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.contestants.is_empty() || self.contestants.iter().any(|each| each == name)
    }

    /// Rounds that count.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    /// The window of one run.
    #[must_use]
    pub fn window(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.2 } else { 0.5 }).max(0.05)
    }
}

/// How to guard the instructions.
#[derive(Args, Clone, Debug)]
pub struct InstructionOptions {
    /// Write what was counted as the new limits
    #[arg(long)]
    pub update: bool,
}

/// One piece of the hot path.
#[derive(Args, Clone, Debug)]
pub struct Exercise {
    /// Which.
    pub piece: String,
    /// How often.
    pub times: u32,
}
