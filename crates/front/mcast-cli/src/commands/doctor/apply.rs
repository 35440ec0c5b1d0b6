//! `mcast doctor --apply` and `--repair`: applies remedies, after asking or whenever their finding appears, examines again, and
//! undoes those that do not help.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use mcast_doctor::{
    AppliedRemedies, ChangeOutcome, Finding, Id, Instructions, Journal, Remedy, RemedyEffect, Report,
    SocketAction, SocketChange, Subject, UndoneEntry,
};
use mcast_terminal::Console;

use super::Doctor;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Hangup;
use crate::output::count_of;

/// Applies the remedies of these findings in turn, until datagrams arrive. An error on the way undoes them.
pub(super) fn run(
    doctor: &Doctor<'_>,
    report: &Report,
    ids: &[Id],
    is_agreed: bool,
) -> anyhow::Result<Outcome> {
    doctor.print(report, false)?;
    if let Some(outcome) = doctor.interrupt.outcome() {
        return Ok(outcome);
    }
    // A remedy may cut the session from which it is applied.
    let hangup = Hangup::catch()?;
    let mut applied = AppliedRemedies::recorded_in(Journal::here());
    // Each remedy may reveal the next fault, so the findings are looked up in the latest report.
    let (mut now, mut effect) = (Cow::Borrowed(report), None);
    for id in ids {
        let Some(remedy) = remedy_of(*id, &now)? else {
            doctor.console.note(format_args!("{id} was not found: its remedy was not applied"));
            break;
        };
        // Nobody is asked, and nobody watches: only what can be taken back is run.
        if is_agreed && remedy.undo.is_none() {
            let command = remedy.command().unwrap_or_default();
            let question = "nothing was changed: run it without --yes to be asked, or apply it by hand";
            return Err(Failure::environment(format!("the remedy cannot be undone: {command}"))
                .remedy(question)
                .into());
        }
        if !is_agreed && !confirm(remedy, doctor)? {
            doctor.console.note("not applied");
            effect = None;
            break;
        }
        applied.apply(remedy, |marked| {
            doctor.console.note(format_args!("running: {}", marked.command().unwrap_or_default()));
        })?;
        let after = doctor.examine()?;
        if doctor.interrupt.has_arrived() || hangup.has_arrived() {
            undo(applied, doctor)?;
            return Ok(doctor.interrupt.outcome().unwrap_or(Outcome::No));
        }
        // Compared with the first report: of two faults that hide each other, the first remedy alone changes nothing visible.
        let own = effect_of(*id, remedy, report, &after, doctor);
        doctor.console.note(format_args!("{id} {own}"));
        effect = Some(own);
        now = Cow::Owned(after);
        if own.is_success() {
            break;
        }
    }
    conclude(effect, applied, &now, doctor)
}

/// Undoes the remedies that are in the journal and were applied in this network namespace: those that were kept, and those of a
/// process that was killed.
pub(super) fn undo_all(console: &Console) -> anyhow::Result<Outcome> {
    let (mut undone, mut has_failed) = (0, false);
    for journal in Journal::all() {
        for entry in journal.entries()?.iter().rev().filter(|entry| entry.is_here()) {
            console.note(format_args!(
                "to undo: what {} did at {}: {}",
                entry.by,
                entry.time,
                entry.command()
            ));
        }
        let entries = journal.undo(|entry| print_outcomes(entry, console))?;
        has_failed |= !entries.iter().all(mcast_doctor::UndoneEntry::is_settled);
        let outcomes = entries.iter().flat_map(|entry| &entry.outcomes);
        let is_over =
            |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Undone | ChangeOutcome::Gone);
        undone += outcomes.filter(|(_, outcome)| is_over(outcome)).count();
        // What could not be undone was reported. The rest belongs to other network namespaces.
        for entry in journal.entries()?.iter().filter(|entry| !entry.is_here()) {
            let command = entry.command();
            console.note(format_args!("not undone, because it was done in another network namespace: {command}; run `mcast doctor --undo` there"));
        }
        for entry in journal.old_entries()? {
            has_failed = true;
            let command = mcast_doctor::command_line(&[entry.action]);
            let (by, time, path) = (entry.by, entry.time, journal.path().display());
            console.warn(format_args!("not undone: what {by} did at {time} was recorded by an earlier version of mcast, which did not identify what it changed: {command}; undo it by hand, then remove {path}"));
        }
    }
    match undone {
        0 => console.note("nothing to undo"),
        count => console.note(format_args!("undone: {}", count_of(count as u64, "change"))),
    }
    if has_failed {
        return Err(Failure::environment("not everything was undone").into());
    }
    Ok(Outcome::Yes)
}

