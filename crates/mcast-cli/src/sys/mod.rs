//! Platform-specific functions. All `unsafe` of the crate is here.
//!
//! Each module offers:
//! - `catch_interrupts(then)`: from now on Ctrl-C and a request to terminate call `then` with
//!   the exit status that belongs to them, on some thread, instead of ending the process. After
//!   the first the process ends at once.
//! - `catch_hangups(flag)`: from now on a hang-up sets the flag instead of ending the process, where there
//!   is such a signal.
//! - `standard_output()`: a file that is standard output, without a buffer.
//! - `keep_capabilities(kept)`: the calling thread, and those that it starts later, give up all rights but
//!   these, where the system has such rights.
//! - `shell(text)`: a process that runs the text as the system's shell understands it.
//! - `create_private(path)`: a new file that only its owner may read, where files have rights.
//! - `others_may_read(path)`: whether others on this machine may read the file, as far as can be told.
//! - `lead_group(command)`: the command will lead a process group of its own, where there are such groups.
//! - `end_group(child, force)`: asks such a command and all that it started to end, or kills them; where there are no
//!   groups, kills the command.
//! - `has_ended(child)`: whether a program of ours has ended; where its id stands for a group, the id is kept.
//! - `end_processes(ids, force)`: asks these processes to end, or kills them, where that can be done.

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
#[cfg(not(target_os = "linux"))]
#[path = "without_capabilities.rs"]
mod capabilities;

pub(crate) use capabilities::{Capability, keep_capabilities};
pub(crate) use platform::{
    catch_hangups, catch_interrupts, end_group, end_processes, has_ended, lead_group, shell, standard_output,
};
#[cfg(feature = "seal")]
pub(crate) use platform::{create_private, others_may_read};
