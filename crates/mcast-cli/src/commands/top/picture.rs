//! The state of the monitor at one moment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use mcast::InterfaceIndex;
use mcast_watch::{GroupMember, Row, WatchReport};

use super::announced::Announced;
use super::joined::{Joined, LocalMember};
use super::recording::Recording;

/// The state of the monitor at one moment.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) report: WatchReport,
    /// Announced streams.
    pub(super) announced: Vec<Announced>,
    /// The number of announcements omitted for lack of room.
    pub(super) announced_omitted: u64,
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

    /// Returns the announced name of a message-layer stream on the interface of the row.
    pub(super) fn announced_name(&self, row: &Row) -> Option<&str> {
        let identity = row.identity?;
        let is_it = |announced: &&Announced| {
            announced.stream.0 == identity.stream && announced.interface == row.key.interface
        };
        self.announced.iter().find(is_it)?.name()
    }

    /// Returns the other members known from reports.
    pub(super) fn members<'a>(&'a self, row: &Row) -> impl Iterator<Item = &'a GroupMember> {
        let key = row.key;
        let first = self.report.members.partition_point(|member| member.group < key.group);
        let of_group =
            self.report.members[first..].iter().take_while(move |member| member.group == key.group);
        of_group.filter(move |member| {
            member.interface == key.interface && member.vlan == key.vlan && !member.is_this_machine
        })
    }
}

impl RecordingState {
    pub(super) fn of(recording: &Recording) -> Self {
        Self { path: recording.path.clone(), frames: recording.frames(), failure: recording.failure.clone() }
    }
}
