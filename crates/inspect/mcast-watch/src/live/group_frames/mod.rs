//! The frames of joined groups: from the wire, or from sockets without the permission to capture.

mod sockets;
mod wire;

use std::time::Duration;

use mcast::{Arrival, Drops, Membership, MembershipStatus};
use mcast_capture::{Frame, Recorder};

use super::LiveError;
pub use sockets::SocketFrames;
pub use wire::WireFrames;

/// What to join, and how to receive it.
#[derive(Clone, Debug, Default)]
pub struct GroupFramesOptions {
    /// The memberships.
    pub memberships: Vec<Membership>,
    /// Whether a source-specific group may be joined without a source.
    pub any_source: bool,
    /// Whether to follow interfaces that appear or vanish ([`GroupFrames::refresh`]).
    pub follow: bool,
    /// The buffer size to request, in bytes; `None` for the default.
    pub buffer_size: Option<usize>,
}

/// The frames of joined groups, as [`WireFrames`] or [`SocketFrames`].
pub trait GroupFrames {
    /// Returns the next frame. Waits at most for `timeout`.
    ///
    /// # Errors
    /// [`LiveError`].
    fn next(&mut self, timeout: Duration) -> Result<NextGroupFrame<'_>, LiveError>;

    /// Returns the state of the memberships.
    fn memberships(&self) -> Vec<MembershipStatus>;

    /// Returns the size of the receive buffer in bytes.
    ///
    /// # Errors
    /// If the system does not report it.
    fn buffer_size(&self) -> Result<usize, LiveError>;

    /// Returns the number of missing datagrams.
    ///
    /// # Errors
    /// If the system does not report it.
    fn losses(&mut self) -> Result<FrameLosses, LiveError>;

    /// Adapts to interfaces that have appeared or vanished, if they are followed. Returns whether the captured interfaces
    /// have changed.
    ///
    /// # Errors
    /// [`LiveError`].
    fn refresh(&mut self) -> Result<bool, LiveError> {
        Ok(false)
    }

    /// Describes the captured interfaces, as far as they are known in advance.
    fn describe(&self, _recorder: &mut Recorder) {}

    /// Adds the statistics of each interface since the last call.
    ///
    /// # Errors
    /// If the system does not report them.
    fn add_statistics(&mut self, _recorder: &mut Recorder) -> Result<(), LiveError> {
        Ok(())
    }
}

/// Datagrams that are missing.
#[derive(Clone, Copy, Debug)]
pub struct FrameLosses {
    /// What this machine has dropped for lack of buffer space.
    pub dropped: Drops,
    /// Datagrams that arrived but could not be returned.
    pub unreadable: u64,
}

/// The result of a request for a frame.
#[derive(Debug)]
pub enum NextGroupFrame<'a> {
    /// A frame of a joined group.
    Frame(Frame<'a>, GroupFrameKind),
    /// A frame that does not belong to a membership; more may be waiting.
    Other,
    /// No frame within the timeout.
    Nothing,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFrameKind {
    /// A datagram, or the first fragment of one, which has the header.
    Datagram(Arrival),
    /// A later fragment, whose datagram may belong to a membership.
    Fragment,
}
