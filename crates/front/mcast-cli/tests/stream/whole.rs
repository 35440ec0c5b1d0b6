//! Published messages arrive unchanged.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, mcast, program};
use crate::{GROUP, GROUPS, publisher, start, subscriber};

#[test]
fn every_message_is_a_line_for_each_subscriber() {
    let lan = Lan::new();
    for group in GROUPS {
        let running = [subscriber(&lan.b, &[group]), subscriber(&lan.c, &[group, "--spin"])];
        let ended = publisher(&lan.a, &[group, "--wait-for", "2", "hello", "", "world"]).end().succeeded();
        assert!(ended.stderr.contains("2 of 2 subscribers have everything"), "{ended:?}");
        for running in running {
            let ended = running.end().succeeded();
            assert_eq!(ended.text(), "hello\n\nworld\n");
            // The rate is that of the whole time, which is printed with it, not of a microsecond between two messages.
            assert!(ended.stderr.contains("received 3 messages, 10 bytes in "), "{ended:?}");
            assert!(!ended.stderr.contains("Mbit/s") && !ended.stderr.contains("Gbit/s"), "{ended:?}");
        }
    }
}

#[test]
fn json_has_sequences_and_events() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP, "--json"]);
    let arguments = [GROUP, "--wait-for", "1", "--json", "--name", "prices", "grüß", "b"];
    let published = publisher(&lan.a, &arguments).end().succeeded();
    let rows = running.end().succeeded().json();

    let report = &published.json()[0];
    assert_valid("publish-report", report);
    assert_eq!((report["messages"].as_u64(), report["bytes"].as_u64()), (Some(2), Some(7)), "{report}");
    assert_eq!(report["subscribers"][0]["state"], "complete", "{report}");
    let messages: Vec<&Value> = rows.iter().filter(|row| row["event"] == "message").collect();
    for (number, (message, text)) in messages.iter().zip(["grüß", "b"]).enumerate() {
        assert_valid("message", message);
        assert_eq!((&message["text"], message["sequence"].as_u64()), (&text.into(), Some(number as u64)));
        assert_eq!(message["stream"], report["stream"]);
    }
    let (summary, rows) = rows.split_last().unwrap();
    assert_valid("subscribe-summary", summary);
    assert_eq!((summary["messages"].as_u64(), &summary["stream"]), (Some(2), &report["stream"]));
    assert!(summary.get("for_others").is_none(), "{summary}");
    let events: Vec<&Value> = rows.iter().filter(|row| row["event"] != "message").collect();
    events.iter().for_each(|event| assert_valid("stream-event", event));
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["joined", "ended"]);
}

#[test]
fn lines_of_standard_input_arrive_byte_for_byte() {
    let lan = Lan::new();
    let lines: Vec<u8> = (0..50_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    let running = subscriber(&lan.b, &[GROUP]);
    let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "1"];
    let mut publishing = program(&lan.a, crate::support::MCAST, &arguments, true);
    publishing.child.stdin.take().unwrap().write_all(&lines).unwrap();
    publishing.end().succeeded();
    assert!(running.end().succeeded().stdout == lines);
}

#[test]
fn records_and_files_may_contain_any_bytes() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
    let contents: [&[u8]; 3] = [b"\n\0\xff", b"", &large];
    let names: Vec<String> = contents
        .iter()
        .enumerate()
        .map(|(number, bytes)| {
            let path = folder.path().join(number.to_string());
            fs::write(&path, bytes).unwrap();
            path.display().to_string()
        })
        .collect();
    let records: Vec<u8> =
        contents.iter().flat_map(|bytes| [&(bytes.len() as u32).to_be_bytes(), *bytes].concat()).collect();

    let running = subscriber(&lan.b, &[GROUP, "--output", "records"]);
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    publisher(&lan.a, &[&[GROUP, "--wait-for", "1", "--input", "files"], &words[..]].concat())
        .end()
        .succeeded();
    assert!(running.end().succeeded().stdout == records);

    let running = subscriber(&lan.b, &[GROUP, "--output", "records"]);
    let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "1", "--input", "records"];
    let mut publishing = program(&lan.a, crate::support::MCAST, &arguments, true);
    publishing.child.stdin.take().unwrap().write_all(&records).unwrap();
    publishing.end().succeeded();
    assert!(running.end().succeeded().stdout == records);
}

#[test]
fn a_command_runs_for_each_message_in_order() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP, "--exec", "echo $MCAST_SEQUENCE $(cat)"]);
    publisher(&lan.a, &[GROUP, "--wait-for", "1", "a", "b", "c"]).end().succeeded();
    assert_eq!(running.end().succeeded().text(), "0 a\n1 b\n2 c\n");
}

#[test]
fn stay_follows_the_next_incarnation() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP, "--stay", "-c", "4"]);
    for words in [["a", "b"], ["c", "d"]] {
        publisher(&lan.a, &[&[GROUP, "--name", "news", "--wait-for", "1"], &words[..]].concat())
            .end()
            .succeeded();
    }
    assert_eq!(running.end().succeeded().text(), "a\nb\nc\nd\n");
}

