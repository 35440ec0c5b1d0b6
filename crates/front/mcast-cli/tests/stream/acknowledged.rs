//! `mcast publish --ack`: who acknowledges messages, what is waited for, and the exit status.

use std::fs;
use std::io::Write;

use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, Running, eventually, mcast, program};
use crate::{GROUP, publisher, subscriber};

/// `mcast publish` of standard input on the first host.
fn publishing(lan: &Lan, arguments: &[&str]) -> Running {
    program(&lan.a, MCAST, &[&["publish", "-i", "eth0", GROUP], arguments].concat(), true)
}

#[test]
fn a_publisher_that_requires_two_says_that_one_is_present_and_waits_for_the_other() {
    let lan = Lan::new();
    let first = subscriber(&lan.b, &[GROUP, "--as", "first"]);
    let publishing = publisher(&lan.a, &[GROUP, "--ack", "2", "--linger", "1m", "hello"]);
    publishing.stderr.wait_for("subscriber first (10.0.0.2) joined");
    publishing.stderr.wait_for("waiting for 2 subscribers that must acknowledge messages: 1 is present");
    assert_eq!(first.stdout.text(), "", "nothing is published before the second is there");
    let second = subscriber(&lan.c, &[GROUP]);
    let ended = publishing.end().succeeded();
    assert!(ended.stderr.contains("acknowledged 1 of 1 message"), "{ended:?}");
    for running in [first, second] {
        assert_eq!(running.end().succeeded().text(), "hello\n");
    }
}

/// They were there before the publisher, which publishes before it has heard of them.
#[test]
fn those_that_wait_for_a_publisher_acknowledge_its_first_message() {
    for required in ["2", "all", "first,second"] {
        let lan = Lan::new();
        let waiting = [(&lan.b, "first"), (&lan.c, "second")]
            .map(|(host, name)| subscriber(host, &[GROUP, "--name", "p", "--as", name]));
        let arguments = [GROUP, "--name", "p", "--ack", &format!("{required}:report"), "a", "b"];
        let ended = publisher(&lan.a, &arguments).end().succeeded();
        assert!(ended.stderr.contains("acknowledged 2 of 2 messages"), "{ended:?}");
        waiting.into_iter().for_each(|running| assert_eq!(running.end().succeeded().text(), "a\nb\n"));
    }
}

#[test]
fn all_subscribers_must_acknowledge_or_those_with_names() {
    let lan = Lan::new();
    let running =
        [(&lan.b, "db"), (&lan.c, "audit")].map(|(host, name)| subscriber(host, &[GROUP, "--as", name]));
    let ended =
        publisher(&lan.a, &[GROUP, "--wait-for", "2", "--ack", "all", "--json", "a", "b"]).end().succeeded();
    let report = &ended.json()[0];
    assert_valid("publish-report", report);
    let acknowledgements = &report["acknowledgements"];
    assert_eq!((&acknowledgements["complete"], &acknowledgements["acknowledged"]), (&true.into(), &2.into()));
    let rows = acknowledgements["watermarks"].as_array().unwrap();
    let mut names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["audit", "db"]);
    assert!(rows.iter().all(|row| row["received"] == 2 && row["missing"] == 0), "{rows:?}");
    running.into_iter().for_each(|running| assert_eq!(running.end().succeeded().text(), "a\nb\n"));

    let db = subscriber(&lan.b, &[GROUP, "--as", "db"]);
    let publishing = publisher(&lan.a, &[GROUP, "--ack", "db,audit", "--linger", "1m", "c"]);
    publishing.stderr.wait_for("nobody is present as audit");
    let audit = subscriber(&lan.c, &[GROUP, "--as", "audit"]);
    publishing.end().succeeded();
    for running in [db, audit] {
        assert_eq!(running.end().succeeded().text(), "c\n");
    }
}

#[test]
fn two_subscribers_with_one_name_are_reported() {
    let lan = Lan::new();
    let running = [&lan.b, &lan.c].map(|host| subscriber(host, &[GROUP, "--as", "db"]));
    let mut publishing = publishing(&lan, &["--wait-for", "2", "--ack", "db", "--linger", "1m"]);
    publishing.stderr.wait_for("use the name db at the same time: --ack counts them as one");
    publishing.child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    let ended = publishing.end().succeeded();
    assert_eq!(ended.stderr.matches("use the name db").count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("10.0.0.2:") && ended.stderr.contains("10.0.0.3:"), "{ended:?}");
    running.into_iter().for_each(|running| assert_eq!(running.end().succeeded().text(), "a\n"));
}

