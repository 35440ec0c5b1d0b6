//! Maintainer tasks: `cargo verify`, `cargo soak`, `cargo dist-local`, `cargo xtask registry`, `cargo xtask docs`.

mod api;
mod circles;
mod command;
mod dist;
mod docs;
mod folder;
mod language;
mod mutate;
mod products;
mod registry;
mod report;
mod site;
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
    /// Run every check that must pass before a merge
    Verify(verify::Arguments),
    /// Run long checks: repeated runs, more test cases, fuzzing
    Soak(soak::Arguments),
    /// Break each rule of the stream protocol in turn, and check that its tests fail
    Mutate(mutate::Arguments),
    /// Build the packages: static programs, a Windows zip, Debian packages, wheels, checksums, a bill of materials
    Dist(dist::Arguments),
    /// Generate the tables of registered groups, from newer IANA files or from those in the repository
    Registry {
        /// IANA's CSV files of the registries `multicast-addresses` and `ipv6-multicast-addresses`
        files: Vec<PathBuf>,
    },
    /// Check names and texts against the lists in docs/design/language
    Language,
    /// Generate man pages, shell completions and the guide's reference in target/generated-docs, and the committed schemas
    Docs,
    /// Build the documentation as a site in target/book, and check its links and pictures
    Site,
    /// List the public API of each published crate in docs/api
    Api,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Verify(arguments) => verify::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Mutate(arguments) => mutate::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Docs => docs::write(),
        Task::Api => api::write(),
        Task::Site => site::build(),
        Task::Language => language::run(),
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

/// Returns the root of the checkout, independent of the current directory.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
