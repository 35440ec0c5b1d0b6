//! Where the datagrams come from: the wire, or sockets where nobody may look at the wire.

mod sockets;
mod wire;

use std::time::Duration;

use mcast::{Drops, InterfaceIndex, Membership, MembershipStatus};
use mcast_capture::{ErrorKind, Frame, Statistics};
use mcast_packet::LinkType;

use super::stream::Piece;
use super::{Arguments, Via};
use crate::console::Console;
use crate::exit;
use sockets::Sockets;
use wire::Wire;

/// Where the datagrams come from.
#[derive(Debug)]
pub(super) enum Source {
    Wire(Box<Wire>),
    Sockets(Box<Sockets>),
}

/// A frame to be recorded, and what it is.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) piece: Piece,
}

/// What came.
#[derive(Debug)]
pub(super) enum Next<'a> {
    Found(Found<'a>),
    /// Something that is not wanted; more may be there.
    Passed,
    /// Nothing, in the time that was given.
    Nothing,
}

/// An interface, as a file is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) index: InterfaceIndex,
    pub(super) name: String,
    pub(super) link_type: LinkType,
}

impl Source {
    /// Joins, and begins to take what comes.
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
                         true, the other header fields are made up",
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self::Sockets(Box::new(Sockets::open(arguments, memberships)?)))
    }

    /// What the file says about itself.
    pub(super) const fn comment(&self) -> &'static str {
        match self {
            Self::Wire(_) => {
                "Recorded from the wire by mcast record: frames as they were, of the groups that were asked for."
            }
            Self::Sockets(_) => {
                "Recorded from sockets by mcast record: payload, addresses, ports, TTL, DSCP and times are those \
                 that the kernel told; all other fields of the IP and UDP headers are made up, and datagrams that \
                 came in fragments are whole."
            }
        }
    }

    /// What comes next, within this time.
    pub(super) fn next(&mut self, timeout: Duration) -> anyhow::Result<Next<'_>> {
        match self {
            Self::Wire(wire) => wire.next(timeout),
            Self::Sockets(sockets) => sockets.next(timeout),
        }
    }

    /// Looks whether interfaces have come or gone, where they are followed; says whether the interfaces are
    /// others now.
    pub(super) fn look_again(&mut self) -> anyhow::Result<bool> {
        match self {
            Self::Wire(wire) => wire.look_again(),
            Self::Sockets(_) => Ok(false),
        }
    }

    /// The interfaces that frames come from, as far as they are known beforehand.
    pub(super) fn interfaces(&self) -> Vec<Described> {
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

    /// What this machine lost so far for want of buffer.
    pub(super) fn dropped(&mut self) -> anyhow::Result<Drops> {
        match self {
            Self::Wire(wire) => wire.dropped(),
            Self::Sockets(sockets) => Ok(sockets.dropped()),
        }
    }

    /// Where it is, in words.
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Wire(_) => "the wire",
            Self::Sockets(_) => "sockets",
        }
    }

    /// The same for programs.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Wire(_) => "wire",
            Self::Sockets(_) => "sockets",
        }
    }

    /// Datagrams that came and could not be taken.
    pub(super) fn unreadable(&mut self) -> anyhow::Result<u64> {
        match self {
            Self::Wire(wire) => wire.unreadable(),
            Self::Sockets(sockets) => Ok(sockets.unreadable()),
        }
    }

    /// What was seen and lost on each interface since the last call, for the file.
    pub(super) fn take_statistics(&mut self) -> anyhow::Result<Vec<(InterfaceIndex, Statistics)>> {
        match self {
            Self::Wire(wire) => wire.take_statistics(),
            Self::Sockets(_) => Ok(Vec::new()),
        }
    }

    /// How large a receive buffer was granted, in bytes.
    pub(super) fn buffer(&self) -> anyhow::Result<usize> {
        match self {
            Self::Wire(wire) => wire.buffer(),
            Self::Sockets(sockets) => Ok(sockets.buffer()),
        }
    }
}

/// Whether the wire cannot be looked at, where sockets may do.
fn is_denied(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<mcast_capture::Error>().map(mcast_capture::Error::kind);
    matches!(kind, Some(ErrorKind::Permission | ErrorKind::Unsupported(_) | ErrorKind::LinkType(_)))
}
