//! What a maintainer runs: `cargo verify`, `cargo soak`, `cargo dist-local`, `cargo xtask registry`, `cargo xtask docs`.

mod command;
mod dist;
mod docs;
mod language;
mod mutate;
mod registry;
mod report;
mod soak;
mod step;
mod target;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check that must hold at every landing
    Verify(verify::Arguments),
    /// The same at length: many runs, more cases, fuzzing
    Soak(soak::Arguments),
    /// Break each rule of the stream protocol in turn, and see its simulation notice
    Mutate(mutate::Arguments),
    /// Make the packages: static programs, a Windows zip, Debian packages, wheels, checksums, a bill of materials
    Dist(dist::Arguments),
    /// Make the tables of registered groups from newer files of IANA's, or again from those kept here
    Registry {
        /// IANA's CSV files, `multicast-addresses` and `ipv6-multicast-addresses`, any of their tables
        files: Vec<PathBuf>,
    },
    /// Check names and texts against the lists in docs/design/language
    Language {
        /// Lower the counts of what is still allowed
        #[arg(long)]
        update: bool,
        /// Print each place
        #[arg(long)]
        list: bool,
    },
    /// Write the man pages, shell completions and the guide's reference anew
    Docs,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Verify(arguments) => verify::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Mutate(arguments) => mutate::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Docs => docs::write(),
        Task::Language { update, list } => language::run(update, list),
        Task::Registry { files } => registry::refresh(&files).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The top of the checkout, wherever the task was called from.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
