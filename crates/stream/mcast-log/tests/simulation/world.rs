//! A publisher that appends to a log and dies, again and again, and what must then be there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcast_log::{
    FoundLog, LogError, LogItem, LogOptions, LogReader, LogStart, LogTime, NOTHING_NEEDED, Retention,
    SyncPolicy, Writer,
};
use mcast_sim::Dice;
use mcast_stream_proto::history::{GapCause, HistoryContent, HistoryRecord, Position};
use mcast_stream_proto::seal::{Algorithm, Cipher, GroupSecret, Keys, Purpose, Secret};
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, MessageKey, MessageNumber, StreamId};

use mcast_disk::{Disk, Faults};

pub(crate) const STREAM: StreamId = StreamId(7);

/// What a number stands for. The id is in the message, so that no two messages are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Message { id: u64, bytes: Vec<u8>, key: Option<MessageKey> },
    Gap { end: u64 },
}

#[derive(Debug, Default)]
struct Truth {
    /// What was tried to append.
    tried: HashSet<(Position, Entry)>,
    /// What must be read. What was not durable in a crash, and was lost, is no longer in it.
    accepted: BTreeMap<Position, Entry>,
    /// Everything before this was reported durable.
    durable: Option<Position>,
    /// The last incarnation that a writer had.
    incarnation: Option<Incarnation>,
    next_id: u64,
}

/// What happened, so that a test can check that it happened at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) crashes: u64,
    pub(crate) torn: u64,
    pub(crate) damaged: u64,
    pub(crate) lost_unsynced: u64,
    pub(crate) full: u64,
    pub(crate) failed_syncs: u64,
    pub(crate) appended: u64,
    pub(crate) restarted: u64,
}

