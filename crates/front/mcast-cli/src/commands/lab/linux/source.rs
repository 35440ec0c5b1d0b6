//! The source of a topology: a file, or a built-in network.

use std::fs::File;
use std::io::{ErrorKind, Read};

use mcast_lab::topology::SHIPPED;
use mcast_lab::{LabError, LabErrorKind, Topology};

use super::failed;
use crate::exit::Failure;
use crate::suggestion::closest;

/// Returns the built-in topology of this name, or the topology in this file.
pub(super) fn topology(name: &str) -> anyhow::Result<Topology> {
    let text = match shipped(name) {
        Some(text) => text.to_owned(),
        None => read(name)?,
    };
    Topology::parse(&text).map_err(|error| wrong(name, &text, error))
}

/// Returns the text of a built-in network.
pub(super) fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Returns the names of the built-in networks.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Returns the names of the built-in networks as a list in a sentence.
pub(super) fn names_listed() -> String {
    names().collect::<Vec<_>>().join(", ")
}

/// The maximum length of a topology, so that a device without an end is not read.
const MAX_LENGTH: u64 = 1 << 20;

fn read(path: &str) -> anyhow::Result<String> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(MAX_LENGTH + 1).read_to_string(&mut text).map(|_| text)
    };
    let text = read().map_err(|error| {
        let failure = Failure::environment(format!("cannot read \"{path}\": {error}"));
        match error.kind() {
            ErrorKind::NotFound => {
                let meant = closest(path, names());
                let meant = meant.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
                failure
                    .remedy(format!("{meant}give a topology file, or one of the networks {}", names_listed()))
            }
            _ => failure,
        }
    })?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(Failure::usage(format!("\"{path}\" is longer than a topology may be, 1 MiB")).into());
    }
    Ok(text)
}

/// Returns an error in a topology with its line, in the format of compilers.
fn wrong(name: &str, text: &str, error: LabError) -> anyhow::Error {
    let LabErrorKind::Topology { line, problem } = error.kind() else { return failed(error) };
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim_end();
    Failure::usage(format!("{name}:{line}: {problem}\n{line:>5} | {shown}"))
        .remedy("compare it with one that works: `mcast lab show four-hosts`")
        .into()
}
