//! `mcast publish --log`: kills, full disks, and what subscribers get.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use mcast_lab::{Impairment, Lab};
use mcast_sim::Dice;
use mcast_stream::history::HistoryContent;
use mcast_stream::log::{LogItem, LogReader};
use mcast_stream::seal::Keys;

use crate::metrics::get;
use crate::support::{Lan, MCAST, Running, TIMEOUT, eventually, mcast, mcast_with_input, program};
use crate::{GROUP, publisher, subscriber};

/// How often the publisher is killed: more often by `cargo soak --only log`.
const KILLS: u64 = 20;

/// `mcast publish` with this log, reading from its standard input.
fn logged(lan: &Lan, log: &str, more: &[&str]) -> Running {
    let arguments = [&["publish", "-i", "eth0", GROUP, "--name", "prices", "--log", log], more].concat();
    let running = program(&lan.a, MCAST, &arguments, true);
    running.stderr.wait_for("stream ");
    running
}

/// The messages in a log, as lines.
fn stored(log: &Path) -> Vec<String> {
    let mut reader = LogReader::open(log, Keys::none()).unwrap();
    let mut lines = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        match item {
            LogItem::Record(stored) => match stored.record.content {
                HistoryContent::Message { bytes, .. } => {
                    lines.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
                HistoryContent::End => {}
                other => panic!("{other:?}"),
            },
            LogItem::Damage(damage) => panic!("{damage:?}"),
        }
    }
    lines
}

/// Writes lines with ascending numbers until the pipe breaks or the time is over; returns whether it broke.
fn feed(running: &mut Running, from: usize, time: Duration) -> bool {
    let input = running.child.stdin.as_mut().unwrap();
    let until = Instant::now() + time;
    (from..).take_while(|_| Instant::now() < until).any(|number| writeln!(input, "{number}").is_err())
}

fn kill_repeatedly(kills: u64, sync: &str) {
    let seed = std::env::var("MCAST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(17);
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let name = log.to_str().unwrap();
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices"]);
    let more = ["--sync", sync, "--wait-for", "1"];
    for round in 0..kills {
        let next = if round == 0 { 0 } else { stored(&log).len() };
        let mut running = logged(&lan, name, &more);
        feed(&mut running, next, Duration::from_millis(dice.below(300)));
        running.signalled(libc::SIGKILL);
    }
    let next = stored(&log).len();
    let mut last = logged(&lan, name, &more);
    feed(&mut last, next, Duration::from_millis(50));
    drop(last.child.stdin.take());
    let ended = last.end().succeeded();
    assert!(ended.stderr.contains("continuing after"), "{ended:?}");
    let ended = subscribing.end().succeeded();
    let stored = stored(&log);
    // The log has what was accepted: the lines from the first on, of which each publisher read the ones after those of
    // the one before.
    let expected: Vec<String> = (0..stored.len()).map(|number| number.to_string()).collect();
    assert!(!stored.is_empty() && stored == expected);
    assert!(ended.lines() == stored, "{} of {}: {}", ended.lines().len(), stored.len(), ended.stderr);
    assert!(ended.stderr.contains("lost 0 messages"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("has restarted"), "{}", ended.stderr);
}

#[test]
fn a_publisher_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    kill_repeatedly(KILLS, "20ms");
}

#[test]
fn the_same_if_each_message_is_synced_before_it_is_sent() {
    kill_repeatedly(KILLS / 4, "each");
}

#[test]
#[ignore = "long: `cargo soak --only log`"]
fn a_publisher_that_is_killed_two_hundred_times_loses_and_repeats_nothing() {
    kill_repeatedly(200, "20ms");
}

#[test]
fn an_interrupt_does_not_end_the_stream_and_the_end_of_the_input_does() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices"]);
    let mut first = logged(&lan, &log, &["--wait-for", "1"]);
    first.child.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
    subscribing.stdout.wait_for("one");
    let interrupted = first.signalled(libc::SIGINT);
    assert!(interrupted.stderr.contains("published 1 message"), "{interrupted:?}");
    let mut second = logged(&lan, &log, &[]);
    second.child.stdin.take().unwrap().write_all(b"two\n").unwrap();
    let ended = second.end().succeeded();
    assert!(ended.stderr.contains("continuing after 1 message"), "{ended:?}");
    assert!(ended.stderr.contains("published 1 message"), "{ended:?}");
    assert_eq!(subscribing.end().succeeded().lines(), ["one", "two"]);
}

