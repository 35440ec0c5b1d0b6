//! The source of datagrams: the wire, or sockets without the permission to capture.

mod memberships;
mod sockets;
mod wire;

use std::time::Duration;

use mcast::{Arrival, Drops, MembershipStatus};
use mcast_capture::{ErrorKind, Frame, Recorder};

use super::{Reception, Via};
use crate::console::Console;
use crate::exit;
use sockets::Sockets;
use wire::Wire;

/// A source of datagrams.
pub(super) trait Source {
    fn kind(&self) -> SourceKind;

    /// Returns the next frame, within this time.
    fn next(&mut self, timeout: Duration) -> anyhow::Result<Next<'_>>;

    fn memberships(&self) -> Vec<MembershipStatus>;

    /// Returns the size of the receive buffer in bytes.
    fn buffer(&self) -> anyhow::Result<usize>;

    fn losses(&mut self) -> anyhow::Result<Losses>;

    /// With `--follow`, adapts to interfaces that have appeared or vanished. Returns whether the captured interfaces
    /// have changed.
    fn refresh(&mut self) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Describes the captured interfaces, as far as they are known in advance.
    fn describe(&self, _recorder: &mut Recorder) {}

    /// Adds the statistics of each interface since the last call.
    fn count(&mut self, _recorder: &mut Recorder) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Where datagrams come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceKind {
    Wire,
    Sockets,
}

/// Datagrams that are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Losses {
    /// What this machine has dropped for lack of buffer space.
    pub(super) dropped: Drops,
    /// Datagrams that arrived but could not be recorded.
    pub(super) unreadable: u64,
}

/// A frame to record, with its kind.
#[derive(Debug)]
pub(super) struct RecordedFrame<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) kind: FrameKind,
}

/// The kind of a frame to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A datagram, or the first fragment of one, which has the header.
    Datagram(Arrival),
    /// A later fragment, whose datagram may be selected.
    Fragment,
}

/// The received frame.
#[derive(Debug)]
pub(super) enum Next<'a> {
    Frame(RecordedFrame<'a>),
    /// A frame that is not recorded; more may be waiting.
    Passed,
    /// No frame within the timeout.
    Nothing,
}

impl SourceKind {
    /// Returns the comment for the file.
    pub(super) const fn comment(self) -> &'static str {
        match self {
            Self::Wire => {
                "Recorded from the wire by mcast record: unmodified frames of the requested groups."
            }
            Self::Sockets => {
                "Recorded from sockets by mcast record: payload, addresses, ports, TTL, DSCP and times are \
                 those that the kernel reported; all other fields of the IP and UDP headers are \
                 reconstructed, and fragmented datagrams are whole."
            }
        }
    }

    /// Returns a description for text.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Wire => "the wire",
            Self::Sockets => "sockets",
        }
    }

    /// Returns the name in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Sockets => "sockets",
        }
    }
}

/// Joins the groups and starts to receive.
pub(super) fn open(reception: &Reception, console: &Console) -> anyhow::Result<Box<dyn Source>> {
    if reception.via != Via::Sockets {
        match Wire::open(reception) {
            Ok(wire) => return Ok(Box::new(wire)),
            Err(error) if reception.via == Via::Auto && is_denied(&error) => {
                console.warn(&error);
                if let Some(remedy) = exit::remedy(&error) {
                    console.advise(remedy);
                }
                console.warn(
                    "recording from sockets instead: payloads, addresses, TTL, DSCP and kernel times are \
                     real, and the other header fields are reconstructed",
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Box::new(Sockets::open(reception)?))
}

/// Returns whether capturing is denied, in which case sockets may be used.
fn is_denied(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<mcast_capture::Error>().map(mcast_capture::Error::kind);
    matches!(kind, Some(ErrorKind::Permission | ErrorKind::Unsupported(_) | ErrorKind::LinkType(_)))
}
