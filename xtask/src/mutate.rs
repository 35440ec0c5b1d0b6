//! `cargo xtask mutate`: breaks each rule of the stream protocol, the relay and the bridge in turn, and checks that the
//! simulation or another test catches it.

mod anchor;
mod package;
mod rules;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{finish, program};
use crate::products;
use anchor::Source;
use package::{
    AMT, BRIDGE, COMPOSED, FAIRNESS, HTTP, KAFKA, LOG, NATS, Package, RABBITMQ, RELAY, REVERSE, SERVER,
    STREAM, TUNNEL,
};
use rules::Rule;
use trial::{Trial, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Number of seeds to simulate with each broken rule
    #[arg(long, default_value_t = 600, value_name = "N")]
    seeds: u32,
    /// Break only rules whose names contain NAME; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Time limit for a broken rule; exceeding it counts as caught
    #[arg(long, default_value_t = 240, value_name = "SECONDS")]
    limit: u64,
}

/// Breaks the rules in turn; returns whether all were caught.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let tree = crate::root().join("target/mutants/tree");
    copy_sources(&tree)?;
    let trial = Trial::new(&tree, arguments.seeds, Duration::from_secs(arguments.limit));
    let only = &arguments.only;
    let selected = |rule: &&Rule| only.is_empty() || only.iter().any(|name| rule.name.contains(name));
    for package in [
        &COMPOSED, &STREAM, &FAIRNESS, &RELAY, &TUNNEL, &AMT, &HTTP, &SERVER, &BRIDGE, &REVERSE, &RABBITMQ,
        &KAFKA, &NATS, &LOG,
    ] {
        if rules::all().filter(selected).any(|rule| rule.package == package)
            && let Verdict::Caught { by, .. } = trial.run(package)?
        {
            bail!("the tests of {} fail with no rule broken; fix that first: {by}", package.name);
        }
    }
    let mut missed = Vec::new();
    for rule in rules::all().filter(selected) {
        match with_broken(&tree, rule, || trial.run(rule.package))? {
            Verdict::Caught { by, after } => {
                anstream::println!("caught     {:4} s  {}: {by}", after.as_secs(), rule.name);
            }
            Verdict::Missed => {
                anstream::println!("MISSED             {}", rule.name);
                missed.push(rule.name);
            }
        }
    }
    if !missed.is_empty() {
        anstream::println!("{} broken rules were missed: {}", missed.len(), missed.join("; "));
    }
    Ok(missed.is_empty())
}

/// Copies the sources, so that the checkout is never modified. Files that are unchanged in the copy are not written, so
/// that they are not rebuilt.
fn copy_sources(tree: &Path) -> Result<()> {
    let mut list = program("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
    list.current_dir(crate::root());
    let listed = finish(list, false)?;
    ensure!(listed.success, "git cannot list the sources: {}", listed.output);
    let files: Vec<_> = listed.output.lines().collect();
    remove_others(tree, tree, &files)?;
    for file in files {
        let (from, to) = (crate::root().join(file), tree.join(file));
        if !from.is_file() || is_same(&from, &to) {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(tree))?;
        fs::copy(&from, &to).with_context(|| format!("copying {file}"))?;
    }
    Ok(())
}

/// Removes files from the copy that are no longer in the checkout.
fn remove_others(tree: &Path, folder: &Path, files: &[&str]) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(tree, &path, files)?;
        } else if path.strip_prefix(tree).is_ok_and(|name| !files.iter().any(|file| Path::new(file) == name))
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// Returns the source files of a package below `root`.
fn sources_of(root: &Path, package: &Package) -> Result<Vec<(PathBuf, Source)>> {
    let mut files = Vec::new();
    let mut folders = vec![root.join(products::folder_of(package.place())?).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                files.push((path, Source::new(text)));
            }
        }
    }
    Ok(files)
}

/// Runs `work` while a rule is broken in the copy.
fn with_broken<T>(tree: &Path, rule: &Rule, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let sources = sources_of(tree, rule.package)?;
    let place =
        anchor::find(&sources, rule.code).with_context(|| format!("finding the rule: {}", rule.name))?;
    let (path, source) = &sources[place.source];
    fs::write(path, source.replaced(&place, rule.broken))?;
    let result = work().with_context(|| format!("with this rule broken: {}", rule.name));
    fs::write(path, &source.text)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_each_rule_is_found() {
        let mut failed = Vec::new();
        for package in [&STREAM, &RELAY, &SERVER, &TUNNEL, &BRIDGE, &LOG] {
            let sources = sources_of(&crate::root(), package).unwrap();
            for rule in rules::all().filter(|rule| rule.package.place() == package.place()) {
                assert_ne!(rule.code, rule.broken, "{}", rule.name);
                if let Err(error) = anchor::find(&sources, rule.code) {
                    failed.push(format!("{}: {error}", rule.name));
                }
            }
        }
        assert!(failed.is_empty(), "{}: {failed:#?}", failed.len());
    }

    /// A rule that quotes one or two names can lose them all to one renaming; such rules are few.
    #[test]
    fn rules_survive_the_renaming_of_a_name_that_they_quote() {
        let (mut survived, mut lost) = (0, Vec::new());
        for package in [&STREAM, &RELAY, &SERVER, &TUNNEL, &BRIDGE, &LOG] {
            let mut sources = sources_of(&crate::root(), package).unwrap();
            for rule in rules::all().filter(|rule| rule.package.place() == package.place()) {
                let place = anchor::find(&sources, rule.code).unwrap();
                let renamed = sources[place.source].1.with_renamed(&place, "renamed");
                let original = std::mem::replace(&mut sources[place.source].1, renamed);
                match anchor::find(&sources, rule.code) {
                    Ok(again) if again.source == place.source => survived += 1,
                    _ => lost.push(rule.name),
                }
                sources[place.source].1 = original;
            }
        }
        assert!(survived >= 10 * lost.len(), "{survived} survived, {} did not: {lost:#?}", lost.len());
    }

    #[test]
    fn no_two_rules_share_a_name() {
        let mut names: Vec<_> = rules::all().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rules::all().count());
    }
}
