//! `mcast doctor --apply`: one remedy, after asking; then looks again.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use mcast_doctor::{Finding, Id, Remedy, Report};

use super::{Doctor, tools};
use crate::exit::{Failure, Outcome};
use crate::sys;

pub(super) fn run(doctor: &Doctor<'_>, report: &Report, id: Id, is_agreed: bool) -> anyhow::Result<Outcome> {
    doctor.tell(report, false)?;
    if let Some(outcome) = doctor.interrupt.outcome() {
        return Ok(outcome);
    }
    let Some(finding) = report.findings.iter().find(|finding| finding.id == id) else {
        doctor.console.note(format_args!("{id} was not found: nothing is applied"));
        return Ok(Outcome::No);
    };
    let (remedy, command) = applicable(finding)?;
    if !is_agreed && !is_wanted(command, doctor)? {
        doctor.console.note("nothing was applied");
        return Ok(Outcome::No);
    }
    doctor.console.note(format_args!("running: {command}"));
    apply(remedy, command)?;
    let is_cured = !doctor.examine()?.findings.iter().any(|finding| finding.id == id);
    if let Some(outcome) = doctor.interrupt.outcome() {
        return Ok(outcome);
    }
    doctor.console.note(match is_cured {
        true => format!("{id} is gone"),
        false => format!("{id} is still there"),
    });
    Ok(Outcome::of(is_cured))
}

/// The best remedy that a command is.
fn applicable(finding: &Finding) -> anyhow::Result<(&Remedy, &str)> {
    let remedies = tools::for_here(&finding.remedies);
    let first = remedies.into_iter().find(|remedy| tools::is_applicable(remedy));
    match first.and_then(|remedy| Some((remedy, remedy.command()?))) {
        Some(found) => Ok(found),
        None => Err(Failure::environment(format!("nothing that this machine can run cures {}", finding.id))
            .remedy(format!("`mcast explain {}` says what does", finding.id))
            .into()),
    }
}

fn is_wanted(command: &str, doctor: &Doctor<'_>) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked, as standard input is no terminal")
            .remedy("give --yes to apply the remedy without asking")
            .into());
    }
    let heading = doctor.console.palette_for_notes().heading;
    let mut stderr = anstream::stderr();
    write!(stderr, "{heading}{command}{heading:#}\nRun this? [y/N] ").context("cannot ask")?;
    stderr.flush().context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn apply(remedy: &Remedy, command: &str) -> anyhow::Result<()> {
    let mut shell = sys::shell(command);
    // Standard output is for what is found.
    let status = shell.stdout(io::stderr()).status().context("cannot start a shell")?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::environment(format!("the remedy failed ({status}): {command}"))
        .remedy(format!("{} says why above; changing the system mostly needs root", remedy.tool))
        .into())
}
