//! `mcast doctor --apply`: applies one remedy after asking, then examines again.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use mcast_doctor::{Id, RemedyEffect, Report};

use super::Doctor;
use crate::exit::{Failure, Outcome};

pub(super) fn run(doctor: &Doctor<'_>, report: &Report, id: Id, is_agreed: bool) -> anyhow::Result<Outcome> {
    doctor.print(report, false)?;
    if let Some(outcome) = doctor.interrupt.outcome() {
        return Ok(outcome);
    }
    let Some(finding) = report.findings.iter().find(|finding| finding.id == id) else {
        doctor.console.note(format_args!("{id} was not found: nothing was applied"));
        return Ok(Outcome::No);
    };
    let remedy = finding.applicable_remedy().ok_or_else(|| {
        Failure::environment(format!("no command on this machine fixes {id}"))
            .remedy(format!("`mcast explain {id}` describes the remedies"))
    })?;
    let command = remedy.command().unwrap_or_default();
    if !is_agreed && !confirm(&command, doctor)? {
        doctor.console.note("nothing was applied");
        return Ok(Outcome::No);
    }
    doctor.console.note(format_args!("running: {command}"));
    remedy.apply()?;
    let after = doctor.examine()?;
    if let Some(outcome) = doctor.interrupt.outcome() {
        return Ok(outcome);
    }
    let effect = RemedyEffect::of(id, &after, doctor.subject.is_listened_to());
    if effect == RemedyEffect::StillSilent {
        doctor.print(&after, false)?;
    }
    doctor.console.note(format_args!("{id} {effect}"));
    Ok(Outcome::of(effect.is_success()))
}

fn confirm(command: &str, doctor: &Doctor<'_>) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("cannot ask: standard input is not a terminal")
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
