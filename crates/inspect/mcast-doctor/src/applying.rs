//! Applying a remedy, and judging its effect.

use std::path::Path;
use std::{env, fmt};

use crate::carrying_out::Network;
use crate::change::{self, Change, ChangeOutcome, Recorded};
use crate::journal::{self, Journal};
use crate::{ArrivalStatus, Depth, Effective, Finding, Id, Persistence, Remedy, Report, Result, Tool};

impl Finding {
    /// Returns the remedies for this machine, those that last until the next boot first: those whose programs are installed.
    /// If none of those until the next boot is, they are all returned: every system has these tools, though perhaps not in the
    /// container that is examined. Advice is last.
    #[must_use]
    pub fn remedies_here(&self) -> Vec<&Remedy> {
        let mut chosen = Vec::new();
        for persistence in [Persistence::Now, Persistence::Permanent] {
            let lasts = |remedy: &&Remedy| remedy.persistence == persistence && !remedy.actions().is_empty();
            let all = || self.remedies.iter().filter(lasts);
            let here: Vec<_> = all().filter(|remedy| remedy.tool.is_here()).collect();
            match here.is_empty() && persistence == Persistence::Now {
                true => chosen.extend(all()),
                false => chosen.extend(here),
            }
        }
        chosen.extend(self.remedies.iter().filter(|remedy| remedy.actions().is_empty()));
        chosen
    }

    /// Returns the command of the best remedy, or its advice; `None` if there is no remedy.
    #[must_use]
    pub fn first_remedy(&self) -> Option<String> {
        let chosen = self.applicable_remedy().or_else(|| self.remedies_here().first().copied());
        chosen.map(|remedy| remedy.instructions.text())
    }

    /// Returns the best remedy that [`AppliedRemedies::apply`] can apply on this machine.
    #[must_use]
    pub fn applicable_remedy(&self) -> Option<&Remedy> {
        self.remedies_here().into_iter().find(|remedy| remedy.is_applicable())
    }
}

/// Remedies that were applied, and what they changed. Dropping it undoes them, so that a failure or a panic between
/// applying and verifying leaves nothing behind; [`Self::keep`] keeps them.
#[derive(Debug, Default)]
pub struct AppliedRemedies {
    applied: Vec<Applied>,
    /// Where they are recorded, so that they can be undone after this process was killed.
    journal: Option<Journal>,
}

/// A remedy that was applied: its entry in the journal, and its changes.
#[derive(Debug)]
struct Applied {
    id: String,
    changes: Vec<Recorded>,
    network: Network,
}

impl AppliedRemedies {
    /// Returns no remedies yet. Those that are applied are recorded in a journal: an entry stays there for as long as its remedy.
    #[must_use]
    pub fn recorded_in(journal: Journal) -> Self {
        Self { journal: Some(journal), applied: Vec::new() }
    }

    /// Makes the changes of a remedy in order, without a shell. Programs write to standard error. What is made carries a mark,
    /// by which it is found again: the remedy that is returned has it, and `report` gets it before anything is changed.
    ///
    /// # Errors
    /// [`Start`](crate::Error::Start), [`RemedyFailed`](crate::Error::RemedyFailed), [`Socket`](crate::Error::Socket) or
    /// [`Write`](crate::Error::Write) for the first action that fails; those
    /// after it are not carried out. Those before it are undone with the others.
    pub fn apply(&mut self, remedy: &Remedy, report: impl FnOnce(&Remedy)) -> Result<()> {
        let id = journal::new_id();
        let (remedy, network) = (remedy.marked(&id), remedy.network);
        let mut query = |program: &str, args: &[&str]| network.output_of(program, args);
        let changes: Vec<_> =
            remedy.changes.iter().map(|change| Recorded::read(change, &mut query)).collect();
        if let Some(journal) = self.journal.as_ref().filter(|_| changes.iter().any(Recorded::is_undoable)) {
            journal.record(&id, &changes, remedy.persistence, network)?;
        }
        report(&remedy);
        self.applied.push(Applied { id: id.clone(), changes, network });
        change::actions(&remedy.changes).iter().try_for_each(|action| network.carry_out(action))?;
        let Some(applied) = self.applied.last_mut() else { return Ok(()) };
        applied.changes.iter_mut().for_each(|change| change.read_after(&mut query));
        match &self.journal {
            Some(journal) if applied.changes.iter().any(Recorded::is_undoable) => {
                journal.complete(&id, &applied.changes)
            }
            _ => Ok(()),
        }
    }

