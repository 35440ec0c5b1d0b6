//! The help of `mcast perf` and `mcast ping`.

use std::process::Command;

use snapbox::{assert_data_eq, file};

use crate::support::MCAST;

fn help(words: &[&str]) -> String {
    let mut command = Command::new(MCAST);
    command.args(words).arg("--help");
    let output = command.env_remove("CLICOLOR_FORCE").env_remove("COLUMNS").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn all_examples_are_valid() {
    for words in [&["ping"][..], &["perf"], &["perf", "send"], &["perf", "recv"]] {
        let text = help(words);
        let examples = text.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{words:?} has none"));
        let commands = examples.lines().filter_map(|line| line.trim().split("  ").next());
        let commands: Vec<&str> = commands.filter(|line| line.starts_with("mcast ")).collect();
        assert!(commands.len() >= 4, "{examples}");
        for command in commands {
            let parsed = mcast_cli::command().try_get_matches_from(command.split_whitespace());
            parsed.unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }
}

#[test]
fn help_of_ping() {
    assert_data_eq!(help(&["ping"]), file!["help/ping.txt"]);
}

#[test]
fn help_of_perf() {
    assert_data_eq!(help(&["perf"]), file!["help/perf.txt"]);
}

#[test]
fn help_of_perf_send() {
    assert_data_eq!(help(&["perf", "send"]), file!["help/perf-send.txt"]);
}

#[test]
fn help_of_perf_recv() {
    assert_data_eq!(help(&["perf", "recv"]), file!["help/perf-recv.txt"]);
}
