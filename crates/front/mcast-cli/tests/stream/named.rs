//! Streams found by the name that their publisher announces.

use std::io::Write;

use crate::support::{Lan, MCAST, mcast, program};
use crate::{GROUP, GROUPS, publisher, start, subscriber};

#[test]
fn a_stream_is_found_by_its_name_alone() {
    let lan = Lan::new();
    for group in GROUPS.into_iter().chain(["232.1.2.3:7000"]) {
        let running = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--json"]);
        let arguments = [group, "--announce", "prices", "--wait-for", "1", "--json", "a", "b"];
        let report = publisher(&lan.a, &arguments).end().succeeded().json().remove(0);
        let ended = running.end().succeeded();
        assert!(ended.stderr.contains("\"prices\" is announced by"), "{ended:?}");
        let rows = ended.json();
        let texts: Vec<_> = rows.iter().filter_map(|row| row["text"].as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        let streams = rows.iter().filter_map(|row| row.get("stream"));
        assert!(streams.into_iter().all(|stream| *stream == report["stream"]), "{rows:?}");
    }
}

#[test]
fn a_restarted_publisher_continues_the_stream() {
    let lan = Lan::new();
    let running = start(&lan.b, &["subscribe", "-i", "eth0", "news", "--stay", "-c", "2"]);
    for word in ["a", "b"] {
        publisher(&lan.a, &[GROUP, "--announce", "news", "--wait-for", "1", word]).end().succeeded();
    }
    assert_eq!(running.end().succeeded().text(), "a\nb\n");
}

#[test]
fn a_name_that_is_not_announced_fails_with_a_remedy() {
    let lan = Lan::new();
    let others = publisher(&lan.a, &[GROUP, "--announce", "news", "--wait-for", "1", "x"]);
    let ended = mcast(&lan.b, &["subscribe", "-i", "eth0", "prices", "-W", "1500ms"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no publisher announced a stream \"prices\" within 1.5 s"), "{ended:?}");
    assert!(ended.stderr.contains("--announce"), "{ended:?}");
    let listens = subscriber(&lan.b, &["news"]);
    others.end().succeeded();
    listens.end().succeeded();
}

#[test]
fn a_sealed_stream_is_found_with_its_secret() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("a.key").display().to_string();
    mcast(&lan.a, &["keys", "make", &key]).succeeded();
    let knows = start(&lan.b, &["subscribe", "-i", "eth0", "prices", "--key", &key]);
    let stranger = start(&lan.c, &["subscribe", "-i", "eth0", "prices", "-W", "2s"]);
    let arguments = [GROUP, "--announce", "prices", "--wait-for", "1", "--key", &key, "secret"];
    publisher(&lan.a, &arguments).end().succeeded();
    assert_eq!(knows.end().succeeded().text(), "secret\n");
    let ended = stranger.end();
    assert_eq!((ended.status, ended.text()), (Some(1), ""), "{ended:?}");
}

#[test]
fn names_that_could_be_memberships_are_refused() {
    let lan = Lan::new();
    for name in ["", "mdns", "239.1.2.3", "a:b"] {
        let ended = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--announce", name, "x"]);
        assert_eq!(ended.status, Some(2), "{ended:?}");
    }
    let ended = mcast(&lan.b, &["subscribe", "-i", "eth0", "prices", "--path", GROUP]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("remedy"), "{ended:?}");
}

/// A file as a publisher leaves it that was started in 2033, by its clock.
fn state_of_a_clock_that_was_ahead(folder: &std::path::Path, stream: &str) -> String {
    let path = folder.join("state");
    std::fs::write(&path, format!("mcast-publisher-state-1 {stream} 1200000000\n")).unwrap();
    path.display().to_string()
}

#[test]
fn a_state_file_keeps_the_stream_after_the_clock_was_set_back() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let first = publisher(&lan.a, &[GROUP, "--name", "news", "--json", "x"]).end().succeeded().json();
    let state = state_of_a_clock_that_was_ahead(folder.path(), first[0]["stream"].as_str().unwrap());
    let running = subscriber(&lan.b, &[GROUP, "--name", "news", "--stay", "-c", "2"]);
    for word in ["a", "b"] {
        let arguments = [GROUP, "--name", "news", "--state", &state, "--wait-for", "1", word];
        let ended = publisher(&lan.a, &arguments).end().succeeded();
        assert!(ended.stderr.contains("the clock of this machine is"), "{ended:?}");
    }
    assert_eq!(running.end().succeeded().text(), "a\nb\n");
    assert!(std::fs::read_to_string(state).unwrap().ends_with(" 1200000002\n"));
}

