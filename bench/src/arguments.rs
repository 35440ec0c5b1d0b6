//! The command line.

use clap::{Args, Parser, Subcommand};

use crate::peers::{MessagesArguments, PeerArguments};

/// Compares mcast with its peers on the same work, between the same two hosts of a lab, in
/// interleaved rounds. Writes docs/benchmarks.md, the figures in README.md, and the pages with all tables to target/bench-peers/.
#[derive(Parser, Debug)]
#[command(name = "bench-peers", bin_name = "cargo bench-peers", args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// An action other than measuring.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// What to measure.
    #[command(flatten)]
    pub measure: Measure,
}

/// An action other than measuring.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Count the instructions of the hot path with callgrind; fail if they exceed their limits
    Instructions(InstructionOptions),
    /// Regenerate docs/benchmarks.md and the figures in README.md from the figures in bench/results/
    Render,
    /// Write the page of benchmarks, with the pages of all tables behind it, into a folder, from the figures in bench/results/
    Pages {
        /// The folder, as for the guide as a site
        folder: std::path::PathBuf,
    },
    /// Measure the loss of capturing a link to a file, compared with tcpdump and tshark
    Capture(CaptureOptions),
    /// Run one of the contestants (used by the harness)
    #[command(hide = true)]
    Peer(PeerArguments),
    /// Publish or subscribe to messages (used by the harness)
    #[command(hide = true)]
    Messages(MessagesArguments),
}

/// Options of the capture measurement.
#[derive(Args, Clone, Debug)]
pub struct CaptureOptions {
    /// Runs of each program at each rate; 0 only writes the tables
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds to send to each program
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Measure only this rate, in datagrams per second (repeatable). Other rates of the same commit remain in the tables
    #[arg(long = "rate", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rates: Vec<u64>,
    /// Measure only this program (repeatable), in the same way
    #[arg(long = "contestant", value_name = "NAME")]
    pub contestants: Vec<String>,
    /// Write the tables to FILE, such as docs/capture.md [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub write: Option<std::path::PathBuf>,
}

/// What to measure, and how long.
#[derive(Args, Clone, Debug)]
pub struct Measure {
    /// Measure only tables whose names start with NAME (repeatable): receive-a-64, pairs, latency, loss, groups…
    #[arg(long = "table", value_name = "NAME")]
    pub tables: Vec<String>,
    /// Measure only this contestant and the reference (repeatable)
    #[arg(long = "contestant", value_name = "NAME")]
    pub contestants: Vec<String>,
    /// Make a quick run of two or three minutes, written to target/bench-peers/quick/ instead
    #[arg(long)]
    pub quick: bool,
    /// Rounds that must count in each table [default: 5; quick: 1]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Length of the measurement window in seconds [default: 0.5; quick: 0.2]
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Also count rounds in which the reference changed by more than 10 %
    #[arg(long)]
    pub keep_all: bool,
    /// Do not install or build missing peers
    #[arg(long)]
    pub no_install: bool,
    /// Print the figures of each table as a line of JSON
    #[arg(long)]
    pub json: bool,
    /// List the tables and contestants, and missing tools
    #[arg(long)]
    pub list: bool,
}

impl Measure {
    /// Returns whether a contestant is selected.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.contestants.is_empty() || self.contestants.iter().any(|each| each == name)
    }

    /// Returns the number of rounds that must count.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    /// Returns the length of the measurement window, in seconds.
    #[must_use]
    pub fn window(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.2 } else { 0.5 }).max(0.05)
    }
}

/// Options of the instruction counts.
#[derive(Args, Clone, Debug)]
pub struct InstructionOptions {
    /// Write the counts as the new limits
    #[arg(long)]
    pub update: bool,
}
