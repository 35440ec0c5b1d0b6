//! Buffers records on their way to a file, and ensures that the file ends with a complete record even after
//! an error.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// The destination of records.
pub(super) trait Storage {
    /// Writes some of the bytes, and returns how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Removes the last `count` bytes that were written.
    fn remove_last(&mut self, count: u64) -> io::Result<()>;
}

impl Storage for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    /// Standard output may have had contents before (`>> FILE`), and other programs may append to the same
    /// file. The position after our last write is therefore decisive, and bytes are removed only if nothing
    /// follows them.
    fn remove_last(&mut self, count: u64) -> io::Result<()> {
        let end = self.stream_position()?;
        let start = end.checked_sub(count).ok_or(io::ErrorKind::InvalidInput)?;
        if self.metadata()?.len() != end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.set_len(start)?;
        self.seek(SeekFrom::Start(start)).map(drop)
    }
}

/// Records to be written, and the length of the file.
#[derive(Debug)]
pub(super) struct Spool<S> {
    storage: S,
    pending: Vec<u8>,
    /// The end of each record in `pending`.
    ends: Vec<usize>,
    /// Bytes in the file.
    written: u64,
}

impl<S: Storage> Spool<S> {
    /// Records are written once there are this many bytes.
    const FLUSH_BYTES: usize = 256 << 10;

    /// At most about this many bytes are kept in memory.
    const MAX_PENDING_BYTES: usize = 64 << 20;

    pub(super) const fn new(storage: S) -> Self {
        Self { storage, pending: Vec::new(), ends: Vec::new(), written: 0 }
    }

    /// Returns the number of bytes in the file.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Returns the number of records not yet in the file.
    pub(super) const fn pending(&self) -> usize {
        self.ends.len()
    }

    /// Returns the number of bytes not yet in the file.
    pub(super) const fn pending_bytes(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Returns whether there are enough records to write them.
    pub(super) const fn is_due(&self) -> bool {
        self.pending.len() >= Self::FLUSH_BYTES
    }

    /// Returns whether no more records fit in memory.
    pub(super) const fn is_full(&self) -> bool {
        self.pending.len() >= Self::MAX_PENDING_BYTES
    }

    /// Returns the buffer to append the next record to; [`Self::finish`] or [`Self::abandon`] must follow.
    pub(super) const fn begin(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Completes the record that has been appended.
    pub(super) fn finish(&mut self) {
        self.ends.push(self.pending.len());
    }

    /// Discards the record that has been appended.
    pub(super) fn abandon(&mut self) {
        self.pending.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Writes all pending records. After an error, the file ends with a complete record, and the records that
    /// are not in it stay pending.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            let rest = self.pending.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.storage.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => done += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let complete = self.ends.iter().copied().take_while(|end| *end <= done).last().unwrap_or(0);
        // If a partial record cannot be removed, as from a pipe, its rest is written next.
        let excess = (done - complete) as u64;
        let written = if excess > 0 && self.storage.remove_last(excess).is_ok() { complete } else { done };
        self.remove_written(written);
        result
    }

    pub(super) const fn storage(&self) -> &S {
        &self.storage
    }

    /// Removes `count` bytes that are now in the file.
    fn remove_written(&mut self, count: usize) {
        self.written += count as u64;
        if count == self.pending.len() {
            self.pending.clear();
            self.ends.clear();
            return;
        }
        self.pending.drain(..count);
        self.ends.retain(|end| *end > count);
        self.ends.iter_mut().for_each(|end| *end -= count);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A disk with little room, which accepts at most five bytes per write.
    #[derive(Debug)]
    struct Disk {
        content: Vec<u8>,
        room: usize,
        can_remove: bool,
    }

    impl Storage for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(5).min(self.room - self.content.len());
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn remove_last(&mut self, count: u64) -> io::Result<()> {
            if !self.can_remove {
                return Err(io::ErrorKind::NotSeekable.into());
            }
            self.content.truncate(self.content.len() - usize::try_from(count).unwrap());
            Ok(())
        }
    }

    fn spool(room: usize, can_remove: bool) -> Spool<Disk> {
        let mut spool = Spool::new(Disk { content: Vec::new(), room, can_remove });
        for record in [&b"first "[..], b"second ", b"third "] {
            spool.begin().extend_from_slice(record);
            spool.finish();
        }
        spool
    }

    #[test]
    fn complete_records_are_written_in_order() {
        let mut spool = spool(100, true);
        spool.begin().extend_from_slice(b"half a rec");
        spool.abandon();
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
        assert_eq!((spool.written(), spool.pending()), (19, 0));
    }

    #[test]
    fn full_disk_leaves_complete_records_and_keeps_the_others() {
        let mut spool = spool(16, true);
        assert_eq!(spool.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(spool.storage.content, b"first second ");
        assert_eq!((spool.written(), spool.pending()), (13, 1));
        assert!(spool.flush().is_err());
        assert_eq!(spool.storage.content, b"first second ");
        spool.storage.room = 19;
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
    }

    #[test]
    fn partial_record_that_cannot_be_removed_is_completed() {
        let mut spool = spool(16, false);
        assert!(spool.flush().is_err());
        assert_eq!(spool.storage.content, b"first second thi");
        spool.storage.room = 19;
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
    }

    #[test]
    fn only_our_last_bytes_are_removed_from_an_appended_file() {
        let mut named = tempfile::NamedTempFile::new().unwrap();
        named.write_all(b"earlier ").unwrap();
        let mut ours = File::options().append(true).open(named.path()).unwrap();
        ours.write_all(b"first sec").unwrap();

        ours.remove_last(3).unwrap();
        assert_eq!(std::fs::read(named.path()).unwrap(), b"earlier first ");
        ours.write_all(b"second").unwrap();
        File::options().append(true).open(named.path()).unwrap().write_all(b" theirs").unwrap();

        assert!(ours.remove_last(3).is_err(), "something else follows");
        assert_eq!(std::fs::read(named.path()).unwrap(), b"earlier first second theirs");
    }
}