#[test]
fn a_state_file_that_cannot_be_used_is_refused_before_anything_is_sent() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let state = state_of_a_clock_that_was_ahead(folder.path(), "0000000000000001");
    let ended = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--name", "news", "--state", &state, "x"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("belongs to stream 0000000000000001"), "{ended:?}");
    let ended = mcast(&lan.a, &["publish", "-i", "eth0", GROUP, "--state", &state, "x"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("add --name NAME"), "{ended:?}");
}

/// The first publisher is killed, so how much of its stream was missed is unknown.
#[test]
fn a_takeover_reports_possible_losses_only_to_earlier_subscribers() {
    let lan = Lan::new();
    let first = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--wait-for", "1"];
    let was_there = subscriber(&lan.b, &[GROUP, "--name", "prices", "--json"]);
    let mut publishing = program(&lan.a, MCAST, &first, true);
    publishing.child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    was_there.stdout.wait_for("\"text\":\"a\"");
    publishing.signalled(libc::SIGKILL);

    let second = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--wait-for", "2", "b"];
    let publishing = start(&lan.c, &second);
    publishing.stderr.wait_for("joined");
    let late = subscriber(&lan.a, &[GROUP, "--name", "prices"]);
    publishing.end().succeeded();

    let ended = was_there.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let rows = ended.json();
    let texts: Vec<_> = rows.iter().filter_map(|row| row["text"].as_str()).collect();
    assert_eq!(texts, ["a", "b"]);
    assert!(rows.iter().any(|row| row["event"] == "lost-unknown"), "{rows:?}");
    let ended = late.end().succeeded();
    assert_eq!(ended.text(), "b\n");
}

/// The subscriber reports that to it: otherwise it would only see that nobody is there any more.
#[test]
fn a_superseded_publisher_is_told_so() {
    let lan = Lan::new();
    let first = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--wait-for", "1"];
    let following = subscriber(&lan.b, &[GROUP, "--name", "prices"]);
    let mut superseded = program(&lan.a, MCAST, &first, true);
    superseded.child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    following.stdout.wait_for("a\n");

    let publishing =
        start(&lan.c, &["publish", "-i", "eth0", GROUP, "--name", "prices", "--wait-for", "1", "b"]);
    superseded.stderr.wait_for("superseded: another publisher of this stream was started later");
    publishing.end().succeeded();
    assert_eq!(following.end().text(), "a\nb\n");
    let mut input = superseded.child.stdin.take().unwrap();
    input.write_all(b"c\n").unwrap();
    drop(input);
    let ended = superseded.end();
    assert_eq!(ended.stderr.matches("superseded").count(), 1, "{ended:?}");
    assert!(!ended.stderr.contains("gone silent"), "{ended:?}");
    // Nobody has the last message.
    assert_eq!(ended.status, Some(1), "{ended:?}");
}

/// What it publishes meanwhile is acknowledged once its successor has ended, and the subscriber has come back.
#[test]
fn a_superseded_publisher_waits_for_acknowledgements_until_its_subscriber_is_back() {
    let lan = Lan::new();
    let following = subscriber(&lan.b, &[GROUP, "--name", "prices", "--stay"]);
    let publish = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--wait-for", "1"];
    let mut superseded = program(&lan.a, MCAST, &[&publish[..], &["--ack", "1"]].concat(), true);
    superseded.child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    following.stdout.wait_for("a\n");

    let mut successor = program(&lan.c, MCAST, &publish, true);
    superseded.stderr.wait_for("superseded");
    successor.child.stdin.as_mut().unwrap().write_all(b"b\n").unwrap();
    following.stdout.wait_for("b\n");
    let mut input = superseded.child.stdin.take().unwrap();
    input.write_all(b"c\n").unwrap();
    drop(input);
    superseded.stderr.wait_for("0 are present");
    drop(successor.child.stdin.take());
    successor.end().succeeded();

    let ended = superseded.end().succeeded();
    assert!(ended.stderr.contains("acknowledged 2 of 2 messages"), "{ended:?}");
    assert_eq!(following.signalled(libc::SIGINT).text(), "a\nb\nc\n");
}
