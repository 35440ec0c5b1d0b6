//! The public API of each published crate, as a list in the repository: a change of it shows in the diff.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, command_line, finish, succeeds};
use crate::products;
use crate::step::{Lane, Outcome, RunOptions, Step};
use crate::verify::documentation;

/// The folder of the lists.
const FOLDER: &str = "docs/api";

/// Writes the lists, and removes those of crates that are not published. If one does not compile, nothing has changed.
pub(crate) fn write() -> Result<bool> {
    let folder = crate::root().join(FOLDER);
    let lists: Vec<_> = public_api()?.into_iter().map(|(name, list)| (list_of(&name), list)).collect();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (path, list) in lists {
        fs::write(&path, list).with_context(|| format!("writing {}", path.display()))?;
    }
    anstream::println!("written: {}", folder.display());
    Ok(true)
}

/// A step that fails if the lists are not those of the sources.
pub(crate) fn step() -> Step {
    Step::new("api", "the lists of the public API are up to date", check).on(Lane::Beside)
}

fn check(_: &RunOptions) -> Result<Outcome> {
    if !succeeds(cargo(["public-api", "--version"])) {
        return Ok(Outcome::unsupported(
            "cargo-public-api is not installed (`cargo install --locked cargo-public-api`)",
        ));
    }
    let mut differences = String::new();
    for (name, list) in public_api()? {
        let committed = fs::read_to_string(list_of(&name)).unwrap_or_default();
        for line in changed_lines(&committed, &list) {
            differences += &format!("{name}: {line}\n");
        }
    }
    Ok(match differences.is_empty() {
        true => Outcome::passed(""),
        false => Outcome::failed("run `cargo xtask api`, and look at the diff", differences),
    })
}

fn list_of(name: &str) -> PathBuf {
    crate::root().join(FOLDER).join(format!("{name}.txt"))
}

/// Lists what each published crate exports, by its name: one item per line, without what the compiler derives.
fn public_api() -> Result<Vec<(String, String)>> {
    output_of(documentation())?;
    let folder = products::target_directory()?.join("doc");
    let list = |name: String| {
        let file = folder.join(format!("{}.json", name.replace('-', "_")));
        let mut command = cargo(["public-api", "-sss", "--color", "never", "--rustdoc-json"]);
        command.arg(file);
        Ok((name, items(&output_of(command)?)))
    };
    products::published()?.into_iter().map(list).collect()
}

fn output_of(command: Command) -> Result<String> {
    let line = command_line(&command);
    let finished = finish(command, false)?;
    ensure!(finished.success, "`{line}` failed, {}:\n{}", finished.status, finished.output);
    Ok(finished.output)
}

/// Returns the items, without what cargo says before them. The functions of an implementation are those that its trait lists; it
/// is listed once, although it is given with the type and with the trait.
fn items(output: &str) -> String {
    let is_item = |line: &&str| ["pub ", "impl", "#["].iter().any(|head| line.starts_with(head));
    let mut implementations = HashSet::new();
    let mut implementing = None;
    let mut list = String::new();
    for line in output.lines().filter(is_item) {
        let implementation = line.starts_with("impl").then(|| line.split_once(" for ")).flatten();
        if let Some((_, of)) = implementation {
            implementing = Some(of.split(" where").next().unwrap_or(of));
            if !implementations.insert(line) {
                continue;
            }
        } else if line.starts_with("impl") {
            implementing = None;
        }
        let function = line.split_once("fn ").map(|(_, function)| function);
        let is_of_trait = function.zip(implementing).is_some_and(|(function, of)| {
            function.strip_prefix(of).is_some_and(|rest| rest.starts_with("::"))
        });
        if !is_of_trait {
            list.push_str(line);
            list.push('\n');
        }
    }
    list
}

/// Returns the lines of either list that the other lacks, those of the first as removed, those of the second as added.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let missing = |from: &str, other: &str, sign: char| -> Vec<String> {
        let others: HashSet<&str> = other.lines().collect();
        from.lines().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    [missing(before, after, '-'), missing(after, before, '+')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_listed_without_the_progress_of_cargo() {
        let output = " Documenting mcast v0.1.0\npub mod mcast\n#[non_exhaustive] pub enum mcast::ErrorKind\nimpl mcast::Error\n";

        assert_eq!(
            items(output),
            "pub mod mcast\n#[non_exhaustive] pub enum mcast::ErrorKind\nimpl mcast::Error\n"
        );
    }

    #[test]
    fn an_implementation_is_listed_once_and_without_the_functions_of_its_trait() {
        let output = "pub struct a::B\nimpl a::B\npub fn a::B::new() -> Self\nimpl a::Run for a::B\npub fn a::B::run(&self)\n\
                      pub type a::B::Item = u8\npub trait a::Run\npub fn a::Run::run(&self)\nimpl a::Run for a::B\n\
                      pub fn a::B::run(&self)\npub fn a::start()\n";

        assert_eq!(
            items(output),
            "pub struct a::B\nimpl a::B\npub fn a::B::new() -> Self\nimpl a::Run for a::B\npub type a::B::Item = u8\n\
             pub trait a::Run\npub fn a::Run::run(&self)\npub fn a::start()\n"
        );
    }

    #[test]
    fn a_changed_signature_is_a_removed_and_an_added_line() {
        let (before, after) = ("pub fn a()\npub fn b()\n", "pub fn a()\npub fn b(u8)\n");

        assert_eq!(changed_lines(before, after), ["- pub fn b()", "+ pub fn b(u8)"]);
        assert_eq!(changed_lines(before, before), [""; 0]);
    }

    #[test]
    fn each_published_crate_has_a_list_and_no_other_has() {
        let mut lists: Vec<_> = fs::read_dir(crate::root().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        lists.sort();

        assert_eq!(lists, products::published().unwrap());
    }
}