    /// Returns the actions that undo all remedies, the last remedy first, as one line for this system's shell; `None`
    /// if there are none, or if they depend on what the firewall looks like then.
    #[must_use]
    pub fn undo_command(&self) -> Option<String> {
        let undoing: Vec<_> = self.undoing().collect();
        let is_fixed = |change: &Change| !matches!(change, Change::Rule(_) | Change::Table { .. });
        let is_here = self.applied.iter().all(|applied| applied.network == Network::Own);
        (is_here && undoing.iter().all(is_fixed)).then(|| crate::action::line(&change::actions(&undoing)))?
    }

    /// Returns what must be undone, in words: the actions, or what carries a mark; `None` if there is nothing.
    #[must_use]
    pub fn undo_words(&self) -> Option<String> {
        let words = |change: Change| match crate::action::line(&change.actions()) {
            Some(line) => line,
            None => format!("delete {}", change.place()),
        };
        let words: Vec<_> = self.undoing().map(words).collect();
        (!words.is_empty()).then(|| words.join(" && "))
    }

    /// Undoes all remedies, the last one first. What somebody has changed meanwhile is left alone.
    ///
    /// # Errors
    /// [`NotUndone`](crate::Error::NotUndone) if the former state of something is unknown, and the last error otherwise.
    /// All others are undone nevertheless.
    pub fn undo(mut self) -> Result<()> {
        self.restore()
    }

    /// Keeps the remedies.
    pub fn keep(mut self) {
        self.applied.clear();
    }

    fn undoing(&self) -> impl Iterator<Item = Change> {
        self.applied.iter().rev().flat_map(|applied| change::undoing(&applied.changes))
    }

    fn restore(&mut self) -> Result<()> {
        let mut result = Ok(());
        for Applied { id, changes, network } in std::mem::take(&mut self.applied).into_iter().rev() {
            let outcomes = change::revert(&changes, network).into_iter();
            let mut failures = outcomes.filter_map(|outcome| match outcome {
                ChangeOutcome::Failed(error) => Some(error),
                _ => None,
            });
            match (failures.next_back(), &self.journal) {
                (Some(error), _) => result = Err(error),
                // If an entry stays, another undo finds that nothing is left.
                (None, Some(journal)) => drop(journal.mark_undone(&id)),
                (None, None) => {}
            }
        }
        self.journal.iter().for_each(Journal::tidy);
        result
    }
}

impl Drop for AppliedRemedies {
    fn drop(&mut self) {
        // An error has nowhere to go: another one is already on its way.
        let _ = self.restore();
    }
}

impl Remedy {
    /// Returns whether the remedy consists of actions that change this machine, and its program is installed.
    fn is_applicable(&self) -> bool {
        let changes_this_machine =
            !matches!(self.tool, Tool::Mcast | Tool::Program | Tool::Network | Tool::Container);
        !self.actions().is_empty() && changes_this_machine && self.tool.is_here()
    }
}

impl Tool {
    /// Returns whether the program of the tool is installed, or the tool is not a program.
    fn is_here(self) -> bool {
        match self {
            Self::Mcast => true,
            Self::Netsh => is_installed("netsh.exe"),
            other => other.program().is_none_or(is_installed),
        }
    }
}

fn is_installed(program: &str) -> bool {
    // Also in folders that are not in the PATH of ordinary users: root runs the remedies.
    let folders = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new);
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
        || usual.iter().any(|folder| folder.join(program).is_file())
}

/// The effect of a remedy, which the examination after it shows. A finding that disappears proves little; only arriving
/// datagrams prove success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemedyEffect {
    /// The finding is still there.
    StillThere,
    /// The finding is gone, and datagrams arrive.
    Arrives,
    /// The finding is gone, and datagrams arrived until a stream stopped.
    Stopped,
    /// The finding is gone, and still nothing arrives.
    StillSilent,
    /// The finding is gone, and not all flows arrive, no more than before.
    Incomplete,
    /// The finding is gone, and more flows arrive than before, but not all.
    MoreArrive,
    /// Nothing can be observed until the program is restarted.
    NeedsRestart,
    /// The finding is gone, and the datagrams of the program leave.
    Leaves,
    /// The finding is gone, and no datagrams were expected.
    SettingChanged,
    /// The finding is gone, and it is unknown what the program receives.
    NotObserved,
}

