//! The command-line grammar around the subcommands, its short help (`-h`), and the text of `--version`.

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::builder::StyledStr;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser};

use crate::{commands, exit, notes, replaced, tips};

/// Show, send, receive and explain IP multicast.
#[derive(Debug, Parser)]
#[command(name = "mcast", version, long_version = long(), styles = STYLES, disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print only data and errors, no notes
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,

    /// Print more notes
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) verbose: bool,
}

/// What to do: the work of a subcommand, or to print what this definition contains.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Work(Box<commands::Command>),
    Config(ConfigArguments),
    Help(HelpArguments),
    Completions(CompletionArguments),
}

/// Show the settings in force, and where they come from
///
/// The settings file has defaults for interfaces, colours and columns, and names for feeds: `mcast recv prices`. Arguments
/// override it. It is `~/.config/mcast/config.toml` (in `$XDG_CONFIG_HOME`, on Windows in `%APPDATA%`), or the one that
/// MCAST_CONFIG names; if that is empty, there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = CONFIG_EXAMPLES)]
pub(crate) struct ConfigArguments {
    /// Print one JSON object per setting, the file first
    #[arg(long)]
    pub(crate) json: bool,
}

const CONFIG_EXAMPLES: &str = "\
Examples:
  mcast config
  mcast config --json
  MCAST_CONFIG=./config.toml mcast config";

/// Print this help, or the help of a command
#[derive(Debug, clap::Args)]
#[command(after_help = HELP_EXAMPLES)]
pub(crate) struct HelpArguments {
    /// The command [default: an overview of all]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

const HELP_EXAMPLES: &str = "\
Examples:
  mcast help
  mcast help recv
  mcast help perf send";

/// Print the script for completion in a shell
///
/// The script asks `mcast`, which must be in PATH, for completions: options, interfaces, names of groups, findings and
/// lab networks.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETION_EXAMPLES)]
pub(crate) struct CompletionArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

const COMPLETION_EXAMPLES: &str = "\
Examples:
  source <(mcast completions bash)           bash: in ~/.bashrc
  source <(mcast completions zsh)            zsh: in ~/.zshrc, after compinit
  mcast completions fish | source            fish: in ~/.config/fish/config.fish
  mcast completions powershell | Out-String | Invoke-Expression
                                             PowerShell: in $PROFILE
  eval (mcast completions elvish | slurp)    elvish: in ~/.config/elvish/rc.elv";

/// A shell with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell", alias = "pwsh")]
    Power,
    Elvish,
}

/// The headings of `mcast --help`, each with its subcommands: first what a newcomer needs.
pub const HEADINGS: &[(&str, &[&str])] = &[
    ("Start here", &["demo", "doctor", "interfaces", "send", "recv"]),
    ("See what is there", &["discover", "top", "sniff", "groups", "querier", "explain"]),
    ("Messages that all arrive", &["publish", "subscribe", "log", "keys"]),
    ("To other networks and systems", &["relay", "bridge"]),
    ("Test, measure and practise", &["ping", "perf", "ask", "record", "replay", "pick", "plan", "lab"]),
    ("Help", &["config", "help", "completions"]),
];

/// What people look for by these words, and where it is.
const LOOKED_FOR: &[(&str, &str)] = &[
    ("Chromecast, AirPlay, Sonos, printers, mDNS between VLANs", "relay"),
    ("devices, switch ports, ROS and DDS participants, PTP clocks", "discover"),
    ("IPTV over HTTP, as with udpxy", "relay"),
    ("Kafka, RabbitMQ, Redis, NATS", "bridge"),
    ("IGMP snooping, querier", "doctor, querier"),
    ("Prometheus", "--metrics of doctor, top, relay, bridge"),
];

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The width of help, in columns, when the width of the terminal is unknown.
pub(crate) const DEFAULT_WIDTH: usize = 80;
/// The maximum width of help, in columns: longer lines are hard to read.
const MAX_WIDTH: usize = 100;

/// Returns the definition of the command, with its help laid out for the width of the terminal.
#[must_use]
pub fn command() -> clap::Command {
    command_of_width(source(), help_width(), Overview::Complete)
}

fn help_width() -> usize {
    mcast_terminal::width().unwrap_or(DEFAULT_WIDTH).min(MAX_WIDTH)
}

/// How much the overview of all subcommands contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overview {
    /// The subcommands only.
    Short,
    Complete,
}

/// Returns the definition `command` with its help laid out for `width` columns.
pub(crate) fn command_of_width(command: clap::Command, width: usize, detail: Overview) -> clap::Command {
    let overview = overview(&command, detail);
    let command = with_notes(command.term_width(width), width);
    let overview = notes::lay_out(&notes::parse(&overview), width, NOTES);
    let header = STYLES.get_header();
    command
        .help_template("{about}\n\n{usage-heading} {usage}{after-help}\n{options}")
        .after_help(format!("{overview}{header}\n\nOptions:{header:#}"))
}

