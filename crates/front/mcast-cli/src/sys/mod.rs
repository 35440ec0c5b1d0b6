//! Platform-specific functions.
//!
//! The platform modules offer:
//! - `catch_interrupts(action)`: from now on Ctrl-C and a request to terminate call `action` with the exit status for
//!   them, on some thread, instead of ending the process. A second one ends the process at once.
//! - `catch_hangups(flag)`: from now on a hang-up (SIGHUP) sets the flag instead of ending the process, on systems with
//!   that signal.
//! - `standard_output()`: standard output as an unbuffered file.
//! - `keep_capabilities(kept)`: drops all capabilities except these for the calling thread and the threads that it
//!   starts later, on systems with capabilities.
//! - `shell(text)`: a process that runs the text in the system's shell.
//!
//! Process groups are those of `mcast-sys`.

#[cfg(unix)]
#[path = "unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "windows.rs"]
mod platform;
#[cfg(not(any(unix, windows)))]
#[path = "unsupported.rs"]
mod platform;

#[cfg(target_os = "linux")]
#[path = "capabilities.rs"]
mod capabilities;

#[cfg(target_os = "linux")]
pub(crate) use capabilities::keep_capabilities;
pub(crate) use mcast_sys::process::{end_group, lead_group};
pub(crate) use platform::{catch_hangups, catch_interrupts, shell, standard_output};

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
    /// To enter the network namespaces of processes.
    SysAdmin,
    /// To load BPF programs.
    Bpf,
    /// To attach them to tracepoints, and to read the kernel's memory in them.
    PerfMon,
    /// To read the addresses of the kernel's functions.
    SysLog,
}

/// Does nothing: this system has no capabilities to drop.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_capabilities(_kept: &[Capability]) -> std::io::Result<()> {
    Ok(())
}
