//! The state of the monitor at one moment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_watch::{Row, StreamRate, WatchReport};

use super::joined::{Joined, LocalMember};
use super::recording::Recording;

/// The state of the monitor at one moment.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) report: WatchReport,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    pub(super) joined: Arc<Joined>,
    /// The number of lost packets; `None` if it is unknown.
    pub(super) lost: Option<u64>,
    pub(super) recording: Option<RecordingState>,
    pub(super) is_file: bool,
    /// Whether the source has ended.
    pub(super) is_over: bool,
}

/// The state of a recording.
#[derive(Clone, Debug)]
pub(super) struct RecordingState {
    pub(super) path: PathBuf,
    pub(super) frames: u64,
    pub(super) failure: Option<String>,
}

impl Picture {
    pub(super) fn interface(&self, index: InterfaceIndex) -> String {
        self.names.get(&index).map_or_else(|| index.to_string(), ToString::to_string)
    }

    /// Returns the local members of the stream's group on its interface.
    pub(super) fn locals(&self, row: &Row) -> &[LocalMember] {
        self.joined.of(row.key.group, row.key.interface)
    }

    /// Returns the rate of a stream to show: the latest, or for a file the mean.
    pub(super) fn rate(&self, row: &Row) -> StreamRate {
        if self.is_file { row.mean } else { row.now }
    }

    /// Returns the sum of the rates of all streams.
    pub(super) fn total_rate(&self) -> StreamRate {
        let rates = self.report.streams.iter().map(|row| self.rate(row));
        rates.fold(StreamRate::default(), |sum, rate| StreamRate {
            datagrams_per_second: sum.datagrams_per_second + rate.datagrams_per_second,
            bits_per_second: sum.bits_per_second + rate.bits_per_second,
        })
    }

    /// Returns whether a stream has fallen silent: no datagrams arrived in the last interval.
    pub(super) fn is_quiet(&self, row: &Row) -> bool {
        !self.is_file && row.now.datagrams_per_second == 0.0 && row.quiet >= Duration::from_secs(1)
    }
}

impl RecordingState {
    pub(super) fn of(recording: &Recording) -> Self {
        Self { path: recording.path.clone(), frames: recording.frames(), failure: recording.failure.clone() }
    }
}
