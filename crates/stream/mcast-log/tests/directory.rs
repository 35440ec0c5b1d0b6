//! Logs in directories of a real system.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mcast_log::{
    Directory, Files, FoundLog, HeaderError, Lock, LogError, LogFile, LogItem, LogOptions, LogReader,
    LogStart, LogTime, NOTHING_NEEDED, Retention, SegmentName, SyncPolicy, Writer, prune, segments,
};
use mcast_stream_proto::history::{GapCause, HistoryContent, Position, RequestedStart};
use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, MessageKey, MessageNumber, StreamId};

const STREAM: StreamId = StreamId(7);

fn open(directory: &Path, options: LogOptions) -> Writer {
    Writer::open(directory, STREAM, "prices", Incarnation(1), options).unwrap().0
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 4_096, sync: SyncPolicy::None, ..LogOptions::default() }
}

fn message(bytes: &[u8]) -> HistoryContent<&[u8]> {
    HistoryContent::Message { key: None, bytes }
}

fn append(writer: &mut Writer, count: u64) {
    for _ in 0..count {
        let number = writer.next_number().0;
        writer.append(LogTime(number * 1_000_000), &[message(&number.to_be_bytes())]).unwrap();
    }
}

fn at(incarnation: u32, number: u64) -> Position {
    Position { incarnation: Incarnation(incarnation), number: MessageNumber(number) }
}

/// Returns the numbers of the messages that a reader finds from a start on.
fn numbers(directory: &Path, start: RequestedStart) -> Vec<u64> {
    let mut reader = LogReader::open(directory, Keys::none()).unwrap();
    reader.seek(start).unwrap();
    let mut numbers = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let LogItem::Record(record) = item else { panic!("{item:?}") };
        numbers.push(record.record.first.number.0);
    }
    numbers
}

/// Returns the only segment of a log.
fn segment(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|end| end == "log")).unwrap()
}

#[test]
fn two_writers_of_a_directory_are_one_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path(), small());
    let second = Writer::open(directory.path(), STREAM, "prices", Incarnation(1), small());
    assert!(matches!(second, Err(LogError::InUse(path)) if path == directory.path()));
    drop(writer);
    open(directory.path(), small());
}

#[test]
fn a_log_of_another_stream_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), small());
    let other = Writer::open(directory.path(), StreamId(8), "other", Incarnation(1), small());
    assert!(matches!(other, Err(LogError::OtherStream { found: STREAM, expected: StreamId(8), .. })));
}

#[test]
fn incarnations_grow_although_the_clock_went_back_and_numbers_continue() {
    let directory = tempfile::tempdir().unwrap();
    for expected in [100, 101, 102, 200] {
        let proposed = Incarnation(if expected < 200 { 100 } else { 200 });
        let (mut writer, recovery) =
            Writer::open(directory.path(), STREAM, "prices", proposed, small()).unwrap();
        assert_eq!(writer.incarnation(), Incarnation(expected));
        assert_eq!(recovery.cut_bytes, 0);
        if expected != 101 {
            append(&mut writer, 3);
        }
    }
    assert_eq!(numbers(directory.path(), RequestedStart::Oldest), (0..9).collect::<Vec<_>>());
    assert_eq!(numbers(directory.path(), RequestedStart::At(at(100, 4))), [4, 5, 6, 7, 8]);
    assert_eq!(numbers(directory.path(), RequestedStart::Latest(MessageNumber(7))), [7, 8]);
    assert_eq!(numbers(directory.path(), RequestedStart::Latest(MessageNumber(4))), [4, 5, 6, 7, 8]);
    assert_eq!(numbers(directory.path(), RequestedStart::Latest(MessageNumber(9))), Vec::<u64>::new());
    assert_eq!(numbers(directory.path(), RequestedStart::At(at(101, 0))), Vec::<u64>::new());
}

