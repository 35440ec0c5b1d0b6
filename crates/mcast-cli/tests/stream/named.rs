//! Streams that are found by the name that their publisher announces.

use crate::support::{Lan, mcast};
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
fn a_publisher_that_starts_again_is_the_same_stream() {
    let lan = Lan::new();
    let running = start(&lan.b, &["subscribe", "-i", "eth0", "news", "--stay", "-c", "2"]);
    for word in ["a", "b"] {
        publisher(&lan.a, &[GROUP, "--announce", "news", "--wait-for", "1", word]).end().succeeded();
    }
    assert_eq!(running.end().succeeded().text(), "a\nb\n");
}

#[test]
fn a_name_that_nobody_announces_is_a_no_with_a_remedy() {
    let lan = Lan::new();
    let others = publisher(&lan.a, &[GROUP, "--announce", "news", "--wait-for", "1", "x"]);
    let ended = mcast(&lan.b, &["subscribe", "-i", "eth0", "prices", "-W", "1500ms"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("nobody announced a stream \"prices\" within 1.5 s"), "{ended:?}");
    assert!(ended.stderr.contains("--announce"), "{ended:?}");
    let listens = subscriber(&lan.b, &["news"]);
    others.end().succeeded();
    listens.end().succeeded();
}

#[test]
fn a_sealed_stream_is_found_by_who_has_its_secret() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("a.key").display().to_string();
    mcast(&lan.a, &["publish", "--new-key", &key]).succeeded();
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
