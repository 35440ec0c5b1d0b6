//! Runs the command `mcast` in this process.

use std::ffi::OsString;
use std::io::Write;

use pyo3::prelude::*;

/// Runs the command `mcast` with these arguments, of which the first is the name of the program, and returns its
/// exit status. It writes to the process's standard output and error, not to sys.stdout.
///
/// Call it before any thread is started: a lab may have to enter a user namespace, which only a single-threaded
/// process can do.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| {
        let status = mcast_cli::run(arguments);
        // The command relies on the flush at exit, and this process does not exit here.
        let _ = std::io::stdout().flush();
        status
    })
}