fn print_outcomes(undone: &UndoneEntry, console: &Console) {
    for (place, outcome) in &undone.outcomes {
        match outcome {
            ChangeOutcome::Undone => console.note(format_args!("undone: {place}")),
            ChangeOutcome::LeftAlone(sentence) => console.note(format_args!("left alone: {sentence}")),
            ChangeOutcome::Failed(error) => console.warn(format_args!("not undone: {place}: {error}")),
            other => console.note(format_args!("{place} {other}")),
        }
    }
}

/// Changes a socket of a process, as a finding suggested.
pub(super) fn change(pid: u32, text: &str, console: &Console) -> anyhow::Result<Outcome> {
    let invalid = || {
        Failure::usage(format!("\"{text}\" is not a change of a socket")).remedy(
            "write the inode of the socket and the change, as a finding suggests: '31337 join 239.255.1.3%2'",
        )
    };
    let (socket, change) = text.trim().split_once(' ').ok_or_else(invalid)?;
    let socket = socket.parse().map_err(|_| invalid())?;
    let change: SocketChange = change.parse().map_err(|_| invalid())?;
    let action = SocketAction { pid, socket, change };
    let mut applied = AppliedRemedies::recorded_in(Journal::here());
    applied.apply(&Remedy::of_socket(action), |_| ())?;
    print_how_to_undo(&applied, console);
    applied.keep();
    Ok(Outcome::Yes)
}

/// Returns the remedy of a finding; `None` if there is no such finding.
fn remedy_of(id: Id, report: &Report) -> anyhow::Result<Option<&Remedy>> {
    let Some(finding) = report.findings.iter().find(|finding| finding.id == id) else { return Ok(None) };
    let remedy = finding.applicable_remedy().ok_or_else(|| {
        Failure::environment(format!("no command on this machine fixes {id}"))
            .remedy(format!("`mcast explain {id}` describes the remedies"))
    })?;
    Ok(Some(remedy))
}

fn effect_of(id: Id, remedy: &Remedy, before: &Report, after: &Report, doctor: &Doctor<'_>) -> RemedyEffect {
    let effect = RemedyEffect::of(id, before, after, doctor.subject.is_listened_to());
    if doctor.subject.is_program() { effect.on_running_program(remedy) } else { effect }
}

/// Keeps the remedies or undoes them, by the effect of the last one.
fn conclude(
    effect: Option<RemedyEffect>,
    applied: AppliedRemedies,
    after: &Report,
    doctor: &Doctor<'_>,
) -> anyhow::Result<Outcome> {
    let Some(effect) = effect.filter(|effect| effect.is_kept()) else {
        let is_silent = effect == Some(RemedyEffect::StillSilent);
        if is_silent {
            doctor.print(after, false)?;
        }
        undo(applied, doctor)?;
        let other = after.findings.iter().find(|finding| finding.applicable_remedy().is_some());
        if let Some(other) = other.filter(|_| is_silent) {
            doctor
                .console
                .help(format_args!("to apply the remedies of both findings, add `--apply {}`", other.id));
        }
        return Ok(Outcome::No);
    };
    print_how_to_undo(&applied, doctor.console);
    applied.keep();
    Ok(match effect {
        RemedyEffect::NeedsRestart => Outcome::Undecided,
        RemedyEffect::Stopped => Outcome::Warnings,
        effect => Outcome::of(effect.is_success()),
    })
}

/// Prints how to undo what was applied. A firewall rule is found by its mark, which only the doctor does: its handle may be that
/// of another rule by then.
fn print_how_to_undo(applied: &AppliedRemedies, console: &Console) {
    match (applied.undo_command(), applied.undo_words()) {
        (Some(command), _) => {
            console.note(format_args!("to undo it: {command} (or `mcast doctor --undo`)"));
        }
        (None, Some(_)) => console.note("to undo it: mcast doctor --undo"),
        (None, None) => {}
    }
}