/// Begins an incarnation for each of these numbers of messages.
fn restarted(directory: &Path, counts: &[u64]) {
    for (proposed, count) in (1..).zip(counts) {
        let files = Arc::new(Directory::create(directory).unwrap());
        let found = FoundLog::examine(files, STREAM, "prices", Incarnation(proposed), small()).unwrap();
        let (mut writer, _) = found.begin(LogStart::AfterUnsyncedLoss, NOTHING_NEEDED).unwrap();
        append(&mut writer, *count);
    }
}

/// Returns the positions of all messages and of what is missing, as a history server sends them.
fn history(directory: &Path, from: Position) -> Vec<(Position, Option<u64>)> {
    let records = LogReader::open(directory, Keys::none()).unwrap().read(from, 10_000).unwrap();
    let records = records.into_iter().map(|record| match record.content {
        HistoryContent::Gap { end, cause: GapCause::EngineLost } => (record.first, Some(end.0)),
        HistoryContent::Message { .. } => (record.first, None),
        other => panic!("{other:?}"),
    });
    records.collect()
}

#[test]
fn messages_have_the_incarnation_and_the_number_that_they_have_in_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    restarted(directory.path(), &[3, 0, 2]);
    let all = [at(1, 0), at(1, 1), at(1, 2), at(3, 0), at(3, 1)].map(|position| (position, None));
    for (from, skipped) in [(at(0, 0), 0), (at(1, 1), 1), (at(1, 9), 3), (at(2, 7), 3), (at(3, 1), 4)] {
        assert_eq!(history(directory.path(), from), all[skipped..], "{from}");
    }
    assert_eq!(numbers(directory.path(), RequestedStart::Latest(MessageNumber(1))), [1]);
}

#[test]
fn what_is_missing_at_the_end_of_an_incarnation_is_reported() {
    let missing = |remove: &[usize]| {
        let directory = tempfile::tempdir().unwrap();
        restarted(directory.path(), &[150, 4, 150, 1]);
        let files = Arc::new(Directory::open(directory.path()).unwrap());
        let names = segments(files, &Keys::none()).unwrap();
        let first: Vec<_> = names.iter().map(|segment| segment.name.first).collect();
        assert!(names.len() == 6 && first[3] == at(3, 0), "{first:?}");
        remove.iter().for_each(|at| fs::remove_file(&names[*at].path).unwrap());
        let found = history(directory.path(), Position::START).into_iter();
        let gaps: Vec<_> = found.filter_map(|(first, end)| Some((first, end?))).collect();
        (first[1].number.0, gaps)
    };
    assert_eq!(missing(&[]).1, []);
    let (last, gaps) = missing(&[1]);
    assert_eq!(gaps, [(at(1, last), 150)]);
    assert_eq!(missing(&[2]).1, [(at(2, 0), 4)], "a whole incarnation");
    assert_eq!(missing(&[1, 2, 3, 4]).1, [(at(3, 0), 150)], "of the others, how many is unknown");
    assert_eq!(missing(&[4]).1, [(at(3, last), 150)]);
}