/// What was sent last, and is lost on the way, is repaired before the publisher ends.
#[test]
fn an_interrupt_leaves_no_subscriber_behind() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let lossy = Impairment { loss: 0.1, ..Impairment::default() };
    let _link = lab.bad_link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"], lossy).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let subscribing = subscriber(&b, &[GROUP, "--name", "prices"]);
    let options =
        ["-i", "eth0", GROUP, "--name", "prices", "--log", &log, "--wait-for", "1", "--rate", "4000pps"];
    let mut next = 0;
    for _ in 0..3 {
        let mut running = program(&a, MCAST, &[&["publish"], &options[..]].concat(), true);
        let mut input = running.child.stdin.take().unwrap();
        let mut is_over = move |number: &usize| writeln!(input, "{number}").is_err();
        let feeding = std::thread::spawn(move || (next..).find(|number| is_over(number)).is_some());
        subscribing.stdout.wait_for(&format!("\n{}\n", next + 500));
        let interrupted = running.signalled(libc::SIGINT);
        assert!(interrupted.stderr.contains("1 of 1 subscriber has everything"), "{interrupted:?}");
        assert!(feeding.join().unwrap());
        next = stored(Path::new(&log)).len();
    }
    let last = publisher(&a, &[GROUP, "--name", "prices", "--log", &log, "--wait-for", "1", "last"]);
    last.end().succeeded();
    let numbers = (0..next).map(|number| number.to_string());
    let expected: Vec<_> = numbers.chain(["last".to_owned()]).collect();
    assert_eq!(subscribing.end().succeeded().lines(), expected);
}

#[test]
fn a_late_subscriber_gets_what_only_the_log_has() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let more = ["--history", "64K", "--sync", "none", "--announce", "feed", "--serve-history", "10.0.0.1:0"];
    let mut publishing = logged(&lan, &log, &more);
    let lines: Vec<String> = (0..5_000).map(|number| format!("{number} {}", "x".repeat(40))).collect();
    let input = publishing.child.stdin.as_mut().unwrap();
    input.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while stored(Path::new(&log)).len() < lines.len() {
        assert!(Instant::now() < deadline, "{}", publishing.stderr.text());
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = subscriber(&lan.b, &["feed", "--name", "prices", "--from", "oldest", "-c", "5000"]).end();
    let all = all.succeeded();
    assert!(all.lines() == lines, "{}", all.stderr);
    assert!(all.stderr.contains("came from the history"), "{all:?}");
    publishing.signalled(libc::SIGKILL);
}

#[test]
fn a_subscriber_reports_once_that_it_waits_for_its_turn_at_the_log() {
    const LINES: usize = 4_000;
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let serve = ["--serve-history", "10.0.0.1:0:8Mbit", "--history", "64K", "--sync", "none"];
    let mut publishing = logged(&lan, &log, &serve);
    let line = "x".repeat(1_000);
    let input = publishing.child.stdin.as_mut().unwrap();
    (0..LINES).for_each(|number| writeln!(input, "{number} {line}").unwrap());
    eventually("the log of all lines", || stored(Path::new(&log)).len() == LINES);
    let late = || subscriber(&lan.b, &[GROUP, "--name", "prices", "--from", "oldest", "--json"]);
    // A host may have four turns. All four together read 1 MB per second.
    let four = [late(), late(), late(), late()];
    four.iter().for_each(|running| running.stdout.wait_for("x\""));
    let fifth = late();
    fifth.stdout.wait_for("\"history-queued\"");
    fifth.stderr.wait_for("the history server 10.0.0.1:");
    let last = format!("{} x", LINES - 1);
    four.iter().chain([&fifth]).for_each(|running| running.stdout.wait_for(&last));
    drop(publishing.child.stdin.take());
    publishing.end().succeeded();
    four.into_iter().for_each(|running| _ = running.end().succeeded());
    let ended = fifth.end().succeeded();
    let events: Vec<_> = ended.json().into_iter().filter(|row| row["event"] != "message").collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["history-queued", "joined", "ended", "summary"], "{}", ended.stderr);
    crate::schemas::assert_valid("stream-event", &events[0]);
    assert!(events[0]["server"].as_str().unwrap().starts_with("10.0.0.1:"), "{events:?}");
    assert!(events[0]["expected_seconds"].as_f64().unwrap() > 0.0, "{events:?}");
    assert_eq!(events[3]["messages_from_history"].as_u64().unwrap() / 1_000, 3, "{events:?}");
    assert!(ended.stderr.matches("serves others first").count() == 1, "{}", ended.stderr);
}

