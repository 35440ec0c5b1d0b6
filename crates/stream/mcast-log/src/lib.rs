//! The log of a stream: its messages in a directory of segment files. No sockets, no threads.
//!
//! `docs/log-format.md` specifies the files, and `docs/design/019-log.md` explains the decisions.
//!
//! # Writing
//! A publisher opens its log with [`FoundLog::examine`], which returns what was found ([`Recovery`]), decides with
//! [`Beginning::plan`] whether it continues the stream, and begins with [`Beginning::begin`]; [`Writer::open`] continues the last
//! incarnation in any case. Its first message has the [`Writer::position`]: messages have the incarnation and the number in the log
//! that they have in the stream. [`Writer::incarnation`] is its own one, which is greater than those before it. It appends each batch of messages with [`Writer::append`] before it sends them.
//! What a power failure may take is decided by [`SyncPolicy`]:
//!
//! - [`SyncPolicy::Each`]: nothing; `append` returns when the batch is on the disk, with one sync for the whole batch.
//! - [`SyncPolicy::Interval`]: what was appended within that time. The caller calls [`Writer::sync`] at
//!   [`Writer::sync_due`], or runs [`Writer::begin_sync`] on another thread, while it appends.
//! - [`SyncPolicy::None`]: what the system has not written.
//!
//! # Reading
//! [`LogReader::read`] returns records as a [history server] sends them; [`LogReader::seek`] begins at a position, a time, the
//! oldest or the latest incarnation; [`LogReader::next`] returns one record at a time, with its time, without copying it, and
//! what is damaged.
//!
//! [history server]: mcast_stream_proto::history
//!
//! ```
//! use mcast_log::{LogItem, LogOptions, LogTime, LogReader, Writer};
//! use mcast_stream_proto::history::{HistoryContent, Position};
//! use mcast_stream_proto::seal::Keys;
//! use mcast_stream_proto::wire::{Incarnation, StreamId};
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let stream = StreamId::named("prices");
//! let (mut log, _) = Writer::open(directory, stream, "prices", Incarnation(1), LogOptions::default())?;
//! let batch = [HistoryContent::Message { key: None, bytes: &b"EUR 1.08"[..] }];
//! let appended = log.append(LogTime::now(), &batch)?;
//! assert_eq!(appended.durable, appended.next);
//!
//! let mut reader = LogReader::open(directory, Keys::none())?;
//! let records = reader.read(Position::START, 100)?;
//! assert_eq!(records.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//! | module | its idea |
//! |---|---|
//! | `format` | bytes: headers, records and their seals, indexes, names |
//! | `files` | the operations on files that a log needs, as traits; tests inject faults there |
//! | `catalog`, `segments` | which segments there are |
//! | `retention` | which of them are removed, and which are still needed |
//! | `scan` | one segment, record by record, also if it is damaged |
//! | `writer`, `recovery` | appending; what a writer does with what it finds |
//! | `publisher` | what a publisher records for the next one: how it ended, and how far subscribers were |
//! | `beginning` | how a publisher begins: whether it continues the stream, and what it needs of the log |
//! | `tail` | the last messages, which the next publisher retains |
//! | `reader` | from any start to the end, over segments, damage and restarts |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod beginning;
mod catalog;
mod error;
mod files;
mod format;
mod lock;
mod publisher;
mod reader;
mod recovery;
mod retention;
mod scan;
mod segments;
mod tail;
mod writer;

pub use beginning::{Beginning, Unconfirmed};
pub use error::{FileOperation, LogError};
pub use files::{Directory, Files, Lock, LogFile};
pub use format::{
    HeaderError, INDEX_INTERVAL, IndexEntry, LogTime, MAX_BODY, MAX_NAME, RECORD_HEAD, SegmentHeader,
    SegmentIndex, SegmentName,
};
pub use publisher::{Confirmed, Ending, LastPublisher, LogStart};
pub use reader::{Damage, LogItem, LogReader, LogRecord};
pub use recovery::Recovery;
pub use retention::{HeldLog, NOTHING_NEEDED, Pruned, Retention, prune};
pub use segments::{SegmentSummary, missing_at_end, segments};
pub use tail::{LogTail, Recall, TailItem, Unopened};
pub use writer::{Appended, CompletedSync, FoundLog, LogOptions, PendingSync, SyncPolicy, Writer};