#[test]
fn a_log_of_the_first_version_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let name = SegmentName { segment: 1, first: at(2, 5) }.segment_file();
    // The golden header of that version.
    let header = "4d434153544c4f470001000000000002010203040506070800000000000000010000000000000005a1b2c3d4e5f60718\
                  00000000000003e8000600007dfe543b707269636573";
    let bytes = |length: usize| -> Vec<u8> {
        (0..length).map(|at| u8::from_str_radix(&header[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    for length in [64, 70] {
        fs::write(directory.path().join(&name), bytes(length)).unwrap();
        let files: Arc<dyn Files> = Arc::new(Directory::open(directory.path()).unwrap());
        let nothing = Retention { bytes: Some(0), age: None };
        for refused in [
            LogReader::open(directory.path(), Keys::none()).map(drop),
            Writer::open(directory.path(), STREAM, "prices", Incarnation(3), small()).map(drop),
            segments(Arc::clone(&files), &Keys::none()).map(drop),
            prune(&files, &nothing, NOTHING_NEEDED, LogTime(0)).map(drop),
        ] {
            let error = refused.unwrap_err();
            let LogError::Header { cause: HeaderError::Version(1), .. } = error else { panic!("{error:?}") };
            assert!(mcast_sys::ClassifiedError::remedy(&error).unwrap().contains("mcast log export"));
        }
    }
}

#[test]
fn messages_are_found_by_number_and_by_time_in_open_and_closed_segments() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    append(&mut writer, 1_000);
    let read = |start| numbers(directory.path(), start).first().copied();
    for number in [0, 1, 99, 500, 998, 999] {
        assert_eq!(read(RequestedStart::At(at(1, number))), Some(number));
        assert_eq!(read(RequestedStart::Time(number)), Some(number));
    }
    assert_eq!(read(RequestedStart::At(at(1, 1_000))), None);
    assert_eq!(read(RequestedStart::Time(1_000)), None);
    assert_eq!(read(RequestedStart::At(at(2, 0))), None);
}

#[test]
fn a_search_by_time_finds_the_first_one_although_the_clock_went_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    for time in [10, 50, 20, 60, 30, 70].into_iter().flat_map(|time| [time; 50]) {
        writer.append(LogTime::from_milliseconds(time), &[message(&[0; 100])]).unwrap();
    }
    for (time, first) in [(0, 0), (10, 0), (11, 50), (50, 50), (51, 150), (60, 150), (61, 250), (70, 250)] {
        assert_eq!(numbers(directory.path(), RequestedStart::Time(time)).first(), Some(&first), "{time}");
    }
    assert_eq!(numbers(directory.path(), RequestedStart::Time(71)), Vec::<u64>::new());
}

#[test]
fn a_torn_end_is_cut_off_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    append(&mut writer, 3);
    drop(writer);
    let segment = segment(directory.path());
    let length = fs::metadata(&segment).unwrap().len();
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - 5).unwrap();
    assert_eq!(numbers(directory.path(), RequestedStart::Oldest), [0, 1]);
    let (mut writer, recovery) =
        Writer::open(directory.path(), STREAM, "prices", Incarnation(1), small()).unwrap();
    assert_eq!((recovery.next, recovery.cut_bytes), (at(1, 2), 32 + 8 - 5));
    assert!(!recovery.is_unfinished, "the kernel ends writes at the end of a page");
    assert_eq!(recovery.torn.as_deref(), Some(segment.as_path()));
    append(&mut writer, 1);
    assert_eq!(numbers(directory.path(), RequestedStart::Oldest), [0, 1, 2]);
}

#[test]
fn what_a_closed_log_has_lost_at_its_end_is_reported_and_its_numbers_are_not_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    append(&mut writer, 5);
    writer.close().unwrap();
    let segment = segment(directory.path());
    let length = fs::metadata(&segment).unwrap().len();
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - 2 * (32 + 8)).unwrap();
    let missing = || {
        let mut reader = LogReader::open(directory.path(), Keys::none()).unwrap();
        let mut missing = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            if let LogItem::Damage(damage) = item {
                missing.push((damage.first.number.0, damage.end.0));
            }
        }
        missing
    };
    assert_eq!(missing(), [(3, 5)]);
    let reopen = || Writer::open(directory.path(), STREAM, "prices", Incarnation(1), small()).unwrap();
    let (mut writer, recovery) = reopen();
    assert_eq!((recovery.next, recovery.missing, recovery.cut_bytes), (at(1, 5), 2, 0));
    append(&mut writer, 1);
    drop(writer);
    assert_eq!(missing(), [(3, 5)]);
    assert_eq!(reopen().1.missing, 0, "it is reported once");
}

#[test]
fn a_damaged_version_is_damage_and_not_a_later_version() {
    let directory = tempfile::tempdir().unwrap();
    append(&mut open(directory.path(), small()), 1);
    let segment = segment(directory.path());
    let open = || Writer::open(directory.path(), STREAM, "prices", Incarnation(1), small()).unwrap_err();
    let write = |at: usize, byte: u8| {
        let mut bytes = fs::read(&segment).unwrap();
        bytes[at] = byte;
        fs::write(&segment, bytes).unwrap();
    };
    write(9, 3);
    assert!(matches!(open(), LogError::Header { cause: HeaderError::Damaged, .. }), "{:?}", open());
    // A later version may have another checksum, or none there.
    write(76, 0xff);
    assert!(matches!(open(), LogError::Header { cause: HeaderError::Version(3), .. }), "{:?}", open());
}

