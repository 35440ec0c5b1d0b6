//! Platform-specific functions.
//!
//! The platform modules offer:
//! - `catch_interrupts(action)`: from now on Ctrl-C, a request to terminate and the end of the terminal (SIGHUP, unless it is
//!   ignored or caught) call `action` with the exit status for them, on some thread, instead of ending the process. After
//!   Ctrl-C or a request to terminate, another one ends the process at once.
//! - `end_at_hangups()`: from now on a hang-up that nothing ignores or catches ends the process at once.
//! - `catch_hangups(flag)`: from now on a hang-up (SIGHUP) sets the flag and does nothing else, on systems with that signal.
//! - `standard_output()`: standard output as an unbuffered file.
//! - `output_kind()`: what standard output is.
//! - `open_inherited(descriptor)`: what this process was started with as this descriptor, for reading.
//! - `keep_capabilities(kept)`: drops all capabilities except these for the calling thread and the threads that it
//!   starts later, on systems with capabilities.
//! - `holds_capability(capability)`: whether the calling thread has a capability, on systems with capabilities.
//! - `limit_threads()`: drops all capabilities that the calling thread does not have in the other threads, too.
//! - `shell(text)`: a process that runs the text in the system's shell.
//!
//! Process groups are those of `mcast-sys`.

#[cfg(target_os = "linux")]
pub(crate) use capabilities::{holds_capability, keep_capabilities, limit_threads};
pub(crate) use mcast_sys::process::{end_group, lead_group};
pub(crate) use platform::{
    catch_hangups, catch_interrupts, end_at_hangups, open_inherited, output_kind, shell, standard_output,
};

use std::io;

use anyhow::Context;

/// What standard output is, which decides what is known of the messages that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A file, which can be synced.
    File,
    /// A terminal or another device.
    Device,
    /// A pipe or a socket: what its reader has done with what was written is not known. Also what is not known.
    Pipe,
}

/// Starts a thread. Its error says that: the system's reason alone does not.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("cannot start a thread: {error}"));
    started.map(drop).map_err(explain)
}

/// A capability that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// To open packet and raw sockets.
    NetRaw,
    /// To receive at ports below 1024, such as those of PTP.
    NetBindService,
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
    /// To lock more memory than the limit on it.
    IpcLock,
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

/// Returns `false`: this system has no capabilities.
#[cfg(not(target_os = "linux"))]
pub(crate) fn holds_capability(_capability: Capability) -> bool {
    false
}

/// Does nothing, as above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_threads() -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
mod platform {
    //! Unix: signals.

    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};

    use mcast_sys::interrupts;
    pub(crate) use mcast_sys::process::open_inherited;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::low_level::{pipe, unregister};
    use signal_hook::{SigId, flag};

    use super::OutputKind;

    const ENDS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    /// What a hang-up does until it requests something else.
    static HANGUP_ACTIONS: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

    pub(crate) fn catch_interrupts(action: impl Fn(u8) + Send + 'static) -> io::Result<()> {
        let (mut reader, mut writer) = UnixStream::pair()?;
        let exit_status = Arc::new(AtomicUsize::new(0));
        let arrived = Arc::new(AtomicBool::new(false));
        for signal in ENDS {
            // `nohup` ignores hang-ups, and where they request a reload, they are handled already.
            if signal == SIGHUP && !interrupts::has_default_action(signal)? {
                continue;
            }
            let status = 128 + signal;
            // While its first action is registered, `signal-hook` loses a signal that does not end the process any more, unless
            // another handler is there already.
            interrupts::note(signal)?;
            // In this order: from the first one on, the signal no longer ends the process; and the conditional shutdown must
            // not see the flag that the same signal sets.
            let status_action = flag::register_usize(signal, Arc::clone(&exit_status), status as usize)?;
            // The system and the shell both send a hang-up when a terminal closes.
            if signal != SIGHUP {
                flag::register_conditional_shutdown(signal, status, Arc::clone(&arrived))?;
                flag::register(signal, Arc::clone(&arrived))?;
            }
            let wake_action = pipe::register(signal, writer.try_clone()?)?;
            if signal == SIGHUP {
                let mut actions = HANGUP_ACTIONS.lock().unwrap_or_else(PoisonError::into_inner);
                actions.extend([status_action, wake_action]);
            }
        }
        if let Some(signal) = ENDS.into_iter().find(|signal| interrupts::has_arrived(*signal)) {
            exit_status.store(128 + signal as usize, Ordering::Release);
        }
        if exit_status.load(Ordering::Acquire) != 0 {
            // It may have arrived before it could write to the pipe.
            arrived.store(true, Ordering::Release);
            writer.write_all(&[0])?;
        }
        let wait = move || {
            while reader.read_exact(&mut [0]).is_ok() {
                action(u8::try_from(exit_status.load(Ordering::Acquire)).unwrap_or(u8::MAX));
            }
        };
        std::thread::Builder::new().name("interrupt".into()).spawn(wait).map(drop)
    }

    pub(crate) fn end_at_hangups() -> io::Result<()> {
        let mut actions = HANGUP_ACTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if !actions.is_empty() {
            let always = Arc::new(AtomicBool::new(true));
            actions.push(flag::register_conditional_shutdown(SIGHUP, 128 + SIGHUP, always)?);
        }
        Ok(())
    }

    pub(crate) fn catch_hangups(arrived: Arc<AtomicBool>) -> io::Result<()> {
        flag::register(SIGHUP, arrived)?;
        let actions = std::mem::take(&mut *HANGUP_ACTIONS.lock().unwrap_or_else(PoisonError::into_inner));
        for action in actions {
            unregister(action);
        }
        Ok(())
    }

    pub(crate) fn standard_output() -> io::Result<File> {
        io::stdout().as_fd().try_clone_to_owned().map(File::from)
    }

    pub(crate) fn output_kind() -> OutputKind {
        let kind = standard_output().and_then(|output| output.metadata()).map(|found| found.file_type());
        match kind {
            Ok(kind) if kind.is_file() || kind.is_block_device() => OutputKind::File,
            Ok(kind) if kind.is_char_device() => OutputKind::Device,
            Ok(_) | Err(_) => OutputKind::Pipe,
        }
    }

    pub(crate) fn shell(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }
}

