//! The source of datagrams: the wire, or sockets without the permission to capture.

mod sockets;
mod wire;

use std::time::Duration;

use mcast::{Drops, InterfaceIndex, Membership, MembershipStatus};
use mcast_capture::{ErrorKind, Frame, Statistics};
use mcast_packet::LinkType;

use super::stream::FrameKind;
use super::{Arguments, Via};
use crate::console::Console;
use crate::exit;
use sockets::Sockets;
use wire::Wire;

/// The source of datagrams.
#[derive(Debug)]
pub(super) enum Source {
    Wire(Box<Wire>),
    Sockets(Box<Sockets>),
}

/// A frame to record, with its kind.
#[derive(Debug)]
pub(super) struct RecordedFrame<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) piece: FrameKind,
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

/// The description of an interface in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CapturedInterface {
    pub(super) index: InterfaceIndex,
    pub(super) name: String,
    pub(super) link_type: LinkType,
}

impl Source {
    /// Joins the groups and starts to receive.
    pub(super) fn open(
        arguments: &Arguments,
        memberships: Vec<Membership>,
        console: &Console,
    ) -> anyhow::Result<Self> {
        if arguments.via != Via::Sockets {
            match Wire::open(arguments, &memberships) {
                Ok(wire) => return Ok(Self::Wire(Box::new(wire))),
                Err(error) if arguments.via == Via::Auto && is_denied(&error) => {
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
        Ok(Self::Sockets(Box::new(Sockets::open(arguments, memberships)?)))
    }

    /// Returns the comment for the file.
    pub(super) const fn comment(&self) -> &'static str {
        match self {
            Self::Wire(_) => {
                "Recorded from the wire by mcast record: unmodified frames of the requested groups."
            }
            Self::Sockets(_) => {
                "Recorded from sockets by mcast record: payload, addresses, ports, TTL, DSCP and times are \
                 those that the kernel reported; all other fields of the IP and UDP headers are \
                 reconstructed, and fragmented datagrams are whole."
            }
        }
    }

    /// Returns the next frame, within this time.
    pub(super) fn next(&mut self, timeout: Duration) -> anyhow::Result<Next<'_>> {
        match self {
            Self::Wire(wire) => wire.next(timeout),
            Self::Sockets(sockets) => sockets.next(timeout),
        }
    }

    /// With `--follow`, adapts to interfaces that have appeared or vanished. Returns whether the captured interfaces
    /// have changed.
    pub(super) fn refresh(&mut self) -> anyhow::Result<bool> {
        match self {
            Self::Wire(wire) => wire.refresh(),
            Self::Sockets(_) => Ok(false),
        }
    }

    /// Returns the captured interfaces, as far as they are known in advance.
    pub(super) fn interfaces(&self) -> Vec<CapturedInterface> {
        match self {
            Self::Wire(wire) => wire.interfaces(),
            Self::Sockets(_) => Vec::new(),
        }
    }

    pub(super) fn memberships(&self) -> Vec<MembershipStatus> {
        match self {
            Self::Wire(wire) => wire.memberships(),
            Self::Sockets(sockets) => sockets.memberships(),
        }
    }

    /// Returns what this machine has dropped so far for lack of buffer space.
    pub(super) fn dropped(&mut self) -> anyhow::Result<Drops> {
        match self {
            Self::Wire(wire) => wire.dropped(),
            Self::Sockets(sockets) => Ok(sockets.dropped()),
        }
    }

    /// Returns a description for text.
    pub(super) const fn description(&self) -> &'static str {
        match self {
            Self::Wire(_) => "the wire",
            Self::Sockets(_) => "sockets",
        }
    }

    /// Returns the name in JSON.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Wire(_) => "wire",
            Self::Sockets(_) => "sockets",
        }
    }

    /// Returns the number of datagrams that arrived but could not be recorded.
    pub(super) fn unreadable(&mut self) -> anyhow::Result<u64> {
        match self {
            Self::Wire(wire) => wire.unreadable(),
            Self::Sockets(sockets) => Ok(sockets.unreadable()),
        }
    }

    /// Returns the statistics of each interface since the last call.
    pub(super) fn take_statistics(&mut self) -> anyhow::Result<Vec<(InterfaceIndex, Statistics)>> {
        match self {
            Self::Wire(wire) => wire.take_statistics(),
            Self::Sockets(_) => Ok(Vec::new()),
        }
    }

    /// Returns the size of the receive buffer in bytes.
    pub(super) fn buffer(&self) -> anyhow::Result<usize> {
        match self {
            Self::Wire(wire) => wire.buffer(),
            Self::Sockets(sockets) => Ok(sockets.buffer()),
        }
    }
}

/// Returns whether capturing is denied, in which case sockets may be used.
fn is_denied(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<mcast_capture::Error>().map(mcast_capture::Error::kind);
    matches!(kind, Some(ErrorKind::Permission | ErrorKind::Unsupported(_) | ErrorKind::LinkType(_)))
}
