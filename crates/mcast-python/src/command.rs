//! The command `mcast`, in this process.

use std::ffi::OsString;
use std::io::Write;

use pyo3::prelude::*;

/// Runs the command `mcast` with these arguments, the name of the program first, and returns its
/// exit status. It writes to the process's own standard output and error, not to sys.stdout.
///
/// A lab may have to enter a user namespace, which only a process with a single thread can do:
/// call it before any thread is started.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| {
        let status = mcast_cli::run(arguments);
        // A program's standard output is flushed when it ends; this program does not end here.
        let _ = std::io::stdout().flush();
        status
    })
}
