//! `mcast doctor --apply`: applies one remedy after asking, then examines again.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use mcast_doctor::{Action, ArrivalStatus, Finding, Id, Instructions, Remedy, Report};

use super::{Doctor, tools};
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
    let remedy = applicable(finding)?;
    let command = remedy.command().unwrap_or_default();
    if !is_agreed && !confirm(&command, doctor)? {
        doctor.console.note("nothing was applied");
        return Ok(Outcome::No);
    }
    doctor.console.note(format_args!("running: {command}"));
    apply(remedy)?;
    let after = doctor.examine()?;
    if let Some(outcome) = doctor.interrupt.outcome() {
        return Ok(outcome);
    }
    let effect = RemedyEffect::of(id, &after, doctor.subject.is_listened_to());
    if effect == RemedyEffect::StillSilent {
        doctor.print(&after, false)?;
    }
    doctor.console.note(format_args!("{id} {}", effect.text()));
    Ok(Outcome::of(matches!(effect, RemedyEffect::Arrives | RemedyEffect::SettingChanged)))
}

/// The effect of a remedy. A finding that disappears proves little; only arriving datagrams prove success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RemedyEffect {
    StillThere,
    /// The finding is gone, and datagrams arrive.
    Arrives,
    /// The finding is gone, and still nothing arrives.
    StillSilent,
    /// The finding is gone, and no datagrams were requested.
    SettingChanged,
    /// The finding is gone, and it is unknown what the program receives.
    NotObserved,
}

impl RemedyEffect {
    fn of(id: Id, after: &Report, is_about_traffic: bool) -> Self {
        if after.findings.iter().any(|finding| finding.id == id) {
            return Self::StillThere;
        }
        match (after.arrival, is_about_traffic) {
            (ArrivalStatus::Arrives, _) => Self::Arrives,
            (ArrivalStatus::Nothing, _) => Self::StillSilent,
            (_, false) => Self::SettingChanged,
            (_, true) => Self::NotObserved,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::StillThere => "is still there",
            Self::Arrives => "is gone: datagrams arrive",
            Self::StillSilent => "is no longer found, but nothing arrives",
            Self::SettingChanged => {
                "is no longer found; whether datagrams arrive is unknown: examine GROUP:PORT to see"
            }
            Self::NotObserved => {
                "is no longer found; whether the program receives is unknown: it may have to be restarted"
            }
        }
    }
}

/// Returns the best remedy that is a command.
fn applicable(finding: &Finding) -> anyhow::Result<&Remedy> {
    let remedies = tools::for_here(&finding.remedies);
    remedies.into_iter().find(|remedy| tools::is_applicable(remedy)).ok_or_else(|| {
        Failure::environment(format!("no command on this machine fixes {}", finding.id))
            .remedy(format!("`mcast explain {}` describes the remedies", finding.id))
            .into()
    })
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

/// Runs each action, without a shell.
fn apply(remedy: &Remedy) -> anyhow::Result<()> {
    remedy.actions().iter().try_for_each(|step| match step {
        Action::Run { program, args } => run_program(remedy, program, args),
        Action::Write { path, text } => write_file(path, text),
    })
}

fn run_program(remedy: &Remedy, program: &str, args: &[String]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    // Standard output is for findings.
    command.args(args).stdout(io::stderr());
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if status.success() {
        return Ok(());
    }
    let needs_root = matches!(remedy.instructions, Instructions::Actions { needs_root: true, .. });
    let hint = if needs_root { "; it needs root" } else { "" };
    let tried = remedy.command().unwrap_or_default();
    Err(Failure::environment(format!("the remedy failed: {program} ended with {status}, in: {tried}"))
        .remedy(format!("{program} prints why above{hint}"))
        .into())
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use mcast_doctor::{Persistence, Tool};

    use super::*;

    #[test]
    fn only_datagrams_prove_that_a_remedy_works() {
        let effect = |arrival, is_about_traffic| {
            let mut report = Report::default();
            report.arrival = arrival;
            RemedyEffect::of(Id::SourceIsLocal, &report, is_about_traffic)
        };
        assert_eq!(effect(ArrivalStatus::Arrives, true), RemedyEffect::Arrives);
        assert_eq!(effect(ArrivalStatus::Nothing, true), RemedyEffect::StillSilent);
        assert_eq!(effect(ArrivalStatus::NotObserved, true), RemedyEffect::NotObserved);
        assert_eq!(effect(ArrivalStatus::NotObserved, false), RemedyEffect::SettingChanged);
    }

    #[test]
    fn a_file_is_written_whole_and_its_folder_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10-x;id>y.network.d").join("mcast.conf");
        let remedy = Remedy::file(Tool::Networkd, Persistence::ForGood, &path, "[Link]\nMTUBytes=1500\n");
        apply(&remedy).unwrap();
        apply(&remedy).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[Link]\nMTUBytes=1500\n");
    }
}
