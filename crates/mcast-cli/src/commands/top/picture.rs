//! What there is to be seen at one moment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use mcast::InterfaceIndex;
use mcast_watch::{GroupMember, Row, WatchReport};

use super::announced::Announced;
use super::joined::{Joined, Local};
use super::recording::Recording;

/// What there is to be seen at one moment.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) report: WatchReport,
    /// Streams that announce themselves.
    pub(super) announced: Vec<Announced>,
    /// How many times one was left out for want of room.
    pub(super) announced_left_out: u64,
    pub(super) names: HashMap<InterfaceIndex, Arc<str>>,
    pub(super) joined: Arc<Joined>,
    /// Packets that were lost before they could be counted; `None` where nobody knows.
    pub(super) lost: Option<u64>,
    pub(super) recording: Option<RecordingState>,
    pub(super) is_file: bool,
    /// Nothing more comes.
    pub(super) is_over: bool,
}

/// How far a recording has come.
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

    /// Who on this machine has joined the stream's group where it comes.
    pub(super) fn locals(&self, row: &Row) -> &[Local] {
        self.joined.of(row.key.group, row.key.interface)
    }

    /// What a stream of the message layer is announced as, where it is seen.
    pub(super) fn announced_name(&self, row: &Row) -> Option<&str> {
        let identity = row.identity?;
        let is_it = |announced: &&Announced| {
            announced.stream.0 == identity.stream && announced.interface == row.key.interface
        };
        self.announced.iter().find(is_it)?.name()
    }

    /// Who else has told to be a member.
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
