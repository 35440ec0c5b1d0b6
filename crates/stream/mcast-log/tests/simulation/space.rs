//! A full disk.

use mcast_log::{LogItem, LogOptions, LogReader, LogTime, Retention, SyncPolicy, Writer};
use mcast_stream_proto::history::HistoryContent;
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::world::STREAM;
use mcast_disk::{Disk, Faults};

fn message(bytes: &[u8]) -> [HistoryContent<&[u8]>; 1] {
    [HistoryContent::Message { key: None, bytes }]
}

fn read(disk: &Disk) -> Vec<Vec<u8>> {
    let mut reader = LogReader::open_files(disk.files(), Keys::none()).unwrap();
    let mut found = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        match item {
            LogItem::Record(record) => match record.record.content {
                HistoryContent::Message { bytes, .. } => found.push(bytes.to_vec()),
                other => panic!("{other:?}"),
            },
            LogItem::Damage(damage) => assert!(!damage.is_loss(), "{damage:?}"),
        }
    }
    found
}

#[test]
fn a_full_disk_refuses_and_the_log_continues_when_there_is_space() {
    let disk = Disk::new(1);
    let (mut writer, _) =
        Writer::open_files(disk.files(), STREAM, "", Incarnation(1), LogOptions::default()).unwrap();
    writer.append(LogTime(1), &message(b"one")).unwrap();
    disk.set_free(50);
    for _ in 0..3 {
        let error = writer.append(LogTime(2), &message(&[2; 100])).unwrap_err();
        assert!(error.is_storage_full() && error.is_temporary(), "{error:?}");
        assert_eq!(writer.next_number(), MessageNumber(1));
        assert_eq!(read(&disk), [b"one"]);
    }
    disk.set_free(10_000);
    writer.append(LogTime(3), &message(b"two")).unwrap();
    disk.crash();
    assert_eq!(read(&disk), [b"one", b"two"]);
}

#[test]
fn a_writer_that_finds_a_full_disk_removes_what_is_not_to_be_retained() {
    let disk = Disk::new(4);
    let options = LogOptions { segment_bytes: 4_096, ..LogOptions::default() };
    let open = |options| Writer::open_files(disk.files(), STREAM, "", Incarnation(1), options);
    let (mut writer, _) = open(options.clone()).unwrap();
    for time in 0..50 {
        writer.append(LogTime(time), &message(&[7; 1_000])).unwrap();
    }
    drop(writer);
    disk.set_free(0);
    let refused = open(options.clone()).unwrap_err();
    assert!(refused.is_storage_full(), "{refused:?}");
    let retention = Retention { bytes: Some(2 * 4_096), age: None };
    let (mut writer, recovery) = open(LogOptions { retention, ..options }).unwrap();
    assert_eq!(recovery.next.number, MessageNumber(50));
    writer.append(LogTime(50), &message(&[8; 1_000])).unwrap();
}

#[test]
fn after_a_failed_sync_the_writer_is_of_no_use_and_the_next_one_writes_everything_again() {
    let disk = Disk::new(2);
    let open = || Writer::open_files(disk.files(), STREAM, "", Incarnation(1), LogOptions::default());
    let (mut writer, _) = open().unwrap();
    writer.append(LogTime(1), &message(b"one")).unwrap();
    disk.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
    let error = writer.append(LogTime(2), &message(b"two")).unwrap_err();
    assert!(!error.is_temporary(), "{error:?}");
    disk.set_faults(Faults::default());
    writer.append(LogTime(2), &message(b"two")).unwrap_err();
    writer.sync().unwrap_err();
    assert_eq!(writer.durable(), MessageNumber(1));
    disk.kill();
    let (writer, recovery) = open().unwrap();
    let found = read(&disk);
    assert_eq!(recovery.next.number.0, found.len() as u64);
    drop(writer);
    disk.crash();
    assert_eq!(read(&disk), found, "what the next writer found is durable");
}

#[test]
fn a_failed_sync_of_another_thread_is_known_before_its_result_is_taken() {
    let disk = Disk::new(3);
    let options = LogOptions { sync: SyncPolicy::None, segment_bytes: 4_096, ..LogOptions::default() };
    let (mut writer, _) = Writer::open_files(disk.files(), STREAM, "", Incarnation(1), options).unwrap();
    writer.append(LogTime(1), &message(&[1; 5_000])).unwrap();
    let pending = writer.begin_sync().unwrap().unwrap();
    disk.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
    let completed = pending.run();
    disk.set_faults(Faults::default());
    // The segment is full: the next append syncs it, and the kernel has nothing left to write.
    writer.append(LogTime(2), &message(b"two")).unwrap_err();
    assert_eq!(writer.durable(), MessageNumber(0));
    writer.complete_sync(completed).unwrap_err();
}
