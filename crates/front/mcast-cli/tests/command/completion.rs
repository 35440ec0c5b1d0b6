//! Completion in bash, zsh and fish.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::MCAST;

/// A shell, and what makes it offer candidates for the last of its arguments.
struct Shell {
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
}

const BASH: Shell = Shell {
    name: "bash",
    options: &["--norc"],
    script: r#"
        source <(mcast completions bash)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        complete -p mcast > /dev/null || exit 1
        _clap_complete_mcast mcast "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#,
};

/// The function that shows a list works only while zsh completes a line that is being typed.
const ZSH: Shell = Shell {
    name: "zsh",
    options: &["-f"],
    script: r#"
        compdef() { [[ "$2" == mcast ]] || exit 1 }
        _describe() { print -rl -- "${(@P)3}" }
        source <(mcast completions zsh)
        words=("$@"); CURRENT=$#
        _clap_dynamic_completer_mcast"#,
};

const FISH: Shell = Shell {
    name: "fish",
    options: &["--no-config"],
    script: r#"
        mcast completions fish | source
        complete --do-complete (string join ' ' -- $argv[2..])"#,
};

impl Shell {
    /// Returns the candidates, with the descriptions that the shell shows beside them, in this folder.
    fn lines(&self, folder: &Path, words: &[&str]) -> Vec<String> {
        let programs = Path::new(MCAST).parent().unwrap().display().to_string();
        let path = [programs, std::env::var("PATH").unwrap()].join(":");
        let mut command = Command::new(self.name);
        command.args(self.options).args(["-c", self.script, self.name, "mcast"]).args(words);
        // fish writes to the home directory.
        command.env("PATH", path).env("HOME", std::env::temp_dir()).current_dir(folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn offers(&self, words: &[&str], expected: &[&str]) {
        let lines = self.lines(Path::new("/"), words);
        let offered: Vec<&str> = lines.iter().map(|line| value(line)).collect();
        for expected in expected {
            assert!(offered.contains(expected), "{words:?}: {expected} is not in {offered:?}");
        }
    }
}

/// Returns a candidate without its description, which fish separates by a tab and zsh by a colon.
fn value(line: &str) -> &str {
    line.split(['\t', ':']).next().unwrap_or_default()
}

fn offered_in(folder: &Path, words: &[&str]) -> Vec<String> {
    BASH.lines(folder, words)
}

fn offered(words: &[&str]) -> Vec<String> {
    offered_in(Path::new("/"), words)
}

fn offers(words: &[&str], expected: &[&str]) {
    let offered = offered(words);
    for expected in expected {
        assert!(offered.iter().any(|each| each == expected), "{words:?}: {expected} is not in {offered:?}");
    }
}

#[test]
fn subcommands_and_options_are_offered() {
    offers(&["re"], &["recv", "record", "replay"]);
    offers(&["recv", "--exec"], &["--exec", "--exec-limit"]);
    offers(&["perf", ""], &["send", "recv"]);
    offers(&["completions", "f"], &["fish"]);
    offers(&["help", "re"], &["recv", "record", "replay"]);
}

/// What each shell offers.
fn assert_offers_values(shell: &Shell) {
    shell.offers(&["re"], &["recv", "record", "replay", "relay"]);
    shell.offers(&["recv", "-i", ""], &["lo", "all", "default"]);
    shell.offers(&["explain", "no-q"], &["no-querier"]);
    shell.offers(&["lab", "run", ""], &["four-hosts", "two-lans"]);
    shell.offers(&["lab", "shell", "four-hosts", ""], &["eastny", "midwood", "flatbush", "bushwick"]);
    shell.offers(&["relay", "md"], &["mdns"]);
    shell.offers(&["relay", "mdns", ""], &["between", "from"]);
    shell.offers(&["relay", "mdns", "between", ""], &["lo"]);
    shell.offers(&["relay", "mdns", "between", "eth0", "and", ""], &["lo"]);
    shell.offers(&["relay", "mdns", "from", "eth0", ""], &["to"]);
}

#[test]
fn bash_offers_values() {
    assert_offers_values(&BASH);
}

#[test]
fn zsh_offers_values() {
    if mcast_lab::has_program("zsh", "--version", "its completion") {
        assert_offers_values(&ZSH);
    }
}

#[test]
fn fish_offers_values_with_short_descriptions() {
    if !mcast_lab::has_program("fish", "--version", "its completion") {
        return;
    }
    assert_offers_values(&FISH);
    for line in FISH.lines(Path::new("/"), &["relay", "--"]) {
        let (option, description) = line.split_once('\t').unwrap_or_else(|| panic!("{line}"));
        assert!(option.starts_with("--") && description.chars().count() <= 60, "{line}");
    }
}

#[test]
fn hosts_are_offered_in_the_shell_of_a_lab() {
    let words = ["lab", "on", ""];
    let lines = |hosts: &str| {
        let programs = Path::new(MCAST);
        let mut command = Command::new(programs);
        command.args(["--", "mcast"]).args(words).env("MCAST_COMPLETE", "fish").env("MCAST_LAB_HOSTS", hosts);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(value(lines("one=5,two=6").lines().next().unwrap()), "one");
    assert!(!lines("").contains("one"));
}

#[test]
fn interfaces_of_this_machine_are_offered() {
    offers(&["recv", "-i", ""], &["lo", "all", "default"]);
    offers(&["sniff", "--interface", "l"], &["lo"]);
}

#[test]
fn names_of_groups_are_offered() {
    offers(&["recv", "md"], &["mdns"]);
    offers(&["explain", "ss"], &["ssdp"]);
}

#[test]
fn findings_labs_scopes_and_protocols_are_offered() {
    offers(&["doctor", "--apply", "no-q"], &["no-querier"]);
    offers(&["explain", "no-r"], &["no-route"]);
    offers(&["explain", "broad"], &["broadcast"]);
    offers(&["lab", "run", "two"], &["two-lans"]);
    offers(&["pick", "--scope", "s"], &["site"]);
    offers(&["sniff", "--protocol", "i"], &["igmp", "icmp"]);
}

#[test]
fn files_are_offered_only_for_file_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["capture.pcapng", "cameras.sdp"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let here = |words: &[&str]| offered_in(folder.path(), words);
    assert!(here(&["doctor", "-r", "c"]).contains(&"capture.pcapng".to_owned()));
    assert_eq!(here(&["recv", "./c"]), ["./cameras.sdp"]);
    assert!(here(&["recv", "c"]).contains(&"cameras.sdp".to_owned()));
    assert_eq!(here(&["recv", "-i", "c"]), [""]);
}