impl RemedyEffect {
    /// Returns the effect of a remedy for the finding `id`, from the reports before and after it. `is_about_traffic` is
    /// whether the examination expects datagrams, unlike [`examine_machine`](crate::examine_machine).
    #[must_use]
    pub fn of(id: Id, before: &Report, after: &Report, is_about_traffic: bool) -> Self {
        if after.findings.iter().any(|finding| finding.id == id) {
            return Self::StillThere;
        }
        let arriving =
            |report: &Report| report.flows.iter().filter(|flow| flow.depth == Depth::Arrives).count();
        let leaves = |report: &Report| {
            let mut flows = report.flows.iter();
            !report.flows.is_empty() && flows.all(|flow| flow.depth == Depth::Leaves)
        };
        match (after.arrival, is_about_traffic) {
            (ArrivalStatus::Arrives, _) => Self::Arrives,
            (ArrivalStatus::Stopped, _) => Self::Stopped,
            (ArrivalStatus::Nothing, _) => Self::StillSilent,
            (ArrivalStatus::Incomplete, _) if arriving(after) > arriving(before) => Self::MoreArrive,
            (ArrivalStatus::Incomplete, _) => Self::Incomplete,
            (ArrivalStatus::NotObserved, _) if leaves(after) => Self::Leaves,
            (ArrivalStatus::NotObserved, false) => Self::SettingChanged,
            (ArrivalStatus::NotObserved, true) => Self::NotObserved,
        }
    }

    /// Returns the effect on a program that was not restarted: that nothing arrives proves nothing about a remedy for
    /// programs that are started later.
    #[must_use]
    pub fn on_running_program(self, remedy: &Remedy) -> Self {
        let needs_restart =
            remedy.scope.as_ref().is_some_and(|scope| scope.effective == Effective::AfterRestart);
        if needs_restart && !self.is_success() { Self::NeedsRestart } else { self }
    }

    /// Returns whether the remedy did what it can be seen to do.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Arrives | Self::Leaves | Self::SettingChanged)
    }

    /// Returns whether the remedy stays: it succeeded, it helped, or its effect cannot be seen yet.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        self.is_success() || matches!(self, Self::MoreArrive | Self::Stopped | Self::NeedsRestart)
    }
}

