//! Messages that a publisher no longer retains, from a server that keeps them: its protocol, and how what it delivers is
//! joined with the live stream.
//!
//! `docs/protocol.md` specifies the protocol, under *History servers*. [`HistoryMachine`] delivers what a subscriber
//! asks for from the history, and then the live stream, so that each message is delivered once, in order, or reported as
//! lost.

mod machine;
mod reading;
mod record;
mod search;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod simulation;
mod wire;

pub use crate::wire::Position;
pub use machine::{HistoryMachine, HistoryQuery};
pub use reading::LONGEST_EXPECTED;
pub use record::{
    GapCause, HistoryConfig, HistoryContent, HistoryRecord, HistoryStart, HistoryStatistics, LiveIdentity,
};
pub use search::{AnnouncementSchedule, HistoryAnnouncement, HistorySearch};
pub use wire::{
    AnswerFrame, AnswerStatus, FrameWriter, HISTORY_REQUEST, HistoryRequest, MAX_HISTORY_FRAME,
    MAX_SNAPSHOT_FRAME, RecordReader, Requested, RequestedStart, SnapshotError, SnapshotParts,
};
