//! Standard output or standard error is a pipe that nobody reads.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::process::Stdio;

use mcast_lab::{Child, Host};

use crate::support::{MCAST, TIMEOUT};

/// The stream that nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stalled {
    Output,
    Error,
}

impl Stalled {
    pub(crate) const EACH: [Self; 2] = [Self::Output, Self::Error];
}

/// A program of which one stream is full from the start.
pub(crate) struct StalledProgram {
    child: Child,
    /// Its other end is kept, or writing to it would fail.
    unread: PipeReader,
}

/// The number of bytes that a pipe holds (`pipe(7)`).
const CAPACITY: usize = 65_536;

/// Returns a pipe that is full.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'\n'; CAPACITY]).unwrap();
    (reader, writer)
}

/// Starts `mcast`; what it writes to its other stream is dropped.
pub(crate) fn start_stalled(
    host: &Host,
    stalled: Stalled,
    arguments: &[&str],
    input: Stdio,
) -> StalledProgram {
    let (unread, full) = full_pipe();
    let (output, error) = match stalled {
        Stalled::Output => (Stdio::from(full), Stdio::null()),
        Stalled::Error => (Stdio::null(), Stdio::from(full)),
    };
    let mut command = host.command(MCAST).unwrap();
    let child = command.args(arguments).stdin(input).stdout(output).stderr(error).spawn().unwrap();
    StalledProgram { child, unread }
}

impl StalledProgram {
    /// Ends it by Ctrl-C; returns its exit status. The end waits for the reader, but not forever.
    pub(crate) fn interrupted(mut self) -> Option<i32> {
        self.child.signal(libc::SIGINT).unwrap();
        self.ended()
    }

    /// Waits for its end; returns its exit status.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let status = self.child.wait_timeout(TIMEOUT).unwrap();
        let _ = &self.unread;
        status.code()
    }
}