/// Writes the predicate of a sentence whose subject is the finding.
impl fmt::Display for RemedyEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StillThere => "is still there",
            Self::Arrives => "is gone: datagrams arrive",
            Self::Leaves => "is gone: the datagrams of the program leave",
            Self::Stopped => "is gone: datagrams arrived, and then a stream stopped",
            Self::StillSilent => "is no longer found, but nothing arrives",
            Self::Incomplete => "is no longer found, but not all datagrams arrive",
            Self::MoreArrive => "is gone: more datagrams arrive than before, but not all",
            Self::NeedsRestart => {
                "cannot be verified before the program is restarted: restart it, then examine it again"
            }
            Self::SettingChanged => {
                "is no longer found; whether datagrams arrive is unknown: examine GROUP:PORT to see"
            }
            Self::NotObserved => "is no longer found; whether the program receives is unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Error;
    use crate::RemedyScope;

    #[test]
    fn only_datagrams_prove_that_a_remedy_works() {
        let effect = |arrival, is_about_traffic| {
            let report = Report { arrival, ..Report::default() };
            RemedyEffect::of(Id::SourceIsLocal, &Report::default(), &report, is_about_traffic)
        };
        assert_eq!(effect(ArrivalStatus::Arrives, true), RemedyEffect::Arrives);
        assert_eq!(effect(ArrivalStatus::Stopped, true), RemedyEffect::Stopped);
        assert_eq!(effect(ArrivalStatus::Nothing, true), RemedyEffect::StillSilent);
        assert_eq!(effect(ArrivalStatus::NotObserved, true), RemedyEffect::NotObserved);
        assert_eq!(effect(ArrivalStatus::NotObserved, false), RemedyEffect::SettingChanged);
        assert_eq!(effect(ArrivalStatus::Incomplete, true), RemedyEffect::Incomplete);
    }

    #[test]
    fn running_program_proves_nothing_about_remedies_for_later_ones() {
        let setting = |scope| Remedy::now(Tool::Sysctl, ["-w", "x=1"]).with_scope(scope);
        let later = setting(RemedyScope::after_restart("x"));
        assert_eq!(RemedyEffect::StillThere.on_running_program(&later), RemedyEffect::NeedsRestart);
        assert_eq!(RemedyEffect::Arrives.on_running_program(&later), RemedyEffect::Arrives);
        let at_once = setting(RemedyScope::new("x"));
        assert_eq!(RemedyEffect::StillThere.on_running_program(&at_once), RemedyEffect::StillThere);
        assert!(RemedyEffect::NeedsRestart.is_kept() && !RemedyEffect::StillSilent.is_kept());
    }

    #[test]
    fn remedies_are_undone_unless_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setting");
        let write = |text: &str| Remedy::file(Tool::Sysctl, Persistence::Now, &path, text);
        let read = || fs::read_to_string(&path).ok();

        let mut applied = AppliedRemedies::default();
        applied.apply(&write("1"), |_| ()).unwrap();
        applied.apply(&write("2"), |_| ()).unwrap();
        assert_eq!(read().as_deref(), Some("2"));
        applied.undo().unwrap();
        assert_eq!(read(), None, "the last remedy is undone first");

        let mut kept = AppliedRemedies::default();
        kept.apply(&write("3"), |_| ()).unwrap();
        kept.keep();
        let mut dropped = AppliedRemedies::default();
        dropped.apply(&write("4"), |_| ()).unwrap();
        drop(dropped);
        assert_eq!(read().as_deref(), Some("3"));
    }

    #[test]
    fn actions_before_one_that_fails_are_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setting");
        let missing = Change::command("no-such-program-7", ["x"]);
        let write = Change::File { path: path.clone(), text: Some("1".into()) };
        let remedy = Remedy::of(Tool::Sysctl, Persistence::Now, [write, missing]);
        let mut applied = AppliedRemedies::default();
        assert!(matches!(applied.apply(&remedy, |_| ()), Err(Error::Start { .. })));
        assert!(path.exists());
        drop(applied);
        assert!(!path.exists());
    }

    #[test]
    fn file_is_written_whole_and_its_folder_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10-x;id&y.network.d").join("mcast.conf");
        let remedy = Remedy::file(Tool::Networkd, Persistence::Permanent, &path, "[Link]\nMTUBytes=1500\n");
        let mut applied = AppliedRemedies::default();
        applied.apply(&remedy, |_| ()).unwrap();
        applied.apply(&remedy, |_| ()).unwrap();
        applied.keep();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[Link]\nMTUBytes=1500\n");
    }

    /// Windows has netsh.
    #[cfg(not(windows))]
    #[test]
    fn remedies_of_missing_programs_are_omitted_unless_all_are_missing() {
        let now = |tool| Remedy::now(tool, ["x"]);
        let (missing, there) = (now(Tool::Netsh), now(Tool::Container));
        let advice = Remedy::advice(Tool::Network, "y");
        assert!(!is_installed("netsh.exe"));

        let finding = |remedies: &[&Remedy]| {
            Finding::new(Id::NoRoute, crate::Severity::Fault, "x")
                .with_remedies(remedies.iter().copied().cloned())
        };
        let chosen = finding(&[&missing, &there, &advice]);
        assert_eq!(chosen.remedies_here(), [&there, &advice]);
        assert_eq!(chosen.applicable_remedy(), None);
        assert_eq!(finding(&[&missing]).remedies_here(), [&missing]);
        assert_eq!(finding(&[&missing]).applicable_remedy(), None);
        let permanent = Remedy::permanent(Tool::Netsh, ["x"]);
        assert_eq!(finding(&[&permanent, &advice]).remedies_here(), [&advice]);
    }
}