#[test]
fn a_log_is_not_served_too_slowly() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let arguments = [GROUP, "--name", "prices", "--log", &log, "--serve-history"];
    for (rate, reason) in [("1Mbit", "use a rate of 8Mbit or more"), ("10pps", "must be bits per second")] {
        let at = format!("10.0.0.1:0:{rate}");
        let ended = publisher(&lan.a, &[&arguments[..], &[&at, "hello"]].concat()).end();
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}

#[test]
fn a_disk_without_room_for_the_position_is_reported_before_a_subscriber_joins() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k small {disk} && (head -c 100000 /dev/zero > {disk}/ballast || true) && \
         exec {MCAST} subscribe {GROUP} --name prices --resume {disk}/other -W 1s"
    );
    let full = program(&lan.b, "unshare", &["-m", "sh", "-c", &script], false).end();
    assert_eq!(full.status, Some(4), "{full:?}");
    assert!(full.stderr.contains("cannot store the position in"), "{full:?}");
    assert!(!full.stderr.contains("joined"), "it does not join before: {full:?}");
}

#[test]
fn a_subscriber_that_is_killed_continues_after_what_it_processed() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let position = folder.path().join("position").display().to_string();
    let more = ["--history", "64K", "--sync", "none", "--announce", "feed", "--serve-history", "10.0.0.1:0"];
    let mut publishing = logged(&lan, &log, &more);
    let mut input = publishing.child.stdin.take().unwrap();
    let resumed =
        ["feed", "--name", "prices", "--from", "oldest", "--resume", &position, "--confirm", "pipe"];
    // The first run begins with the stream, so that the second one finds its first messages in the log only.
    let first = subscriber(&lan.b, &resumed);
    let lines: Vec<String> = (0..6_000).map(|number| format!("{number} {}", "x".repeat(40))).collect();
    let write = |input: &mut std::process::ChildStdin, lines: &[String]| {
        input.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    };
    write(&mut input, &lines[..1_000]);
    first.stdout.wait_for("999 x");
    let deadline = Instant::now() + TIMEOUT;
    while !std::fs::read_to_string(&position).is_ok_and(|text| text.contains(" 1000 0\n")) {
        assert!(Instant::now() < deadline, "{:?}", std::fs::read_to_string(&position));
        std::thread::sleep(Duration::from_millis(20));
    }
    write(&mut input, &lines[1_000..1_100]);
    first.stdout.wait_for("1099 x");
    let first = first.signalled(libc::SIGKILL);
    assert!(first.lines() == lines[..1_100]);
    write(&mut input, &lines[1_100..]);
    let second = subscriber(&lan.b, &resumed);
    second.stdout.wait_for("5999 x");
    drop(input);
    let second = second.end().succeeded();
    let received = second.lines();
    let from: usize = received[0].split(' ').next().unwrap().parse().unwrap();
    // What was processed after the last write is delivered again, and nothing is missing.
    assert!((1_000..=1_100).contains(&from), "{from}");
    assert!(received == lines[from..], "{second:?}");
    let other =
        ["subscribe", GROUP, "--name", "other", "--resume", &position, "--confirm", "pipe", "-W", "1s"];
    let other = mcast(&lan.b, &other);
    assert_eq!(other.status, Some(2), "{other:?}");
    assert!(other.stderr.contains("belongs to stream"), "{other:?}");
    publishing.end();
}

#[test]
fn an_error_of_the_input_does_not_end_the_stream() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let arguments = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--log", &log];
    let records = b"\0\0\0\x03one\0\0\0\x09two";
    let first = mcast_with_input(&lan.a, &[&arguments[..], &["--input", "records"]].concat(), records);
    assert!(first.status.is_some_and(|status| status > 1), "{first:?}");
    let second = mcast(&lan.a, &[&arguments[..], &["two"]].concat()).succeeded();
    assert!(second.stderr.contains("continuing after 1 message"), "{second:?}");
}

/// Writes these lines, and waits until the subscriber has printed the last one.
fn pass(publishing: &mut Running, subscribing: &Running, lines: &[&str]) {
    let text = lines.join("\n") + "\n";
    publishing.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    subscribing.stdout.wait_for(lines[lines.len() - 1]);
}

