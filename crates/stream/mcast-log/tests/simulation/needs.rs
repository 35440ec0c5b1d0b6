//! Retention, and what the publisher of a log still needs.

use std::sync::Arc;
use std::time::Duration;

use mcast_disk::Disk;
use mcast_log::{
    Beginning, Confirmed, FoundLog, LastPublisher, LogItem, LogOptions, LogReader, LogTail, LogTime,
    NOTHING_NEEDED, Recall, Retention, SyncPolicy, TailItem, Writer, prune,
};
use mcast_sim::Dice;
use mcast_stream_proto::history::{HistoryContent, Position};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::world::STREAM;

const LIMIT: u64 = 5 * 4_096;

fn options(retention: Retention) -> LogOptions {
    LogOptions { sync: SyncPolicy::None, segment_bytes: 4_096, retention, ..LogOptions::default() }
}

const fn small() -> Retention {
    Retention { bytes: Some(LIMIT), age: None }
}

/// Begins like a publisher, and returns the number of the first message that it recalls.
fn begin(disk: &Disk, retention: Retention, most: usize) -> (Writer, MessageNumber) {
    let files = disk.files();
    let found =
        FoundLog::examine(Arc::clone(&files), STREAM, "p", Incarnation(5), options(retention)).unwrap();
    let beginning = Beginning::plan(&found, Some("boot"), SyncPolicy::None).unwrap();
    let recall = Recall {
        next: beginning.next,
        unconfirmed: beginning.unconfirmed,
        least: 0,
        most,
        unsent: beginning.unsent,
    };
    let tail = LogTail::read(Arc::clone(&files), Keys::none(), recall).unwrap();
    let first = tail.items.front().map_or(beginning.next.number, TailItem::first);
    let (writer, ..) = beginning.begin(found, beginning.first_needed(first)).unwrap();
    (writer, first)
}

const fn at(number: u64) -> Position {
    Position::new(Incarnation(5), MessageNumber(number))
}

fn append(writer: &mut Writer, time: u64) {
    let message = HistoryContent::Message { key: None, bytes: &[7; 500][..] };
    writer.append(LogTime(time), &[message]).unwrap();
}

/// Returns the first message in the log, and whether all from there on are there.
fn oldest(disk: &Disk) -> (u64, bool) {
    let mut reader = LogReader::open_files(disk.files(), Keys::none()).unwrap();
    let (mut first, mut next, mut is_whole) = (None, 0, true);
    while let Some(item) = reader.next().unwrap() {
        let LogItem::Record(record) = item else {
            is_whole = false;
            continue;
        };
        let number = record.record.first.number.0;
        is_whole &= first.is_none() || number == next;
        first.get_or_insert(number);
        next = number + 1;
    }
    (first.unwrap_or(next), is_whole)
}

fn record(disk: &Disk, sent: u64, needed: u64) {
    let (sent, needed) = (Some(MessageNumber(sent)), Some(MessageNumber(needed)));
    Confirmed { sent, needed, ..Confirmed::unknown(Incarnation(5)) }.write(&*disk.files()).unwrap();
}

#[test]
fn what_was_not_sent_is_never_removed_whenever_the_publisher_is_killed() {
    let (mut removed, mut held) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let disk = Disk::new(seed);
        let age = dice.chance(0.3).then(|| Duration::from_nanos(dice.pick(&[1, 20, 200])));
        let bytes = (age.is_none() || dice.chance(0.5)).then(|| dice.pick(&[1, 9_000, LIMIT, 100_000]));
        let retention = Retention { bytes, age };
        let (mut sent, mut accepted, mut time) = (0, 0, 1_000);
        for _ in 0..dice.between(1, 4) {
            let (mut writer, recalled) = begin(&disk, retention, dice.pick(&[0, 2_000, 1 << 20]));
            assert!(recalled.0 <= sent, "seed {seed}: {recalled} is recalled, and {sent} were sent");
            assert_eq!(writer.next_number().0, accepted, "seed {seed}");
            for _ in 0..dice.below(200) {
                match dice.below(3) {
                    0 => {
                        sent += dice.below(accepted - sent + 1);
                        writer.set_needed(MessageNumber(sent), LogTime(time));
                    }
                    _ => {
                        time += dice.below(5);
                        append(&mut writer, time);
                        accepted += 1;
                    }
                }
                if dice.chance(0.2) {
                    record(&disk, sent, sent);
                }
                held += u64::from(writer.held().is_some());
            }
            drop(writer);
            disk.kill();
            let (first, is_whole) = oldest(&disk);
            assert!(first <= sent && is_whole, "seed {seed}: begins with {first}, {sent} were sent");
            removed += first;
        }
    }
    assert!(removed > 1_000 && held > 1_000, "{removed} removed, {held} times held");
}

