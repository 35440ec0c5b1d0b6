//! Where a topology comes from: a file, or what comes with mcast.

use std::fs;
use std::io::ErrorKind;

use mcast_lab::topology::SHIPPED;
use mcast_lab::{LabError, LabErrorKind, Topology};

use super::failure::failed;
use crate::exit::Failure;

/// The topology of this name, or in this file.
pub(super) fn topology(name: &str) -> anyhow::Result<Topology> {
    let text = match shipped(name) {
        Some(text) => text.to_owned(),
        None => read(name)?,
    };
    Topology::parse(&text).map_err(|error| wrong(name, &text, error))
}

/// The text of a network that comes with mcast.
pub(super) fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// The names of those.
pub(super) fn names() -> String {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let failure = Failure::environment(format!("cannot read {path}: {error}"));
        match error.kind() {
            ErrorKind::NotFound => {
                failure.remedy(format!("name a topology file, or one of the networks {}", names())).into()
            }
            _ => failure.into(),
        }
    })
}

/// What is wrong in a file, with the line, as compilers tell it.
fn wrong(name: &str, text: &str, error: LabError) -> anyhow::Error {
    let LabErrorKind::Topology { line, problem } = error.kind() else { return failed(error) };
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim_end();
    Failure::usage(format!("{name}:{line}: {problem}\n{line:>5} | {shown}"))
        .remedy("compare it with one that works: `mcast lab show four-hosts`")
        .into()
}
