//! The depth of a flow, as a report shows it.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

/// How far the datagrams of a flow came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Depth {
    /// This machine sends them by an interface on which the group is not joined.
    OtherInterface,
    /// None was on the wire of the joined interface.
    NotOnWire,
    /// They were on the wire, and nothing shows that the IP layer accepted them.
    OnWire,
    /// The IP layer accepted them, and they did not reach the socket.
    AtIp,
    /// They reached the socket, and the program did not read them.
    AtSocket,
    /// They were read, apart from losses below 5 %.
    Arrives,
    /// They left this machine, whose program sends them.
    Leaves,
    /// Not observed.
    Unknown,
}

/// Whether datagrams are received by the socket that has joined the group. It follows from [`Report::flows`](crate::Report::flows).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ArrivalStatus {
    /// The datagrams of every expected flow arrive.
    Arrives,
    /// They arrived, and at least one stream has stopped since (`stream-stopped`).
    Stopped,
    /// Some flows arrive, and others do not.
    Incomplete,
    /// No flow arrives.
    Nothing,
    /// Not observed: a machine or a file was examined, or the examination could not see it.
    #[default]
    NotObserved,
}

/// An expected flow, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlowStatus {
    /// The group and port.
    #[serde(rename = "group")]
    pub destination: SocketAddr,
    /// The source; `None` if no datagram was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SocketAddr>,
    /// The interface on which the group is joined, or by which it is sent.
    pub interface: String,
    /// The program that should receive it, as `name (pid)`; `None` for the doctor itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The number of complete datagrams on the wire; `None` if the wire was not captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_wire: Option<u64>,
    /// The number of datagrams that the doctor's own socket received; `None` if another program should receive them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// How far the datagrams came.
    pub depth: Depth,
    /// Whether some of them arrive although others are lost.
    #[serde(skip)]
    pub(crate) some_arrive: bool,
}

impl Depth {
    /// Returns whether the datagrams reached this machine and were lost inside it.
    #[must_use]
    pub const fn is_lost_here(self) -> bool {
        matches!(self, Self::OnWire | Self::AtIp | Self::AtSocket)
    }

    /// Returns whether nothing reached this machine.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::NotOnWire | Self::OtherInterface)
    }
}

impl ArrivalStatus {
    /// Returns the status of two memberships together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Arrives | Self::Stopped, Self::Arrives | Self::Stopped) => Self::Stopped,
            (Self::Incomplete | Self::Arrives | Self::Stopped, Self::Incomplete | Self::Nothing)
            | (Self::Incomplete | Self::Nothing, Self::Incomplete | Self::Arrives | Self::Stopped) => {
                Self::Incomplete
            }
            (Self::NotObserved, lost @ (Self::Incomplete | Self::Nothing))
            | (lost @ (Self::Incomplete | Self::Nothing), Self::NotObserved) => lost,
            _ => Self::NotObserved,
        }
    }
}

/// Writes where the datagrams are.
impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherInterface => "left by another interface",
            Self::NotOnWire => "not on the wire",
            Self::OnWire => "on the wire, not accepted by the IP layer",
            Self::AtIp => "accepted by the IP layer, not at the socket",
            Self::AtSocket => "at the socket, not read",
            Self::Arrives => "arrives",
            Self::Leaves => "leaves this machine",
            Self::Unknown => "unknown",
        })
    }
}