#[test]
fn acknowledgements_continue_after_a_restart_of_the_publisher() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices", "--as", "db"]);
    for lines in [["one", "two"], ["three", "four"]] {
        let mut publishing = logged(&lan, &log, &["--ack", "db", "--linger", "30s"]);
        pass(&mut publishing, &subscribing, &lines);
        publishing.signalled(libc::SIGKILL);
    }
    let mut last = logged(&lan, &log, &["--ack", "db", "--linger", "30s"]);
    pass(&mut last, &subscribing, &["five"]);
    drop(last.child.stdin.take());
    let ended = last.end().succeeded();
    // What the killed ones had not recorded as acknowledged is required again.
    let is_required = |count: u64| ended.stderr.contains(&format!("acknowledged {count} of {count} message"));
    assert!((1..=5).any(is_required), "{ended:?}");
    let ended = subscribing.end().succeeded();
    assert_eq!(ended.lines(), ["one", "two", "three", "four", "five"]);
    assert!(!ended.stderr.contains("has restarted"), "{ended:?}");
}

#[test]
fn what_could_not_be_sent_before_the_end_is_sent_by_the_next_publisher() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    // Nothing is sent without the subscriber that must acknowledge it.
    let arguments = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--log", &log, "--ack", "db"];
    let first = mcast(&lan.a, &[&arguments[..], &["--linger", "500ms", "one", "two"]].concat());
    assert_eq!(first.status, Some(1), "{first:?}");
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices", "--as", "db", "--from", "oldest"]);
    let second = mcast(&lan.a, &[&arguments[..], &["--wait-for", "1", "--linger", "30s", "three"]].concat());
    let second = second.succeeded();
    assert!(second.stderr.contains("continuing after 2 messages"), "{second:?}");
    assert_eq!(subscribing.end().succeeded().lines(), ["one", "two", "three"]);
}

#[test]
fn a_log_that_has_lost_messages_is_not_continued() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let name = log.to_str().unwrap();
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices"]);
    let mut first = logged(&lan, name, &["--wait-for", "1"]);
    pass(&mut first, &subscribing, &["one", "two", "three"]);
    first.signalled(libc::SIGKILL);
    for entry in std::fs::read_dir(&log).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut second = logged(&lan, name, &["--wait-for", "1"]);
    assert!(!second.stderr.text().contains("continuing"), "{}", second.stderr.text());
    pass(&mut second, &subscribing, &["four", "five"]);
    drop(second.child.stdin.take());
    second.end().succeeded();
    let ended = subscribing.end();
    assert_eq!(ended.lines(), ["one", "two", "three", "four", "five"]);
    assert_eq!(ended.status, Some(1), "an unknown number of messages may be lost: {ended:?}");
}

#[test]
fn a_full_disk_stops_the_publisher_until_there_is_space() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices"]);
    // In a mount namespace of its own.
    let script = format!(
        "mount -t tmpfs -o size=512k small {disk} && head -c 400000 /dev/zero > {disk}/other && \
         exec {MCAST} publish -i eth0 {GROUP} --name prices --log {disk}/log --wait-for 1 --sync none \
         --metrics 127.0.0.1:9481"
    );
    let mut publishing = program(&lan.a, "unshare", &["-m", "sh", "-c", &script], true);
    let lines: Vec<String> = (0..3_000).map(|number| format!("{number} {}", "x".repeat(40))).collect();
    let mut input = publishing.child.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    publishing.stderr.wait_for("nothing is published until it can be written");
    assert!(publishing.stderr.text().contains("free space on the disk"), "{}", publishing.stderr.text());
    assert!(!subscribing.stdout.text().contains("2999 "), "it is not in the log");
    eventually("a publisher that is not ready", || {
        get(&lan.a, "/ready").ends_with("\r\n\r\nnot ready: the log cannot be written\n")
    });
    std::fs::remove_file(format!("/proc/{}/root{disk}/other", publishing.child.id())).unwrap();
    publishing.stderr.wait_for("the log can be written again");
    writing.join().unwrap();
    publishing.end().succeeded();
    assert!(subscribing.end().succeeded().lines() == lines);
}

#[test]
fn an_interrupt_on_a_full_disk_reports_once_what_was_read_and_not_published() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=512k small {disk} && head -c 400000 /dev/zero > {disk}/other && \
         exec {MCAST} publish -i eth0 {GROUP} --name prices --log {disk}/log --sync none --json"
    );
    let mut publishing = program(&lan.a, "unshare", &["-m", "sh", "-c", &script], true);
    let text = (0..3_000).map(|number| format!("{number} {}\n", "x".repeat(40))).collect::<String>();
    publishing.child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    publishing.stderr.wait_for("nothing is published until it can be written");
    let ended = publishing.signalled(libc::SIGINT);
    assert_eq!(ended.stderr.matches("nothing is published until").count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("messages read but not published"), "{ended:?}");
    let summary = ended.json().pop().unwrap();
    let [published, unpublished] =
        ["messages", "unpublished_messages"].map(|name| summary[name].as_u64().unwrap());
    assert!(unpublished > 0, "{summary}");
    assert_eq!(published + unpublished, 3_000, "{summary}");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    let lan = Lan::new();
    let arguments = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--log", "/proc/log", "hello"];
    let ended = mcast(&lan.a, &arguments);
    assert!(ended.status.is_some_and(|status| status > 1), "{ended:?}");
    assert!(ended.stderr.contains("/proc/log"), "{ended:?}");
}

