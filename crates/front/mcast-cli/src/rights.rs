//! Drops the rights of root and of capabilities that are no longer needed, so that data from the network is parsed
//! without them.

use anyhow::Context;

use crate::sys;
pub(crate) use crate::sys::Capability;

/// The capabilities needed to find the process that owns a socket. Before Linux 5.14, `NetAdmin` is needed to find
/// the network namespace of a socket.
pub(crate) const INSPECT_PROCESSES: [Capability; 3] =
    [Capability::SysPtrace, Capability::DacReadSearch, Capability::NetAdmin];

/// Drops all other rights of the calling thread and of the threads that it starts from now on.
pub(crate) fn keep(kept: &[Capability]) -> anyhow::Result<()> {
    sys::keep_capabilities(kept).context("cannot drop rights that are no longer needed")
}
