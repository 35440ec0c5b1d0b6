//! Checks of the sources: lock file, formatting, lints, documentation of the libraries.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, command_line, finish, program};
use crate::step::{Lane, Outcome, RunOptions, Step, Verdict};

/// The fuzz targets are a workspace of their own.
const FUZZ: &str = "fuzz/Cargo.toml";

/// The libraries whose features can all be left out.
const PLAIN: [&str; 3] = ["mcast", "mcast-stream", "mcast-stream-proto"];

/// The options of clippy. With others, it checks everything again.
const WARNINGS_ARE_ERRORS: [&str; 2] = ["--deny", "warnings"];

/// Those that compile nothing.
pub(super) fn of_text() -> Vec<Step> {
    vec![
        Step::new("lock", "Cargo.lock of each workspace is up to date", |options| {
            for manifest in ["Cargo.toml", FUZZ] {
                let tree = ["tree", "--locked", "--workspace", "--depth", "0", "--manifest-path", manifest];
                let outcome = check(cargo(tree), options)?;
                if outcome.verdict != Verdict::Passed {
                    return Ok(outcome);
                }
            }
            Ok(Outcome::passed(""))
        }),
        Step::new("format", "the sources are formatted", |options| {
            check(cargo(["fmt", "--all", "--check"]), options)
        }),
        Step::new("fuzz-format", "the fuzz targets are formatted", |options| {
            check(cargo(["fmt", "--manifest-path", FUZZ, "--check"]), options)
        }),
        Step::new("registry", "the tables of registered groups match the registry files", |_| {
            Ok(match crate::registry::check() {
                Ok(()) => Outcome::passed(""),
                Err(error) => Outcome::failed("run `cargo xtask registry`", format!("{error:#}\n")),
            })
        }),
        Step::new("language", "no banned name or phrase, and no public name twice", |_| {
            let violations = crate::language::violations()?;
            Ok(match violations.is_empty() {
                true => Outcome::passed(""),
                false => Outcome::failed(
                    "see docs/design/glossary.md and docs/design/language",
                    violations.join("\n") + "\n",
                ),
            })
        }),
    ]
}

/// Those that compile.
pub(super) fn compiled() -> Vec<Step> {
    vec![
        clippy_step(),
        Step::new("clippy-plain", "no warning in the libraries with their features off", |options| {
            let libraries = PLAIN.iter().flat_map(|package| ["--package", package]);
            let selection: Vec<_> = libraries.chain(["--lib", "--no-default-features"]).collect();
            check(clippy(&selection), options)
        })
        .on(Lane::Beside),
        Step::new("doc", "the documentation builds without a warning", |options| {
            check(documentation(), options)
        })
        .on(Lane::Beside),
    ]
}

/// Compiles the dependencies of the fuzz targets, which are a workspace of their own, with other features.
pub(crate) fn fuzz_step() -> Step {
    Step::new("fuzz-clippy", "no warning in the fuzz targets", fuzz_targets)
}

fn clippy_step() -> Step {
    Step::new("clippy", "no warning in any target of any crate, all features on", |options| {
        check(clippy(&["--workspace", "--all-targets", "--all-features"]), options)
    })
}

/// The same without these programs of tests, which use nothing that a change concerns: `programs` are the others.
pub(super) fn clippy_for(programs: Vec<String>) -> Step {
    Step::new("clippy", "no warning in what the change concerns, all features on", move |options| {
        let kinds = ["--workspace", "--all-features", "--lib", "--bins", "--examples", "--benches"];
        let programs = programs.iter().flat_map(|name| ["--test", name]);
        check(clippy(&kinds.into_iter().chain(programs).collect::<Vec<_>>()), options)
    })
}

/// A command that runs clippy on the selected packages and targets, with all warnings as errors.
pub(super) fn clippy(selection: &[&str]) -> Command {
    let head = ["clippy", "--quiet", "--keep-going"].iter();
    cargo(head.chain(selection).chain(&["--"]).chain(&WARNINGS_ARE_ERRORS))
}

fn fuzz_targets(options: &RunOptions) -> Result<Outcome> {
    // Nothing is linked, so libFuzzer, which is C++, need not be compiled: an archive without members replaces it.
    let library = crate::root().join("target/libfuzzer.a");
    fs::write(&library, "!<arch>\n").with_context(|| format!("writing {}", library.display()))?;
    let mut command = clippy(&["--manifest-path", FUZZ, "--target-dir", "target"]);
    command.env("CUSTOM_LIBFUZZER_PATH", library);
    check(command, options)
}

/// Runs `command`; passes if it exits with status 0.
pub(super) fn check(command: Command, options: &RunOptions) -> Result<Outcome> {
    let called = command_line(&command);
    let finished = finish(command, options.verbose)?;
    Ok(match finished.success {
        true => Outcome::passed(""),
        false => Outcome::failed(finished.status, format!("`{called}`:\n{}", finished.output)),
    })
}

/// Writes the documentation as JSON, from which the step `api` lists the public API. What it links to must exist, as in pages.
///
/// All that it needs is compiled by the step `clippy`: the example is selected because cargo then chooses for dependencies the
/// features that they have with tests.
pub(crate) fn documentation() -> Command {
    let runner = |name| crate::root().join("xtask/runners").join(name);
    let mut command = program("cargo-clippy", ["clippy", "--quiet", "--workspace", "--all-features"]);
    command.args(["--lib", "--bin", "xtask", "--example", "generate-docs", "--"]).args(WARNINGS_ARE_ERRORS);
    command.env("CARGO", runner("clippy-doc")).env("RUSTDOC", runner("rustdoc-json"));
    command.env("RUSTDOCFLAGS", "--deny warnings -Z unstable-options --output-format json");
    command
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// As CONTRIBUTING.md states in "Every machine".
    /// The tables of `mcast-watch` are for captures, too, which have times of day.
    const OF_CAPTURES: &str = "inspect/mcast-watch/";

    #[test]
    fn machines_return_an_optional_clock_time_from_poll_timeout() {
        let top = crate::root().join("crates");
        let mut files = Vec::new();
        sources(&top, &mut files);
        let (mut machines, mut others) = (0, Vec::new());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for line in text.lines().filter(|line| line.contains("fn poll_timeout(")) {
                let file = file.strip_prefix(&top).unwrap().to_string_lossy().into_owned();
                let time = if file.starts_with(OF_CAPTURES) { "Option<Time>" } else { "Option<ClockTime>" };
                match line.contains(&format!("-> {time} {{")) || line.ends_with(&format!("-> {time};")) {
                    true => machines += 1,
                    false => others.push(file),
                }
            }
        }
        assert!(others.is_empty(), "{others:?}");
        assert!(machines >= 14, "{machines}");
    }
}
