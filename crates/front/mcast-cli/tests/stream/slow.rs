//! Slow subscribers, and their publisher.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Lan, MCAST, Running, program};
use crate::{GROUP, publisher, subscriber};

/// A file that is not there yet, and the shell command that waits for it.
fn gate(folder: &tempfile::TempDir) -> (PathBuf, String) {
    let path = folder.path().join("open");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", path.display());
    (path, wait)
}

/// Starts a subscriber whose output is not read before `wait` has ended.
fn unread(lan: &Lan, wait: &str) -> Running {
    let script = format!("{MCAST} subscribe -i eth0 {GROUP} --output raw | {{ {wait}; cat; }}");
    let running = program(&lan.b, "sh", &["-c", &script], false);
    running.stderr.wait_for("joined");
    running
}

#[test]
fn a_subscriber_keeps_receiving_while_a_command_runs() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let (open, wait) = gate(&folder);
    let running = subscriber(&lan.b, &[GROUP, "--exec", &format!("{wait}; cat; echo")]);
    let words: Vec<String> = (0..30).map(|number| format!("{number} {}", "x".repeat(700))).collect();
    let arguments: Vec<&str> = [GROUP, "--wait-for", "1", "--linger", "1s"]
        .into_iter()
        .chain(words.iter().map(String::as_str))
        .collect();
    let ended = publisher(&lan.a, &arguments).end();
    assert!(ended.stderr.contains("is still reading"), "{ended:?}");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(running.stdout.text(), "", "the first command has not ended");
    fs::write(open, "").unwrap();
    let ended = running.end().succeeded();
    assert_eq!(ended.text(), words.iter().map(|word| format!("{word}\n")).collect::<String>());
}

#[test]
fn a_subscriber_keeps_receiving_while_its_output_is_not_read() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let (open, wait) = gate(&folder);
    let running = unread(&lan, &wait);
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
    let path = folder.path().join("content");
    fs::write(&path, &content).unwrap();
    let name = path.display().to_string();
    let ended =
        publisher(&lan.a, &[GROUP, "--wait-for", "1", "--linger", "1s", "--input", "files", &name, &name])
            .end();
    assert!(ended.stderr.contains("is still reading"), "{ended:?}");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    fs::write(open, "").unwrap();
    assert!(running.end().succeeded().stdout == [&content[..], &content].concat());
}

#[test]
fn the_end_of_the_stream_is_noted_after_its_messages() {
    let lan = Lan::new();
    let script = format!("{MCAST} subscribe -i eth0 {GROUP} --exec 'sleep 0.2; cat; echo' 2>&1");
    let running = program(&lan.b, "sh", &["-c", &script], false);
    running.stdout.wait_for("joined");
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "a", "b"]).end().succeeded();
    let ended = running.end().succeeded();
    let lines: Vec<&str> = ended.text().lines().collect();
    let place = |line: &str| lines.iter().position(|each| *each == line);
    let end = place("the stream has ended after 2 messages");
    assert!(place("a") < place("b") && place("b").is_some() && place("b") < end, "{lines:?}");
}

#[test]
fn the_end_of_the_stream_is_noted_although_nobody_takes_its_messages() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let (open, wait) = gate(&folder);
    let running = unread(&lan, &wait);
    // More than a pipe holds, and less than the command buffers.
    let content = vec![b'x'; 200_000];
    let path = folder.path().join("content");
    fs::write(&path, &content).unwrap();
    let name = path.display().to_string();
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "--linger", "1s", "--input", "files", &name]).end();
    running.stderr.wait_for("the stream has ended after 1 message");
    fs::write(open, "").unwrap();
    assert!(running.end().succeeded().stdout == content);
}

#[test]
fn a_closed_pipe_ends_it_without_an_error() {
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
fn a_slow_subscriber_is_waited_for_as_long_as_evict_after_says() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    fs::write(&path, vec![b'x'; 3_000_000]).unwrap();
    let name = path.display().to_string();
    let mut arguments =
        vec![GROUP, "--evict-after", "1h", "--rate", "100Mbit", "--wait-for", "1", "--input", "files"];
    arguments.extend([name.as_str(); 12]);
    let publishing = publisher(&lan.a, &arguments);
    publishing.stderr.wait_for("joined");
    running.child.signal(libc::SIGSTOP).unwrap();
    // Without `--evict-after`, it would have evicted the subscriber three seconds before.
    publishing.stderr.wait_for("has gone silent");
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("evicted"), "{ended:?}");
    running.signalled(libc::SIGKILL);
}

#[test]
fn a_subscriber_that_was_evicted_is_waited_for_at_the_end() {
    let lan = Lan::new();
    let [running, other] = [&lan.b, &lan.c].map(|host| subscriber(host, &[GROUP]));
    let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "2", "--rate", "20000pps"];
    let arguments =
        [&arguments[..], &["--evict-after", "300ms", "--linger", "25s", "--history", "32M"]].concat();
    let mut publishing = program(&lan.a, MCAST, &arguments, true);
    for address in ["10.0.0.2", "10.0.0.3"] {
        publishing.stderr.wait_for(&format!("{address} joined"));
    }
    running.child.signal(libc::SIGSTOP).unwrap();
    // More than the subscriber's window of 8,192 datagrams, also where each carries four of them.
    let lines: String = (0..40_000).map(|number| format!("{number:0300}\n")).collect();
    let mut input = publishing.child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    publishing.stderr.wait_for("evicted subscriber 10.0.0.2");
    // Everything is sent, and only the evicted one does not have it.
    other.stdout.wait_for("39999\n");
    running.child.signal(libc::SIGCONT).unwrap();
    let ended = publishing.end().succeeded();
    assert!(ended.stderr.contains("2 of 2 subscribers have everything"), "{ended:?}");
    for running in [running, other] {
        assert!(running.end().succeeded().text() == lines, "a subscriber does not have everything");
    }
}

/// How long anything may take to end that must not wait for what takes a hundred seconds.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_timeout_ends_it_while_a_command_runs() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP, "-W", "4s", "--exec", "cat; echo; sleep 100"]);
    let publishing = publisher(&lan.a, &[GROUP, "--wait-for", "1", "one", "two"]);
    running.stdout.wait_for("one");
    let before = Instant::now();
    let ended = running.end();
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    assert_eq!((ended.status, ended.text()), (Some(1), "one\n"), "{ended:?}");
    assert!(ended.stderr.contains("did not finish in time"), "{ended:?}");
    publishing.end();
}

#[test]
fn one_interrupt_ends_a_subscriber_with_a_running_command_or_unread_output() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    fs::write(&path, vec![b'x'; 3_000_000]).unwrap();
    let name = path.display().to_string();
    // Its output is a pipe without a reader.
    let fifo = folder.path().join("fifo").display().to_string();
    let script =
        format!("mkfifo {fifo}; exec 3<>{fifo}; exec {MCAST} subscribe -i eth0 {GROUP} --output raw >&3");
    let unread = program(&lan.b, "sh", &["-c", &script], false);
    unread.stderr.wait_for("joined");
    let running = subscriber(&lan.c, &[GROUP, "--exec", "echo began; sleep 100"]);
    let publishing = publisher(&lan.a, &[GROUP, "--wait-for", "2", "--input", "files", &name, &name]);
    running.stdout.wait_for("began");
    let before = Instant::now();
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    let ended = unread.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("not written: the reader is too slow"), "{ended:?}");
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    publishing.signalled(libc::SIGKILL);
}
