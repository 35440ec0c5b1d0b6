//! The subcommands and flags, and the layout of their help.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mcast_cli::notes::{Styles, lay_out, parse};
use mcast_cli::{HEADINGS, command, definition};

#[test]
fn the_grammar_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_subcommand_is_listed_under_exactly_one_heading() {
    let listed: Vec<&str> = HEADINGS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let command = command();
    let defined: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    for name in &defined {
        assert_eq!(listed.iter().filter(|other| other == &name).count(), 1, "{name}");
    }
    assert_eq!(listed.len(), defined.len());
}

/// The flags whose help names what their subcommand works with, and the phrase that states their one meaning.
const MEANINGS: &[(&str, &str)] = &[
    ("buffer", " buffer of SIZE"),
    ("check", "nothing; exit status 1 if "),
    ("config", "; SIGHUP rereads it"),
    ("count", "Stop after N "),
    ("every", "Time between "),
    ("exec", "Run this shell command per "),
    ("expect", "Exit status 1 if fewer than N "),
    ("from", "at the `oldest` message"),
    ("history", "Size of the retransmission buffer"),
    ("idle", " for TIME"),
    ("interface", " this interface: a name, index or address"),
    ("ipv4", " IPv4 group"),
    ("ipv6", " IPv6 group"),
    ("json", "JSON object"),
    ("key", " the secrets "),
    ("max-loss", "Exit status 1 if "),
    ("metrics", "Serve Prometheus metrics at http://ADDRESS/metrics"),
    ("name", "the stream"),
    ("no-loopback", "Do not deliver to "),
    ("once", "Print one table"),
    ("port", "his UDP port"),
    ("rate", "evenly"),
    ("read", "Read packets from this file, pcap or pcapng"),
    ("records", "a 4-byte big-endian length, then the message"),
    ("reply", "Answer "),
    ("size", "Payload bytes per "),
    ("speed", "Speed up or slow down by FACTOR"),
    // A sender chooses its own, a receiver those of others.
    ("source", " this "),
    ("spin", "Busy-poll"),
    ("timeout", "after TIME"),
    ("ttl", "How many networks to cross"),
    ("watch", "Keep running"),
    ("write", " to this file"),
    // Both ends name a redundant path as they name their own group.
    ("path", "(redundant path"),
    // Each end of `perf --stream` refers to the other.
    ("stream", "essages"),
    // One shows only its packets, the other expects them.
    ("protocol", "this protocol"),
    // One makes the key of a tunnel, the other dials one.
    ("tunnel", "tunnel"),
];

/// The flags that take a value of another kind in another subcommand.
const VALUES: &[&str] = &[
    // A publisher sends to a group; a subscriber joins a membership.
    "path", // A sender has one address; a receiver may exclude a source.
    "source",
    // The doctor repeats an examination at an interval; others show what happens when it does.
    "watch", // A key is for any tunnel.
    "tunnel",
];

#[test]
fn a_flag_has_one_meaning_in_all_subcommands() {
    let mut flags: BTreeMap<String, Vec<Flag>> = BTreeMap::new();
    collect(&definition(), &mut flags);
    let mut faults = Vec::new();
    for (name, uses) in flags {
        let phrase = MEANINGS.iter().find(|(flag, _)| *flag == name).map(|(_, phrase)| *phrase);
        if phrase.is_some() && uses.len() == 1 {
            faults.push(format!("--{name} is no longer in several subcommands"));
        }
        for flag in &uses {
            let has_same_value = flag.values == uses[0].values || VALUES.contains(&name.as_str());
            let means_the_same = match phrase {
                Some(phrase) => flag.help.contains(phrase),
                None => flag.help == uses[0].help,
            };
            if flag.short != uses[0].short || !has_same_value || !means_the_same {
                let describe = |flag: &Flag| format!("{} {:?} {}", flag.command, flag.values, flag.help);
                faults.push(format!("--{name}: {}; {}", describe(&uses[0]), describe(flag)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

struct Flag {
    command: String,
    short: Option<char>,
    values: Vec<String>,
    /// The first line of its help.
    help: String,
}

fn collect(command: &clap::Command, flags: &mut BTreeMap<String, Vec<Flag>>) {
    for argument in command.get_arguments() {
        let Some(long) = argument.get_long() else { continue };
        let values = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        flags.entry(long.to_owned()).or_default().push(Flag {
            command: command.get_name().to_owned(),
            short: argument.get_short(),
            values: values.filter(|_| argument.get_action().takes_values()).collect(),
            help: help.lines().next().unwrap_or_default().to_owned(),
        });
    }
    command.get_subcommands().for_each(|subcommand| collect(subcommand, flags));
}

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
    let command = definition();
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

const SOURCE: &str = "\
It ends when the
stream ends.

Examples:
  mcast a          the first, which is
                   rather long
  mcast something --with options that are long    the second
  mcast c
A file:
    [host]   # kept";

fn laid_out(source: &str, width: usize) -> String {
    lay_out(&parse(source), width, Styles::PLAIN)
}

#[test]
fn running_text_is_joined_and_descriptions_align() {
    assert_eq!(
        laid_out(SOURCE, 60),
        "\
It ends when the stream ends.

Examples:
  mcast a  the first, which is rather long
  mcast something --with options that are long
           the second
  mcast c
A file:
  [host]   # kept"
    );
}

#[test]
fn wide_spaces_before_a_verbatim_line_are_cut_as_columns() {
    assert_eq!(laid_out("A file:\n\u{2003}\u{2003}    x", 60), "A file:\n    x");
}

#[test]
fn narrow_lines_break_descriptions_and_commands() {
    assert_eq!(
        laid_out(SOURCE, 36),
        "\
It ends when the stream ends.

Examples:
  mcast a
      the first, which is rather
      long
  mcast something --with \\
      options that are long
      the second
  mcast c
A file:
  [host]   # kept"
    );
}

/// The settings of services in the guide and in the comments of units, with the command of their unit. systemd would show a mistake
/// only when the service does not start.
#[test]
fn example_settings_of_services_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let units = root.join("packaging/systemd");
    let pages = [units.clone(), root.join("docs/how-to")].map(|folder| fs::read_dir(folder).unwrap());
    let mut checked = 0;
    for page in pages.into_iter().flatten().map(|entry| entry.unwrap().path()) {
        let file = page.file_name().and_then(|name| name.to_str()).unwrap();
        let mut unit = file
            .strip_prefix("mcast-")
            .and_then(|name| name.split('@').next())
            .unwrap_or_default()
            .to_owned();
        for line in fs::read_to_string(&page).unwrap().lines() {
            let named = line.split_once("/etc/mcast/").and_then(|(_, name)| name.split_once('-'));
            if let Some((name, _)) =
                named.filter(|(name, _)| units.join(format!("mcast-{name}@.service")).exists())
            {
                unit = name.to_owned();
            }
            let Some((_, settings)) =
                line.split_once("ARGUMENTS=").filter(|(_, settings)| !settings.is_empty())
            else {
                continue;
            };
            let settings = settings.split('`').next().unwrap();
            let text = fs::read_to_string(units.join(format!("mcast-{unit}@.service"))).unwrap();
            let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).unwrap();
            let filled =
                start.replace("$ARGUMENTS", settings).replace("%i", "eth0").replace("${METRICS}", ":9478");
            if let Err(error) = command().try_get_matches_from(filled.split_whitespace()) {
                panic!("{}: {line}: {error}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}
