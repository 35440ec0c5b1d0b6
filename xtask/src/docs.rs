//! Man pages, shell completions, the guide's reference and the schemas of records, which are generated from the command's
//! definitions and committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, finish, program};
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::built;

/// The example of mcast-cli that generates them.
const GENERATOR: &str = "generate-docs";

/// The folders under `docs/` that contain only generated files.
const GENERATED: [&str; 4] = ["man", "completions", "reference", "findings"];
/// The guide's table of contents, which is also generated.
const CONTENTS: &str = "SUMMARY.md";

/// The schemas of records, beside the types that they are made from.
const SCHEMAS: &str = "crates/front/mcast-cli/schemas";

/// Generates them under `docs/`, and removes pages of commands that no longer exist.
pub(crate) fn write() -> Result<bool> {
    let docs = crate::root().join("docs");
    let schemas = crate::root().join(SCHEMAS);
    let head =
        ["run", "--quiet", "--package", "mcast-cli", "--features", "schema", "--example", GENERATOR, "--"];
    generate(cargo(head), &docs, &schemas)?;
    anstream::println!(
        "written: {}, {SCHEMAS}",
        GENERATED.map(|folder| docs.join(folder).display().to_string()).join(", ")
    );
    Ok(true)
}

/// A step that fails if the committed files are out of date.
pub(crate) fn step() -> Step {
    Step::new("docs", "man pages, completions, reference and schemas are up to date", check)
}

fn check(_: &RunOptions) -> Result<Outcome> {
    let fresh = crate::root().join("target/generated-docs");
    match built::program(GENERATOR)? {
        Ok(generator) => generate(program(generator, [""; 0]), &fresh, &fresh.join("schemas"))?,
        Err(failed) => return Ok(failed),
    }
    let mut stale = differences(&files(&crate::root().join("docs"))?, &files(&fresh)?);
    stale.extend(stale_schemas(&fresh.join("schemas"))?);
    Ok(match stale.is_empty() {
        true => Outcome::passed(""),
        false => Outcome::failed(
            "run `cargo xtask docs`",
            format!("out of date under docs/ and {SCHEMAS}:\n{}\n", stale.join("\n")),
        ),
    })
}

fn generate(mut command: Command, into: &Path, schemas: &Path) -> Result<()> {
    for folder in GENERATED.map(|folder| into.join(folder)) {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    command.args([into, schemas]);
    let finished = finish(command, false)?;
    if !finished.success {
        bail!("the command could not write its documentation ({}):\n{}", finished.status, finished.output);
    }
    Ok(())
}

/// Reads the generated files under `top`; the keys are paths relative to it.
fn files(top: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for folder in GENERATED.iter().filter(|folder| top.join(folder).is_dir()) {
        for entry in fs::read_dir(top.join(folder)).with_context(|| format!("listing {folder}"))? {
            let path = entry?.path();
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            found.insert(path.strip_prefix(top)?.to_path_buf(), bytes);
        }
    }
    if let Ok(bytes) = fs::read(top.join(CONTENTS)) {
        found.insert(CONTENTS.into(), bytes);
    }
    Ok(found)
}

/// Lists the committed schemas that differ from generated ones. Which are generated is checked by a test of mcast-cli.
fn stale_schemas(fresh: &Path) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for entry in fs::read_dir(fresh).with_context(|| format!("listing {}", fresh.display()))? {
        let path = entry?.path();
        let name = path.strip_prefix(fresh)?;
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        if fs::read(crate::root().join(SCHEMAS).join(name)).ok() != Some(bytes) {
            stale.push(format!("  changed  schemas/{}", name.display()));
        }
    }
    Ok(stale)
}

fn differences(committed: &BTreeMap<PathBuf, Vec<u8>>, fresh: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<String> {
    let changed = fresh.iter().filter_map(|(path, bytes)| match committed.get(path) {
        None => Some(format!("  missing  {}", path.display())),
        Some(old) if old != bytes => Some(format!("  changed  {}", path.display())),
        Some(_) => None,
    });
    let gone = committed.keys().filter(|path| !fresh.contains_key(*path));
    changed.chain(gone.map(|path| format!("  surplus  {}", path.display()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_changed_and_surplus_files_are_listed() {
        let tree = |files: &[(&str, &str)]| {
            files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect()
        };
        let committed = tree(&[("man/mcast.1", "a"), ("man/mcast-recv.1", "b"), ("man/mcast-old.1", "c")]);
        let fresh = tree(&[("man/mcast.1", "a"), ("man/mcast-recv.1", "B"), ("man/mcast-new.1", "d")]);

        let stale = differences(&committed, &fresh);

        assert_eq!(
            stale,
            ["  missing  man/mcast-new.1", "  changed  man/mcast-recv.1", "  surplus  man/mcast-old.1"]
        );
    }
}
