//! The state of the monitor at one moment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcast::InterfaceIndex;

use super::local_members::{LocalMember, LocalMembers};
use super::recording::Recording;
use crate::{Row, StreamRate, WatchReport};

/// The state of a [`Monitor`](super::Monitor) at one moment.
#[derive(Debug)]
pub struct MonitorReport {
    /// The table.
    pub watch: WatchReport,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    pub(super) local_members: Arc<LocalMembers>,
    /// The number of packets that arrived too fast to be captured; `None` if it is unknown.
    pub lost: Option<u64>,
    /// The recording, if there is one.
    pub recording: Option<RecordingStatus>,
    /// Whether the frames are those of a file.
    pub is_file: bool,
    /// Whether the frames have ended.
    pub is_over: bool,
}

/// The state of a recording.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordingStatus {
    /// Its file.
    pub path: PathBuf,
    /// The number of frames written.
    pub frames: u64,
    /// Why it ended early, if it did.
    pub failure: Option<String>,
}

impl MonitorReport {
    /// Returns the name of an interface, or its index. The name is escaped for a terminal.
    #[must_use]
    pub fn interface(&self, index: InterfaceIndex) -> String {
        self.names.get(&index).map_or_else(|| index.to_string(), ToString::to_string)
    }

    /// Returns the local members of the stream's group on its interface.
    #[must_use]
    pub fn local_members(&self, row: &Row) -> &[LocalMember] {
        self.local_members.of(row.key.group, row.key.interface)
    }

    /// Returns the rate of a stream to show: the latest, or for a file the mean.
    #[must_use]
    pub const fn rate(&self, row: &Row) -> StreamRate {
        if self.is_file { row.mean } else { row.now }
    }

    /// Returns the sum of the rates of all streams.
    #[must_use]
    pub fn total_rate(&self) -> StreamRate {
        let rates = self.watch.streams.iter().map(|row| self.rate(row));
        rates.fold(StreamRate::default(), |sum, rate| StreamRate {
            datagrams_per_second: sum.datagrams_per_second + rate.datagrams_per_second,
            bits_per_second: sum.bits_per_second + rate.bits_per_second,
        })
    }

    /// Returns whether a stream has fallen silent: no datagrams arrived in the last interval.
    #[must_use]
    pub fn is_quiet(&self, row: &Row) -> bool {
        !self.is_file && row.now.datagrams_per_second == 0.0 && row.quiet >= Duration::from_secs(1)
    }
}

impl RecordingStatus {
    pub(super) fn of(recording: &Recording) -> Self {
        Self { path: recording.path.clone(), frames: recording.frames(), failure: recording.failure.clone() }
    }
}
