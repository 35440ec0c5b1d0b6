//! The programs that the step `tests` has built: others run them too. To name fewer packages or features would have cargo
//! build most of them again.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cargo, words};
use crate::step::Outcome;

/// What was built, or what the compiler says of why it could not be.
#[derive(Debug)]
pub(crate) enum Built {
    Programs(Vec<Program>),
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Program {
    /// Of its target: `contract`, `mcast`.
    name: String,
    /// The folder of its package, where its tests expect to run.
    pub(super) folder: PathBuf,
    pub(super) executable: PathBuf,
    is_test: bool,
}

/// The executable of the command or the example of this name; an outcome where it does not compile.
pub(crate) fn program(name: &str) -> Result<Result<PathBuf, Outcome>> {
    let programs = match build()? {
        Built::Programs(programs) => programs,
        Built::Failed(said) => return Ok(Err(Outcome::failed("it does not compile", said))),
    };
    let found = programs.into_iter().find(|program| program.is(name));
    Ok(Ok(found.with_context(|| format!("cargo built no program {name}"))?.executable))
}

/// Builds, where that is still to be done, all programs of the workspace, its tests and its examples.
pub(super) fn build() -> Result<Built> {
    // No targets are named: with `--examples`, these would be built as tests.
    let mut command = cargo(["test", "--no-run", "--workspace", "--all-features"]);
    command.args(["--message-format", "json-render-diagnostics", "--quiet"]);
    let called = words(&command);
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
    /// Whether it tests the package whose folder is called so.
    pub(super) fn tests(&self, package: &str) -> bool {
        self.is_test && self.folder.ends_with(package)
    }

    /// Whether it is the program of this name itself.
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
    fn programs_and_tests_are_told_apart() {
        let message = |name: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/x/crates/mcast/Cargo.toml","target":{{"name":"{name}"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
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
