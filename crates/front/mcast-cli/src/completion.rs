//! Shell completion: a short script for each shell asks the command itself for the candidates.

use std::ffi::{OsStr, OsString};
use std::io;

use clap::{Arg, Command, ValueEnum, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use mcast::group::WellKnown;
use mcast_doctor::Id;

use crate::cli::{self, Shell};
use crate::commands;

/// The environment variable that a completion script sets when it requests candidates; its value names the shell.
const VARIABLE: &str = "MCAST_COMPLETE";
const PROGRAM: &str = "mcast";

impl Shell {
    /// Returns the file name under which the shell finds its script, and what writes the script.
    fn completer(self) -> (&'static str, &'static dyn EnvCompleter) {
        match self {
            Self::Bash => ("mcast.bash", &Bash),
            Self::Zsh => ("_mcast", &Zsh),
            Self::Fish => ("mcast.fish", &Fish),
            Self::Power => ("_mcast.ps1", &Powershell),
            Self::Elvish => ("mcast.elv", &Elvish),
        }
    }

    /// Returns the script that makes the shell request candidates from the command.
    pub(crate) fn script(self) -> io::Result<Vec<u8>> {
        let mut script = Vec::new();
        self.completer().1.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
        Ok([script.trim_ascii(), b"\n"].concat())
    }
}

/// Returns the completion script of each shell, with the file name under which the shell finds it.
///
/// # Errors
/// If a script cannot be written to memory, which does not happen.
pub fn scripts() -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    Shell::value_variants().iter().map(|shell| Ok((shell.completer().0, shell.script()?))).collect()
}

/// Prints the candidates if a shell requests them; returns `false` if none does.
pub(crate) fn answer(arguments: &[OsString]) -> Result<bool, clap::Error> {
    let current = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| with_candidates(cli::source()))
        .var(VARIABLE)
        .try_complete(arguments, current.as_deref())
}

/// Adds the possible values of all arguments, which follow from the value names that help shows.
fn with_candidates(command: Command) -> Command {
    let of = command.get_name().to_owned();
    command.mut_args(|argument| with_values(&of, argument)).mut_subcommands(with_candidates)
}

fn with_values(of: &str, argument: Arg) -> Arg {
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let values = match (of, name.as_deref()) {
        // A command of mcast, where it is a program elsewhere.
        ("help", Some("COMMAND")) => Some(Values::Subcommands),
        (_, name) => name.and_then(Values::named),
    };
    let Some(values) = values else { return argument };
    match values {
        Values::Files => argument.value_hint(ValueHint::AnyPath),
        Values::Commands => argument.value_hint(ValueHint::CommandString),
        values => argument.add(ArgValueCompleter::new(values)),
    }
}

/// The possible values of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Files,
    Commands,
    Subcommands,
    /// Interfaces of this machine.
    Interfaces,
    /// Groups by their short names, or a session description.
    Groups,
    Findings,
    GroupsAndFindings,
    /// The names of the built-in networks, or a file.
    Labs,
    Words(&'static [&'static str]),
}

