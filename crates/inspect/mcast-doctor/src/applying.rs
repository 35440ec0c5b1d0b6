//! Applying a remedy, and judging its effect.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fmt, fs};

use mcast_sys::SocketChange;

use crate::journal::Journal;
use crate::undo::{self, Inverse};
use crate::{
    Action, ArrivalStatus, Depth, Effective, Error, Finding, Id, Instructions, Persistence, Remedy, Report,
    Result, SocketAction, Tool,
};

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
    pub(crate) fn first_remedy(&self) -> Option<String> {
        let chosen = self.applicable_remedy().or_else(|| self.remedies_here().first().copied());
        chosen.map(|remedy| remedy.instructions.text())
    }

    /// Returns the best remedy that [`AppliedRemedies::apply`] can apply on this machine.
    #[must_use]
    pub fn applicable_remedy(&self) -> Option<&Remedy> {
        self.remedies_here().into_iter().find(|remedy| remedy.is_applicable())
    }
}

/// Remedies that were applied, and how to undo them. Dropping it undoes them, so that a failure or a panic between
/// applying and verifying leaves nothing behind; [`Self::keep`] keeps them.
#[derive(Debug, Default)]
pub struct AppliedRemedies {
    /// The inverses of the actions that were carried out, by remedy.
    inverses: Vec<Vec<Inverse>>,
    /// Where they are recorded, so that they can be undone after this process was killed, and their entries there.
    journal: Option<Journal>,
    entries: Vec<String>,
}

impl AppliedRemedies {
    /// Returns no remedies yet. Those that are applied are recorded in a journal: an entry stays there for as long as its remedy.
    #[must_use]
    pub fn recorded_in(journal: Journal) -> Self {
        Self { journal: Some(journal), inverses: Vec::new(), entries: Vec::new() }
    }

    /// Carries out the actions of a remedy in order, without a shell. Programs write to standard error.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::RemedyFailed`] or [`Error::Write`] for the first action that fails; the actions after
    /// it are not carried out. Those before it are undone with the others.
    pub fn apply(&mut self, remedy: &Remedy) -> Result<()> {
        let mut inverses = undo::here(remedy.actions());
        // The examination knew the state of another network namespace.
        if let Some(Instructions::Actions { actions, .. }) =
            remedy.undo.as_ref().filter(|_| inverses.contains(&Inverse::Unknown))
        {
            inverses = vec![Inverse::Actions(actions.clone())];
        }
        // One inverse may cover several actions.
        let inverses = inverses.into_iter().map(Some).chain(std::iter::repeat(None));
        self.inverses.push(Vec::new());
        for (action, inverse) in remedy.actions().iter().zip(inverses) {
            let known_before = matches!(inverse, Some(Inverse::Actions(_)));
            if let Some(inverse) = inverse.as_ref().filter(|_| known_before) {
                self.record(remedy, action, inverse)?;
            }
            let output = remedy.carry_out(action)?;
            let Some(inverse) = inverse.map(|inverse| inverse.after(&output)) else { continue };
            if !known_before {
                self.record(remedy, action, &inverse)?;
            }
            if let Some(done) = self.inverses.last_mut() {
                done.push(inverse);
            }
        }
        Ok(())
    }

    fn record(&mut self, remedy: &Remedy, action: &Action, inverse: &Inverse) -> Result<()> {
        if let (Some(journal), [_, ..]) = (&self.journal, inverse.actions()) {
            self.entries.push(journal.record(action, inverse.actions(), remedy.persistence)?);
        }
        Ok(())
    }

    /// Returns the actions that undo all remedies, the last remedy first, as one line for this system's shell; `None`
    /// if there are none.
    #[must_use]
    pub fn undo_command(&self) -> Option<String> {
        crate::remedy::line(&self.undo_actions().cloned().collect::<Vec<_>>())
    }

    /// Undoes all remedies, the last one first.
    ///
    /// # Errors
    /// [`Error::NotUndone`] if the former state of something is unknown, and the error of the first action that fails.
    /// All others are carried out nevertheless.
    pub fn undo(mut self) -> Result<()> {
        self.restore()
    }

    /// Keeps the remedies.
    pub fn keep(mut self) {
        self.inverses.clear();
        self.entries.clear();
    }

    fn undo_actions(&self) -> impl Iterator<Item = &Action> {
        self.inverses.iter().rev().flatten().flat_map(Inverse::actions)
    }