#[test]
fn another_secret_with_the_same_epoch_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = |epoch, byte| {
        let secret = GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm);
        LogOptions { keys: Keys::one(KeyEpoch(epoch), secret), ..small() }
    };
    let open = |options| Writer::open(directory.path(), STREAM, "prices", Incarnation(1), options);
    append(&mut open(options(1, 1)).unwrap().0, 3);
    let refused = open(options(1, 2)).unwrap_err();
    assert!(matches!(refused, LogError::OtherSecret { epoch: KeyEpoch(1), .. }), "{refused:?}");
    // The old secret may have been removed from the key file after a change.
    open(options(2, 2)).unwrap();
    open(options(1, 1)).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    append(&mut open(directory.path(), small()), 3);
    let path = Path::new("/proc/self/mcast-log");
    let refused = Writer::open(path, STREAM, "prices", Incarnation(1), small());
    assert!(matches!(refused, Err(LogError::Io { .. })), "{refused:?}");
    // Readers need no lock and create nothing.
    fs::remove_file(directory.path().join("lock")).unwrap();
    assert_eq!(numbers(directory.path(), RequestedStart::Oldest), [0, 1, 2]);
    assert!(!directory.path().join("lock").exists());
    assert!(matches!(
        LogReader::open(&directory.path().join("none"), Keys::none()),
        Err(LogError::Io { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(LogReader::open(empty.path(), Keys::none()), Err(LogError::Empty(_))));
}

#[test]
fn a_reader_follows_a_writer_over_segments() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    let path = directory.path().to_owned();
    let follower = thread::spawn(move || {
        let mut reader = LogReader::open(&path, Keys::none()).unwrap();
        let (mut from, mut count) = (Position::START, 0);
        while count < 5_000 {
            for record in reader.read(from, 100).unwrap() {
                assert_eq!(record.first, at(1, count));
                assert!(matches!(record.content, HistoryContent::Message { .. }), "{record:?}");
                count += 1;
                from = record.end();
            }
            thread::yield_now();
        }
    });
    append(&mut writer, 5_000);
    follower.join().unwrap();
}

#[test]
fn retention_removes_the_oldest_segments_by_bytes_and_by_age() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: Some(20_000), age: None };
    let mut writer = open(directory.path(), LogOptions { retention, ..small() });
    append(&mut writer, 2_000);
    let total = |path: &Path| -> u64 {
        let files = Arc::new(Directory::open(path).unwrap());
        segments(files, &Keys::none()).unwrap().iter().map(|segment| segment.bytes).sum()
    };
    assert!((15_000..=25_000).contains(&total(directory.path())), "{}", total(directory.path()));
    let retained = numbers(directory.path(), RequestedStart::Oldest);
    assert_eq!(retained.last(), Some(&1_999));
    assert!(retained.windows(2).all(|pair| pair[0] + 1 == pair[1]));

    let middle = retained[retained.len() / 2];
    let files: Arc<dyn Files> = Arc::new(Directory::open(directory.path()).unwrap());
    let age = Retention { bytes: None, age: Some(Duration::from_millis(10)) };
    let now = LogTime::from_milliseconds(middle + 10);
    let removed = prune(&files, &age, NOTHING_NEEDED, now).unwrap().removed;
    assert!(!removed.is_empty());
    let left = numbers(directory.path(), RequestedStart::Oldest);
    assert!(left[0] <= middle && left[0] > retained[0], "{} {middle}", left[0]);
    append(&mut writer, 10);
}

