//! The programs of a topology, and who waits for whom.

use std::collections::HashMap;

use toml::Spanned;

use super::{
    Program, Ready,
    check::Checker,
    file::{Run, RunTable, Text},
};
use crate::LabError;

type Result<T> = std::result::Result<T, LabError>;

/// The programs of all hosts, in order, each knowing by place whom it waits for.
pub(super) fn programs<'a>(
    checker: Checker<'_>,
    hosts: impl Iterator<Item = (&'a str, &'a [Spanned<Run>])>,
) -> Result<Vec<Program>> {
    let listed: Vec<_> = hosts.flat_map(|(host, runs)| numbered(host, runs)).collect();
    let mut places = HashMap::new();
    for (place, Listed { name, run, .. }) in listed.iter().enumerate() {
        if places.insert(name.as_str(), place).is_some() {
            return Err(checker.problem(run.span(), format!("another program has the name '{name}'")));
        }
    }
    let programs = listed.iter().map(|listed| program(checker, listed, &places));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    match in_a_circle(&programs) {
        Some(place) => {
            let problem = format!("'{}' waits for itself, by way of others", programs[place].name);
            Err(checker.problem(listed[place].run.span(), problem))
        }
        None => Ok(programs),
    }
}

/// A program as listed, with the name that it goes by.
struct Listed<'a> {
    host: &'a str,
    name: String,
    run: &'a Spanned<Run>,
}

fn numbered<'a>(host: &'a str, runs: &'a [Spanned<Run>]) -> impl Iterator<Item = Listed<'a>> {
    runs.iter().enumerate().map(move |(place, run)| {
        let given = run.get_ref().0.name.as_ref().map(|name| name.get_ref().clone());
        Listed { host, name: given.unwrap_or_else(|| format!("{host}.{}", place + 1)), run }
    })
}

fn program(checker: Checker<'_>, listed: &Listed<'_>, places: &HashMap<&str, usize>) -> Result<Program> {
    let RunTable { command, ready, joined, wait_for, after, background, expect, .. } =
        &listed.run.get_ref().0;
    let place = |name: &Text| {
        let unknown = || checker.problem(name.span(), format!("there is no program '{}'", name.get_ref()));
        places.get(name.get_ref().as_str()).copied().ok_or_else(unknown)
    };
    let ready = match (ready, joined) {
        (None, None) => Ready::Started,
        (Some(text), None) => Ready::Writes(text.clone()),
        (None, Some(group)) => Ready::Joined(checker.parse(group)?),
        (Some(_), Some(group)) => {
            return Err(checker.problem(group.span(), "a program has either `ready` or `joined`"));
        }
    };
    Ok(Program {
        name: listed.name.clone(),
        host: listed.host.to_owned(),
        command: command.clone(),
        ready,
        wait_for: wait_for.iter().map(place).collect::<Result<_>>()?,
        after: after.iter().map(place).collect::<Result<_>>()?,
        background: *background,
        expect: *expect,
    })
}

/// The place of a program that can never start, because it waits for itself in the end.
fn in_a_circle(programs: &[Program]) -> Option<usize> {
    let mut can_start = vec![false; programs.len()];
    loop {
        let starts =
            |program: &Program| program.wait_for.iter().chain(&program.after).all(|other| can_start[*other]);
        let next =
            programs.iter().enumerate().position(|(place, program)| !can_start[place] && starts(program));
        match next {
            Some(place) => can_start[place] = true,
            None => return can_start.iter().position(|can| !can),
        }
    }
}