    fn restore(&mut self) -> Result<()> {
        let failed = self.undo_actions().filter_map(|action| action.carry_out().err()).last();
        let is_known = |inverse: &Inverse| matches!(inverse, Inverse::Actions(_));
        let all_known = self.inverses.iter().flatten().all(is_known);
        self.inverses.clear();
        let entries = std::mem::take(&mut self.entries);
        if let (Some(journal), None) = (&self.journal, &failed) {
            // If an entry stays, another undo restores the same state again.
            entries.iter().for_each(|id| drop(journal.mark_undone(id)));
            journal.tidy();
        }
        match failed {
            Some(error) => Err(error),
            None if all_known => Ok(()),
            None => Err(Error::NotUndone),
        }
    }
}

impl Drop for AppliedRemedies {
    fn drop(&mut self) {
        // An error has nowhere to go: another one is already on its way.
        let _ = self.restore();
    }
}

impl Inverse {
    fn actions(&self) -> &[Action] {
        match self {
            Self::Actions(actions) => actions,
            Self::DeleteRule { .. } | Self::Socket { .. } | Self::Unknown => &[],
        }
    }

    /// Completes the inverse with what the action printed.
    fn after(self, output: &str) -> Self {
        let chain = match self {
            Self::DeleteRule { chain } => chain,
            Self::Socket { pid, socket } => {
                let action = |change| Action::Socket(SocketAction { pid, socket, change });
                return output.parse().map_or(Self::Unknown, |change| Self::Actions(vec![action(change)]));
            }
            known => return known,
        };
        let handle = output.split_once("# handle ").and_then(|(_, rest)| rest.split_whitespace().next());
        let Some(handle) = handle.filter(|handle| handle.parse::<u64>().is_ok()) else {
            return Self::Unknown;
        };
        let words = ["delete", "rule"].map(str::to_owned).into_iter().chain(chain);
        let args = words.chain(["handle".to_owned(), handle.to_owned()]).collect();
        Self::Actions(vec![Action::Run { program: "nft".to_owned(), args }])
    }
}

impl Action {
    /// Carries it out on its own, and returns what it printed.
    pub(crate) fn carry_out(&self) -> Result<String> {
        Remedy::with_actions(Tool::Container, Persistence::Now, vec![self.clone()]).carry_out(self)
    }
}

impl Remedy {
    /// Carries out one of the actions, and returns what it printed.
    fn carry_out(&self, action: &Action) -> Result<String> {
        match action {
            Action::Run { program, args } => self.run(program, args),
            Action::Write { path, text } => write(path, text).map(|()| String::new()),
            Action::Remove { path } => remove(path).map(|()| String::new()),
            Action::Socket(action) => change_socket(action).map(|reverse| reverse.to_string()),
        }
    }

