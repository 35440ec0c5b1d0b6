//! Systems without capabilities: there is nothing to drop.

use std::io;

/// A capability that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// To open packet and raw sockets.
    NetRaw,
    /// To read firewalls.
    NetAdmin,
    /// To create files where others own the folder.
    DacOverride,
    /// To list what processes of others have open.
    DacReadSearch,
    /// To look at the sockets of others' processes.
    SysPtrace,
}

pub(crate) fn keep_capabilities(_kept: &[Capability]) -> io::Result<()> {
    Ok(())
}
