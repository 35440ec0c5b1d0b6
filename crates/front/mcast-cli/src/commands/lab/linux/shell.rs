//! A shell, or a command, on one host of a network; and a command on another host of the lab of that shell.

use std::env;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use mcast_lab::{Command, Host, LabErrorKind, Topology};
use mcast_terminal::Console;
use signal_hook::consts::{SIGINT, SIGQUIT};

use super::{OnArguments, ShellArguments, failed, message, path, source};
use crate::exit::{Failure, Outcome};

pub(super) fn shell(shell: &ShellArguments, console: &Console) -> anyhow::Result<Outcome> {
    let topology = source::topology(&shell.topology)?;
    check_host(&topology, shell)?;
    let network = topology.build().map_err(failed)?;
    let host = network.host(&shell.host).with_context(|| format!("'{}' was not created", shell.host))?;
    let mut command = command(host, shell)?;
    command.env("PATH", path()?).env("MCAST_LAB_HOST", &shell.host);
    command.grant_access_to(topology.hosts().filter_map(|name| network.host(name))).map_err(failed)?;
    leave_interrupts_to_the_command()?;
    if shell.command.is_empty() {
        greet(&topology, host, console);
    }
    let status = command.status().map_err(failed)?;
    Ok(Outcome::of_program(status))
}

fn check_host(topology: &Topology, shell: &ShellArguments) -> anyhow::Result<()> {
    let hosts: Vec<&str> = topology.hosts().collect();
    if hosts.contains(&shell.host.as_str()) {
        return Ok(());
    }
    let unknown = Failure::usage(format!("{} has no host called '{}'", shell.topology, shell.host));
    Err(unknown.remedy(format!("its hosts are {}", hosts.join(", "))).into())
}

fn command(host: &Host, shell: &ShellArguments) -> anyhow::Result<Command> {
    if let Some((program, arguments)) = shell.command.split_first() {
        let mut command = host.command(program).map_err(failed)?;
        command.args(arguments);
        return Ok(command);
    }
    let program = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = host.command(program).map_err(failed)?;
    // Plain shells take the prompt from the environment. The start files of bash overwrite it, but bash runs this
    // command after them.
    command.env("PS1", format!("(lab) {}$ ", shell.host));
    command.env("PROMPT_COMMAND", "PS1=\"(lab) ${PS1-}\"; unset PROMPT_COMMAND");
    Ok(command)
}

/// Leaves Ctrl-C and Ctrl-\ to the program on the host, which is in this process's group; this process waits for it.
/// The signals are caught and not ignored, because programs inherit ignored signals.
fn leave_interrupts_to_the_command() -> anyhow::Result<()> {
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .context("cannot pass Ctrl-C to the shell")?;
    }
    Ok(())
}

fn greet(topology: &Topology, host: &Host, console: &Console) {
    let heading = console.palette_for_notes().heading;
    let others: Vec<&str> = topology.hosts().filter(|name| *name != host.name()).collect();
    console
        .note(format_args!("You are on {heading}{}{heading:#}; `exit` takes the network down.", host.name()));
    if !others.is_empty() {
        let others = others.join(", ");
        console.note(format_args!("On the other hosts ({others}): mcast lab on HOST COMMAND"));
    }
}

/// Runs a command on another host of the lab whose shell this is.
pub(super) fn on(on: &OnArguments) -> anyhow::Result<Outcome> {
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
    let error = process::Command::new(program).args(arguments).env("MCAST_LAB_HOST", host).exec();
    Err(Failure::environment(format!("cannot run {} on {host}: {error}", program.display())).into())
}
