//! Processes on systems that have no limit on descriptors to raise, and where the standard library is the only way to end one.

use std::io;
use std::process::{Child, Command, ExitStatus};

/// Returns `false`: there is no limit that a process could raise.
pub fn raise_descriptor_limit() -> bool {
    false
}

/// Returns `None`: there is no limit.
pub fn descriptor_limit() -> Option<u64> {
    None
}

/// Returns `false`: there is no limit.
pub fn is_out_of_descriptors(_error: &io::Error) -> bool {
    false
}

/// Returns an error: this system has no network namespaces.
pub fn enter_network_of(_pid: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Does nothing: there are no process groups.
pub fn lead_group(_command: &mut Command) {}

/// Kills the child alone.
pub fn end_group(child: &mut Child, _force: bool) {
    let _ = child.kill();
}

/// Does nothing: the standard library cannot end a process by its id.
pub fn end_all(_ids: &[u32], _force: bool) {}

/// Returns how a child ended; `None` if it runs.
pub fn exit_status(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    child.try_wait()
}