/// Returns the definition of the command before its help is laid out, for generated documents. Its notes and examples
/// are in the source format of [`notes`].
#[must_use]
pub fn source() -> clap::Command {
    Cli::command()
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    parse_with(arguments.into_iter().collect(), |command| command)
}

/// Parses the arguments by a definition to which `prepare` has added something.
pub(crate) fn parse_with(
    arguments: Vec<OsString>,
    prepare: impl FnOnce(clap::Command) -> clap::Command,
) -> Result<Cli, clap::Error> {
    // clap would lay out `--help` in another way if options were hidden from `-h` alone.
    let command =
        match arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "-h") {
            true => command_of_width(with_short_help(source()), help_width(), Overview::Short),
            false => command(),
        };
    let subcommand =
        arguments.iter().skip(1).find_map(|argument| argument.to_str().filter(|text| !text.starts_with('-')));
    let subcommand = subcommand.unwrap_or_default().to_owned();
    let matches = prepare(command)
        .try_get_matches_from(&arguments)
        .map_err(|error| tips::correct(replaced::name_successor(error, &subcommand), &arguments, source))?;
    <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
}

const NOTES: notes::Styles = notes::Styles { heading: *STYLES.get_header(), entry: *STYLES.get_literal() };

/// Lays out the notes of the command and of its subcommands for `width` columns.
fn with_notes(command: clap::Command, width: usize) -> clap::Command {
    let laid_out = |text: Option<&StyledStr>| {
        text.map(|text| notes::lay_out(&notes::parse(&text.to_string()), width, NOTES))
    };
    let (short, long) = (laid_out(command.get_after_help()), laid_out(command.get_after_long_help()));
    let command = match short {
        Some(text) => command.after_help(text),
        None => command,
    };
    let command = match long {
        Some(text) => command.after_long_help(text),
        None => command,
    };
    command.mut_subcommands(|subcommand| with_notes(subcommand, width))
}

/// Returns the list of subcommands under their headings, in the source format of notes.
fn overview(command: &clap::Command, detail: Overview) -> String {
    let mut text = String::new();
    for (heading, names) in HEADINGS {
        text += &format!("{heading}:\n");
        for subcommand in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            text += &format!("  {}  {about}\n", subcommand.get_name());
        }
    }
    let options = "Run `mcast COMMAND --help` for the options of a command, with examples.";
    if detail == Overview::Short {
        return text + options;
    }
    text += &format!("\n{options}");
    let looked_for: Vec<_> = LOOKED_FOR.iter().map(|(words, place)| format!("{words}: {place}")).collect();
    text += &format!("\n\nLooking for {}.", looked_for.join("; "));
    let statuses: Vec<_> =
        exit::STATUSES.iter().map(|(status, meaning)| format!("{status} {meaning}")).collect();
    text + "\n\nExit status: " + &statuses.join("; ") + "; doctor also 5, 6."
}

/// The subcommands with more options than fit one screen, and those of their options that `-h` shows.
const DAILY: &[(&str, &[&str])] = &[
    ("bridge", &["name", "key", "from", "timeout", "json"]),
    ("discover", &["interface", "kind", "ask", "read", "resolve", "timeout", "once", "watch", "json"]),
    ("doctor", &["interface", "pid", "read", "probe", "watch", "apply", "timeout", "json"]),
    ("perf recv", &["interface", "reply", "stream", "repeat", "max-loss", "json"]),
    ("perf send", &["interface", "size", "rate", "duration", "count", "sweep", "latency", "stream", "json"]),
    ("ping", &["reply", "interface", "ttl", "size", "count", "every", "timeout", "json"]),
    ("publish", &["interface", "ttl", "name", "announce", "rate", "key", "wait-for", "log", "json"]),
    ("querier", &["interface", "timeout", "watch", "provoke", "become", "json"]),
    ("record", &["interface", "source", "write", "rotate", "keep", "count", "timeout", "json"]),
    ("recv", &["interface", "source", "count", "timeout", "idle", "expect", "format", "json", "exec"]),
    (
        "relay",
        &[
            "config",
            "check",
            "tunnel",
            "listen-tunnel",
            "tunnel-key",
            "key",
            "priority",
            "timeout",
            "json",
            "metrics",
        ],
    ),
    ("replay", &["map", "interface", "ttl", "speed", "rate", "loop", "count", "json"]),
    ("send", &["interface", "ttl", "file", "random", "lines", "count", "every", "rate", "json"]),
    (
        "sniff",
        &["interface", "read", "write", "join", "port", "protocol", "count", "timeout", "hexdump", "json"],
    ),
    ("subscribe", &["interface", "from", "resume", "as", "policy", "key", "count", "timeout", "json"]),
    ("top", &["interface", "read", "join", "once", "interval", "timeout", "sort", "json", "metrics", "web"]),
];

const EXAMPLES: usize = 2;

