//! Output fits the width of the terminal.

use std::io::Read;
use std::process::{Command, Stdio};

use snapbox::{assert_data_eq, file};

use crate::pseudoterminal::open_terminal;
use crate::support::{Lan, MCAST, program, send};

/// What `mcast` prints where lines have this many columns.
fn in_columns(columns: usize, arguments: &[&str]) -> String {
    let mut command = Command::new(MCAST);
    command.args(arguments).env("COLUMNS", columns.to_string()).env_remove("CLICOLOR_FORCE");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words before `--help` of every page.
fn pages() -> Vec<Vec<String>> {
    fn add(command: &clap::Command, words: &[String], pages: &mut Vec<Vec<String>>) {
        pages.push(words.to_vec());
        for subcommand in command.get_subcommands() {
            add(subcommand, &[words, &[subcommand.get_name().to_owned()]].concat(), pages);
        }
    }
    let mut pages = Vec::new();
    add(&mcast_cli::command(), &[], &mut pages);
    pages
}

/// The help of a page, short or long.
fn help(words: &[String], option: &str, columns: usize) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).chain([option]).collect();
    in_columns(columns, &words)
}

/// A line that is the rest of the one above, which had room for it or for its first word.
fn torn(text: &str, columns: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let indentation = |line: &str| line.chars().take_while(|each| *each == ' ').count();
    let tear = lines.windows(2).find(|pair| {
        let [above, below] = [pair[0], pair[1]];
        let is_full =
            above.chars().count() + 1 + below.split_whitespace().next().map_or(0, str::len) > columns;
        let is_example = indentation(below) == 2 && below.contains("mcast ");
        let is_entry = indentation(below) == 2 && below.trim_start().contains("  ");
        let starts = below.ends_with(':') || below.trim_start().starts_with('-') || is_example || is_entry;
        // Only running text continues where it starts; all else hangs.
        let is_text = !above.trim_start().contains("  ") && indentation(below) == indentation(above);
        is_full && !above.is_empty() && !below.is_empty() && !starts && indentation(below) < 6 && !is_text
    });
    tear.map(|pair| pair.join("\n"))
}

