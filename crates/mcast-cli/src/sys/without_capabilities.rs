//! Systems without capabilities: there is nothing to drop.

use std::io;

/// A capability that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// To open packet and raw sockets.
    NetRaw,
    /// To read firewall rules.
    NetAdmin,
    /// To create files in folders of other users.
    DacOverride,
    /// To list the open files of other users' processes.
    DacReadSearch,
    /// To inspect the sockets of other users' processes.
    SysPtrace,
}

pub(crate) fn keep_capabilities(_kept: &[Capability]) -> io::Result<()> {
    Ok(())
}
