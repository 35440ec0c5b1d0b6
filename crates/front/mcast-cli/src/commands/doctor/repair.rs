//! `mcast doctor --watch --repair`: applies the remedies of these findings whenever they are found, so that a program which is
//! started again is repaired again.

use std::collections::BTreeSet;

use mcast_doctor::{AppliedRemedies, Finding, Id, Journal, Remedy, Report};
use mcast_terminal::Console;

/// The findings that are repaired.
#[derive(Debug)]
pub(super) struct Repairer<'a> {
    ids: &'a [Id],
    console: &'a Console,
    /// What was applied after the last examination.
    fresh: Vec<(Target, AppliedRemedies)>,
    /// What did not help. It is not tried again before the finding is gone.
    given_up: BTreeSet<Target>,
}

/// What is repaired: a finding, and the remedy, which names the socket. The same finding about a program that was started
/// again has another remedy, and is repaired although that of the old socket failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    id: Id,
    subject: String,
    remedy: Option<String>,
}

impl Target {
    fn of(finding: &Finding) -> Self {
        let remedy = finding.applicable_remedy().and_then(Remedy::command);
        Self { id: finding.id, subject: finding.subject.to_string(), remedy }
    }

    fn is_in(&self, report: &Report) -> bool {
        report.findings.iter().any(|finding| *self == Self::of(finding))
    }
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
        for (target, applied) in std::mem::take(&mut self.fresh) {
            if !target.is_in(report) {
                applied.keep();
                continue;
            }
            let Target { id, subject, .. } = &target;
            self.console.warn(format_args!("the remedy of {id} ({subject}) does not help, and is undone"));
            if let Err(error) = applied.undo() {
                self.console.warn(error);
            }
            self.given_up.insert(target);
        }
        self.given_up.retain(|target| target.is_in(report));
        let due = report.findings.iter().filter(|finding| {
            self.ids.contains(&finding.id) && !self.given_up.contains(&Target::of(finding))
        });
        let due: Vec<_> = due.collect();
        due.into_iter().for_each(|finding| self.apply(finding));
        !self.fresh.is_empty()
    }

    /// Applies the remedy of a finding, unless it cannot be undone.
    fn apply(&mut self, finding: &Finding) {
        let target = Target::of(finding);
        let Target { id, subject, .. } = &target;
        let Some(remedy) = finding.applicable_remedy().filter(|remedy| remedy.undo.is_some()) else {
            self.console.warn(format_args!("no remedy of {id} ({subject}) can be applied here and undone"));
            self.given_up.insert(target);
            return;
        };
        self.console.note(format_args!("running: {}", remedy.command().unwrap_or_default()));
        let mut applied = AppliedRemedies::recorded_in(Journal::here());
        match applied.apply(remedy) {
            Ok(()) => self.fresh.push((target, applied)),
            Err(error) => {
                self.console.warn(error);
                self.given_up.insert(target);
            }
        }
    }
}