pub(crate) struct World {
    dice: Dice,
    disk: Disk,
    truth: Truth,
    options: LogOptions,
    pub(crate) counts: Counts,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let disk = Disk::new(dice.next());
        let keys = if dice.chance(0.3) { keys() } else { Keys::none() };
        let sync = match dice.below(3) {
            0 => SyncPolicy::None,
            1 => SyncPolicy::Interval(Duration::from_secs(3_600)),
            _ => SyncPolicy::Each,
        };
        let bytes = dice.chance(0.3).then_some(20_000);
        let retention = Retention { bytes, age: None };
        let segment_bytes = dice.pick(&[4_096, 6_000, 1 << 20]);
        let options = LogOptions { sync, segment_bytes, retention, keys, seed: None };
        Self { dice, disk, truth: Truth::default(), options, counts: Counts::default() }
    }

    /// One run of the publisher, until it dies.
    pub(crate) fn live(&mut self) {
        self.disk.set_faults(Faults::default());
        self.disk.set_free(usize::MAX);
        let is_faulty = self.dice.chance(0.5);
        if is_faulty {
            self.disk.set_faults(Faults {
                short_write: 0.1,
                write_error: 0.02,
                sync_error: self.dice.pick(&[0.0, 0.02]),
                name_error: 0.01,
            });
        }
        if self.dice.chance(0.7) {
            let operations = self.dice.below(60) + 1;
            self.disk.die_after(Some(operations));
        }
        let _ = self.publish();
        self.counts.crashes += 1;
        if self.dice.chance(0.6) {
            self.disk.crash();
        } else {
            self.disk.kill();
        }
    }

    /// Returns `None` if it died.
    fn publish(&mut self) -> Option<()> {
        let proposed = Incarnation(self.dice.below(50) as u32);
        let options = LogOptions { seed: Some(self.dice.next()), ..self.options.clone() };
        let start = if self.dice.chance(0.8) { LogStart::Continued } else { LogStart::NotWhatWasLeft };
        let opened = match start {
            LogStart::Continued => Writer::open_files(self.disk.files(), STREAM, "prices", proposed, options),
            _ => FoundLog::examine(self.disk.files(), STREAM, "prices", proposed, options)
                .and_then(|found| found.begin(start, NOTHING_NEEDED)),
        };
        let (mut writer, recovery) = match opened {
            Ok(opened) => opened,
            Err(LogError::Io { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let incarnation = writer.incarnation();
        assert!(incarnation >= proposed, "the clock is followed");
        assert!(self.truth.incarnation.is_none_or(|last| incarnation > last), "the incarnation grows");
        self.truth.incarnation = Some(incarnation);
        let next = writer.position();
        let first = Position::new(incarnation, MessageNumber(0));
        assert_eq!(next, if start == LogStart::Continued { recovery.next } else { first });
        assert!(self.truth.durable.is_none_or(|durable| next >= durable), "positions grow: {next}");
        self.counts.restarted += u64::from(start != LogStart::Continued && next > recovery.next);
        self.counts.torn += u64::from(recovery.cut_bytes > 0);
        self.counts.damaged += u64::from(recovery.damaged_bytes > 0);
        // What is there now stays.
        let before = self.truth.accepted.len();
        self.truth.accepted = self.read_all(next);
        self.counts.lost_unsynced += u64::from(self.truth.accepted.len() < before);
        self.truth.durable = Some(next);
        let mut follower =
            Follower::new(LogReader::open_files(self.disk.files(), self.options.keys.clone()).unwrap());
        let is_pruned = self.options.retention.bytes.is_some();
        for _ in 0..self.dice.below(30) {
            match self.dice.below(12) {
                0 => self.sync(&mut writer)?,
                1 => self.sync_beside(&mut writer)?,
                2 => {
                    self.check(writer.position());
                }
                3 => follower.follow(&self.truth, is_pruned),
                4 if self.dice.chance(0.3) => {
                    let free = self.dice.below(3_000) as usize;
                    self.disk.set_free(free);
                }
                5 => self.disk.set_free(usize::MAX),
                6 => {
                    let (files, other) = (self.disk.files(), LogOptions::default());
                    let second = Writer::open_files(files, STREAM, "prices", Incarnation(9), other);
                    let is_refused = matches!(second, Err(LogError::InUse(_) | LogError::Io { .. }));
                    assert!(is_refused, "{second:?}");
                }
                _ => self.append(&mut writer)?,
            }
        }
        self.check(writer.position());
        follower.follow(&self.truth, is_pruned);
        if self.dice.chance(0.3) {
            // Space is there again: the log can be continued.
            self.disk.set_faults(Faults::default());
            self.disk.set_free(usize::MAX);
            self.append(&mut writer)?;
            self.check(writer.position());
        }
        if self.dice.chance(0.3) && writer.close().is_ok() && !self.disk.is_dead() {
            self.truth.durable = self.end();
        }
        Some(())
    }

    fn end(&self) -> Option<Position> {
        let last = self.truth.accepted.last_key_value();
        let end = last.map(|(position, entry)| match entry {
            Entry::Message { .. } => position.following(),
            Entry::Gap { end } => Position { number: MessageNumber(*end), ..*position },
        });
        end.max(self.truth.durable)
    }

    fn append(&mut self, writer: &mut Writer) -> Option<()> {
        let first = writer.position();
        let mut number = first.number.0;
        let mut entries = Vec::new();
        for _ in 0..self.dice.between(1, 6) {
            let entry = self.entry(number);
            let position = Position { number: MessageNumber(number), ..first };
            self.truth.tried.insert((position, entry.clone()));
            entries.push((position, entry.clone()));
            number = match entry {
                Entry::Message { .. } => number + 1,
                Entry::Gap { end } => end,
            };
        }
        let batch: Vec<HistoryContent<&[u8]>> = entries.iter().map(|(_, entry)| content(entry)).collect();
        match writer.append(LogTime(self.dice.below(1_000_000)), &batch) {
            Ok(appended) => {
                assert_eq!((appended.first, appended.next.0), (first.number, number));
                assert_eq!(writer.next_number().0, number);
                self.truth.accepted.extend(entries);
                self.record_durable(writer, appended.durable);
                assert!(self.options.sync != SyncPolicy::Each || appended.durable == appended.next);
                self.counts.appended += 1;
            }
            Err(_) if self.disk.is_dead() => return None,
            Err(error) if error.is_temporary() => {
                self.counts.full += u64::from(error.is_storage_full());
                assert_eq!(writer.position(), first, "what was refused has no number");
            }
            Err(_) => {
                // A sync failed: nothing is reported durable any more.
                self.counts.failed_syncs += 1;
                assert!(matches!(writer.append(LogTime(0), &batch), Err(LogError::SyncFailed)));
                assert!(matches!(writer.sync(), Err(LogError::SyncFailed)));
                return None;
            }
        }
        Some(())
    }

    fn entry(&mut self, number: u64) -> Entry {
        if self.dice.chance(0.05) {
            return Entry::Gap { end: number + self.dice.between(1, 5) };
        }
        self.truth.next_id += 1;
        let id = self.truth.next_id;
        let length = self.dice.pick(&[0, 1, 30, 300, 900]) as usize;
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend((0..length).map(|at| (id as usize * 31 + at) as u8));
        Entry::Message { id, bytes, key: self.dice.chance(0.3).then_some(MessageKey(id % 3)) }
    }

    fn sync(&mut self, writer: &mut Writer) -> Option<()> {
        match writer.sync() {
            Ok(durable) => {
                assert_eq!(durable, writer.next_number());
                self.record_durable(writer, durable);
                Some(())
            }
            Err(_) => None,
        }
    }

    /// A sync by another thread, during which more is appended.
    fn sync_beside(&mut self, writer: &mut Writer) -> Option<()> {
        let Ok(Some(pending)) = writer.begin_sync() else { return Some(()) };
        let before = writer.next_number();
        let (first, completed) = match self.dice.chance(0.5) {
            true => (self.append(writer), pending.run()),
            false => {
                let completed = pending.run();
                (self.append(writer), completed)
            }
        };
        first?;
        let durable = writer.complete_sync(completed).ok()?;
        assert!(durable >= before);
        self.record_durable(writer, durable);
        Some(())
    }

    fn record_durable(&mut self, writer: &Writer, durable: MessageNumber) {
        self.truth.durable = self.truth.durable.max(Some(Position { number: durable, ..writer.position() }));
    }

    /// Everything that was accepted is there, as long as the kernel lives.
    fn check(&self, next: Position) {
        let found = self.read_all(next);
        let oldest = found.first_key_value().map_or(next, |(position, _)| *position);
        let expected: BTreeMap<_, _> =
            self.truth.accepted.range(oldest..).map(|(a, b)| (*a, b.clone())).collect();
        assert_eq!(found, expected);
    }

    /// Reads the log up to this position. What was reported durable must be there, and nothing that was never tried.
    fn read_all(&self, next: Position) -> BTreeMap<Position, Entry> {
        let durable = self.truth.durable.unwrap_or(Position::START);
        let mut reader = LogReader::open_files(self.disk.files(), self.options.keys.clone()).unwrap();
        let mut found = BTreeMap::new();
        let mut last: Option<Position> = None;
        while let Some(item) = reader.next().unwrap() {
            match item {
                LogItem::Record(record) => {
                    let (position, entry) = entry_of(&record.record);
                    if position >= next {
                        // It was refused, and is not removed yet.
                        continue;
                    }
                    assert!(last.is_none_or(|last| position > last), "{position} after {last:?}");
                    last = Some(position);
                    assert!(self.truth.tried.contains(&(position, entry.clone())), "never appended");
                    found.insert(position, entry);
                }
                LogItem::Damage(damage) if damage.is_loss() => {
                    let end = Position { number: damage.end, ..damage.first }.min(durable);
                    let lost = self.truth.accepted.range(damage.first.min(end)..end).next();
                    assert!(lost.is_none(), "durable and lost: {lost:?}, {damage:?}");
                }
                LogItem::Damage(_) => {}
            }
        }
        let oldest = found.first_key_value().map_or(next, |(position, _)| *position);
        let expected = self.truth.accepted.first_key_value().map(|(position, _)| *position);
        if let Some(expected) = expected.filter(|position| *position < durable)
            && self.options.retention.bytes.is_none()
        {
            assert_eq!(oldest, expected, "nothing is removed");
        }
        for (position, expected) in self.truth.accepted.range(oldest.min(durable)..durable) {
            assert_eq!(found.get(position), Some(expected), "{position} was durable");
        }
        found
    }
}

/// A reader that follows the log while it is written.
struct Follower {
    reader: LogReader,
    last: Option<Position>,
}

impl Follower {
    fn new(reader: LogReader) -> Self {
        Self { reader, last: None }
    }

    fn follow(&mut self, truth: &Truth, is_pruned: bool) {
        while let Some(item) = self.reader.next().unwrap() {
            match item {
                LogItem::Record(record) => {
                    let (position, entry) = entry_of(&record.record);
                    assert!(self.last.is_none_or(|last| position > last), "{position} after {:?}", self.last);
                    self.last = Some(position);
                    assert!(truth.tried.contains(&(position, entry)));
                }
                LogItem::Damage(damage) if damage.is_loss() => {
                    // What was lost in a crash is not in the truth any more.
                    let end = Position { number: damage.end, ..damage.first };
                    let lost = truth.accepted.range(damage.first..end).next();
                    assert!(is_pruned || lost.is_none(), "{damage:?} {lost:?}");
                }
                LogItem::Damage(_) => {}
            }
        }
    }
}

fn content(entry: &Entry) -> HistoryContent<&[u8]> {
    match entry {
        Entry::Message { bytes, key, .. } => HistoryContent::Message { key: *key, bytes },
        Entry::Gap { end } => HistoryContent::Gap { end: MessageNumber(*end), cause: GapCause::JoinedLate },
    }
}

fn entry_of(record: &HistoryRecord<&[u8]>) -> (Position, Entry) {
    let entry = match record.content {
        HistoryContent::Message { key, bytes } => {
            let id = u64::from_be_bytes(bytes[..8].try_into().unwrap());
            Entry::Message { id, bytes: bytes.to_vec(), key }
        }
        HistoryContent::Gap { end, cause } => {
            assert_eq!(cause, GapCause::JoinedLate);
            Entry::Gap { end: end.0 }
        }
        ref other => panic!("{other:?}"),
    };
    (record.first, entry)
}

/// What was sealed with each purpose and count.
type UsedNonces = Arc<Mutex<HashMap<([u8; 47], u64), Vec<u8>>>>;

/// A secret that panics if a nonce is used twice.
struct Recording {
    secret: Arc<GroupSecret>,
    used: UsedNonces,
}

struct RecordingCipher {
    cipher: Box<dyn Cipher>,
    purpose: [u8; 47],
    used: UsedNonces,
}

impl Secret for Recording {
    fn cipher(&self, purpose: &Purpose) -> Box<dyn Cipher> {
        let cipher = self.secret.cipher(purpose);
        Box::new(RecordingCipher { cipher, purpose: purpose.bytes(), used: Arc::clone(&self.used) })
    }
}

impl Cipher for RecordingCipher {
    fn seal(&self, count: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let sealed = [head, text].concat();
        let former = self.used.lock().unwrap().insert((self.purpose, count), sealed);
        assert_eq!(former, None, "a nonce was used twice");
        self.cipher.seal(count, head, text)
    }

    fn open(&self, count: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool {
        self.cipher.open(count, head, text_and_tag)
    }
}

pub(crate) fn keys() -> Keys {
    let secret = GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm);
    Keys::one(KeyEpoch(3), Arc::new(Recording { secret, used: Arc::default() }))
}
