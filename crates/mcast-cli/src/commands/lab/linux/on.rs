//! A command on another host of the lab whose shell this is.

use std::os::unix::process::CommandExt;
use std::process::Command;

use mcast_lab::LabErrorKind;

use super::OnArguments;
use super::failure::{failed, message};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

pub(in super::super) fn on(on: &OnArguments, _console: &Console) -> anyhow::Result<Outcome> {
    let OnArguments { host, command } = on;
    mcast_lab::enter_host(host).map_err(|error| match error.kind() {
        LabErrorKind::Unsupported(_) => Failure::usage(message(&error))
            .remedy("open a shell in a lab first: `mcast lab shell four-hosts eastny`")
            .into(),
        LabErrorKind::Missing(_) => Failure::usage(message(&error)).into(),
        _ => failed(error),
    })?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("there is no command to run").into());
    };
    // Returns only on failure: the command replaces this process.
    let error = Command::new(program).args(arguments).env("MCAST_LAB_HOST", host).exec();
    Err(Failure::environment(format!("cannot run {} on {host}: {error}", program.display())).into())
}