#[test]
fn a_log_that_is_held_shrinks_once_its_messages_are_not_needed_any_more() {
    let disk = Disk::new(1);
    let (mut writer, _) = begin(&disk, small(), 0);
    (0..200).for_each(|time| append(&mut writer, time));
    let held = writer.held().unwrap();
    assert!(held.is_too_large && held.bytes > LIMIT && held.end > at(0), "{held:?}");
    assert_eq!(oldest(&disk), (0, true));
    writer.set_needed(MessageNumber(held.end.number.0 - 1), LogTime(200));
    assert_eq!(oldest(&disk), (0, true), "one message of the oldest segment is still needed");
    writer.set_needed(MessageNumber(150), LogTime(200));
    let (first, _) = oldest(&disk);
    assert!((100..=150).contains(&first), "{first}");
    writer.set_needed(MessageNumber(200), LogTime(200));
    assert_eq!(writer.held(), None);
    assert!(oldest(&disk).0 > 150);
}

#[test]
fn an_old_segment_stays_while_it_is_needed() {
    let disk = Disk::new(2);
    let retention = Retention { bytes: None, age: Some(Duration::from_nanos(10)) };
    let (mut writer, _) = begin(&disk, retention, 0);
    (0..100).for_each(|time| append(&mut writer, time));
    let held = writer.held().unwrap();
    assert!(!held.is_too_large, "{held:?}");
    assert_eq!(oldest(&disk), (0, true));
    writer.set_needed(MessageNumber(100), LogTime(100));
    assert!(oldest(&disk).0 > 50);
}

#[test]
fn nothing_is_removed_at_the_start_as_long_as_it_is_not_known_what_was_sent() {
    let disk = Disk::new(3);
    let (mut writer, _) = begin(&disk, Retention::default(), 0);
    (0..200).for_each(|time| append(&mut writer, time));
    drop(writer);
    disk.kill();
    // The former publisher recorded nothing. What is recalled is needed.
    disk.files().remove("confirmed").unwrap();
    let (writer, recalled) = begin(&disk, small(), usize::MAX);
    assert_eq!((recalled, oldest(&disk)), (MessageNumber(0), (0, true)));
    drop(writer);
    disk.kill();
    record(&disk, 120, 100);
    let (writer, recalled) = begin(&disk, small(), 0);
    assert_eq!(recalled, MessageNumber(120), "what was not sent is recalled, however much it is");
    let (first, is_whole) = oldest(&disk);
    assert!((80..=100).contains(&first) && is_whole, "{first}");
    drop(writer);
}

#[test]
fn the_recorded_needs_of_a_log_are_those_of_its_last_publisher() {
    let disk = Disk::new(4);
    let files = disk.files();
    assert_eq!(LastPublisher::recorded_needs(&*files).unwrap(), Some(NOTHING_NEEDED), "there was none");
    let (mut writer, _) = begin(&disk, Retention::default(), 0);
    assert_eq!(LastPublisher::recorded_needs(&*files).unwrap(), Some(at(0)));
    files.remove("confirmed").unwrap();
    assert_eq!(LastPublisher::recorded_needs(&*files).unwrap(), None);
    (0..200).for_each(|time| append(&mut writer, time));
    record(&disk, 120, 100);
    assert_eq!(LastPublisher::recorded_needs(&*files).unwrap(), Some(at(100)));
    let pruned = prune(&files, &small(), at(100), LogTime(200)).unwrap();
    assert!(!pruned.removed.is_empty() && pruned.held.is_some(), "{pruned:?}");
    assert!((80..=100).contains(&oldest(&disk).0));
    drop(writer);
    // Without another floor, what was not received, or not settled, is needed.
    let (received, settled) = (Some(MessageNumber(150)), Some(MessageNumber(130)));
    Confirmed { received, settled, ..Confirmed::unknown(Incarnation(5)) }.write(&*files).unwrap();
    assert_eq!(LastPublisher::recorded_needs(&*files).unwrap(), Some(at(130)));
}
