//! Systems without network namespaces have no labs.

use super::{ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

pub(super) fn run(run: &RunArguments, _console: &Console) -> anyhow::Result<Outcome> {
    let RunArguments { topology, timeout: _, json: _ } = run;
    Err(needs_linux(topology))
}

pub(super) fn shell(shell: &ShellArguments, _console: &Console) -> anyhow::Result<Outcome> {
    let ShellArguments { topology, host: _, command: _ } = shell;
    Err(needs_linux(topology))
}

pub(super) fn on(on: &OnArguments, _console: &Console) -> anyhow::Result<Outcome> {
    let OnArguments { host, command: _ } = on;
    Err(needs_linux(host))
}

pub(super) fn show(show: &ShowArguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(needs_linux(&show.name))
}

pub(super) fn list(list: &ListArguments, _console: &Console) -> anyhow::Result<Outcome> {
    let ListArguments { json: _ } = list;
    Err(needs_linux("networks"))
}

pub(in crate::commands) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}

fn needs_linux(what: &str) -> anyhow::Error {
    Failure::environment(format!("cannot create {what}: labs need Linux network namespaces"))
        .remedy("run it on Linux, in a virtual machine or in a privileged container")
        .into()
}
