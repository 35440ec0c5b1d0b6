//! Late subscribers start with a snapshot.

use std::fs;
use std::io::Write;

use crate::GROUP;
use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, Running, mcast, program, start};

/// A publisher of what is written to its input, with this snapshot.
fn with_snapshot(lan: &Lan, snapshot: &str) -> Running {
    let arguments = ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--snapshot", snapshot];
    let running = program(&lan.a, MCAST, &arguments, true);
    running.stderr.wait_for("serving snapshots");
    running
}

#[test]
fn the_snapshot_is_delivered_before_the_messages_after_it() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::write(&state, "a\n").unwrap();
    let name = state.display().to_string();
    for (snapshot, words) in [(name.clone(), "the content of"), (format!("cat {name}"), "the output of")] {
        fs::write(&state, "a\n").unwrap();
        let mut publishing = with_snapshot(&lan, &snapshot);
        assert!(publishing.stderr.text().contains(words), "{}", publishing.stderr.text());
        let mut input = publishing.child.stdin.take().unwrap();
        // An early subscriber receives the messages before another one starts.
        let early = start(&lan.c, &["subscribe", "-i", "eth0", GROUP]);
        publishing.stderr.wait_for("subscriber 10.0.0.3 joined");
        input.write_all(b"a\nb\n").unwrap();
        early.stdout.wait_for("b\n");
        // The state is that of the time when it is asked for.
        fs::write(&state, "a\nb\n").unwrap();
        let late = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--from", "snapshot", "--json"]);
        late.stderr.wait_for("a snapshot of");
        input.write_all(b"c\n").unwrap();
        drop(input);
        publishing.end().succeeded();
        early.end().succeeded();
        let rows = late.end().succeeded().json();
        let snapshot = rows.iter().find(|row| row["event"] == "snapshot").unwrap();
        assert_valid("stream-event", snapshot);
        assert_eq!(
            (&snapshot["text"], snapshot["sequence"].as_u64()),
            (&"a\nb\n".into(), Some(2)),
            "{snapshot}"
        );
        let messages: Vec<_> = rows.iter().filter(|row| row["event"] == "message").collect();
        assert_eq!(messages.len(), 1, "{rows:?}");
        assert_eq!((&messages[0]["text"], messages[0]["sequence"].as_u64()), (&"c".into(), Some(2)));
    }
}

#[test]
fn as_text_the_snapshot_is_printed_as_lines() {
    let lan = Lan::new();
    let mut publishing = with_snapshot(&lan, "printf state");
    let mut input = publishing.child.stdin.take().unwrap();
    let late = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--from", "snapshot"]);
    late.stderr.wait_for("a snapshot of");
    input.write_all(b"a\n").unwrap();
    drop(input);
    publishing.end().succeeded();
    assert_eq!(late.end().succeeded().text(), "state\na\n");
}

#[test]
fn a_failed_snapshot_is_reported_on_both_sides() {
    let lan = Lan::new();
    let mut publishing = with_snapshot(&lan, "exit 3");
    let input = publishing.child.stdin.take().unwrap();
    let late = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--from", "snapshot"]);
    publishing.stderr.wait_for("no snapshot: the output of `exit 3`");
    let ended = late.end();
    assert_eq!((ended.status, ended.text()), (Some(1), ""), "{ended:?}");
    assert!(ended.stderr.contains("the publisher has none") && ended.stderr.contains("remedy"), "{ended:?}");
    drop(input);
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("left because of an error"), "{ended:?}");
}

#[test]
fn snapshots_are_served_on_the_requested_port() {
    let lan = Lan::new();
    let serve = ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--snapshot", "printf state"];
    let serve = [&serve[..], &["--snapshot-port", "7654"]].concat();
    let mut publishing = program(&lan.a, MCAST, &serve, true);
    publishing.stderr.wait_for("at 10.0.0.1:7654");
    // The port is in use, so another publisher fails.
    let ended = mcast(&lan.a, &serve);
    assert_ne!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("10.0.0.1:7654"), "{ended:?}");
    let late = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--from", "snapshot"]);
    late.stderr.wait_for("a snapshot of");
    drop(publishing.child.stdin.take());
    publishing.end().succeeded();
    assert_eq!(late.end().succeeded().text(), "state\n");
    let without = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--snapshot-port", "7654", "x"]);
    assert_eq!(without.status, Some(2), "{without:?}");
}

#[test]
fn a_snapshot_without_a_name_is_refused() {
    let lan = Lan::new();
    let ended = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--snapshot", "true", "x"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    let ended = mcast(&lan.b, &["subscribe", "-i", "eth0", GROUP, "--from", "snapshot"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("remedy"), "{ended:?}");
}

#[test]
fn a_snapshot_larger_than_the_limit_is_refused_with_the_option_that_raises_it() {
    let lan = Lan::new();
    let mut publishing = with_snapshot(&lan, "printf state");
    let subscribe = |limit| {
        let limit = ["--from", "snapshot", "--max-snapshot", limit];
        start(&lan.b, &[&["subscribe", "-i", "eth0", "prices"], &limit[..]].concat())
    };
    let refused = subscribe("4").end();
    assert_eq!((refused.status, refused.text()), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("5 bytes long, more than the limit of 4"), "{refused:?}");
    assert!(refused.stderr.contains("--max-snapshot"), "{refused:?}");
    let accepted = subscribe("5");
    accepted.stderr.wait_for("a snapshot of");
    drop(publishing.child.stdin.take());
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("left because of an error"), "{ended:?}");
    assert_eq!(accepted.end().succeeded().text(), "state\n");
}
