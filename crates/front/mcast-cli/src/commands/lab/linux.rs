//! Labs on Linux.

mod printer;

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{env, process};

use anyhow::Context;
use mcast_lab::topology::{ProgramEvent, SHIPPED};
use mcast_lab::{Command, Host, LabError, LabErrorKind, LabNetwork, Program, Topology};
use mcast_sys::{ClassifiedError, FailureClass};
use mcast_terminal::Console;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGQUIT};

use super::{Action, ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};
use crate::exit::{Failure, Outcome, closest};
use crate::interrupt::Interrupt;
use crate::output::{text_width, wrap, write_record};
use printer::Printer;

pub(super) fn run(action: &Action, console: &Console) -> anyhow::Result<Outcome> {
    match action {
        Action::Run(run) => run_programs(run, console),
        Action::Shell(arguments) => shell(arguments, console),
        Action::On(arguments) => on(arguments),
        Action::Show(show) => self::show(show, console),
        Action::List(list) => self::list(list, console),
    }
}

fn show(show: &ShowArguments, console: &Console) -> anyhow::Result<Outcome> {
    let Some(text) = shipped(&show.name) else {
        let unknown = Failure::usage(format!("mcast has no built-in network '{}'", show.name));
        return Err(unknown.remedy(format!("the built-in networks are {}", names_listed())).into());
    };
    let mut output = console.output();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(Outcome::Yes)
}

/// A network as JSON.
#[derive(Serialize)]
struct NetworkRecord<'a> {
    name: &'a str,
    description: &'a str,
    hosts: Vec<&'a str>,
}

fn list(list: &ListArguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut output = console.output();
    let (heading, dim) = (console.palette().heading, console.palette().dim);
    for (name, text) in SHIPPED {
        let topology = Topology::parse(text).map_err(failed)?;
        let (description, hosts) = (topology.description(), topology.hosts().collect::<Vec<_>>());
        if list.json {
            write_record(&mut output, "network", &NetworkRecord { name, description, hosts })?;
            continue;
        }
        writeln!(output, "{heading}{name}{heading:#}  {dim}{}{dim:#}", hosts.join(", "))?;
        wrap(description, text_width() - 2).iter().try_for_each(|line| writeln!(output, "  {line}"))?;
    }
    output.flush()?;
    Ok(Outcome::Yes)
}

/// Returns `PATH` for programs in a lab, where `mcast` is this program.
fn path() -> anyhow::Result<OsString> {
    let program = env::current_exe().context("cannot determine the path of this program")?;
    let own = program.parent().map(PathBuf::from).into_iter();
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(own.chain(env::split_paths(&others)))
        .context("the directory of this program cannot be added to PATH")
}

/// Converts an error to a failure with its exit status. Its message does not repeat the remedy.
fn failed(error: LabError) -> anyhow::Error {
    let message = match (error.kind(), error.cause()) {
        (LabErrorKind::Refused { why, .. }, Some(cause)) => {
            format!("cannot {}: {why} ({cause})", error.operation())
        }
        (LabErrorKind::Refused { why, .. }, None) => format!("cannot {}: {why}", error.operation()),
        _ => message(&error),
    };
    let failure = Failure::new(error.class().unwrap_or(FailureClass::Environment), message);
    match error.remedy() {
        Some(remedy) => failure.remedy(remedy).into(),
        None => failure.into(),
    }
}

/// Returns the error as a sentence. A lab's errors start with the action that failed.
fn message(error: &LabError) -> String {
    format!("cannot {error}")
}

/// The longest wait before checking for Ctrl-C.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

fn run_programs(run: &RunArguments, console: &Console) -> anyhow::Result<Outcome> {
    let topology = topology(&run.topology)?;
    let network = topology.build().map_err(failed)?;
    let interrupt = Interrupt::catch(|| ())?;
    let mut printer = Printer::new(&topology, run.json, console);
    printer.begin(&run.topology)?;
    let as_expected = run_to_end(&network, run.timeout, &interrupt, &mut printer)?;
    printer.end(network.bad_links())?;
    let links_kept_up = printer.check_links(network.bad_links());
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(as_expected && links_kept_up)))
}

/// Runs all programs to their end, and asks them to end after Ctrl-C or the time limit. Returns whether all ended as
/// expected.
fn run_to_end(
    network: &LabNetwork,
    timeout: Option<Duration>,
    interrupt: &Interrupt,
    printer: &mut Printer<'_>,
) -> anyhow::Result<bool> {
    let path = path()?;
    let mut run = network.run(move |_: &Program, command: &mut Command| {
        command.env("PATH", &path);
    });
    if let Some(timeout) = timeout {
        run = run.time_limit(timeout);
    }
    let mut as_expected = true;
    while !run.is_over() {
        if !printer.is_stopping() && interrupt.has_arrived() {
            printer.stopping();
            run.stop(signal_hook::consts::SIGINT).map_err(failed)?;
        }
        let Some(event) = run.next(POLL_INTERVAL).map_err(failed)? else { continue };
        as_expected &= is_expected(&event);
        if event == ProgramEvent::TimeLimit {
            printer.stopping();
        }
        printer.print(&event)?;
    }
    Ok(as_expected)
}

fn is_expected(event: &ProgramEvent) -> bool {
    match event {
        ProgramEvent::Ended { as_expected, .. } => *as_expected,
        ProgramEvent::Skipped { .. } | ProgramEvent::TimeLimit => false,
        _ => true,
    }
}

fn shell(shell: &ShellArguments, console: &Console) -> anyhow::Result<Outcome> {
    let topology = topology(&shell.topology)?;
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
fn on(on: &OnArguments) -> anyhow::Result<Outcome> {
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

/// Returns the built-in topology of this name, or the topology in this file.
fn topology(name: &str) -> anyhow::Result<Topology> {
    let text = match shipped(name) {
        Some(text) => text.to_owned(),
        None => read(name)?,
    };
    Topology::parse(&text).map_err(|error| wrong(name, &text, error))
}

/// Returns the text of a built-in network.
fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Returns the names of the built-in networks.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Returns the names of the built-in networks as a list in a sentence.
fn names_listed() -> String {
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
