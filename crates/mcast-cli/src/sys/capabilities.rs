//! Linux: capabilities (`capabilities(7)`) of the calling thread, and of those that it starts later.

use std::io;

/// A capability that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// To open packet and raw sockets.
    NetRaw,
    /// To read firewall rules, and to find the network namespace of a socket.
    NetAdmin,
    /// To create files in folders of other users.
    DacOverride,
    /// To list the open files of other users' processes.
    DacReadSearch,
    /// To inspect the sockets of other users' processes.
    SysPtrace,
}

/// `struct __user_cap_header_struct` and `struct __user_cap_data_struct` of `linux/capability.h`.
#[repr(C)]
struct Header {
    version: u32,
    process: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 capabilities each.
const VERSION: u32 = 0x2008_0522;

/// The sizes in the kernel's header are the same on every architecture.
const _: () = assert!(size_of::<Header>() == 8 && size_of::<Sets>() == 12);

impl Capability {
    const fn bit(self) -> u32 {
        match self {
            Self::DacOverride => 1 << 1,
            Self::DacReadSearch => 1 << 2,
            Self::NetAdmin => 1 << 12,
            Self::NetRaw => 1 << 13,
            Self::SysPtrace => 1 << 19,
        }
    }
}

/// Drops all capabilities except these.
pub(crate) fn keep_capabilities(kept: &[Capability]) -> io::Result<()> {
    let mask = kept.iter().fold(0, |mask, capability| mask | capability.bit());
    let mut header = Header { version: VERSION, process: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both structures have the kernel's layout for this version, and live for the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    let [low, high] = &mut sets;
    low.effective &= mask;
    low.permitted &= mask;
    low.inheritable = 0;
    *high = Sets::default();
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    // SAFETY: the system call takes no pointers.
    check(i64::from(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }))
}

fn check(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
