//! The bytes of a log: `docs/log-format.md` specifies them. Numbers are big-endian.

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod golden;
mod header;
mod index;
mod record;

use std::time::{Duration, SystemTime};

pub use header::SegmentName;
pub use header::{HeaderError, MAX_NAME, SegmentHeader};
pub(crate) use index::IndexBuilder;
pub use index::{INDEX_INTERVAL, IndexEntry, SegmentIndex};
pub use record::{MAX_BODY, RECORD_HEAD};
pub(crate) use record::{
    MAX_SEALED_BODY, RecordError, RecordHead, RecordKind, authenticated, mark, write_record,
};

/// The time of a record: nanoseconds since 1970, by the clock of the writer, which may go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogTime(pub u64);

impl LogTime {
    /// Returns the present time.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Returns a time in milliseconds since 1970.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// Returns the time for the standard library.
    #[must_use]
    pub fn system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

/// Returns the bytes at this place; zeros where the slice is shorter.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    let found = bytes.get(at..).unwrap_or_default();
    array.iter_mut().zip(found).for_each(|(to, from)| *to = *from);
    array
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}
