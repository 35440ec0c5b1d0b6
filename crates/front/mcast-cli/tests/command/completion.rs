//! Completion in bash.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::MCAST;

/// What bash offers for the last of these words, in this folder.
fn offered_in(folder: &Path, words: &[&str]) -> Vec<String> {
    const SCRIPT: &str = r#"
        source <(mcast completions bash)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        complete -p mcast > /dev/null || exit 1
        _clap_complete_mcast mcast "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let programs = Path::new(MCAST).parent().unwrap().display().to_string();
    let path = [programs, std::env::var("PATH").unwrap()].join(":");
    let mut command = Command::new("bash");
    command.args(["-c", SCRIPT, "bash", "mcast"]).args(words).env("PATH", path).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
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
