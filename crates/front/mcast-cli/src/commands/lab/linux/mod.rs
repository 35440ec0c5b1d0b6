//! Labs on Linux.

mod printer;
mod run;
mod shell;
mod source;

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use mcast_lab::topology::SHIPPED;
use mcast_lab::{LabError, LabErrorKind, Topology};
use mcast_sys::{ClassifiedError, FailureClass};
use mcast_terminal::Console;
use serde::Serialize;

use super::{Action, ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};
use crate::exit::{Failure, Outcome};
use crate::output::{text_width, wrap, write_record};

pub(crate) use source::names;

pub(super) fn run(action: &Action, console: &Console) -> anyhow::Result<Outcome> {
    match action {
        Action::Run(run) => run::run(run, console),
        Action::Shell(shell) => shell::shell(shell, console),
        Action::On(on) => shell::on(on),
        Action::Show(show) => self::show(show, console),
        Action::List(list) => self::list(list, console),
    }
}

fn show(show: &ShowArguments, console: &Console) -> anyhow::Result<Outcome> {
    let Some(text) = source::shipped(&show.name) else {
        let unknown = Failure::usage(format!("mcast has no built-in network '{}'", show.name));
        return Err(unknown.remedy(format!("the built-in networks are {}", source::names_listed())).into());
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
