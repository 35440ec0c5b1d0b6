//! Late subscribers start with a snapshot.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use mcast_lab::Host;

use crate::GROUP;
use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, Running, eventually, mcast, program, start};

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
fn who_is_refused_by_the_servers_of_a_publisher_is_named_and_cannot_fill_its_log() {
    let lan = Lan::new();
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("log").display().to_string();
    let servers = ["--snapshot", "echo state", "--log", &log, "--serve-history", "10.0.0.1:7768"];
    let arguments = ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--metrics", "10.0.0.1:9481"];
    let mut publishing = program(&lan.a, MCAST, &[&arguments[..], &servers].concat(), true);
    publishing.stderr.wait_for("serving the history");
    let text = publishing.stderr.text();
    let snapshots = text.lines().find(|line| line.starts_with("serving snapshots")).unwrap();
    let snapshots = snapshots.rsplit_once(' ').unwrap().1.to_owned();
    // A length that no request has.
    let request = [&[0; 8][..], &[0xff; 4]].concat();
    let refused = |host: &Host, server: &str| {
        let mut client = host.run(|| TcpStream::connect(server)).unwrap().unwrap();
        client.write_all(&request).unwrap();
        let mut answer = Vec::new();
        // The server closes the connection, perhaps before it has read everything.
        let _ = client.read_to_end(&mut answer);
    };
    for server in ["10.0.0.1:7768", &snapshots] {
        (0..30).for_each(|_| refused(&lan.b, server));
        refused(&lan.c, server);
    }
    for what in ["the history", "a snapshot"] {
        publishing.stderr.wait_for(&format!("a request for {what} from 10.0.0.3:"));
    }
    // Three for each address at once. After 10 s, the others are one line.
    eventually("the last lines", || {
        publishing.stderr.text().matches("(and 26 more like this within 10 s)").count() == 2
    });
    let text = publishing.stderr.text();
    for what in ["the history", "a snapshot"] {
        let lines = text.matches(&format!("a request for {what} from 10.0.0.2:")).count();
        assert_eq!(lines, 4, "{text}");
    }
    let page = metrics(&lan.c);
    for (name, count) in [
        ("mcast_stream_history_refused_total{", "} 31\n"),
        ("mcast_stream_snapshot_refused_total{", "} 31\n"),
        ("mcast_log_withheld_total", " 54\n"),
    ] {
        let mut samples = page.split_inclusive('\n').filter(|line| line.starts_with(name));
        assert!(samples.next_back().is_some_and(|line| line.ends_with(count)), "{name}{count}: {page}");
    }
    drop(publishing.child.stdin.take());
    publishing.end().succeeded();
}

/// Returns the metrics of the publisher.
fn metrics(host: &Host) -> String {
    let mut client = host.run(|| TcpStream::connect("10.0.0.1:9481")).unwrap().unwrap();
    let mut text = String::new();
    client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    client.read_to_string(&mut text).unwrap();
    text
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
    let serve = ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--snapshot", "7654:printf state"];
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
    let without = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--snapshot", "7654:printf state", "x"]);
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
        let from = format!("snapshot:{limit}");
        start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--from", &from])
    };
    let refused = subscribe("4").end();
    assert_eq!((refused.status, refused.text()), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("5 bytes long, more than the limit of 4"), "{refused:?}");
    assert!(refused.stderr.contains("--from snapshot:SIZE"), "{refused:?}");
    let accepted = subscribe("5");
    accepted.stderr.wait_for("a snapshot of");
    drop(publishing.child.stdin.take());
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("left because of an error"), "{ended:?}");
    assert_eq!(accepted.end().succeeded().text(), "state\n");
}
