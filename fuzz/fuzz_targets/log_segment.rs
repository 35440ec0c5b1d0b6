//! Segments of a log: any bytes behind a valid header, and a log whose bytes were changed. Nothing that was not appended is
//! read, and positions only grow.

#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libfuzzer_sys::fuzz_target;
use mcast_log::{
    Files, Lock, LogFile, LogItem, LogOptions, LogReader, LogTime, SegmentHeader, SegmentIndex, SegmentName,
    Writer,
};
use mcast_stream_proto::history::{HistoryContent, Position, RequestedStart};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, MessageNumber, StreamId};

/// The bytes of a file, messages, and changes of bytes in their segment.
type Input = (Vec<u8>, Vec<Vec<u8>>, Vec<(u16, u8)>);

fuzz_target!(|input: Input| {
    let (bytes, messages, changes) = input;
    read_any(&bytes);
    read_changed(&messages, &changes);
});

/// Reads any bytes as what may be in the files of a log.
fn read_any(bytes: &[u8]) {
    let _ = SegmentHeader::read(bytes);
    let _ = SegmentIndex::read(bytes);
    let first = Position { incarnation: Incarnation(1), number: MessageNumber(0) };
    let header = SegmentHeader {
        stream: StreamId(1),
        name: String::new(),
        publisher: Incarnation(1),
        epoch: KeyEpoch::CLEAR,
        segment: 1,
        first,
        follows: first,
        salt: 0x4d4d_4d4d_4d4d_4d4d,
        begun: LogTime(0),
    };
    let memory = Memory::default();
    let name = SegmentName { segment: 1, first };
    let segment = [header.bytes(), bytes.to_vec()].concat();
    memory.files().insert(name.segment_file(), Arc::new(Bytes(Mutex::new(segment))));
    memory.files().insert(name.index_file(), Arc::new(Bytes(Mutex::new(bytes.to_vec()))));
    read(&memory, |_, _| {});
}

/// Writes a log, changes bytes of its files, and reads it.
fn read_changed(messages: &[Vec<u8>], changes: &[(u16, u8)]) {
    let memory = Memory::default();
    let options = LogOptions { segment_bytes: 4_096, seed: Some(7), ..LogOptions::default() };
    let opened = Writer::open_files(Arc::new(memory.clone()), StreamId(1), "", Incarnation(1), options);
    let (mut writer, _) = opened.expect("memory has no errors");
    for message in messages {
        let content = HistoryContent::Message { key: None, bytes: &message[..] };
        writer.append(LogTime(1), &[content]).expect("memory has no errors");
    }
    for (at, change) in changes {
        let files = memory.files();
        let all: Vec<_> = files.values().collect();
        let mut bytes = all[usize::from(*at) % all.len()].bytes();
        if !bytes.is_empty() {
            let at = usize::from(*at).wrapping_mul(31) % bytes.len();
            bytes[at] ^= change;
        }
    }
    read(&memory, |number, bytes| {
        assert_eq!(messages[usize::try_from(number.0).expect("it was appended")], bytes);
    });
}

fn read(memory: &Memory, check: impl Fn(MessageNumber, &[u8])) {
    let Ok(mut reader) = LogReader::open_files(Arc::new(memory.clone()), Keys::none()) else { return };
    for start in [RequestedStart::Oldest, RequestedStart::Time(0), RequestedStart::Latest(MessageNumber(3))] {
        if reader.seek(start).is_err() {
            continue;
        }
        let mut last = None;
        while let Ok(Some(item)) = reader.next() {
            let LogItem::Record(record) = item else { continue };
            let first = record.record.first;
            assert!(last.is_none_or(|last| last <= first), "positions grow");
            last = Some(first);
            if let HistoryContent::Message { bytes, .. } = record.record.content {
                check(first.number, bytes);
            }
        }
    }
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Arc<Bytes>>>>);

#[derive(Debug, Default)]
struct Bytes(Mutex<Vec<u8>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bytes {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Memory {
    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = Arc::new(Bytes::default());
        self.files().insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = self.files().get(name).cloned();
        Ok(file.ok_or(io::ErrorKind::NotFound)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.files().remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files().insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile for Bytes {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.bytes().truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
