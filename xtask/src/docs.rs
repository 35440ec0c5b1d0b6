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

/// Where they are generated.
const FRESH: &str = "target/generated-docs";

/// The folders under `docs/` that contain only generated files.
const GENERATED: [&str; 4] = ["man", "completions", "reference", "findings"];
/// The guide's table of contents, which is also generated.
const CONTENTS: &str = "SUMMARY.md";

/// The schemas of records, beside the types that they are made from.
const SCHEMAS: &str = "crates/front/mcast-cli/schemas";

/// Generates them, and then replaces those under `docs/`, without pages of commands that no longer exist. If the command does
/// not compile, nothing has changed.
pub(crate) fn write() -> Result<bool> {
    let docs = crate::root().join("docs");
    let fresh = crate::root().join(FRESH);
    let head =
        ["run", "--quiet", "--package", "mcast-cli", "--features", "schema", "--example", GENERATOR, "--"];
    generate(cargo(head), &fresh, &fresh.join("schemas"))?;
    replace(&docs, &fresh)?;
    for schema in list(&fresh.join("schemas"))? {
        let into = crate::root().join(SCHEMAS).join(schema.file_name().unwrap_or_default());
        fs::copy(&schema, &into).with_context(|| format!("writing {}", into.display()))?;
    }
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
    let fresh = crate::root().join(FRESH);
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

/// Writes the generated files of `fresh` that those under `docs` lack, or have otherwise, and removes the others.
fn replace(docs: &Path, fresh: &Path) -> Result<()> {
    let (committed, fresh) = (files(docs)?, files(fresh)?);
    for gone in committed.keys().filter(|path| !fresh.contains_key(*path)) {
        let path = docs.join(gone);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    for (path, bytes) in fresh.iter().filter(|(path, bytes)| committed.get(*path) != Some(bytes)) {
        let path = docs.join(path);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
}

/// Reads the generated files under `top`; the keys are paths relative to it.
fn files(top: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for folder in GENERATED.iter().filter(|folder| top.join(folder).is_dir()) {
        for path in list(&top.join(folder))? {
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
    for path in list(fresh)? {
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
    fn generated_files_are_replaced_and_others_stay() {
        let folder = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        let (docs, fresh) = (folder.join("docs"), folder.join("fresh"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, text) in [("man/a.1", "old"), ("man/gone.1", "x"), ("how-to/kept.md", "k")] {
            write(docs.join(path), text);
        }
        for (path, text) in [("man/a.1", "new"), ("man/b.1", "b"), (CONTENTS, "contents")] {
            write(fresh.join(path), text);
        }
        replace(&docs, &fresh).unwrap();
        assert_eq!(files(&docs).unwrap(), files(&fresh).unwrap());
        assert_eq!(fs::read_to_string(docs.join("how-to/kept.md")).unwrap(), "k");
        fs::remove_dir_all(&folder).unwrap();
    }

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
