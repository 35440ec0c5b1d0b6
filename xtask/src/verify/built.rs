//! The programs built by the step `tests`, which other steps also run. Selecting fewer packages or features would make
//! cargo rebuild most of them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cargo, command_line};
use crate::step::Outcome;

/// The programs, or the error messages of the compiler.
#[derive(Debug)]
pub(crate) enum Built {
    Programs(Vec<Program>),
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Program {
    /// The name of its target: `contract`, `mcast`.
    name: String,
    /// The folder of its package, in which its tests expect to run.
    pub(super) folder: PathBuf,
    pub(super) executable: PathBuf,
    is_test: bool,
}

/// Returns the executable of the command or example with this name, or a failure if it does not compile.
pub(crate) fn program(name: &str) -> Result<Result<PathBuf, Outcome>> {
    let programs = match build()? {
        Built::Programs(programs) => programs,
        Built::Failed(messages) => return Ok(Err(Outcome::failed("it does not compile", messages))),
    };
    let found = programs.into_iter().find(|program| program.is(name));
    Ok(Ok(found.with_context(|| format!("cargo built no program {name}"))?.executable))
}

/// Builds all programs, tests and examples of the workspace that are not up to date.
pub(super) fn build() -> Result<Built> {
    // Selects no targets: with `--examples`, the examples would be built as tests.
    let mut command = cargo(["test", "--no-run", "--workspace", "--all-features"]);
    command.args(["--message-format", "json-render-diagnostics", "--quiet"]);
    let called = command_line(&command);
    let output = command.output().with_context(|| format!("starting `{called}`"))?;
    if !output.status.success() {
        return Ok(Built::Failed(format!("`{called}`:\n{}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(Built::Programs(programs(&String::from_utf8_lossy(&output.stdout))))
}

fn programs(messages: &str) -> Vec<Program> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| read(&message)).collect()
}

fn read(message: &Value) -> Option<Program> {
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        folder: PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
        is_test: message["profile"]["test"].as_bool()?,
    })
}

impl Program {
    /// Whether it is a test of the package with this folder name.
    pub(super) fn tests(&self, package: &str) -> bool {
        self.is_test && self.folder.ends_with(package)
    }

    /// Whether it is the program with this name, not a test.
    fn is(&self, name: &str) -> bool {
        !self.is_test && self.is_called(name)
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn programs_and_tests_are_distinguished() {
        let message = |name: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/x/crates/net/mcast/Cargo.toml","target":{{"name":"{name}"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let messages = [
            message("mcast", false, "null"),
            message("mcast", false, "\"/t/mcast\""),
            message("exact", true, "\"/t/deps/exact-1\""),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];

        let programs = programs(&messages.join("\n"));

        assert_eq!(programs.len(), 2);
        assert!(programs[0].is("mcast") && !programs[0].tests("mcast"));
        assert!(programs[1].tests("mcast") && !programs[1].is("exact"));
        assert!(!programs[1].tests("mcast-lab"));
    }
}
