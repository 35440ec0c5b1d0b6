//! A command on another host of the lab whose shell this is.

use std::os::unix::process::CommandExt;
use std::process::Command;

use mcast_lab::LabErrorKind;

use super::On;
use super::failure::{failed, told};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

pub(in super::super) fn on(on: &On, _console: &Console) -> anyhow::Result<Outcome> {
    let On { host, command } = on;
    mcast_lab::enter_host(host).map_err(|error| match error.kind() {
        LabErrorKind::Unsupported(_) => Failure::usage(told(&error))
            .remedy("open a shell in a lab first: `mcast lab shell four-hosts eastny`")
            .into(),
        LabErrorKind::Missing(_) => Failure::usage(told(&error)).into(),
        _ => failed(error),
    })?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("there is no command to run").into());
    };
    // Returns only if it fails: the command takes this process over, signals, exit status and all.
    let error = Command::new(program).args(arguments).env("MCAST_LAB_HOST", host).exec();
    Err(Failure::environment(format!("cannot run {} on {host}: {error}", program.display())).into())
}