/// Returns a definition whose help is short, for `-h`. The notes of both are in the source format of [`crate::notes`].
fn with_short_help(command: clap::Command) -> clap::Command {
    let hidden = |option: &clap::Arg| option.clone().hide(true);
    let everywhere: Vec<_> =
        command.get_arguments().filter(|option| option.is_global_set()).map(hidden).collect();
    command.mut_subcommands(|subcommand| of_subcommand("", subcommand, &everywhere))
}

/// Returns the subcommand with short help, in which a line replaces the options that are the same everywhere.
fn of_subcommand(parent: &str, command: clap::Command, everywhere: &[clap::Arg]) -> clap::Command {
    let name = format!("{parent}{}", command.get_name());
    let nested = format!("{name} ");
    let command = command.mut_subcommands(|subcommand| of_subcommand(&nested, subcommand, everywhere));
    let Some((_, daily)) = DAILY.iter().find(|(of, _)| *of == name) else { return command };
    let notes = command.get_after_long_help().or_else(|| command.get_after_help());
    let notes = notes.map(ToString::to_string).unwrap_or_default();
    let short = format!(
        "{}\n`mcast {name} --help` shows all options. -q: no notes; -v: more notes.",
        first_examples(&notes)
    );
    let command = command.args(everywhere).after_long_help(None::<&str>).after_help(short);
    command.mut_args(|arg| {
        let is_daily = arg.is_positional() || arg.get_long().is_some_and(|long| daily.contains(&long));
        arg.hide(!is_daily)
    })
}

/// Returns the heading and the first examples of notes.
fn first_examples(notes: &str) -> String {
    let Some((_, examples)) = notes.split_once("Examples:\n") else { return String::new() };
    let mut text = "Examples:\n".to_owned();
    let mut count = 0;
    for line in examples.lines().take_while(|line| !line.is_empty()) {
        count += usize::from(line.starts_with("  ") && !line.starts_with("   "));
        if count > EXAMPLES {
            break;
        }
        text += line;
        text.push('\n');
    }
    text
}

/// The commit, if the build was given it.
const COMMIT: Option<&str> = option_env!("MCAST_COMMIT");

/// Returns the text of `--version`; `-V` prints only the number.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    &TEXT
}

fn text() -> String {
    let commit = COMMIT.map_or_else(|| "built from source".to_owned(), |commit| format!("commit {commit}"));
    let mut text = format!("{} ({}, {commit})", env!("CARGO_PKG_VERSION"), system());
    for (capability, description) in capabilities() {
        text += &format!("\n{capability:<10}{description}");
    }
    text
}

/// `x86_64 linux musl`
fn system() -> String {
    let library = if cfg!(target_env = "musl") {
        " musl"
    } else if cfg!(target_env = "msvc") {
        " msvc"
    } else if cfg!(target_env = "gnu") {
        " gnu"
    } else {
        ""
    };
    format!("{} {}{library}", std::env::consts::ARCH, std::env::consts::OS)
}

fn capabilities() -> [(&'static str, &'static str); 4] {
    let linux = cfg!(target_os = "linux");
    let batches = if cfg!(any(target_os = "linux", target_os = "android")) {
        "recvmmsg, sendmmsg, UDP segmentation and receive offload where the kernel has them"
    } else if cfg!(windows) {
        "UDP segmentation offload where the system has it"
    } else {
        "one system call per datagram"
    };
    let capture = if linux {
        "live with packet sockets and kernel ring buffers; pcap and pcapng files"
    } else if cfg!(any(target_vendor = "apple", target_os = "freebsd")) {
        "live with BPF devices; pcap and pcapng files"
    } else {
        "pcap and pcapng files"
    };
    let ciphers =
        if cfg!(feature = "seal") { "AES-128-GCM, ChaCha20-Poly1305" } else { "none: built without `seal`" };
    let lab = if linux { "network namespaces" } else { "none: it needs Linux" };
    [("batches", batches), ("capture", capture), ("ciphers", ciphers), ("lab", lab)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daily_option_exists() {
        let command = super::source();
        for (name, daily) in DAILY {
            let found = name.split(' ').try_fold(&command, |command, name| command.find_subcommand(name));
            let found = found.unwrap_or_else(|| panic!("there is no subcommand {name}"));
            for long in *daily {
                let is_there = found.get_arguments().any(|arg| arg.get_long() == Some(long));
                assert!(is_there, "{name} has no option --{long}");
            }
        }
    }

    #[test]
    fn the_first_examples_end_before_the_third() {
        let notes = "Exit status: 0.\n\nExamples:\n  mcast a  one\n      more\n  mcast b\n  mcast c\n";
        assert_eq!(first_examples(notes), "Examples:\n  mcast a  one\n      more\n  mcast b\n");
        assert_eq!(first_examples("none"), "");
    }

    #[test]
    fn the_first_line_has_number_system_and_commit() {
        let text = long();
        let first = text.lines().next().unwrap_or_default();

        assert!(first.starts_with(env!("CARGO_PKG_VERSION")), "{first}");
        assert!(first.contains(std::env::consts::ARCH) && first.contains(std::env::consts::OS), "{first}");
        assert!(first.contains("commit") || first.contains("built from source"), "{first}");
    }
}
