//! Rights that root has, and programs with capabilities: what is not needed any more is given up, so that
//! what comes from the network is looked at without.

use anyhow::Context;

use crate::sys;
pub(crate) use crate::sys::Capability;

/// What it takes to see whose sockets are whose. Before Linux 5.14 `NetAdmin` tells which network a socket is in.
pub(crate) const TO_LOOK_INTO_PROCESSES: [Capability; 3] =
    [Capability::SysPtrace, Capability::DacReadSearch, Capability::NetAdmin];

/// The calling thread, and those that it starts from now on, keep these rights of those they have, and no
/// others.
pub(crate) fn keep(kept: &[Capability]) -> anyhow::Result<()> {
    sys::keep_capabilities(kept).context("cannot drop rights that are no longer needed")
}
