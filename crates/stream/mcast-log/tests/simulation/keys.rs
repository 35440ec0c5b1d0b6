//! Secrets that are replaced and removed while a log is written, and publishers that start with what is left.

use mcast_disk::Disk;
use mcast_log::{
    Beginning, FoundLog, LogError, LogItem, LogOptions, LogReader, LogStart, LogTail, LogTime,
    NOTHING_NEEDED, Recall, SyncPolicy, TailItem, Unconfirmed,
};
use mcast_sim::{Dice, for_seeds};
use mcast_stream_proto::history::{GapCause, HistoryContent, Position, RequestedStart};
use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream_proto::subscriber::Cause;
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, MessageNumber};

use crate::world::STREAM;

fn keys(epochs: std::ops::RangeInclusive<u16>) -> Keys {
    let mut keys = Keys::none();
    for epoch in epochs {
        keys.add(KeyEpoch(epoch), GroupSecret::new(&[epoch as u8; 32], Algorithm::Aes128Gcm));
    }
    keys
}

fn message(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + (number as usize * 37) % 200, number as u8);
    bytes
}

#[test]
fn a_publisher_starts_and_readers_read_on_when_old_secrets_are_removed() {
    for_seeds(300, |seed| {
        let mut dice = Dice::new(seed);
        let disk = Disk::new(dice.next());
        // The epoch of each message.
        let mut sealed: Vec<u16> = Vec::new();
        let (mut oldest, mut latest) = (1_u16, 1_u16);
        let mut is_first = true;
        for _ in 0..dice.between(2, 6) {
            let options = LogOptions {
                sync: SyncPolicy::None,
                segment_bytes: dice.pick(&[4_096, 1 << 20]),
                keys: keys(oldest..=latest),
                seed: Some(dice.next()),
                ..LogOptions::default()
            };
            let found = FoundLog::examine(disk.files(), STREAM, "p", Incarnation(1), options).unwrap();
            let beginning = Beginning::plan(&found, Some("boot"), SyncPolicy::None).unwrap();
            let next = beginning.next;
            assert_eq!(next.number.0, sealed.len() as u64, "numbers continue");
            let unconfirmed = if is_first { Unconfirmed::Nothing } else { Unconfirmed::Unknown };
            assert_eq!(beginning.unconfirmed, unconfirmed);
            let recall =
                Recall { next, unconfirmed, least: 0, most: dice.pick(&[2_000, 1 << 20]), unsent: None };
            let tail = LogTail::read(disk.files(), keys(oldest..=latest), recall).unwrap();
            check_tail(&tail, next.number, &sealed, oldest);
            let (mut writer, ..) = beginning.begin(found, MessageNumber::MAX).unwrap();
            let _ = disk.files().remove("confirmed");
            for _ in 0..dice.between(0, 4) {
                for _ in 0..dice.below(30) {
                    let bytes = message(sealed.len() as u64);
                    let content = HistoryContent::Message { key: None, bytes: &bytes[..] };
                    writer.append(LogTime(sealed.len() as u64 * 1_000_000), &[content]).unwrap();
                    sealed.push(latest);
                }
                match dice.below(3) {
                    0 if latest < oldest + 3 => latest += 1,
                    1 => oldest = oldest.max(latest.saturating_sub(dice.below(2) as u16)),
                    _ => continue,
                }
                writer.set_keys(keys(oldest..=latest)).unwrap();
            }
            drop(writer);
            disk.kill();
            is_first = false;
            // While nothing runs, too.
            if dice.chance(0.3) {
                oldest = latest;
            }
            let start = dice.below(sealed.len() as u64 + 1);
            for by_time in [false, true] {
                read_all(&disk, keys(oldest..=latest), &sealed, oldest, start, by_time);
            }
        }
    });
}

/// Everything that can be opened is in the tail, and nothing else.
fn check_tail(tail: &LogTail, next: MessageNumber, sealed: &[u16], oldest: u16) {
    let mut at = tail.items.front().map_or(next, TailItem::first);
    for item in &tail.items {
        assert_eq!(item.first(), at);
        for number in at.0..item.end().0 {
            let is_open = sealed[number as usize] >= oldest;
            match item {
                TailItem::Message { bytes, .. } => assert!(is_open && **bytes == message(number)),
                TailItem::Gap { .. } => assert!(!is_open, "{number} can be opened"),
            }
        }
        at = item.end();
    }
    assert_eq!(at, next);
}

/// Each message is read, or reported as one that cannot be read because its secret was removed.
fn read_all(disk: &Disk, keys: Keys, sealed: &[u16], oldest: u16, start: u64, by_time: bool) {
    let mut reader = LogReader::open_files(disk.files(), keys).unwrap();
    let from = Position { incarnation: Incarnation(0), number: MessageNumber(start) };
    match by_time {
        true => reader.seek(RequestedStart::Time(start)).unwrap(),
        false => reader.seek(RequestedStart::Latest(from.number)).unwrap(),
    };
    let mut next = start;
    while let Some(item) = reader.next().unwrap() {
        match item {
            LogItem::Record(record) => {
                assert_eq!(record.record.first.number.0, next);
                let HistoryContent::Message { bytes, .. } = record.record.content else { panic!() };
                assert_eq!(bytes, message(next));
                assert!(sealed[next as usize] >= oldest);
                next += 1;
            }
            LogItem::Damage(damage) => {
                assert_eq!(damage.cause(), GapCause::Lost(Cause::Unreadable), "{damage:?}");
                assert_eq!(damage.first.number.0, next, "{damage:?}");
                assert!(sealed[next as usize..damage.end.0 as usize].iter().all(|epoch| *epoch < oldest));
                next = damage.end.0;
            }
        }
    }
    assert_eq!(next, sealed.len() as u64);
}

#[test]
fn what_is_sealed_with_a_secret_that_is_still_to_be_added_is_not_skipped() {
    let disk = Disk::new(1);
    let open = |keys| LogOptions { keys, seed: Some(1), ..LogOptions::default() };
    let found = FoundLog::examine(disk.files(), STREAM, "p", Incarnation(1), open(keys(2..=2))).unwrap();
    let (mut writer, _) = found.begin(LogStart::First, NOTHING_NEEDED).unwrap();
    writer.append(LogTime(1), &[HistoryContent::Message { key: None, bytes: &[1][..] }]).unwrap();
    let mut reader = LogReader::open_files(disk.files(), keys(1..=1)).unwrap();
    assert!(matches!(reader.next(), Err(LogError::NoKey { epoch: KeyEpoch(2), .. })));
}
