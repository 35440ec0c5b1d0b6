//! Systems without network namespaces have no labs.

use mcast_terminal::Console;

use super::{Action, ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};
use crate::exit::{Failure, Outcome};

pub(super) fn run(action: &Action, _console: &Console) -> anyhow::Result<Outcome> {
    let what: &str = match action {
        Action::Run(RunArguments { topology, timeout: _, json: _ })
        | Action::Shell(ShellArguments { topology, host: _, command: _ }) => topology,
        Action::On(OnArguments { host, command: _ }) => host,
        Action::Show(ShowArguments { name }) => name,
        Action::List(ListArguments { json: _ }) => "networks",
    };
    Err(Failure::environment(format!("cannot create {what}: labs need Linux network namespaces"))
        .remedy("run it on Linux, in a virtual machine or in a privileged container")
        .into())
}

/// Returns the names of the built-in networks: none.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}