fn undo(applied: AppliedRemedies, doctor: &Doctor<'_>) -> anyhow::Result<()> {
    let words = applied.undo_words();
    if let Some(words) = &words {
        doctor.console.note(format_args!("undoing: {words}"));
    }
    applied.undo()?;
    if words.is_some() {
        doctor.console.note("undone");
    }
    Ok(())
}

fn confirm(remedy: &Remedy, doctor: &Doctor<'_>) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("cannot ask: standard input is not a terminal")
            .remedy("add --yes to apply the remedy without asking")
            .into());
    }
    let palette = doctor.console.palette_for_notes();
    let (heading, warning) = (palette.heading, palette.warning);
    let mut stderr = anstream::stderr();
    let command = remedy.command().unwrap_or_default();
    let mut text = format!("{heading}{command}{heading:#}\n");
    if let Some(scope) = &remedy.scope {
        text += &format!("Scope: {scope}\n");
        let line = |risk| format!("{warning}Warning: {risk}{warning:#}\n");
        text += &scope.warning.as_ref().map(line).unwrap_or_default();
    }
    let undo = remedy.undo.as_ref().map_or_else(|| "not possible".to_owned(), Instructions::text);
    write!(stderr, "{text}Undo: {undo}\nRun this? [y/N] ").context("cannot ask")?;
    stderr.flush().context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The findings that are repaired.
#[derive(Debug)]
pub(super) struct Repairer<'a> {
    ids: &'a [Id],
    console: &'a Console,
    /// What was applied after the last examination, with the finding.
    fresh: Vec<(Id, Subject, AppliedRemedies)>,
    /// Findings whose remedy did not help. It is not tried again before they are gone.
    given_up: BTreeSet<(Id, String)>,
}

impl<'a> Repairer<'a> {
    pub(super) const fn new(ids: &'a [Id], console: &'a Console) -> Self {
        Self { ids, console, fresh: Vec::new(), given_up: BTreeSet::new() }
    }

    /// Returns whether it repairs anything.
    pub(super) const fn is_active(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Judges what was applied before this examination, and applies what it found. Returns whether anything was applied, which the
    /// next examination verifies.
    pub(super) fn handle(&mut self, report: &Report) -> bool {
        let is_there = |id: Id, subject: &Subject| {
            report.findings.iter().any(|finding| finding.id == id && finding.subject == *subject)
        };
        for (id, subject, applied) in std::mem::take(&mut self.fresh) {
            if !is_there(id, &subject) {
                applied.keep();
                continue;
            }
            self.console.warn(format_args!("the remedy of {id} ({subject}) does not help, and is undone"));
            if let Err(error) = applied.undo() {
                self.console.warn(error);
            }
            self.given_up.insert((id, subject.to_string()));
        }
        self.given_up.retain(|(id, subject)| {
            report.findings.iter().any(|finding| finding.id == *id && finding.subject.to_string() == *subject)
        });
        let due = report.findings.iter().filter(|finding| {
            let key = (finding.id, finding.subject.to_string());
            self.ids.contains(&finding.id) && !self.given_up.contains(&key)
        });
        let due: Vec<_> = due.collect();
        due.into_iter().for_each(|finding| self.apply(finding));
        !self.fresh.is_empty()
    }

    /// Applies the remedy of a finding, unless it cannot be undone.
    fn apply(&mut self, finding: &Finding) {
        let (id, subject) = (finding.id, finding.subject.clone());
        let Some(remedy) = finding.applicable_remedy().filter(|remedy| remedy.undo.is_some()) else {
            let key = (id, subject.to_string());
            if self.given_up.insert(key) {
                self.console
                    .warn(format_args!("no remedy of {id} ({subject}) can be applied here and undone"));
            }
            return;
        };
        let mut applied = AppliedRemedies::recorded_in(Journal::here());
        let console = self.console;
        let report = |marked: &Remedy| {
            console.note(format_args!("running: {}", marked.command().unwrap_or_default()));
        };
        match applied.apply(remedy, report) {
            Ok(()) => self.fresh.push((id, subject, applied)),
            Err(error) => {
                self.console.warn(error);
                self.given_up.insert((id, subject.to_string()));
            }
        }
    }
}