#[test]
fn what_retention_removes_while_it_is_read_is_not_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    append(&mut writer, 1_000);
    let files: Arc<dyn Files> = Arc::new(Directory::open(directory.path()).unwrap());
    let mut reader = LogReader::open(directory.path(), Keys::none()).unwrap();
    assert!(matches!(reader.next().unwrap(), Some(LogItem::Record(_))));
    let nothing = Retention { bytes: Some(0), age: None };
    let _ = prune(&files, &nothing, NOTHING_NEEDED, LogTime(0)).unwrap();
    let (mut next, mut removed) = (1, 0);
    while let Some(item) = reader.next().unwrap() {
        match item {
            LogItem::Record(record) => {
                assert_eq!(record.record.first.number.0, next);
                next += 1;
            }
            LogItem::Damage(damage) => {
                assert!(damage.is_removed && damage.first.number.0 == next, "{damage:?}");
                removed += damage.end.0 - next;
                next = damage.end.0;
            }
        }
    }
    assert!(next == 1_000 && removed > 500, "{next} {removed}");

    // A segment in the middle, which retention never removes alone.
    append(&mut writer, 1_000);
    let mut reader = LogReader::open(directory.path(), Keys::none()).unwrap();
    let names = segments(files, &Keys::none()).unwrap();
    fs::remove_file(&names[names.len() / 2].path).unwrap();
    let mut damaged = 0;
    while let Some(item) = reader.next().unwrap() {
        if let LogItem::Damage(damage) = item {
            assert!(!damage.is_removed && damage.is_loss(), "{damage:?}");
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
}

#[test]
fn a_reader_reports_what_was_removed_before_it_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    append(&mut writer, 100);
    let mut reader = LogReader::open(directory.path(), Keys::none()).unwrap();
    assert_eq!(reader.read(Position::START, 10).unwrap().len(), 10);
    append(&mut writer, 1_000);
    let files: Arc<dyn Files> = Arc::new(Directory::open(directory.path()).unwrap());
    let nothing = Retention { bytes: Some(0), age: None };
    let pruned = prune(&files, &nothing, NOTHING_NEEDED, LogTime(0)).unwrap();
    assert!(!pruned.removed.is_empty() && pruned.held.is_none());
    let mut next = 10;
    let mut gaps = 0;
    loop {
        let records = reader.read(at(1, next), 1_000).unwrap();
        let Some(last) = records.last() else { break };
        gaps += records.iter().filter(|record| matches!(record.content, HistoryContent::Gap { .. })).count();
        assert_eq!(records[0].first.number.0, next);
        next = last.end().number.0;
    }
    assert_eq!((next, gaps), (1_100, 1));
}

#[test]
fn every_kind_of_record_is_read_as_it_was_appended_also_sealed() {
    let keys = Keys::one(KeyEpoch(2), GroupSecret::new(&[9; 32], Algorithm::Aes128Gcm));
    for keys in [Keys::none(), keys] {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = open(directory.path(), LogOptions { keys: keys.clone(), ..small() });
        let gap = HistoryContent::Gap { end: MessageNumber(9), cause: GapCause::JoinedLate };
        let open_gap = HistoryContent::OpenGap { cause: GapCause::EngineLost };
        let keyed = HistoryContent::Message { key: Some(MessageKey(3)), bytes: &b"secret words"[..] };
        writer.append(LogTime(1), &[message(b"one"), keyed.clone(), gap.clone()]).unwrap();
        writer.append(LogTime(2), &[message(&[7; 100_000]), HistoryContent::End]).unwrap();
        drop(writer);
        let mut writer = Writer::open(
            directory.path(),
            STREAM,
            "p",
            Incarnation(5),
            LogOptions { keys: keys.clone(), ..small() },
        )
        .unwrap()
        .0;
        assert_eq!(writer.next_number(), MessageNumber(10));
        writer.append(LogTime(3), std::slice::from_ref(&open_gap)).unwrap();

        let expected = [
            (at(1, 0), message(b"one")),
            (at(1, 1), keyed),
            (at(1, 2), gap),
            (at(1, 9), message(&[7; 100_000])),
            (at(1, 10), HistoryContent::End),
            (at(1, 10), open_gap),
        ];
        let mut reader = LogReader::open(directory.path(), keys.clone()).unwrap();
        for (first, content) in expected {
            let Some(LogItem::Record(record)) = reader.next().unwrap() else { panic!() };
            assert_eq!((record.record.first, record.record.content), (first, content));
        }
        assert_eq!(reader.next().unwrap(), None);
        if !keys.is_empty() {
            let refused = LogReader::open(directory.path(), Keys::none()).unwrap().next().map(|_| ());
            assert!(matches!(refused, Err(LogError::NoKey { epoch: KeyEpoch(2), .. })), "{refused:?}");
            let other = Keys::one(KeyEpoch(2), GroupSecret::new(&[8; 32], Algorithm::Aes128Gcm));
            let mut reader = LogReader::open(directory.path(), other).unwrap();
            assert!(matches!(reader.next().unwrap(), Some(LogItem::Damage(damage)) if damage.is_loss()));
            // On Windows, nobody else can read the lock of a writer.
            drop(writer);
            for entry in fs::read_dir(directory.path()).unwrap() {
                let bytes = fs::read(entry.unwrap().path()).unwrap();
                assert!(!bytes.windows(12).any(|window| window == b"secret words"));
            }
        }
    }
}