/// It has acknowledged what it received, and nothing that was published later.
#[test]
fn a_killed_subscriber_acknowledges_nothing_more() {
    for (acknowledgers, status) in [("all", 1), ("1", 0)] {
        let lan = Lan::new();
        let [stays, dies] = [&lan.b, &lan.c].map(|host| subscriber(host, &[GROUP]));
        let mut publishing = publishing(&lan, &["--wait-for", "2", "--ack", acknowledgers, "--linger", "2s"]);
        let mut input = publishing.child.stdin.take().unwrap();
        input.write_all(b"a\n").unwrap();
        for running in [&stays, &dies] {
            running.stdout.wait_for("a\n");
        }
        dies.signalled(libc::SIGKILL);
        input.write_all(b"b\n").unwrap();
        drop(input);
        let ended = publishing.end();
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert_eq!(ended.stderr.contains("acknowledged 2 of 2 messages"), status == 0, "{ended:?}");
        assert_eq!(stays.end().succeeded().text(), "a\nb\n");
    }
}

#[test]
fn a_message_is_processed_when_its_command_has_succeeded() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", open.display());
    let running = subscriber(&lan.b, &[GROUP, "--exec", &wait]);
    let arguments = [GROUP, "--ack", "1:processed", "--linger", "1m", "a", "b"];
    let publishing = publisher(&lan.a, &arguments);
    publishing.stderr.wait_for("message 0 is acknowledged by 0 of 1 subscriber; waiting for 10.0.0.2");
    fs::write(&open, "").unwrap();
    let ended = publishing.end().succeeded();
    assert!(ended.stderr.contains("acknowledged 2 of 2 messages"), "{ended:?}");
    running.end().succeeded();

    let failing = subscriber(&lan.b, &[GROUP, "--exec", "[ $MCAST_SEQUENCE != 1 ]"]);
    let arguments = [GROUP, "--ack", "1:processed", "--linger", "2s", "a", "b", "c"];
    let ended = publisher(&lan.a, &arguments).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("acknowledged 1 of 3 messages"), "{ended:?}");
    assert_eq!(failing.end().status, Some(1));
}

/// The subscriber reads the log before it hears the publisher, which requests acknowledgements with its heartbeats.
#[test]
fn what_is_processed_before_the_publisher_is_heard_is_acknowledged() {
    if !mcast_lab::has_program("nft", "--version", "a group that does not arrive") {
        return;
    }
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let nft = |rules: &str| _ = program(&lan.b, "nft", &[rules], false).end().succeeded();
    nft("add table ip t; add chain ip t c { type filter hook input priority 0; }; \
         add rule ip t c ip daddr 239.1.2.3 drop");
    let (at, key) = ("10.0.0.1:7768", folder.path().join("key").display().to_string());
    mcast(&lan.a, &["keys", "make", &key]).succeeded();
    let logged = ["--name", "p", "--key", &key, "--log", &log, "--serve-history", at, "--linger", "30s"];
    let mut publishing = publishing(&lan, &[&logged[..], &["--ack", "db:processed"]].concat());
    publishing.child.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").unwrap();
    let past = ["--name", "p", "--key", &key, "--as", "db", "--from", "oldest", "--history-server", at];
    let subscribing = subscriber(&lan.b, &[&[GROUP, "--confirm", "pipe"], &past[..]].concat());
    subscribing.stdout.wait_for("one\ntwo\n");
    // It reads the keys after it has noticed what is processed.
    for times in [1, 2] {
        subscribing.child.signal(libc::SIGHUP).unwrap();
        eventually("the keys", || subscribing.stderr.text().matches("read the key file").count() == times);
    }
    nft("delete table ip t");
    publishing.stderr.wait_for("subscriber db (10.0.0.2) joined");
    drop(publishing.child.stdin.take());
    let ended = publishing.end().succeeded();
    assert!(ended.stderr.contains("acknowledged 2 of 2 messages"), "{ended:?}");
    assert_eq!(subscribing.end().succeeded().text(), "one\ntwo\n");
}

#[test]
fn a_lost_quorum_is_reported_instead_of_awaited() {
    let lan = Lan::new();
    let ended = publisher(&lan.a, &[GROUP, "--ack", "1:report", "a", "b"]).end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot be acknowledged as --ack requires"), "{ended:?}");
    assert!(ended.stderr.contains("acknowledged 0 of 2 messages"), "{ended:?}");

    // Ctrl-C ends a wait, with the usual status.
    let waiting = publisher(&lan.a, &[GROUP, "--ack", "1", "a"]);
    waiting.stderr.wait_for("0 are present");
    let ended = waiting.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
}

#[test]
fn names_are_checked() {
    let lan = Lan::new();
    for arguments in [
        ["subscribe", GROUP, "--as", "a b"],
        ["subscribe", GROUP, "--as", "12"],
        ["publish", GROUP, "--ack", "0"],
        ["publish", GROUP, "--ack", "a,,b"],
        ["publish", GROUP, "--ack", "1:processed:block"],
    ] {
        assert_eq!(mcast(&lan.a, &arguments).status, Some(2), "{arguments:?}");
    }
}
