//! The programs of a topology and their dependencies.

use std::collections::HashMap;

use toml::Spanned;

use super::{
    Program, ReadyWhen,
    check::Checker,
    file::{ProgramEntry, ProgramTable, Text},
};
use crate::LabError;

type Result<T> = std::result::Result<T, LabError>;

/// Returns the programs of all hosts in order, and checks that they do not wait for each other in a cycle.
pub(super) fn check<'a>(
    checker: Checker<'_>,
    hosts: impl Iterator<Item = (&'a str, &'a [Spanned<ProgramEntry>])>,
) -> Result<Vec<Program>> {
    let named: Vec<_> = hosts.flat_map(|(host, entries)| name_all(host, entries)).collect();
    let mut indexes = HashMap::new();
    for (index, NamedEntry { name, entry, .. }) in named.iter().enumerate() {
        if indexes.insert(name.as_str(), index).is_some() {
            return Err(checker.problem(entry.span(), format!("another program has the name '{name}'")));
        }
    }
    let programs = named.iter().map(|named| program(checker, named, &indexes));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    match first_in_cycle(&programs) {
        Some(index) => {
            let problem = format!("'{}' waits for itself, directly or indirectly", programs[index].name);
            Err(checker.problem(named[index].entry.span(), problem))
        }
        None => Ok(programs),
    }
}

/// An entry of `run` with the name of the program, given or generated.
struct NamedEntry<'a> {
    host: &'a str,
    name: String,
    entry: &'a Spanned<ProgramEntry>,
}

fn name_all<'a>(host: &'a str, entries: &'a [Spanned<ProgramEntry>]) -> impl Iterator<Item = NamedEntry<'a>> {
    entries.iter().enumerate().map(move |(index, entry)| {
        let given = entry.get_ref().0.name.as_ref().map(|name| name.get_ref().clone());
        NamedEntry { host, name: given.unwrap_or_else(|| format!("{host}.{}", index + 1)), entry }
    })
}

fn program(checker: Checker<'_>, named: &NamedEntry<'_>, indexes: &HashMap<&str, usize>) -> Result<Program> {
    let ProgramTable { command, ready, joined, wait_for, after, background, expect, .. } =
        &named.entry.get_ref().0;
    let index = |name: &Text| {
        let unknown = || checker.problem(name.span(), format!("there is no program '{}'", name.get_ref()));
        indexes.get(name.get_ref().as_str()).copied().ok_or_else(unknown)
    };
    let ready = match (ready, joined) {
        (None, None) => ReadyWhen::Started,
        (Some(text), None) => ReadyWhen::Writes(text.clone()),
        (None, Some(group)) => ReadyWhen::Joined(checker.parse(group)?),
        (Some(_), Some(group)) => {
            return Err(checker.problem(group.span(), "a program cannot have both `ready` and `joined`"));
        }
    };
    Ok(Program {
        name: named.name.clone(),
        host: named.host.to_owned(),
        command: command.clone(),
        ready,
        wait_for: wait_for.iter().map(index).collect::<Result<_>>()?,
        after: after.iter().map(index).collect::<Result<_>>()?,
        background: *background,
        expect: *expect,
    })
}

/// Returns the index of a program that can never start, because it waits for itself directly or indirectly.
fn first_in_cycle(programs: &[Program]) -> Option<usize> {
    let mut can_start = vec![false; programs.len()];
    loop {
        let starts =
            |program: &Program| program.wait_for.iter().chain(&program.after).all(|other| can_start[*other]);
        let next =
            programs.iter().enumerate().position(|(index, program)| !can_start[index] && starts(program));
        match next {
            Some(index) => can_start[index] = true,
            None => return can_start.iter().position(|can| !can),
        }
    }
}