#[test]
fn a_late_subscriber_can_start_with_the_oldest_message() {
    let lan = Lan::new();
    let mut publishing = program(&lan.a, crate::support::MCAST, &["publish", "-i", "eth0", GROUP], true);
    let mut input = publishing.child.stdin.take().unwrap();
    input.write_all(b"a\nb\n").unwrap();
    publishing.stderr.wait_for("stream");
    let late = subscriber(&lan.b, &[GROUP, "--from", "oldest"]);
    publishing.stderr.wait_for("subscriber 10.0.0.2 joined");
    input.write_all(b"c\n").unwrap();
    drop(input);
    publishing.end().succeeded();
    assert_eq!(late.end().succeeded().text(), "a\nb\nc\n");
}

#[test]
fn a_timeout_is_status_1_and_no_route_an_error() {
    let lan = Lan::new();
    let silent = mcast(&lan.b, &["subscribe", "-i", "eth0", GROUP, "-W", "300ms"]);
    assert_eq!(silent.status, Some(1), "{silent:?}");

    let lab = mcast_lab::Lab::new().unwrap();
    let lonely = lab.host("lonely").unwrap();
    let ended = mcast(&lonely, &["publish", GROUP, "x"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("no route") && ended.stderr.contains("remedy"), "{ended:?}");
}

/// After five seconds of silence, what it has is unknown, and nobody waits for it any longer.
#[test]
fn a_killed_subscriber_is_named_with_status_1() {
    for (linger, state) in
        [("1s", "has not confirmed the last"), ("1h", "fell silent: what it has is unknown")]
    {
        let lan = Lan::new();
        let [stays, dies] = [&lan.b, &lan.c].map(|host| subscriber(host, &[GROUP]));
        let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "2", "--linger", linger];
        let mut publishing = program(&lan.a, crate::support::MCAST, &arguments, true);
        let mut input = publishing.child.stdin.take().unwrap();
        input.write_all(b"a\n").unwrap();
        for running in [&stays, &dies] {
            running.stdout.wait_for("a\n");
        }
        dies.signalled(libc::SIGKILL);
        input.write_all(b"b\n").unwrap();
        drop(input);
        let ended = publishing.end();
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let named = ended.stderr.lines().find(|line| line.contains("  10.0.0.3:"));
        assert!(named.is_some_and(|line| line.contains(state)), "{ended:?}");
        assert_eq!(stays.end().succeeded().text(), "a\nb\n");
    }
}

#[test]
fn a_timeout_ends_it_while_messages_keep_arriving() {
    let lan = Lan::new();
    let running = subscriber(&lan.b, &[GROUP, "-W", "4s", "--json", "--exec", "sleep 0.1"]);
    let words: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let words = words.iter().map(String::as_str);
    let arguments: Vec<&str> =
        [GROUP, "--wait-for", "1", "--linger", "30s"].into_iter().chain(words).collect();
    let publishing = publisher(&lan.a, &arguments);
    let ended = running.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let rows = ended.json();
    let messages = rows.iter().filter(|row| row["event"] == "message").count() as u64;
    assert!((1..100).contains(&messages), "{messages} of 200");
    // What was received, and not handed to the command in time, is reported.
    let lost: u64 =
        rows.iter().filter(|row| row["event"] == "lost").filter_map(|row| row["count"].as_u64()).sum();
    assert_eq!(messages + lost, 200, "{ended:?}");
    publishing.end();
}

/// Sends the signal when the first handler of it is installed.
#[test]
fn a_signal_while_its_handler_is_installed_ends_the_command() {
    let strace = ["-e", "trace=rt_sigaction"];
    if !mcast_lab::has_program("strace", "-V", "a signal between two system calls") {
        return;
    }
    let lan = Lan::new();
    let subscribe = [MCAST, "subscribe", GROUP, "-W"];
    let traced = program(&lan.b, "strace", &[&strace[..], &subscribe, &["1s"]].concat(), false).end();
    let calls: Vec<&str> = traced.stderr.lines().filter(|line| line.starts_with("rt_sigaction(")).collect();
    for (signal, status) in [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)] {
        let installs = format!("rt_sigaction({signal}, {{");
        let numbers = (1..).zip(&calls).filter(|(_, line)| line.starts_with(&installs));
        let numbers: Vec<usize> = numbers.map(|(number, _)| number).collect();
        assert!(!numbers.is_empty(), "{traced:?}");
        for number in numbers {
            let inject = format!("inject=rt_sigaction:signal={signal}:when={number}");
            let strace = [&strace[..], &["-e", &inject]].concat();
            let ended = program(&lan.b, "strace", &[&strace[..], &subscribe, &["10s"]].concat(), false).end();
            assert_eq!(ended.status, Some(status), "{signal} at call {number}: {ended:?}");
        }
    }
}

#[test]
fn an_interrupt_while_it_starts_ends_the_command() {
    let lan = Lan::new();
    for microseconds in 0..200 {
        let running = start(&lan.b, &["subscribe", GROUP]);
        // It does not handle interrupts yet, or is about to.
        running.stderr.wait_for("joined");
        let until = Instant::now() + Duration::from_micros(microseconds);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let ended = running.signalled(libc::SIGINT);
        assert!(matches!(ended.status, None | Some(130)), "{ended:?}");
    }
}
