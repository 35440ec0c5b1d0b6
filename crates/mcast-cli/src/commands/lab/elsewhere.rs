//! Systems without network namespaces have no labs.

use super::{List, On, Run, Shell, Show};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

pub(super) fn run(run: &Run, _console: &Console) -> anyhow::Result<Outcome> {
    let Run { topology, timeout: _, json: _ } = run;
    Err(needs_linux(topology))
}

pub(super) fn shell(shell: &Shell, _console: &Console) -> anyhow::Result<Outcome> {
    let Shell { topology, host: _, command: _ } = shell;
    Err(needs_linux(topology))
}

pub(super) fn on(on: &On, _console: &Console) -> anyhow::Result<Outcome> {
    let On { host, command: _ } = on;
    Err(needs_linux(host))
}

pub(super) fn show(show: &Show, _console: &Console) -> anyhow::Result<Outcome> {
    Err(needs_linux(&show.name))
}

pub(super) fn list(list: &List, _console: &Console) -> anyhow::Result<Outcome> {
    let List { json: _ } = list;
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