#[cfg(windows)]
mod platform {
    //! Windows: console control events.

    use std::fs::File;
    use std::io::{self, IsTerminal};
    use std::os::windows::io::AsHandle;
    use std::os::windows::process::CommandExt;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    pub(crate) use mcast_sys::console::catch_interrupts;

    use super::OutputKind;

    pub(crate) fn end_at_hangups() -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn catch_hangups(_arrived: Arc<AtomicBool>) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn standard_output() -> io::Result<File> {
        io::stdout().as_handle().try_clone_to_owned().map(File::from)
    }

    pub(crate) fn output_kind() -> OutputKind {
        let is_file = || standard_output().and_then(|output| output.metadata()).map(|found| found.is_file());
        match io::stdout().is_terminal() {
            true => OutputKind::Device,
            false if is_file().is_ok_and(|is_file| is_file) => OutputKind::File,
            false => OutputKind::Pipe,
        }
    }

    pub(crate) fn open_inherited(_descriptor: u32) -> io::Result<File> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no numbered descriptors"))
    }

    pub(crate) fn shell(text: &str) -> Command {
        let mut command = Command::new("cmd");
        // Unquoted: cmd has its own quoting rules.
        command.arg("/C").raw_arg(text);
        command
    }
}

#[cfg(target_os = "linux")]
mod capabilities {
    //! Linux: capabilities (`capabilities(7)`) of the calling thread, and of those that it starts later.

    use std::io;

    pub(crate) use mcast_sys::rights::limit_threads;
    use rustix::thread::{CapabilitySet, capabilities, clear_ambient_capability_set, set_capabilities};

    use super::Capability;

    impl Capability {
        const fn set(self) -> CapabilitySet {
            match self {
                Self::NetRaw => CapabilitySet::NET_RAW,
                Self::NetBindService => CapabilitySet::NET_BIND_SERVICE,
                Self::NetAdmin => CapabilitySet::NET_ADMIN,
                Self::DacOverride => CapabilitySet::DAC_OVERRIDE,
                Self::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
                Self::SysPtrace => CapabilitySet::SYS_PTRACE,
                Self::SysAdmin => CapabilitySet::SYS_ADMIN,
                Self::Bpf => CapabilitySet::BPF,
                Self::IpcLock => CapabilitySet::IPC_LOCK,
                Self::PerfMon => CapabilitySet::PERFMON,
                Self::SysLog => CapabilitySet::SYSLOG,
            }
        }
    }

    /// Returns whether the calling thread has a capability.
    pub(crate) fn holds_capability(capability: Capability) -> bool {
        capabilities(None).is_ok_and(|sets| sets.effective.contains(capability.set()))
    }

    /// Drops all capabilities except these.
    pub(crate) fn keep_capabilities(kept: &[Capability]) -> io::Result<()> {
        let kept: CapabilitySet = kept.iter().map(|capability| capability.set()).collect();
        let mut sets = capabilities(None)?;
        // There is nothing to drop, and a sandbox may refuse the call. Without inheritable ones there are no ambient ones.
        if kept.contains(sets.permitted | sets.effective) && sets.inheritable.is_empty() {
            return Ok(());
        }
        sets.effective &= kept;
        sets.permitted &= kept;
        sets.inheritable = CapabilitySet::empty();
        set_capabilities(None, sets)?;
        Ok(clear_ambient_capability_set()?)
    }
}

/// The capabilities needed to find the process that owns a socket. Before Linux 5.14, `NetAdmin` is needed to find
/// the network namespace of a socket.
pub(crate) const INSPECT_PROCESSES: [Capability; 3] =
    [Capability::SysPtrace, Capability::DacReadSearch, Capability::NetAdmin];

/// Drops all other rights of the calling thread and of the threads that it starts from now on.
pub(crate) fn keep_rights(kept: &[Capability]) -> anyhow::Result<()> {
    keep_capabilities(kept).context("cannot drop rights that are no longer needed")
}

/// Drops all other rights of this process, also in threads that the libraries have started with its sockets.
pub(crate) fn keep_rights_everywhere(kept: &[Capability]) -> anyhow::Result<()> {
    keep_rights(kept)?;
    limit_threads().context("cannot drop rights that are no longer needed in every thread")
}