#[test]
fn every_page_of_help_fits_eighty_columns_without_short_lines() {
    let pages = pages();
    assert!(pages.len() > 25, "{}", pages.len());
    for words in &pages {
        for option in ["-h", "--help"] {
            let text = help(words, option, 80);
            let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{words:?} {option}: {long:#?}");
            assert_eq!(torn(&text, 80), None, "{words:?} {option}:\n{text}");
        }
    }
}

#[test]
fn examples_are_commands_that_can_be_pasted() {
    for words in pages() {
        for columns in [60, 80, 100] {
            let text = help(&words, "--help", columns);
            let Some((_, examples)) = text.split_once("Examples:\n") else { continue };
            for line in examples.lines().filter(|line| line.starts_with("  mcast ")) {
                let quotes = line.matches('\'').count();
                assert!(quotes % 2 == 0 || line.ends_with('\\'), "{words:?} at {columns}: {line}");
            }
        }
    }
}

#[test]
fn help_is_as_wide_as_the_terminal_up_to_a_hundred_columns() {
    let widest = |columns| {
        let text = in_columns(columns, &["recv", "--help"]);
        text.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest(64) <= 64, "{}", widest(64));
    assert!((81..=100).contains(&widest(100)), "{}", widest(100));
    assert!(widest(200) <= 100, "{}", widest(200));
}

#[test]
fn the_overview_at_eighty_columns() {
    assert_data_eq!(in_columns(80, &["--help"]), file!["help/overview.txt"]);
}

#[test]
fn help_is_also_a_command() {
    assert_eq!(in_columns(80, &["help"]), in_columns(80, &["--help"]));
    assert_eq!(in_columns(80, &["help", "perf", "send"]), in_columns(80, &["perf", "send", "--help"]));
    let output = Command::new(MCAST).args(["help", "recvv"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
    assert!(error.contains("recvv") && error.contains("'recv'"), "{error}");
}

/// Fails on lines that are longer, but for those that may be.
fn assert_fits(text: &str, columns: usize, may_be_longer: impl Fn(&str) -> bool) {
    let long: Vec<&str> =
        text.lines().filter(|line| line.chars().count() > columns && !may_be_longer(line)).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn explanations_fit_the_terminal() {
    for columns in [60, 80] {
        let groups = in_columns(columns, &["explain", "239.255.255.250", "ff7e:140:2001:db8:beef:feed::1"]);
        assert_fits(&groups, columns, |_| false);
        assert_fits(&in_columns(columns, &["explain", "--findings"]), columns, |_| false);
        // Commands to paste stay whole.
        let page = in_columns(columns, &["explain", "no-querier", "reverse-path-filter"]);
        assert_fits(&page, columns, |line| line.starts_with("    "));
    }
}

#[test]
fn tables_fit_the_terminal() {
    let lan = Lan::new();
    let run = |columns: &str, options: &[&str]| {
        let variable = format!("COLUMNS={columns}");
        let arguments = [&[&variable, MCAST, "interfaces"], options].concat();
        program(&lan.a, "env", &arguments, false).end().succeeded().text().to_owned()
    };
    let (narrow, wide) = (run("60", &["-v"]), run("200", &["-v"]));
    assert_fits(&narrow, 60, |_| false);
    assert!(narrow.contains("    addresses: 10.0.0.1/24, fd00::1/64"), "{narrow}");
    assert!(wide.lines().next().unwrap().ends_with(" wire"), "{wide}");
    // Why frames cannot be taken off an interface is what few need.
    assert!(!run("200", &[]).contains("wire"));
    let unlimited = program(&lan.a, MCAST, &["interfaces", "-v"], false).end().succeeded();
    assert_eq!(unlimited.text(), wide);
}

#[test]
fn reports_of_measurements_fit_the_terminal() {
    let lan = Lan::new();
    let perf = |host, arguments: &[&str], kind: &[&str]| {
        let group = ["-i", "eth0", "239.1.2.3:5000"];
        program(host, "env", &[&["COLUMNS=60", MCAST, "perf"], arguments, &group, kind].concat(), false)
    };
    for kind in [&[][..], &["--stream"]] {
        let receiver = perf(&lan.b, &["recv"], kind);
        receiver.stderr.wait_for("waiting for mcast perf send");
        let sent = perf(&lan.a, &["send", "-c", "500", "--rate", "5kpps"], kind).end().succeeded();
        for ended in [sent, receiver.end().succeeded()] {
            let text = ended.text();
            // Lines that continue below.
            assert!(text.lines().any(|line| line.starts_with("    ")), "{text}");
            assert_fits(text, 60, |_| false);
        }
    }
}

#[test]
fn notes_break_at_words_and_data_lines_stay_whole() {
    let lan = Lan::new();
    for columns in [44, 80] {
        let (mut person, program) = open_terminal(columns, 24);
        let mut command = lan.a.command(MCAST).unwrap();
        command.args(["send", "239.1.2.3:5000", "hello"]).env_remove("CLICOLOR_FORCE");
        let mut sending = command.stdout(Stdio::null()).stderr(Stdio::from(program)).spawn().unwrap();
        assert_eq!(sending.wait().unwrap().code(), Some(0));
        drop(command);
        let mut text = Vec::new();
        // On Linux, the end of a terminal is an error.
        let _ = person.read_to_end(&mut text);
        let text = String::from_utf8(text).unwrap().replace("\r\n", "\n");
        assert_fits(&text, columns.into(), |_| false);
        assert!(text.contains("\n  "), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("stays in this network"), "{text}");
    }
}

#[test]
fn received_datagrams_fit_the_terminal() {
    let lan = Lan::new();
    let arguments = ["COLUMNS=80", MCAST, "recv", "239.255.1.2:5000", "-c", "2"];
    let receiving = program(&lan.b, "env", &arguments, false);
    receiving.stderr.wait_for("joined");
    let binary = "00".repeat(600);
    send(&lan.a, &["239.255.1.2:5000", "--hex", &binary, "68656c6c6f"]);
    let ended = receiving.end().succeeded();
    let lines = ended.lines();
    assert_fits(ended.text(), 80, |_| false);
    // What is long stands below.
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(lines[1].starts_with("    \\x00\\x00") && lines[1].ends_with("more bytes)"), "{ended:?}");
    assert!(lines[2].ends_with("  hello"), "{ended:?}");
}
