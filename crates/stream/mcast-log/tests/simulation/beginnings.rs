//! How a publisher begins with the log that another one left.

use std::time::Duration;

use mcast_disk::Disk;
use mcast_log::{
    Beginning, Confirmed, Ending, FoundLog, LogOptions, LogStart, LogTime, SyncPolicy, Unconfirmed, Writer,
    missing_at_end,
};
use mcast_stream_proto::history::{HistoryContent, Position};
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::world::STREAM;

const LAZY: SyncPolicy = SyncPolicy::Interval(Duration::from_secs(1));

fn found(disk: &Disk) -> FoundLog {
    let options = LogOptions { sync: SyncPolicy::None, segment_bytes: 4_096, ..LogOptions::default() };
    FoundLog::examine(disk.files(), STREAM, "p", Incarnation(5), options).unwrap()
}

/// Begins like a publisher.
fn begin(disk: &Disk, boot: &str, sync: SyncPolicy) -> (Writer, Beginning) {
    let found = found(disk);
    let beginning = Beginning::plan(&found, Some(boot).filter(|boot| !boot.is_empty()), sync).unwrap();
    let (writer, ..) = beginning.begin(found, MessageNumber::MAX).unwrap();
    // No subscriber has reported anything.
    let _ = disk.files().remove("confirmed");
    (writer, beginning)
}

fn append(writer: &mut Writer, count: usize) {
    for _ in 0..count {
        let message = HistoryContent::Message { key: None, bytes: &[7; 100][..] };
        writer.append(LogTime(1), &[message]).unwrap();
    }
}

#[test]
fn a_publisher_continues_only_if_the_log_has_everything_that_was_sent() {
    let disk = Disk::new(1);
    let (mut writer, beginning) = begin(&disk, "boot", LAZY);
    assert_eq!(beginning.start, LogStart::First);
    append(&mut writer, 10);
    drop(writer);
    disk.kill();
    let (writer, beginning) = begin(&disk, "boot", LAZY);
    assert_eq!(beginning.start, LogStart::Continued, "the process was killed");
    drop(writer);
    disk.kill();
    let (mut writer, beginning) = begin(&disk, "another", SyncPolicy::Each);
    assert_eq!(beginning.start, LogStart::AfterUnsyncedLoss, "a power failure");
    append(&mut writer, 5);
    drop(writer);
    disk.kill();
    let (mut writer, beginning) = begin(&disk, "", LAZY);
    assert_eq!(beginning.start, LogStart::Continued, "everything was on the disk before it was sent");
    assert_eq!(beginning.next, Position::new(Incarnation(7), MessageNumber(5)), "that of the third one");
    append(&mut writer, 1);
    drop(writer);
    disk.kill();
    let (mut writer, beginning) = begin(&disk, "", LAZY);
    assert_eq!(beginning.start, LogStart::AfterUnsyncedLoss, "a power failure cannot be excluded");

    let mut publisher = beginning.publisher;
    for (end, start) in [(0, LogStart::Continued), (1, LogStart::AfterUnsyncedLoss)] {
        append(&mut writer, 1);
        let next = MessageNumber(writer.next_number().0 + end);
        for (ending, start) in [
            (Ending::Continues { next }, start),
            (Ending::Delivered { next }, start),
            (Ending::Over, LogStart::AfterEnd),
            (Ending::Unsynced, LogStart::AfterUnsyncedLoss),
        ] {
            publisher.end(&*disk.files(), ending).unwrap();
            drop(writer);
            disk.kill();
            let begun = begin(&disk, "boot", LAZY);
            assert_eq!(begun.1.start, start, "{ending:?}");
            (writer, publisher) = (begun.0, begun.1.publisher);
        }
    }
}

