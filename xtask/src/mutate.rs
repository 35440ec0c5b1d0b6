//! `cargo xtask mutate`: breaks each rule of the stream protocol in turn, and sees its simulation notice.

mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{cargo, finish, program};
use rules::{RULES, Rule};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds the simulation tries with each rule broken
    #[arg(long, default_value_t = 600, value_name = "N")]
    seeds: u32,
    /// Only the rules whose names contain this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Breaks all of them; true when each was noticed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let tree = crate::root().join("target/mutants/tree");
    copy_sources(&tree)?;
    ensure!(
        !is_noticed(&tree, arguments.seeds)?,
        "the simulation fails with no rule broken: mend that first"
    );
    let mut unnoticed = Vec::new();
    for rule in
        RULES.iter().filter(|rule| arguments.only.as_ref().is_none_or(|only| rule.name.contains(only)))
    {
        let noticed = with_broken(&tree, rule, || is_noticed(&tree, arguments.seeds))?;
        anstream::println!("{}  {}", if noticed { "noticed  " } else { "UNNOTICED" }, rule.name);
        if !noticed {
            unnoticed.push(rule.name);
        }
    }
    if !unnoticed.is_empty() {
        anstream::println!("{} broken rules went unnoticed: {}", unnoticed.len(), unnoticed.join("; "));
    }
    Ok(unnoticed.is_empty())
}

/// A copy to break things in, so that the checkout stays whole whatever happens.
fn copy_sources(tree: &Path) -> Result<()> {
    let listed = finish(
        {
            let mut list = program("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
            list.current_dir(crate::root());
            list
        },
        false,
    )?;
    ensure!(listed.success, "git cannot list the sources: {}", listed.output);
    let _ = fs::remove_dir_all(tree);
    for file in listed.output.lines() {
        let (from, to) = (crate::root().join(file), tree.join(file));
        if !from.is_file() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(tree))?;
        fs::copy(&from, &to).with_context(|| format!("copying {file}"))?;
    }
    Ok(())
}

/// Does `work` while a rule is broken in the copy.
fn with_broken<T>(tree: &Path, rule: &Rule, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let path: PathBuf = tree.join("crates/mcast-stream/src").join(rule.file);
    let whole = fs::read_to_string(&path).with_context(|| format!("reading {}", rule.file))?;
    if whole.matches(rule.code).count() != 1 {
        bail!("{}: `{}` must stand in {} exactly once", rule.name, rule.code, rule.file);
    }
    fs::write(&path, whole.replace(rule.code, rule.broken))?;
    let result = work();
    fs::write(&path, whole)?;
    result
}

/// Whether the simulation fails. That it doesn't even compile is an error here.
fn is_noticed(tree: &Path, seeds: u32) -> Result<bool> {
    let built = finish(simulation(tree, &["--no-run"], seeds), false)?;
    ensure!(built.success, "it does not compile:\n{}", built.output);
    Ok(!finish(simulation(tree, &[], seeds), false)?.success)
}

fn simulation(tree: &Path, more: &[&str], seeds: u32) -> Command {
    let head =
        ["test", "--quiet", "--package", "mcast-stream", "--no-default-features", "--test", "simulation"];
    let mut command = cargo(head.iter().chain(more));
    command.current_dir(tree).env("CARGO_TARGET_DIR", crate::root().join("target/mutants/build"));
    command.env("RUSTFLAGS", "--cap-lints=allow");
    command.env("MCAST_SEEDS", seeds.to_string()).env("MCAST_SHRINK", "0").env_remove("MCAST_SEED");
    command
}
