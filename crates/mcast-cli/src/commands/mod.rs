//! The subcommands, one file or folder each.

mod ask;
mod completions;
mod demo;
mod doctor;
mod explain;
mod groups;
mod help;
mod interfaces;
mod lab;
mod perf;
mod pick;
mod ping;
mod plan;
mod publish;
mod querier;
mod record;
mod recv;
mod replay;
mod send;
mod sniff;
mod subscribe;
mod top;

pub(crate) use lab::names as lab_names;

use clap::Subcommand;

use crate::console::Console;
use crate::exit::Outcome;

/// A subcommand with its arguments. The first doc line of each `Arguments` is its summary in help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Arguments),
    Interfaces(interfaces::Arguments),
    Groups(groups::Arguments),
    Sniff(sniff::Arguments),
    Top(top::Arguments),
    Explain(explain::Arguments),
    Pick(pick::Arguments),
    Plan(plan::Arguments),
    Send(send::Arguments),
    Recv(recv::Arguments),
    Ask(ask::Arguments),
    Publish(publish::Arguments),
    Subscribe(subscribe::Arguments),
    Doctor(doctor::Arguments),
    Ping(ping::Arguments),
    Perf(perf::Arguments),
    Record(record::Arguments),
    Querier(querier::Arguments),
    Replay(replay::Arguments),
    Lab(lab::Arguments),
    Help(help::Arguments),
    Completions(completions::Arguments),
}

/// The headings of `mcast --help`, each with its subcommands.
pub const HEADINGS: &[(&str, &[&str])] = &[
    ("Start here", &["demo", "lab"]),
    ("Inspect", &["interfaces", "groups", "sniff", "top", "explain", "pick", "plan"]),
    ("Send and receive", &["send", "recv", "ask", "publish", "subscribe", "record", "replay"]),
    ("Diagnose", &["doctor", "querier"]),
    ("Measure", &["ping", "perf"]),
    ("Help", &["help", "completions"]),
];

/// Runs a subcommand. No thread has been started before.
pub(crate) fn run(command: &Command, console: &Console) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, console),
        Command::Interfaces(arguments) => interfaces::run(arguments, console),
        Command::Groups(arguments) => groups::run(arguments, console),
        Command::Sniff(arguments) => sniff::run(arguments, console),
        Command::Top(arguments) => top::run(arguments, console),
        Command::Explain(arguments) => explain::run(arguments, console),
        Command::Pick(arguments) => pick::run(arguments, console),
        Command::Plan(arguments) => plan::run(arguments, console),
        Command::Send(arguments) => send::run(arguments, console),
        Command::Recv(arguments) => recv::run(arguments, console),
        Command::Ask(arguments) => ask::run(arguments, console),
        Command::Publish(arguments) => publish::run(arguments, console),
        Command::Subscribe(arguments) => subscribe::run(arguments, console),
        Command::Doctor(arguments) => doctor::run(arguments, console),
        Command::Ping(arguments) => ping::run(arguments, console),
        Command::Perf(arguments) => perf::run(arguments, console),
        Command::Querier(arguments) => querier::run(arguments, console),
        Command::Record(arguments) => record::run(arguments, console),
        Command::Replay(arguments) => replay::run(arguments, console),
        Command::Lab(arguments) => lab::run(arguments, console),
        Command::Help(arguments) => help::run(arguments, console),
        Command::Completions(arguments) => completions::run(arguments, console),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use clap::Subcommand;

    use super::Command;

    #[test]
    fn no_subcommand_imports_another() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands");
        for file in sources(&folder) {
            let path = file.strip_prefix(&folder).unwrap().with_extension("");
            let mut module: Vec<&str> = path.iter().map(|name| name.to_str().unwrap()).collect();
            module.pop_if(|name| *name == "mod");
            let Some(own) = module.first() else { continue };
            let mut imported = imports(module.len(), &fs::read_to_string(&file).unwrap());
            imported.retain(|other| other != own);
            assert!(imported.is_empty(), "{} imports {imported:?}", file.display());
        }
    }

    #[test]
    fn every_path_to_a_subcommand_is_an_import() {
        for path in [
            "crate::commands::perf::figures",
            "super::super::perf",
            "super::super::super::commands::perf",
            "super::super::{cli, perf::{a, ping}, b}",
            "crate::{cli, commands::{perf, x}}",
        ] {
            assert_eq!(imports(2, &format!("use {path};")), ["perf"], "{path}");
        }
        for path in ["super::perf", "crate::perf", "super::perf::{perf}", "pub(in crate::commands) perf"] {
            assert!(imports(2, path).is_empty(), "{path}");
        }
    }

    /// Returns the subcommands that the text of a module names, which is `depth` modules below `commands`.
    fn imports(depth: usize, text: &str) -> Vec<String> {
        let parent = "super::".repeat(depth);
        let roots = ["commands::", parent.as_str()];
        let below =
            roots.iter().flat_map(|root| text.match_indices(root).map(|(at, _)| &text[at + root.len()..]));
        let command = Command::augment_subcommands(clap::Command::new("mcast"));
        let is_subcommand = |name: &String| command.find_subcommand(name).is_some();
        below.flat_map(first_names).filter(is_subcommand).collect()
    }

    /// Returns the first name of a path; of each of its paths if it is a list in braces.
    fn first_names(path: &str) -> Vec<String> {
        let Some(list) = path.strip_prefix('{') else { return vec![name_at(path)] };
        let (mut level, mut names) = (0, vec![name_at(list)]);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => level += 1,
                '}' if level == 0 => break,
                '}' => level -= 1,
                ',' if level == 0 => names.push(name_at(&list[at + 1..])),
                _ => {}
            }
        }
        names
    }

    fn name_at(path: &str) -> String {
        path.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }
}
