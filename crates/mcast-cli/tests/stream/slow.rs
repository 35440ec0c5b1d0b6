//! Who takes its time with messages, and the publisher meanwhile.

use std::fs;
use std::path::PathBuf;

use crate::support::{Lan, MCAST, program};
use crate::{GROUP, publisher, subscriber};

/// A file that is not there yet, and the shell command that waits for it.
fn gate(folder: &tempfile::TempDir) -> (PathBuf, String) {
    let path = folder.path().join("open");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", path.display());
    (path, wait)
}

#[test]
fn while_a_command_runs_its_subscriber_takes_what_comes_and_says_so() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let (open, wait) = gate(&folder);
    let running = subscriber(&lan.b, &[GROUP, "--exec", &format!("{wait}; cat; echo")]);
    let words: Vec<String> = (0..30).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let arguments: Vec<&str> =
        [GROUP, "--wait-for", "1"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let ended = publisher(&lan.a, &arguments).end().succeeded();
    assert!(ended.stderr.contains("everything is with 1 of 1 receiver"), "{ended:?}");
    assert_eq!(running.stdout.text(), "", "the first command has not ended");
    fs::write(open, "").unwrap();
    let ended = running.end().succeeded();
    assert_eq!(ended.text(), words.iter().map(|word| format!("{word}\n")).collect::<String>());
}

#[test]
fn while_nobody_reads_its_output_a_subscriber_takes_what_comes_and_says_so() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let (open, wait) = gate(&folder);
    let script = format!("{MCAST} subscribe -i eth0 {GROUP} --raw | {{ {wait}; cat; }}");
    let running = program(&lan.b, "sh", &["-c", &script], false);
    running.stderr.wait_for("joined");
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
    let path = folder.path().join("content");
    fs::write(&path, &content).unwrap();
    let name = path.display().to_string();
    let ended = publisher(&lan.a, &[GROUP, "--wait-for", "1", "--files", &name, &name]).end().succeeded();
    assert!(ended.stderr.contains("everything is with 1 of 1 receiver"), "{ended:?}");
    fs::write(open, "").unwrap();
    assert!(running.end().succeeded().stdout == [&content[..], &content].concat());
}

#[test]
fn who_reads_no_more_ends_it_and_is_no_error() {
    let lan = Lan::new();
    let script = format!("{MCAST} subscribe -i eth0 {GROUP} --stay | head -n 1");
    let running = program(&lan.b, "sh", &["-c", &script], false);
    running.stderr.wait_for("joined");
    let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "1", "--rate", "20pps"];
    let words: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let arguments: Vec<&str> = arguments.into_iter().chain(words.iter().map(String::as_str)).collect();
    let publishing = program(&lan.a, MCAST, &arguments, false);
    let ended = running.end().succeeded();
    assert_eq!(ended.text(), "0\n");
    assert!(!ended.stderr.contains("error"), "{ended:?}");
    publishing.signalled(libc::SIGKILL);
}

#[test]
fn who_gets_on_slowly_is_waited_for_as_long_as_was_said() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    fs::write(&path, vec![b'x'; 3_000_000]).unwrap();
    let name = path.display().to_string();
    let mut arguments = vec![GROUP, "--evict-after", "1h", "--rate", "100Mbit", "--wait-for", "1", "--files"];
    arguments.extend([name.as_str(); 12]);
    let publishing = publisher(&lan.a, &arguments);
    publishing.stderr.wait_for("listens");
    running.child.signal(libc::SIGSTOP).unwrap();
    // Unless told to wait, it would have given up three seconds before.
    publishing.stderr.wait_for("has fallen silent");
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("no longer waited for"), "{ended:?}");
    running.signalled(libc::SIGKILL);
}