#[test]
fn a_publisher_that_was_killed_while_it_wrote_is_continued() {
    let mut torn = 0;
    for seed in 0..100 {
        let (boot, start) = match seed % 2 {
            0 => ("boot", LogStart::Continued),
            _ => ("another", LogStart::AfterUnsyncedLoss),
        };
        let disk = Disk::new(seed);
        let (mut writer, _) = begin(&disk, "boot", LAZY);
        append(&mut writer, seed as usize);
        let stored = writer.next_number();
        disk.kill_in_write();
        let records: [_; 50] =
            std::array::from_fn(|_| HistoryContent::Message { key: None, bytes: &[8; 90][..] });
        assert!(writer.append(LogTime(1), &records).is_err());
        drop(writer);
        disk.kill();
        let recovery = found(&disk).recovery().clone();
        assert!(recovery.next.number >= stored, "{recovery:?}");
        assert_eq!(recovery.is_unfinished, recovery.cut_bytes > 0, "{recovery:?}");
        torn += u64::from(recovery.is_unfinished);
        let (mut writer, beginning) = begin(&disk, boot, LAZY);
        assert_eq!(beginning.start, start, "{recovery:?}");
        assert_eq!(writer.position(), beginning.next);
        append(&mut writer, 1);
    }
    assert!(torn > 30, "only {torn}");
}

#[test]
fn a_publisher_whose_last_message_was_damaged_is_not_continued() {
    // The mark, the number, the kind, the body, and the length; at the end of a page as anywhere else, except for a
    // greater length, which looks as if the rest had not been written.
    for (record, length, damaged) in
        [(132, 40, &[0, 15, 24, 40, 5][..]), (4_096 - 81 - 30 * 132, 31, &[0, 15, 24, 40])]
    {
        for from_record in damaged.iter().copied() {
            let disk = Disk::new(5);
            let (mut writer, _) = begin(&disk, "boot", LAZY);
            append(&mut writer, length - 1);
            let last = vec![9; record - 32];
            writer.append(LogTime(1), &[HistoryContent::Message { key: None, bytes: &last }]).unwrap();
            drop(writer);
            disk.kill();
            let (name, bytes) = disk.lengths().into_iter().rfind(|(name, _)| name.ends_with(".log")).unwrap();
            disk.damage(&name, bytes - record + from_record, 0x50);
            assert_eq!(
                begin(&disk, "boot", LAZY).1.start,
                LogStart::NotWhatWasLeft,
                "{bytes}, {from_record}"
            );
        }
    }
}

/// It removes the damaged end before it begins an incarnation.
#[test]
fn a_publisher_that_is_killed_while_it_begins_does_not_let_the_next_one_continue_what_was_damaged() {
    let mut killed = 0;
    for operations in 1..60 {
        let disk = Disk::new(operations);
        let (mut writer, beginning) = begin(&disk, "boot", SyncPolicy::Each);
        append(&mut writer, 10);
        drop(writer);
        disk.kill();
        let (name, bytes) = disk.lengths().into_iter().rfind(|(name, _)| name.ends_with(".log")).unwrap();
        disk.damage(&name, bytes - 1, 0x50);
        let found = found(&disk);
        let second = Beginning::plan(&found, Some("boot"), SyncPolicy::Each).unwrap();
        assert_eq!(second.start, LogStart::NotWhatWasLeft);
        disk.die_after(Some(operations));
        killed += u64::from(second.begin(found, MessageNumber(0)).is_err());
        disk.kill();
        let (_, third) = begin(&disk, "boot", SyncPolicy::Each);
        assert!(third.next.incarnation > beginning.next.incarnation, "killed after {operations}: {third:?}");
    }
    assert!((10..50).contains(&killed), "{killed}");
}

#[test]
fn a_log_that_has_less_than_its_subscribers_is_not_continued() {
    for (received, start) in [(10, LogStart::Continued), (11, LogStart::NotWhatWasLeft)] {
        let disk = Disk::new(6);
        let (mut writer, _) = begin(&disk, "boot", LAZY);
        append(&mut writer, 10);
        Confirmed { received: Some(MessageNumber(received)), ..Confirmed::unknown(Incarnation(5)) }
            .write(&*disk.files())
            .unwrap();
        drop(writer);
        disk.kill();
        assert_eq!(begin(&disk, "boot", LAZY).1.start, start);
    }
}

