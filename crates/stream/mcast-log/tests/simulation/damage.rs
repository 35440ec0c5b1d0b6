//! Damaged files: nothing wrong is read, and what is missing is reported.

use mcast_log::{LogItem, LogOptions, LogReader, LogTime, SegmentName, Writer};
use mcast_sim::{Dice, for_seeds};
use mcast_stream_proto::history::{HistoryContent, Position, RequestedStart};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, MessageNumber};

use crate::world::{STREAM, keys};
use mcast_disk::Disk;

const MESSAGES: u64 = 200;

/// Returns message `number`, which contains what looks like a record of another log.
fn message(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + (number as usize * 37) % 400, number as u8);
    bytes
}

fn log(dice: &mut Dice, keys: Keys) -> Disk {
    let disk = Disk::new(dice.next());
    let options = LogOptions { segment_bytes: 5_000, seed: Some(dice.next()), keys, ..LogOptions::default() };
    let (mut writer, _) = Writer::open_files(disk.files(), STREAM, "p", Incarnation(1), options).unwrap();
    for number in 0..MESSAGES {
        let bytes = message(number);
        let batch = [HistoryContent::Message { key: None, bytes: &bytes[..] }];
        writer.append(LogTime(number * 1_000_000), &batch).unwrap();
    }
    if dice.chance(0.5) {
        writer.close().unwrap();
    }
    disk
}

fn segments(disk: &Disk) -> Vec<(String, usize)> {
    disk.lengths().into_iter().filter(|(name, _)| SegmentName::read(name).is_some()).collect()
}

/// Reads everything, and returns how many messages were delivered and reported lost.
fn read(disk: &Disk, keys: Keys, start: u64) -> (u64, u64) {
    let mut reader = LogReader::open_files(disk.files(), keys).unwrap();
    let from = Position { incarnation: Incarnation(1), number: MessageNumber(start) };
    reader.seek(RequestedStart::At(from)).unwrap();
    let (mut delivered, mut lost, mut next) = (0, 0, start);
    while let Some(item) = reader.next().unwrap() {
        match item {
            LogItem::Record(record) => {
                let number = record.record.first.number.0;
                assert_eq!(number, next, "each number is delivered or reported lost");
                assert_eq!(record.time, LogTime(number * 1_000_000));
                let HistoryContent::Message { bytes, .. } = record.record.content else { panic!() };
                assert_eq!(bytes, message(number));
                (delivered, next) = (delivered + 1, number + 1);
            }
            LogItem::Damage(damage) => {
                if damage.is_loss() {
                    assert_eq!(damage.first.number.0, next);
                    lost += damage.end.0 - next;
                    next = damage.end.0;
                }
            }
        }
    }
    (delivered, lost)
}

#[test]
fn damaged_bytes_are_never_delivered_and_what_is_missing_is_reported() {
    for_seeds(1_000, |seed| {
        let mut dice = Dice::new(seed);
        let keys = if dice.chance(0.3) { keys() } else { Keys::none() };
        let disk = log(&mut dice, keys.clone());
        let segments = segments(&disk);
        let (last, _) = segments.last().unwrap().clone();
        let mut is_last_damaged = false;
        for _ in 0..dice.between(1, 4) {
            let (name, length) = dice.pick(&segments);
            is_last_damaged |= name == last;
            let (at, length) = (dice.below(length as u64), length as u64);
            let run = dice.pick(&[1, 1, 4, 60, 600]);
            (at..(at + run).min(length))
                .for_each(|at| disk.damage(&name, at as usize, dice.between(1, 255) as u8));
        }
        let start = dice.below(MESSAGES);
        let (delivered, lost) = read(&disk, keys, start);
        assert!(delivered + lost == MESSAGES - start || is_last_damaged, "{delivered} {lost}");
    });
}

#[test]
fn a_removed_segment_is_a_loss() {
    let mut dice = Dice::new(1);
    let disk = log(&mut dice, Keys::none());
    let segments = segments(&disk);
    let first = SegmentName::read(&segments[2].0).unwrap().first.number.0;
    let end = SegmentName::read(&segments[3].0).unwrap().first.number.0;
    disk.lose(&segments[2].0);
    assert_eq!(read(&disk, Keys::none(), 0), (MESSAGES - (end - first), end - first));
}

#[test]
fn indexes_are_not_needed_and_damaged_ones_are_ignored() {
    for_seeds(50, |seed| {
        let mut dice = Dice::new(seed);
        let disk = log(&mut dice, Keys::none());
        for (name, length) in disk.lengths() {
            match dice.below(3) {
                0 if name.ends_with(".index") => disk.lose(&name),
                1 if name.ends_with(".index") => {
                    let at = dice.below(length as u64) as usize;
                    disk.damage(&name, at, 1);
                }
                _ => {}
            }
        }
        let start = dice.below(MESSAGES);
        assert_eq!(read(&disk, Keys::none(), start), (MESSAGES - start, 0));
        let mut reader = LogReader::open_files(disk.files(), Keys::none()).unwrap();
        let found = reader.seek(RequestedStart::Time(start)).unwrap();
        assert_eq!(found.map(|position| position.number.0), Some(start));
    });
}
