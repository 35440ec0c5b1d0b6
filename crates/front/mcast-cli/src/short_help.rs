//! Short help (`-h`): the options that people use daily, on one screen. `--help` shows all of them.

use clap::Command;

/// The subcommands with more options than fit one screen, and those of their options that `-h` shows.
const DAILY: &[(&str, &[&str])] = &[
    ("bridge", &["interface", "name", "key", "from", "timeout", "json", "metrics"]),
    ("doctor", &["interface", "pid", "read", "probe", "watch", "apply", "undo", "timeout", "json"]),
    ("perf recv", &["interface", "reply", "stream", "repeat", "max-loss", "json"]),
    ("perf send", &["interface", "size", "rate", "duration", "count", "sweep", "latency", "stream", "json"]),
    ("ping", &["reply", "interface", "ttl", "size", "count", "every", "timeout", "json"]),
    ("publish", &["interface", "ttl", "name", "announce", "rate", "key", "ack", "log", "json"]),
    ("querier", &["interface", "timeout", "watch", "provoke", "become", "json"]),
    ("record", &["interface", "source", "write", "rotate", "keep", "count", "timeout", "json"]),
    ("recv", &["interface", "source", "count", "timeout", "idle", "expect", "format", "json", "exec"]),
    (
        "relay",
        &["config", "check", "tunnel", "listen-tunnel", "key", "priority", "timeout", "json", "metrics"],
    ),
    ("replay", &["map", "interface", "ttl", "speed", "rate", "loop", "count", "json"]),
    ("send", &["interface", "ttl", "file", "random", "lines", "count", "every", "rate", "json"]),
    (
        "sniff",
        &["interface", "read", "write", "join", "port", "protocol", "count", "timeout", "hexdump", "json"],
    ),
    ("subscribe", &["interface", "from", "resume", "as", "policy", "key", "count", "timeout", "json"]),
    ("top", &["interface", "read", "join", "once", "interval", "timeout", "sort", "json", "metrics"]),
];

/// The number of examples that short help shows.
const EXAMPLES: usize = 2;

/// Returns a definition whose help is short, for `-h`. The notes of both are in the source format of [`crate::notes`].
pub(crate) fn with_short_help(command: Command) -> Command {
    command.mut_subcommands(|subcommand| of_subcommand("", subcommand))
}

fn of_subcommand(parent: &str, command: Command) -> Command {
    let name = format!("{parent}{}", command.get_name());
    let nested = format!("{name} ");
    let command = command.mut_subcommands(|subcommand| of_subcommand(&nested, subcommand));
    let Some((_, daily)) = DAILY.iter().find(|(of, _)| *of == name) else { return command };
    let notes = command.get_after_long_help().or_else(|| command.get_after_help());
    let notes = notes.map(ToString::to_string).unwrap_or_default();
    let short = format!("{}\n`mcast {name} --help` shows all options.", first_examples(&notes));
    let command = command.after_long_help(None::<&str>).after_help(short);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daily_option_exists() {
        let command = crate::cli::source();
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
}