    fn run(&self, program: &str, args: &[String]) -> Result<String> {
        // With these options, nft prints the handle of a new rule.
        let options: &[&str] = if program == "nft" { &["--echo", "--handle"] } else { &[] };
        let mut command = Command::new(program);
        command.args(options).args(args).stderr(Stdio::inherit());
        let output =
            command.output().map_err(|source| Error::Start { program: program.to_owned(), source })?;
        // If standard error is closed, the remedy still counts.
        let _ = io::stderr().write_all(&output.stdout);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::RemedyFailed {
            program: program.to_owned(),
            status: output.status,
            command: self.command().unwrap_or_default(),
            needs_root: matches!(self.instructions, Instructions::Actions { needs_root: true, .. }),
        })
    }

    /// Returns whether the remedy consists of actions that change this machine, and its program is installed.
    fn is_applicable(&self) -> bool {
        let changes_this_machine =
            !matches!(self.tool, Tool::Mcast | Tool::Program | Tool::Network | Tool::Container);
        !self.actions().is_empty() && changes_this_machine && self.tool.is_here()
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
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

/// Makes the change of an action, and returns the change that reverses it.
///
/// # Errors
/// [`Error::Socket`], with what would allow it.
fn change_socket(action: &SocketAction) -> Result<SocketChange> {
    system::change(action).map_err(|source| {
        let SocketAction { pid, socket, change } = *action;
        let remedy = what_helps(pid, &source);
        Error::Socket { program: system::name(pid), socket, change, source, remedy }
    })
}

fn what_helps(pid: u32, error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some(system::what_allows_it(pid)),
        io::ErrorKind::Unsupported => Some(system::WHY_UNSUPPORTED.to_owned()),
        io::ErrorKind::NotFound => Some(
            "examine the program again: it has closed the socket, or another process has it now".to_owned(),
        ),
        io::ErrorKind::AlreadyExists => Some("examine the program again: nothing is left to do".to_owned()),
        _ => None,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::fs;
    use std::io;

    use mcast_sys::SocketChange;

    use crate::SocketAction;

    pub(super) const WHY_UNSUPPORTED: &str = "borrowing a socket of another process (pidfd_getfd) needs Linux 5.6, and no seccomp filter that forbids it";

    pub(super) fn change(action: &SocketAction) -> io::Result<SocketChange> {
        mcast_sys::joined::change(action.pid, action.socket, &action.change)
    }

    pub(super) fn name(pid: u32) -> String {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match name.trim() {
            "" => format!("process {pid}"),
            name => format!("{name} ({pid})"),
        }
    }

    /// Returns what would allow to trace a process.
    pub(super) fn what_allows_it(pid: u32) -> String {
        let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/user")).ok();
        if namespace("self") != namespace(&pid.to_string()) {
            return "the program is in another user namespace: run as root outside of it, or as root within it".to_owned();
        }
        let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        match scope.trim() {
            "" | "0" => "run as root, with CAP_SYS_PTRACE, or as the user of the program".to_owned(),
            "3" => {
                "the system allows no tracing until it boots again (kernel.yama.ptrace_scope is 3)".to_owned()
            }
            value => format!(
                "run as root or with CAP_SYS_PTRACE: kernel.yama.ptrace_scope is {value}, so that users may not trace their own programs"
            ),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;

    use mcast_sys::SocketChange;

    use crate::SocketAction;

    pub(super) const WHY_UNSUPPORTED: &str = "only Linux lets a program change a socket of another one";

    pub(super) fn change(_action: &SocketAction) -> io::Result<SocketChange> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn name(pid: u32) -> String {
        format!("process {pid}")
    }

    pub(super) fn what_allows_it(_pid: u32) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        applied.apply(&write("1")).unwrap();
        applied.apply(&write("2")).unwrap();
        assert_eq!(read().as_deref(), Some("2"));
        applied.undo().unwrap();
        assert_eq!(read(), None, "the last remedy is undone first");

        let mut kept = AppliedRemedies::default();
        kept.apply(&write("3")).unwrap();
        kept.keep();
        let mut dropped = AppliedRemedies::default();
        dropped.apply(&write("4")).unwrap();
        drop(dropped);
        assert_eq!(read().as_deref(), Some("3"));
    }

    #[test]
    fn actions_before_one_that_fails_are_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setting");
        let missing = Action::Run { program: "no-such-program-7".into(), args: Vec::new() };
        let write = Action::Write { path: path.clone(), text: "1".into() };
        let remedy = Remedy::with_actions(Tool::Sysctl, Persistence::Now, vec![write, missing]);
        let mut applied = AppliedRemedies::default();
        assert!(matches!(applied.apply(&remedy), Err(Error::Start { .. })));
        assert!(path.exists());
        drop(applied);
        assert!(!path.exists());
    }

    #[test]
    fn rule_is_deleted_by_the_handle_that_nft_prints() {
        let chain = ["inet", "own", "c"].map(str::to_owned);
        let inverse = || Inverse::DeleteRule { chain: chain.clone() };
        let args = ["delete", "rule", "inet", "own", "c", "handle", "7"].map(str::to_owned).into();
        let deletion = Inverse::Actions(vec![Action::Run { program: "nft".into(), args }]);
        let printed = "insert rule inet own c ip protocol igmp accept # handle 7\n# new generation 3\n";
        assert_eq!(inverse().after("insert rule inet own c accept # handle 7\n"), deletion);
        assert_eq!(inverse().after(printed), deletion);
        assert_eq!(inverse().after("nothing"), Inverse::Unknown);
    }

    #[test]
    fn file_is_written_whole_and_its_folder_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10-x;id&y.network.d").join("mcast.conf");
        let remedy = Remedy::file(Tool::Networkd, Persistence::Permanent, &path, "[Link]\nMTUBytes=1500\n");
        let mut applied = AppliedRemedies::default();
        applied.apply(&remedy).unwrap();
        applied.apply(&remedy).unwrap();
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
