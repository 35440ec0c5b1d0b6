//! `mcast doctor --watch --repair`: applies the remedies of these findings whenever they are found, so that a program which is
//! started again is repaired again.

use std::collections::BTreeSet;

use mcast_doctor::{AppliedRemedies, Finding, Id, Journal, Report, Subject};

use mcast_terminal::Console;

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
        self.console.note(format_args!("running: {}", remedy.command().unwrap_or_default()));
        let mut applied = AppliedRemedies::recorded_in(Journal::here());
        match applied.apply(remedy) {
            Ok(()) => self.fresh.push((id, subject, applied)),
            Err(error) => {
                self.console.warn(error);
                self.given_up.insert((id, subject.to_string()));
            }
        }
    }
}
