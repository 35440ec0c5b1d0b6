//! Applying a remedy, and judging its effect.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::{
    Action, ArrivalStatus, Error, Finding, Id, Instructions, Persistence, Remedy, Report, Result, Tool,
};

impl Finding {
    /// Returns the remedies for this machine, those that last until the next boot first: for each persistence those
    /// whose programs are installed, or all if none is. Advice is last.
    #[must_use]
    pub fn remedies_here(&self) -> Vec<&Remedy> {
        let mut chosen = Vec::new();
        for persistence in [Persistence::Now, Persistence::ForGood] {
            let lasts = |remedy: &&Remedy| remedy.persistence == persistence && !remedy.actions().is_empty();
            let all = || self.remedies.iter().filter(lasts);
            let here: Vec<_> = all().filter(|remedy| remedy.tool.is_here()).collect();
            if here.is_empty() { chosen.extend(all()) } else { chosen.extend(here) }
        }
        chosen.extend(self.remedies.iter().filter(|remedy| remedy.actions().is_empty()));
        chosen
    }

    /// Returns the best remedy that [`Remedy::apply`] can apply on this machine.
    #[must_use]
    pub fn applicable_remedy(&self) -> Option<&Remedy> {
        self.remedies_here().into_iter().find(|remedy| remedy.is_applicable())
    }
}

impl Remedy {
    /// Carries out the actions in order, without a shell. Programs write to standard error.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::RemedyFailed`] or [`Error::Write`] for the first action that fails; the actions after
    /// it are not carried out.
    pub fn apply(&self) -> Result<()> {
        self.actions().iter().try_for_each(|action| match action {
            Action::Run { program, args } => self.run(program, args),
            Action::Write { path, text } => write(path, text),
        })
    }

    fn run(&self, program: &str, args: &[String]) -> Result<()> {
        let started = Command::new(program).args(args).stdout(io::stderr()).status();
        let status = started.map_err(|source| Error::Start { program: program.to_owned(), source })?;
        if status.success() {
            return Ok(());
        }
        Err(Error::RemedyFailed {
            program: program.to_owned(),
            status,
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
    /// The finding is gone, and still nothing arrives.
    StillSilent,
    /// The finding is gone, and some flows arrive, but not all.
    Incomplete,
    /// The finding is gone, and no datagrams were expected.
    SettingChanged,
    /// The finding is gone, and it is unknown what the program receives.
    NotObserved,
}

impl RemedyEffect {
    /// Returns the effect of a remedy for the finding `id`, from the report `after` it. `is_about_traffic` is whether
    /// the examination expects datagrams, unlike [`examine_machine`](crate::examine_machine).
    #[must_use]
    pub fn of(id: Id, after: &Report, is_about_traffic: bool) -> Self {
        if after.findings.iter().any(|finding| finding.id == id) {
            return Self::StillThere;
        }
        match (after.arrival, is_about_traffic) {
            (ArrivalStatus::Arrives, _) => Self::Arrives,
            (ArrivalStatus::Nothing, _) => Self::StillSilent,
            (ArrivalStatus::Incomplete, _) => Self::Incomplete,
            (ArrivalStatus::NotObserved, false) => Self::SettingChanged,
            (ArrivalStatus::NotObserved, true) => Self::NotObserved,
        }
    }

    /// Returns whether the remedy did what it can be seen to do.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Arrives | Self::SettingChanged)
    }
}

/// Writes the predicate of a sentence whose subject is the finding.
impl fmt::Display for RemedyEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StillThere => "is still there",
            Self::Arrives => "is gone: datagrams arrive",
            Self::StillSilent => "is no longer found, but nothing arrives",
            Self::Incomplete => "is no longer found, but not all datagrams arrive",
            Self::SettingChanged => {
                "is no longer found; whether datagrams arrive is unknown: examine GROUP:PORT to see"
            }
            Self::NotObserved => {
                "is no longer found; whether the program receives is unknown: it may have to be restarted"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_datagrams_prove_that_a_remedy_works() {
        let effect = |arrival, is_about_traffic| {
            let report = Report { arrival, ..Report::default() };
            RemedyEffect::of(Id::SourceIsLocal, &report, is_about_traffic)
        };
        assert_eq!(effect(ArrivalStatus::Arrives, true), RemedyEffect::Arrives);
        assert_eq!(effect(ArrivalStatus::Nothing, true), RemedyEffect::StillSilent);
        assert_eq!(effect(ArrivalStatus::NotObserved, true), RemedyEffect::NotObserved);
        assert_eq!(effect(ArrivalStatus::NotObserved, false), RemedyEffect::SettingChanged);
    }

    #[test]
    fn file_is_written_whole_and_its_folder_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10-x;id&y.network.d").join("mcast.conf");
        let remedy = Remedy::file(Tool::Networkd, Persistence::ForGood, &path, "[Link]\nMTUBytes=1500\n");
        remedy.apply().unwrap();
        remedy.apply().unwrap();
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
    }
}
