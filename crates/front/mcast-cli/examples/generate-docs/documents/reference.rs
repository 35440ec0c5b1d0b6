//! The guide's reference of the command: one page per subcommand.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Arg, Command};
use mcast_cli::{ENVIRONMENT_VARIABLES, EXIT_STATUSES, HEADINGS, notes};

/// Columns of notes and examples.
const WIDTH: usize = 80;

/// A subcommand: its name as typed, such as `perf send`, and its definition.
pub(super) struct NamedCommand {
    pub(super) words: String,
    pub(super) command: Command,
}

impl NamedCommand {
    /// `mcast-perf-send.md`.
    pub(super) fn file(&self) -> String {
        format!("mcast-{}.md", self.words.replace(' ', "-"))
    }
}

/// Returns all subcommands in the order of the overview, each followed by its own subcommands.
pub(super) fn subcommands() -> Vec<NamedCommand> {
    let root = super::built();
    let mut subcommands = Vec::new();
    for name in HEADINGS.iter().flat_map(|(_, names)| *names) {
        if let Some(command) = root.find_subcommand(name) {
            add(command, "", &mut subcommands);
        }
    }
    subcommands
}

fn add(command: &Command, before: &str, subcommands: &mut Vec<NamedCommand>) {
    let words = format!("{before}{}", command.get_name());
    let inner = format!("{words} ");
    subcommands.push(NamedCommand { words, command: command.clone() });
    command.get_subcommands().for_each(|command| add(command, &inner, subcommands));
}

pub(super) fn write(folder: &Path) -> io::Result<()> {
    let subcommands = subcommands();
    for named in &subcommands {
        fs::write(folder.join(named.file()), page(named))?;
    }
    fs::write(folder.join("index.md"), index(&subcommands))
}

fn index(subcommands: &[NamedCommand]) -> String {
    let mut text = String::from(
        "# The command\n\nThese pages are generated from the definitions of the command, like `mcast COMMAND \
         --help` and the man pages.\n",
    );
    for (heading, names) in HEADINGS {
        text += &format!("\n## {heading}\n\n| | |\n|---|---|\n");
        let is_here =
            |named: &&NamedCommand| names.contains(&named.words.split(' ').next().unwrap_or_default());
        for named in subcommands.iter().filter(is_here) {
            text += &format!("| [mcast {}]({}) | {} |\n", named.words, named.file(), about(&named.command));
        }
    }
    text += "\n## Everywhere\n\n";
    text += "- `-q`, `--quiet`: print only data and errors, no notes.\n";
    text += "- `-v`, `--verbose`: print more notes.\n";
    text += "\n| exit status | meaning |\n|---|---|\n";
    for (status, meaning) in EXIT_STATUSES {
        text += &format!("| {status} | {meaning} |\n");
    }
    text += "\n`mcast doctor` has two more: 5 if there are warnings and no fault, 6 if it could not decide, such as from a capture without multicast.\n";
    text += "\nData goes to standard output, notes to standard error.\n\n";
    for (name, meaning) in ENVIRONMENT_VARIABLES {
        text += &format!("- `{name}` {meaning}.\n");
    }
    text += JSON;
    text
}

const JSON: &str = "
## JSON

`--json` prints JSON Lines: one record per line. All commands follow the same conventions:

- `event` is the type of a record: `datagram`, `packet`, `stream`, `finding`, `summary` and so on.
- A name ends in the unit of its number: `_seconds`, `_ms`, `_us`, `_per_second`. `seconds` alone is how long it took. Counts have no unit; `length`, `size` and `bytes` are in bytes.
- `time` is UTC as in RFC 3339, with nine fractional digits of seconds.
- `protocol` is a name in lowercase, such as `udp` or `igmp`, or the number of another protocol, as text.
- `length` is the length of the payload; a packet has `frame_length` and `captured_length`, too.
- Unknown values are `null`. Payloads are `text` if they are UTF-8, otherwise `base64`.

The files in `crates/front/mcast-cli/schemas` (JSON Schema) describe every field.
";

fn page(named: &NamedCommand) -> String {
    let NamedCommand { words, command } = named;
    let usage = command.clone().render_usage().to_string();
    let mut text = format!("# mcast {words}\n\n{}.\n\n```text\n{usage}\n```\n", about(command));
    let arguments: Vec<_> = command.get_positionals().filter(|argument| !argument.is_hide_set()).collect();
    text += &section("Arguments", &arguments);
    for heading in headings(command) {
        let is_here = |argument: &&Arg| {
            let own = argument.get_help_heading().unwrap_or("Options");
            own == heading && !argument.is_positional() && !argument.is_hide_set()
        };
        let options: Vec<_> = command.get_arguments().filter(is_here).collect();
        text += &section(heading, &options);
    }
    if let Some(source) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        let notes = notes::lay_out(&notes::parse(&plain(&source.to_string())), WIDTH, notes::Styles::PLAIN);
        text += &format!("\n## Notes and examples\n\n```text\n{notes}\n```\n");
    }
    text
}

/// Returns the headings of the options in order. Global options are described in the index.
fn headings(command: &Command) -> Vec<&str> {
    let mut headings = Vec::new();
    for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
        let heading = argument.get_help_heading().unwrap_or("Options");
        if heading != "Everywhere" && !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

fn section(heading: &str, arguments: &[&Arg]) -> String {
    let items: String = arguments.iter().map(|argument| item(argument)).collect();
    if items.is_empty() { items } else { format!("\n## {heading}\n\n{items}") }
}

/// `` - `-i`, `--interface INTERFACE`: what it does. ``
fn item(argument: &Arg) -> String {
    if matches!(argument.get_id().as_str(), "help" | "version") {
        return String::new();
    }
    let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
    let value = value.map(|names| format!(" {}", names.join(" "))).unwrap_or_default();
    let mut names = Vec::new();
    names.extend(argument.get_short().map(|short| format!("`-{short}`")));
    names.extend(argument.get_long().map(|long| format!("`--{long}{value}`")));
    if argument.is_positional() {
        names.push(format!("`{}`", value.trim_start()));
    }
    let help = argument.get_help().map(|help| plain(&help.to_string())).unwrap_or_default();
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match defaults.is_empty() || argument.is_hide_default_value_set() {
        true => String::new(),
        false if !argument.get_action().takes_values() => String::new(),
        false => format!(" (default: {})", defaults.join(", ")),
    };
    format!("- {}: {}{default}\n", names.join(", "), help.replace('\n', " "))
}

fn about(command: &Command) -> String {
    command.get_about().map(|about| plain(&about.to_string())).unwrap_or_default()
}

/// Removes escape sequences.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