/// Runs the reader in Python, which was written from the specification.
fn second_reader(directory: &Path, secret: &str) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/second_reader.py");
    let mut python = Command::new("python3");
    python.args(["-B", program]).arg(directory);
    if !secret.is_empty() {
        python.arg(secret);
    }
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { bytes.iter().map(|byte| format!("{byte:02x}")).collect() }
}

#[test]
#[cfg_attr(windows, ignore = "Wine has no Python")]
fn a_second_implementation_reads_the_same() {
    let secret = [0x5a; 32];
    let sealed = Keys::one(KeyEpoch(1), GroupSecret::new(&secret, Algorithm::ChaCha20Poly1305));
    for (keys, secret) in [(Keys::none(), String::new()), (sealed, hex(&secret))] {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = String::new();
        for incarnation in [4, 9] {
            let options = LogOptions { keys: keys.clone(), segment_bytes: 90_000, ..small() };
            let mut writer =
                Writer::open(directory.path(), STREAM, "prices", Incarnation(incarnation), options);
            let writer = &mut writer.as_mut().unwrap().0;
            for round in 0..60_u64 {
                let number = writer.next_number().0;
                let bytes = vec![round as u8; (round * 53) as usize];
                let end = MessageNumber(number + 5);
                let batch = [
                    message(&bytes),
                    HistoryContent::Message { key: Some(MessageKey(round)), bytes: b"k" },
                    HistoryContent::Gap { end, cause: GapCause::EngineLost },
                ];
                writer.append(LogTime(round), &batch).unwrap();
                let bodies = [bytes, [&round.to_be_bytes()[..], b"k"].concat(), end.0.to_be_bytes().to_vec()];
                for (kind, body) in bodies.into_iter().enumerate() {
                    let cause = if kind == 2 { 8 } else { 0 };
                    let number = number + kind as u64;
                    expected += &format!("4 {number} {round} {kind} {cause} {}\n", hex(&body));
                }
            }
            writer.append(LogTime(99), &[HistoryContent::End]).unwrap();
            expected += &format!("4 {} 99 4 0 -\n", writer.next_number());
        }
        let indexes = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        assert!(indexes.filter(|path| path.extension().is_some_and(|end| end == "index")).count() > 2);
        assert!(second_reader(directory.path(), &secret) == expected);
    }
}

#[test]
fn names_of_files_are_those_of_the_specification() {
    let directory = tempfile::tempdir().unwrap();
    append(&mut open(directory.path(), small()), 1);
    let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let segments: Vec<_> = names.filter_map(|name| SegmentName::read(name.to_str()?)).collect();
    assert_eq!(segments, [SegmentName { segment: 1, first: at(1, 0) }]);
}

type Listing = Box<dyn FnOnce(&Directory) -> io::Result<Vec<String>> + Send>;