impl Values {
    /// Returns the possible values of a value name; `None` if there are no candidates for it.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "DIR" | "FILE" | "FILE|COMMAND" => Self::Files,
            "COMMAND" => Self::Commands,
            "INTERFACE" => Self::Interfaces,
            "GROUP"
            | "GROUP:PORT"
            | "GROUP:PORT… [MESSAGE…]"
            | "GROUP|MEMBERSHIP"
            | "MEMBERSHIP"
            | "MEMBERSHIP|NAME" => Self::Groups,
            "FINDING" => Self::Findings,
            "ADDRESS|FINDING" => Self::GroupsAndFindings,
            "FILE|NAME" => Self::Labs,
            "PROTOCOL" => Self::Words(&["udp", "igmp", "mld", "pim", "icmp", "icmpv6", "tcp"]),
            "to" => Self::Words(&["to"]),
            "SCOPE" => Self::Words(&[
                "local",
                "organization",
                "global",
                "interface",
                "link",
                "realm",
                "admin",
                "site",
            ]),
            "FORMAT" => Self::Words(&["line", "text", "hex", "raw", "json"]),
            "POLICY" => Self::Words(&["reliable", "deadline=", "best-effort", "latest"]),
            _ => return None,
        })
    }

    fn candidates(self) -> Vec<CompletionCandidate> {
        match self {
            Self::Files | Self::Commands => Vec::new(),
            Self::Subcommands => subcommands(),
            Self::Interfaces => interfaces(),
            Self::Groups => groups(),
            Self::Findings => findings(),
            Self::GroupsAndFindings => {
                let terms = commands::explained_terms().map(CompletionCandidate::new);
                groups().into_iter().chain(findings()).chain(terms).collect()
            }
            Self::Labs => commands::lab_names().map(CompletionCandidate::new).collect(),
            Self::Words(words) => words.iter().map(CompletionCandidate::new).collect(),
        }
    }

    /// Returns the files that are candidates in addition to the names.
    fn files(self) -> Option<PathCompleter> {
        match self {
            Self::Groups | Self::GroupsAndFindings => Some(files_named(".sdp")),
            Self::Labs => Some(files_named(".toml")),
            _ => None,
        }
    }
}

fn files_named(ending: &'static str) -> PathCompleter {
    PathCompleter::file().filter(move |path| path.to_string_lossy().ends_with(ending))
}

impl ValueCompleter for Values {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let start = current.to_string_lossy();
        let mut candidates = self.candidates();
        candidates.retain(|candidate| candidate.get_value().to_string_lossy().starts_with(&*start));
        // Not before anything is typed: folders would clutter the list of names.
        match self.files() {
            Some(files) if !start.is_empty() => candidates.extend(files.complete(current)),
            _ => {}
        }
        candidates
    }
}

fn subcommands() -> Vec<CompletionCandidate> {
    let candidate =
        |command: &Command| CompletionCandidate::new(command.get_name()).help(command.get_about().cloned());
    cli::source().get_subcommands().filter(|command| !command.is_hide_set()).map(candidate).collect()
}

fn interfaces() -> Vec<CompletionCandidate> {
    let interfaces = mcast::interfaces().unwrap_or_default();
    let names = interfaces.into_iter().map(|interface| CompletionCandidate::new(interface.name));
    names.chain(["all", "default"].map(CompletionCandidate::new)).collect()
}

fn groups() -> Vec<CompletionCandidate> {
    let mut names: Vec<&str> = WellKnown::all().iter().map(|known| known.name).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn findings() -> Vec<CompletionCandidate> {
    let candidate = |id: &Id| CompletionCandidate::new(id.to_string()).help(Some(id.summary().into()));
    Id::ALL.iter().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value names without candidates.
    const FREE: &[&str] = &[
        "ADDRESS:PORT",
        "ADDRESS[:PORT]",
        "NAME=HOST:PORT",
        "ADDRESS",
        "CHANGE",
        "COLUMN",
        "DSCP",
        "ENGINE",
        "FACTOR",
        "FILE|KEY",
        "FIRST-LAST",
        "FROM=TO",
        "HOPS",
        "HOST",
        "ID",
        "LIMIT",
        "MESSAGE",
        "N",
        "N|all|NAME,...",
        "NAME",
        "OFFSET:SIZE",
        "ORIGIN",
        "PATH",
        "PERCENT",
        "PORT",
        "RATE",
        "RELAY",
        "RULE",
        "SIZE",
        "SOURCE",
        "TIME",
        "WHEN",
        "WHERE",
        "off|crowd|auto|K+M",
    ];

    fn check(command: &Command) {
        for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
            let names = argument.get_value_names().unwrap_or_default();
            let name = names.first().map(ToString::to_string).unwrap_or_default();
            let is_listed = !argument.get_possible_values().is_empty();
            assert!(
                is_listed || Values::named(&name).is_some() || FREE.contains(&name.as_str()),
                "no candidates for {name} of {}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn every_value_name_has_candidates_or_is_listed_as_free() {
        let mut command = cli::source();
        command.build();
        check(&command);
    }
}