#[test]
fn what_subscribers_may_lack_follows_from_how_far_they_were() {
    let disk = Disk::new(2);
    let (mut writer, _) = begin(&disk, "boot", SyncPolicy::Each);
    append(&mut writer, 10);
    drop(writer);
    disk.kill();
    let (writer, beginning) = begin(&disk, "boot", SyncPolicy::Each);
    assert_eq!(beginning.unconfirmed, Unconfirmed::Unknown);
    let unknown = Confirmed::unknown(Incarnation(5));
    let known = Confirmed { received: Some(MessageNumber(7)), settled: Some(MessageNumber(5)), ..unknown };
    known.write(&*disk.files()).unwrap();
    drop(writer);
    disk.kill();
    let (writer, mut beginning) = begin(&disk, "boot", SyncPolicy::Each);
    let unsettled = Unconfirmed::From(MessageNumber(5));
    assert_eq!(beginning.unconfirmed, unsettled, "those that must acknowledge may have less than all others");
    known.write(&*disk.files()).unwrap();
    let next = writer.next_number();
    beginning.publisher.end(&*disk.files(), Ending::Delivered { next }).unwrap();
    drop(writer);
    disk.kill();
    let (writer, mut beginning) = begin(&disk, "boot", SyncPolicy::Each);
    assert_eq!((beginning.start, beginning.unconfirmed), (LogStart::Continued, unsettled));
    Confirmed { settled: Some(next), ..unknown }.write(&*disk.files()).unwrap();
    beginning.publisher.end(&*disk.files(), Ending::Delivered { next }).unwrap();
    drop(writer);
    disk.kill();
    let (writer, beginning) = begin(&disk, "boot", SyncPolicy::Each);
    assert_eq!((beginning.start, beginning.unconfirmed), (LogStart::Continued, Unconfirmed::Nothing));
    drop(writer);
}

#[test]
fn a_publisher_that_does_not_begin_has_changed_nothing() {
    let disk = Disk::new(3);
    let (mut writer, _) = begin(&disk, "boot", SyncPolicy::Each);
    append(&mut writer, 60);
    drop(writer);
    disk.kill();
    let (before, segments) = (disk.lengths(), |disk: &Disk| found(disk).recovery().clone());
    let recovery = segments(&disk);
    assert_eq!(disk.lengths(), before);
    assert_eq!(segments(&disk), recovery);
}

#[test]
fn a_newest_segment_that_was_removed_is_missing_as_long_as_there_is_evidence() {
    for evidence in ["index", "publisher", "nothing"] {
        let disk = Disk::new(4);
        let (mut writer, mut beginning) = begin(&disk, "boot", SyncPolicy::Each);
        append(&mut writer, 60);
        let next = writer.next_number();
        writer.close().unwrap();
        beginning.publisher.end(&*disk.files(), Ending::Continues { next }).unwrap();
        let end = Position { incarnation: Incarnation(5), number: next };
        assert_eq!(missing_at_end(&disk.files(), end).unwrap(), None);

        let newest = disk.lengths().into_keys().rfind(|name| name.ends_with(".log")).unwrap();
        let first = mcast_log::SegmentName::read(&newest).unwrap().first;
        disk.lose(&newest);
        if evidence != "index" {
            disk.lose(&newest.replace(".log", ".index"));
        }
        if evidence != "publisher" {
            disk.lose("publisher");
        }
        let missing = missing_at_end(&disk.files(), first).unwrap();
        let range = missing.map(|damage| (damage.first, damage.end));
        assert_eq!(range, (evidence != "nothing").then_some((first, next)), "{evidence}");
    }
}
