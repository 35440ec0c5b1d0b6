//! The bytes of a log: `docs/log-format.md` specifies them. Numbers are big-endian.

mod bytes;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod golden;
mod header;
mod index;
mod name;
mod record;

pub use header::{HeaderError, MAX_NAME, SegmentHeader};
pub(crate) use index::IndexBuilder;
pub use index::{INDEX_INTERVAL, IndexEntry, SegmentIndex};
pub use name::SegmentName;
pub use record::{MAX_BODY, RECORD_HEAD};
pub(crate) use record::{
    MAX_SEALED_BODY, RecordError, RecordHead, RecordKind, authenticated, mark, write_record,
};