/// Has its own way to list the directory for the second time, which is when a reader looks for the next segment.
struct OnSecondList {
    files: Directory,
    second: Mutex<(u32, Option<Listing>)>,
}

impl std::fmt::Debug for OnSecondList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnSecondList")
    }
}

impl Files for OnSecondList {
    fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.files.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let mut second = self.second.lock().unwrap();
        second.0 += 1;
        if second.0 == 2 { second.1.take().unwrap()(&self.files) } else { self.files.list() }
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.files.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.files.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }
}

/// Appends three messages, then more than fit into the segment, before the directory is listed as `list` does.
fn is_followed_while_it_grows(list: impl FnOnce(&Directory) -> io::Result<Vec<String>> + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), small());
    append(&mut writer, 3);
    let second: Listing = Box::new(move |files| {
        append(&mut writer, 400);
        list(files)
    });
    let files = Directory::open(directory.path()).unwrap();
    let files = OnSecondList { files, second: Mutex::new((0, Some(second))) };
    let mut reader = LogReader::open_files(Arc::new(files), Keys::none()).unwrap();
    for number in 0..403 {
        let Some(LogItem::Record(record)) = reader.next().unwrap() else { panic!("at {number}") };
        assert_eq!(record.record.first, at(1, number));
    }
}

#[test]
fn what_is_appended_between_the_last_look_and_the_next_segment_is_read() {
    is_followed_while_it_grows(Files::list);
}

/// A directory is not listed at one instant.
#[test]
fn a_segment_that_a_listing_lacks_although_it_has_the_next_one_is_read() {
    is_followed_while_it_grows(|files| {
        let mut names = files.list()?;
        names.sort();
        let mut segments = names.iter().filter(|name| SegmentName::read(name).is_some());
        let second = segments.nth(1).unwrap().clone();
        names.retain(|name| *name != second);
        Ok(names)
    });
}

#[test]
fn what_is_appended_to_a_segment_before_it_is_closed_is_read() {
    // The next segment does not exist yet.
    is_followed_while_it_grows(|files| {
        let mut names = files.list()?;
        names.sort();
        let first = names.iter().position(|name| SegmentName::read(name).is_some()).unwrap();
        Ok(vec![names[first].clone()])
    });
}

/// A segment of which only the first bytes are there until its length was asked for the third time.
#[derive(Debug)]
struct HalfWritten {
    file: Arc<dyn LogFile>,
    first: u64,
    asked: AtomicU64,
}

impl HalfWritten {
    fn visible(&self) -> u64 {
        if self.asked.load(Ordering::Relaxed) < 3 { self.first } else { u64::MAX }
    }
}

impl LogFile for HalfWritten {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.file.append(bytes)
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let most = self.visible().saturating_sub(offset).min(into.len() as u64);
        self.file.read_at(offset, &mut into[..most as usize])
    }
    fn length(&self) -> io::Result<u64> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.file.length()?.min(self.visible()))
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// A directory whose segments are being written.
#[derive(Debug)]
struct WithHalfWritten(Directory);

impl Files for WithHalfWritten {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.0.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.0.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = self.0.open(name)?;
        Ok(match SegmentName::read(name) {
            Some(_) => Arc::new(HalfWritten { file, first: 100_000, asked: AtomicU64::new(0) }),
            None => file,
        })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }
}

/// The record is whole, and has another one behind it, once the reader searches behind it.
#[test]
fn a_record_that_is_completed_while_a_later_one_is_searched_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), LogOptions { segment_bytes: 10_000_000, ..small() });
    for length in [10, 400_000, 10] {
        writer.append(LogTime(0), &[message(&vec![7; length])]).unwrap();
    }
    let files = WithHalfWritten(Directory::open(directory.path()).unwrap());
    let mut reader = LogReader::open_files(Arc::new(files), Keys::none()).unwrap();
    for number in 0..3 {
        let next = loop {
            if let Some(next) = reader.next().unwrap() {
                break next;
            }
        };
        let LogItem::Record(record) = next else { panic!("at {number}: {next:?}") };
        assert_eq!(record.record.first, at(1, number));
    }
}
