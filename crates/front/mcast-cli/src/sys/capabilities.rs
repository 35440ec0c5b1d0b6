//! Linux: capabilities (`capabilities(7)`) of the calling thread, and of those that it starts later.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, clear_ambient_capability_set, set_capabilities};

use super::Capability;

impl Capability {
    const fn set(self) -> CapabilitySet {
        match self {
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::DacOverride => CapabilitySet::DAC_OVERRIDE,
            Self::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
            Self::SysPtrace => CapabilitySet::SYS_PTRACE,
            Self::SysAdmin => CapabilitySet::SYS_ADMIN,
            Self::Bpf => CapabilitySet::BPF,
            Self::PerfMon => CapabilitySet::PERFMON,
            Self::SysLog => CapabilitySet::SYSLOG,
        }
    }
}

/// Drops all capabilities except these.
pub(crate) fn keep_capabilities(kept: &[Capability]) -> io::Result<()> {
    let kept: CapabilitySet = kept.iter().map(|capability| capability.set()).collect();
    let mut sets = capabilities(None)?;
    sets.effective &= kept;
    sets.permitted &= kept;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)?;
    Ok(clear_ambient_capability_set()?)
}
