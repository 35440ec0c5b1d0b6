//! Compares `mcast` with its peers: the same work, between the same two hosts of a lab, in alternating runs.
//!
//! `cargo bench-peers` builds the peers that are missing, runs every contestant of every table in
//! interleaved rounds, and writes `docs/benchmarks.md` and the pages behind it. `cargo bench-peers instructions` counts the
//! instructions of the hot path and fails if they exceed their limits.
//!
//! | module | content |
//! |---|---|
//! | [`tools`] | programs to build or install first |
//! | [`network`] | the two hosts and the link between them |
//! | [`segment`] | a sender and several receivers, on links with loss |
//! | [`contestants`] | the contestants, and how to start them |
//! | [`run`] | one run: a program on each host, and their counts |
//! | [`tables`] | the tables: what is measured |
//! | [`report`] | medians, ratios, goals, pictures |
//! | [`peers`] | the contestants written in Rust |
//! | [`capturing`] | captures to files, compared with tcpdump and tshark |
//! | [`instructions`] | the guard of the hot path |

#![cfg(target_os = "linux")]

pub mod arguments;
pub mod capturing;
pub mod contestants;
pub mod instructions;
pub mod machine;
pub mod network;
pub mod peers;
pub mod report;
pub mod run;
pub mod segment;
pub mod tables;
pub mod tools;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Action, Arguments};

/// Runs the command line; returns exit status 0, or 1 after an error.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.action {
        Some(Action::Peer(peer)) => peers::run(&peer),
        Some(Action::Messages(messages)) => peers::run_messages(&messages),
        Some(Action::Instructions(options)) => instructions::guard(&options),
        Some(Action::Capture(options)) => capturing::measure(&options),
        Some(Action::Render) => report::render(),
        Some(Action::Pages { folder }) => report::pages(&folder),
        None => tables::measure(&arguments.measure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcast-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
