//! Records on their way to a file, so that the file holds whole records only, whatever happens.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Where records go.
pub(super) trait Storage {
    /// Writes some of the bytes, and says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Takes back what was written behind this length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Storage for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// Records that have yet to be written, and how far the file has come.
#[derive(Debug)]
pub(super) struct Spool<S> {
    storage: S,
    waiting: Vec<u8>,
    /// Where in `waiting` each record ends.
    ends: Vec<usize>,
    /// Bytes in the file.
    written: u64,
}

impl<S: Storage> Spool<S> {
    /// Records are written together once they come to this many bytes.
    const TOGETHER: usize = 256 << 10;

    /// More than this does not wait in memory.
    const MOST: usize = 64 << 20;

    pub(super) const fn new(storage: S) -> Self {
        Self { storage, waiting: Vec::new(), ends: Vec::new(), written: 0 }
    }

    /// Bytes in the file.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Records that are not in the file yet.
    pub(super) const fn waiting(&self) -> usize {
        self.ends.len()
    }

    /// Bytes that are not in the file yet.
    pub(super) const fn waiting_bytes(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Whether enough records wait to be written together.
    pub(super) const fn is_due(&self) -> bool {
        self.waiting.len() >= Self::TOGETHER
    }

    /// Whether so much waits that nothing more may.
    pub(super) const fn is_full(&self) -> bool {
        self.waiting.len() >= Self::MOST
    }

    /// Where the next record is to be put; [`Self::finish`] or [`Self::abandon`] must follow.
    pub(super) const fn begin(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// What has been put behind the last record is one.
    pub(super) fn finish(&mut self) {
        self.ends.push(self.waiting.len());
    }

    /// What has been put behind the last record is none.
    pub(super) fn abandon(&mut self) {
        self.waiting.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Writes all that waits. After an error, the file ends with a whole record, and the records that are
    /// not in it wait on.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            let rest = self.waiting.get(done..).unwrap_or_default();
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
        let whole = self.ends.iter().copied().take_while(|end| *end <= done).last().unwrap_or(0);
        // Where a part cannot be taken back, as from a pipe, the rest of it is what is to be written next.
        let kept =
            if whole < done && self.storage.cut(self.written + whole as u64).is_ok() { whole } else { done };
        self.forget(kept);
        result
    }

    pub(super) const fn storage(&self) -> &S {
        &self.storage
    }

    /// So many bytes are in the file.
    fn forget(&mut self, count: usize) {
        self.written += count as u64;
        if count == self.waiting.len() {
            self.waiting.clear();
            self.ends.clear();
            return;
        }
        self.waiting.drain(..count);
        self.ends.retain(|end| *end > count);
        self.ends.iter_mut().for_each(|end| *end -= count);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A disk with little room, which takes no more than five bytes at once.
    #[derive(Debug)]
    struct Disk {
        content: Vec<u8>,
        room: usize,
        can_cut: bool,
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

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.can_cut {
                return Err(io::ErrorKind::NotSeekable.into());
            }
            self.content.truncate(length.try_into().unwrap());
            Ok(())
        }
    }

    fn spool(room: usize, can_cut: bool) -> Spool<Disk> {
        let mut spool = Spool::new(Disk { content: Vec::new(), room, can_cut });
        for record in [&b"first "[..], b"second ", b"third "] {
            spool.begin().extend_from_slice(record);
            spool.finish();
        }
        spool
    }

    #[test]
    fn what_is_written_is_whole_records_in_their_order() {
        let mut spool = spool(100, true);
        spool.begin().extend_from_slice(b"half a rec");
        spool.abandon();
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
        assert_eq!((spool.written(), spool.waiting()), (19, 0));
    }

    #[test]
    fn a_full_disk_ends_with_a_whole_record_and_the_others_wait_for_room() {
        let mut spool = spool(16, true);
        assert_eq!(spool.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(spool.storage.content, b"first second ");
        assert_eq!((spool.written(), spool.waiting()), (13, 1));
        assert!(spool.flush().is_err());
        assert_eq!(spool.storage.content, b"first second ");
        spool.storage.room = 19;
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
    }

    #[test]
    fn what_cannot_be_taken_back_is_completed() {
        let mut spool = spool(16, false);
        assert!(spool.flush().is_err());
        assert_eq!(spool.storage.content, b"first second thi");
        spool.storage.room = 19;
        spool.flush().unwrap();
        assert_eq!(spool.storage.content, b"first second third ");
    }
}
