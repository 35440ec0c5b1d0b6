//! `mcast log`, with logs that the library wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use mcast_capture::CaptureFile;
use mcast_log::{LogOptions, LogTime, SyncPolicy, Writer};
use mcast_stream::history::{GapCause, HistoryContent};
use mcast_stream::wire::{Incarnation, MessageKey, MessageNumber, StreamId};
use serde_json::Value;
use tempfile::TempDir;

use crate::help::plain;
use crate::schemas::assert_valid;

const SECOND: u64 = 1_000_000_000;
/// 2026-01-22T09:00:00Z, long ago.
const START: u64 = 1_769_072_400 * SECOND;

/// A log of two incarnations with 200 messages, one per second, a gap, and an end.
fn log() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for incarnation in [1, 2] {
        let options = LogOptions { segment_bytes: 4_096, sync: SyncPolicy::None, ..LogOptions::default() };
        let stream = StreamId::named("prices");
        let opened = Writer::open(directory.path(), stream, "prices", Incarnation(incarnation), options);
        let (mut writer, _) = opened.unwrap();
        for _ in 0..100 {
            let number = writer.next_number().0;
            let bytes = format!("message {number}");
            let key = (number % 2 == 1).then_some(MessageKey(7));
            let message = HistoryContent::Message { key, bytes: bytes.as_bytes() };
            writer.append(LogTime(START + number * SECOND), &[message]).unwrap();
        }
        let end = MessageNumber(writer.next_number().0 + 5);
        let gap = HistoryContent::Gap { end, cause: GapCause::JoinedLate };
        writer.append(LogTime(START + end.0 * SECOND), &[gap, HistoryContent::End]).unwrap();
        writer.close().unwrap();
    }
    directory
}

fn run(arguments: &[&str], directory: &Path) -> Output {
    let directory = directory.to_str().unwrap();
    plain(
        &arguments
            .iter()
            .map(|argument| if *argument == "DIR" { directory } else { argument })
            .collect::<Vec<_>>(),
    )
}

fn json(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}

#[test]
fn the_segments_of_a_log_are_listed() {
    let directory = log();
    let listed = json(&run(&["log", "list", "DIR", "--json"], directory.path()));
    listed.iter().for_each(|segment| assert_valid("log-segment", segment));
    assert_eq!(listed.len(), segments(directory.path()).len());
    assert_eq!((&listed[0]["first"], &listed[0]["name"]), (&0.into(), &"prices".into()));
    for pair in listed.windows(2) {
        assert_eq!(pair[0]["end"], pair[1]["first"]);
    }
    let records: u64 = listed.iter().map(|segment| segment["records"].as_u64().unwrap()).sum();
    assert_eq!((records, &listed.last().unwrap()["end"]), (204, &210.into()));

    let table = run(&["log", "list", "DIR"], directory.path());
    let text = String::from_utf8(table.stdout).unwrap();
    assert_eq!(text.lines().count(), listed.len() + 1, "{text}");
    assert!(String::from_utf8(table.stderr).unwrap().contains("prices: 204 records"));
}