#[test]
fn a_log_needs_a_name_and_is_written_by_one_publisher() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let ended = publisher(&lan.a, &[GROUP, "--log", &log, "hello"]).end();
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("add --name NAME or --announce NAME"), "{ended:?}");
    let first = logged(&lan, &log, &[]);
    let ended = publisher(&lan.a, &[GROUP, "--name", "prices", "--log", &log, "hello"]).end();
    assert!(ended.stderr.contains("another publisher is writing the log"), "{ended:?}");
    assert!(ended.stderr.contains("use another directory"), "{ended:?}");
    first.signalled(libc::SIGKILL);
}

/// Publishes numbered lines until the publisher waits because of the size of its log, and then ends it.
fn fill(mut publishing: Running, lines: &[String], signal: i32) -> crate::support::Ended {
    let mut input = publishing.child.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    // The publisher reads ahead, but not all, and the pipe breaks.
    let writing = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    publishing.stderr.wait_for("more than --max-size");
    let ended = publishing.signalled(signal);
    writing.join().unwrap();
    ended
}

#[test]
fn retention_removes_nothing_that_was_not_sent() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let lan = Lan::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = path.display().to_string();
        let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices", "--stay"]);
        let lines: Vec<String> = (0..4_000).map(|number| format!("{number} {}", "x".repeat(200))).collect();
        // What a subscriber has not confirmed yet would keep the log larger by the retransmission buffer.
        let limit = ["--max-size", "200K", "--rate", "1Mbit", "--wait-for", "1", "--flow", "none"];
        let first = fill(logged(&lan, &log, &limit), &lines, signal);
        let accepted = stored(&path);
        let all: u64 = segments_of(&path);
        assert!(all < 300_000, "{all} bytes: {first:?}");
        let mut second = logged(&lan, &log, &["--max-size", "200K"]);
        drop(second.child.stdin.take());
        let second = second.end().succeeded();
        let last: usize = accepted[accepted.len() - 1].split(' ').next().unwrap().parse().unwrap();
        subscribing.stdout.wait_for(&format!("\n{last} x"));
        let ended = subscribing.signalled(libc::SIGINT);
        assert!(ended.lines() == lines[..=last], "{signal} {last}: {} {second:?}", ended.stderr);
        assert!(ended.stderr.contains("lost 0 messages"), "{}", ended.stderr);
    }
}

/// Returns the bytes of all segments.
fn segments_of(log: &Path) -> u64 {
    let files = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    files.sum()
}

#[test]
fn what_is_not_acknowledged_outlives_its_age_and_a_publisher_without_acknowledgements() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = path.display().to_string();
    let aged = ["--max-age", "200ms", "--ack", "db", "--json"];
    let mut publishing = logged(&lan, &log, &aged);
    let mut input = publishing.child.stdin.take().unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let mut count = 0;
    while !publishing.stdout.text().contains("log-held") {
        writeln!(input, "{count}").unwrap();
        count += 1;
        assert!(Instant::now() < deadline, "{}", publishing.stderr.text());
        std::thread::sleep(Duration::from_millis(5));
    }
    let first = publishing.signalled(libc::SIGKILL);
    assert!(first.stderr.contains("older than --max-age"), "{first:?}");
    let event = &first.json()[0];
    crate::schemas::assert_valid("publish-log", event);
    assert_eq!(
        (&event["event"], &event["first"], &event["waits"]),
        (&"log-held".into(), &0.into(), &false.into())
    );
    let lines: Vec<String> = (0..count).map(|number: usize| number.to_string()).collect();
    let accepted = stored(&path);
    assert!(accepted.len() > 10 && accepted == lines[..accepted.len()]);
    let subscribing = subscriber(&lan.b, &[GROUP, "--name", "prices", "--from", "oldest"]);
    let mut second = logged(&lan, &log, &["--max-age", "200ms"]);
    subscribing.stdout.wait_for(&format!("{}\n", accepted[accepted.len() - 1]));
    drop(second.child.stdin.take());
    second.end().succeeded();
    assert_eq!(subscribing.end().succeeded().lines(), accepted);
}
