//! A trial: builds the tests and runs them, starting with those most likely to fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;

use super::package::Package;
use crate::command::{cargo, finish, finish_within};
use crate::verify::engines;

/// A few seeds catch most broken rules; the others run only if those do not.
const FIRST_SEEDS: u32 = 60;

pub(super) enum Verdict {
    /// By which test, and after how long, not counting the build.
    Caught {
        by: String,
        after: Duration,
    },
    Missed,
}

/// A test, a part of the names of those to run, and if they are not run with their usual seeds, the first and how many.
struct Round<'t>(&'t Path, &'t str, Option<(u32, u32)>);

pub(super) struct Trial<'t> {
    tree: &'t Path,
    seeds: u32,
    limit: Duration,
}

impl<'t> Trial<'t> {
    pub(super) fn new(tree: &'t Path, seeds: u32, limit: Duration) -> Self {
        Self { tree, seeds, limit }
    }

    /// Returns whether a test fails or exceeds the time limit. A compile error is returned as an error.
    pub(super) fn run(&self, package: &Package) -> Result<Verdict> {
        if package.is_composed {
            let composed = self.build_test("mcast-sim", &[], &["--test", "composed"], "composed")?;
            return self.judge(&[Round(&composed, "", Some((0, self.seeds)))]);
        }
        let unit = self.build(package, &["--lib"], package.library)?;
        let simulation = self.build(package, &["--test", "simulation"], "simulation")?;
        let other = self.build(package, &["--test", package.other], package.other)?;
        self.judge(&[
            Round(&unit, "", None),
            Round(&simulation, "", Some((0, FIRST_SEEDS.min(self.seeds)))),
            // It has as many seeds as in other runs, if it has any.
            Round(&other, package.selected, None),
            Round(&simulation, "", Some((FIRST_SEEDS, self.seeds.saturating_sub(FIRST_SEEDS)))),
        ])
    }

    /// Runs tests in turn until one fails.
    fn judge(&self, rounds: &[Round<'_>]) -> Result<Verdict> {
        let started = Instant::now();
        for Round(binary, selected, seeds) in rounds {
            let mut command = Command::new(binary);
            command
                .current_dir(self.tree)
                .env("MCAST_SHRINK", "0")
                .env("RUST_BACKTRACE", "0")
                .env_remove("MCAST_SEED")
                .env_remove("MCAST_FIRST_SEED")
                .env_remove("MCAST_SEEDS");
            if !selected.is_empty() {
                // The copy has no servers of its own, and a test that is skipped notices nothing.
                command
                    .arg(selected)
                    .env("MCAST_TEST_ENGINES", engines::home())
                    .env("MCAST_REQUIRE_ALL", "1");
            }
            if let Some((first_seed, seeds)) = seeds {
                command.env("MCAST_FIRST_SEED", first_seed.to_string()).env("MCAST_SEEDS", seeds.to_string());
            }
            let by = match finish_within(command, self.limit)? {
                None => format!("it did not finish within {} s", self.limit.as_secs()),
                Some(finished) if finished.success => continue,
                Some(finished) => reason(&finished.output),
            };
            return Ok(Verdict::Caught { by, after: started.elapsed() });
        }
        Ok(Verdict::Missed)
    }

    /// Builds a test of the copy; returns the path of its executable.
    fn build(&self, package: &Package, selection: &[&str], name: &str) -> Result<PathBuf> {
        self.build_test(package.name, package.features, selection, name)
    }

    fn build_test(
        &self,
        package: &str,
        features: &[&str],
        selection: &[&str],
        name: &str,
    ) -> Result<PathBuf> {
        let head = ["test", "--quiet", "--no-run", "--message-format=json", "--package", package];
        let features = features.iter().flat_map(|feature| ["--features", feature]);
        let mut command = cargo(head.into_iter().chain(selection.iter().copied()).chain(features));
        command.current_dir(self.tree).env("CARGO_TARGET_DIR", crate::root().join("target/mutants/build"));
        command.env("RUSTFLAGS", "--cap-lints=allow");
        let built = finish(command, false)?;
        ensure!(built.success, "it does not compile:\n{}", built.output);
        let executable = |message| match message {
            Ok(Message::CompilerArtifact(artifact)) => {
                artifact.executable.filter(|_| artifact.target.name == name)
            }
            _ => None,
        };
        let found = Message::parse_stream(built.output.as_bytes()).find_map(executable);
        found
            .map(PathBuf::from)
            .with_context(|| format!("cargo did not report the executable of the test {name}"))
    }
}

/// Returns the first message of a failed test, on one line.
fn reason(output: &str) -> String {
    let mut lines = output.lines();
    let panic = lines.find(|line| line.contains("panicked at"));
    let message: Vec<_> = lines.take_while(|line| !line.starts_with("note:")).take(1).collect();
    let test = output.lines().find_map(|line| line.strip_suffix(" ... FAILED")?.strip_prefix("test "));
    match (panic, message.first()) {
        (Some(_), Some(message)) => format!("{}: {}", test.unwrap_or("a test"), shortened(message)),
        _ => test.unwrap_or("it ended abnormally").to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 110;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_test_and_its_first_message() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\n---- b stdout ----\n\nthread 'b' panicked at x.rs:1:2:\nseed 3: too late\nnote: run with\n";
        assert_eq!(reason(output), "b: seed 3: too late");
    }

    #[test]
    fn a_test_that_ends_without_a_message_ended_abnormally() {
        assert_eq!(reason("running 2 tests\n"), "it ended abnormally");
    }
}