#[test]
fn an_intact_log_is_verified() {
    let output = run(&["log", "verify", "DIR", "--json"], log().path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [summary] = &json(&output)[..] else { panic!("{output:?}") };
    assert_valid("log-summary", summary);
    assert_eq!((&summary["messages"], &summary["incarnations"]), (&200.into(), &2.into()));
}

#[test]
fn damage_is_reported_with_its_place_and_what_is_missing() {
    let directory = log();
    let path = &segments(directory.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"message 5").unwrap();
    bytes[at] ^= 1;
    fs::write(path, &bytes).unwrap();
    let output = run(&["log", "verify", "DIR", "--json"], directory.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let [damage, summary] = &json(&output)[..] else { panic!("{output:?}") };
    assert_valid("log-damage", damage);
    assert_eq!((&damage["first"], &damage["end"]), (&5.into(), &6.into()));
    assert_eq!(damage["offset"].as_u64(), Some(at as u64 - 8 - 32), "{damage}");
    assert_eq!((&summary["damaged"], &summary["missing"]), (&1.into(), &1.into()));
    let text = String::from_utf8(run(&["log", "verify", "DIR"], directory.path()).stdout).unwrap();
    assert!(text.contains("49 bytes damaged, 1 message missing: 5 to 5"), "{text}");

    let exported = run(&["log", "export", "DIR"], directory.path());
    assert_eq!(exported.status.code(), Some(1));
    let events: Vec<_> = json(&exported).into_iter().filter(|event| event["event"] == "damage").collect();
    assert_eq!(events.len(), 1);
}

#[test]
fn messages_are_exported_as_json_from_any_start() {
    let directory = log();
    let all = json(&run(&["log", "export", "DIR"], directory.path()));
    for record in &all {
        assert_valid(if record["event"] == "message" { "message" } else { "log-event" }, record);
    }
    let events = |name: &str| all.iter().filter(|record| record["event"] == name).count();
    assert_eq!((events("message"), events("gap"), events("end")), (200, 2, 2));
    assert_eq!((&all[1]["text"], &all[1]["key"]), (&"message 1".into(), &7.into()));
    assert_eq!(all[1]["time"], "2026-01-22T09:00:01.000000000Z");

    for (start, first) in [("0", 0), ("99", 99), ("150", 150), ("2026-01-22T09:01:00Z", 60)] {
        let found = json(&run(&["log", "export", "DIR", "--from", start, "-c", "3"], directory.path()));
        assert_eq!(found[0]["sequence"], first, "{start}");
        assert_eq!(found.iter().filter(|record| record["event"] == "message").count(), 3);
    }
}

#[test]
fn messages_are_exported_as_datagrams_in_a_capture_file() {
    let directory = log();
    let capture = directory.path().join("prices.pcapng");
    let path = capture.to_str().unwrap();
    let export = ["log", "export", "DIR", "239.255.1.3:5000", "-w", path];
    let output = run(&export, directory.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut file = CaptureFile::open(&capture).unwrap();
    let mut number = 0;
    while let Some(frame) = file.next().unwrap() {
        let packet = frame.packet();
        let udp = packet.udp().unwrap();
        let expected = if number < 100 { number } else { number + 5 };
        assert_eq!(udp.payload, format!("message {expected}").as_bytes());
        assert_eq!(
            (packet.ip_layer().unwrap().destination.to_string(), udp.destination_port),
            ("239.255.1.3".into(), 5_000)
        );
        assert_eq!(frame.time, LogTime(START + expected * SECOND).system_time());
        number += 1;
    }
    assert_eq!(number, 200);
    let refused = run(&export, directory.path());
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--force"));
    assert_eq!(run(&["log", "export", "DIR", "-w", path], directory.path()).status.code(), Some(2));
    assert_eq!(
        run(&["log", "export", "DIR", "10.0.0.1:5", "-w", path], directory.path()).status.code(),
        Some(2)
    );
}

#[test]
fn old_segments_are_pruned() {
    let directory = log();
    let before = segments(directory.path());
    let output = run(&["log", "prune", "DIR", "--max-size", "5000", "--json"], directory.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let removed = json(&output);
    removed.iter().for_each(|segment| assert_valid("log-removed", segment));
    let after = segments(directory.path());
    assert_eq!(after, before[removed.len()..]);
    assert!(!removed.is_empty() && !after.is_empty());
    // They are all old, but the newest segment stays.
    let aged = run(&["log", "prune", "DIR", "--max-age", "1s"], directory.path());
    assert_eq!(aged.status.code(), Some(0), "{aged:?}");
    assert_eq!(segments(directory.path()), after[after.len() - 1..]);
    assert_eq!(run(&["log", "prune", "DIR"], directory.path()).status.code(), Some(2), "a limit is needed");
}

#[test]
fn what_is_not_a_log_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    for action in ["verify", "export"] {
        let output = run(&["log", action, "DIR"], directory.path());
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("there is no log in "));
    }
    assert_eq!(run(&["log", "list", "DIR"], directory.path()).status.code(), Some(1));
    let missing = run(&["log", "list", "DIR"], &directory.path().join("missing"));
    assert_eq!(missing.status.code(), Some(4), "{missing:?}");
}
