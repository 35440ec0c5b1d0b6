//! `mcast` beside its peers: the same work, between the same two hosts of a lab, in turns.
//!
//! `cargo bench-peers` builds the peers that are missing, runs every contestant of every table in
//! interleaved rounds, and writes `docs/benchmarks.md`. `cargo bench-peers instructions` counts the
//! instructions of the hot path and fails where they have grown.
//!
//! | module | the one idea |
//! |---|---|
//! | [`tools`] | what has to be built or installed first |
//! | [`network`] | the two hosts and the link between them |
//! | [`segment`] | a sender and several receivers, on links that lose |
//! | [`contestants`] | who takes part, and how each is started |
//! | [`run`] | one run: a program on each host, and what it counted |
//! | [`tables`] | what is compared with what |
//! | [`report`] | medians, ratios, goals, pictures |
//! | [`peers`] | the contestants that are written in Rust |
//! | [`capturing`] | who writes all that crosses a link into a file |
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

/// Does what the command line says; 0 when all went well, 1 when not.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.action {
        Some(Action::Peer(peer)) => peers::run(&peer),
        Some(Action::Messages(messages)) => peers::run_messages(&messages),
        Some(Action::Exercise(exercise)) => instructions::exercise(&exercise),
        Some(Action::Instructions(options)) => instructions::guard(&options),
        Some(Action::Capture(options)) => capturing::measure(&options),
        Some(Action::Render) => report::render_kept(),
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
