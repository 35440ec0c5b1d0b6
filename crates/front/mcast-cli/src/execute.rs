//! Commands that `--exec` runs, one process per datagram or message.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// The number of bytes that every pipe buffers.
const PIPE: usize = 4096;
/// How long a command may take to end when asked to.
const GRACE: Duration = Duration::from_secs(1);
/// The longest interval of checks whether a command has ended.
const MAX_NAP: Duration = Duration::from_millis(20);

/// A shell command, its input, and the variables that it gets.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) command: Arc<str>,
    pub(crate) input: Vec<u8>,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Call {
    /// Starts the command, whose input must be [fed](Self::feed).
    pub(crate) fn start(&mut self, set_up: impl FnOnce(&mut Command)) -> io::Result<Child> {
        let mut shell = sys::shell(&self.command);
        shell.stdin(Stdio::piped()).envs(std::mem::take(&mut self.variables));
        set_up(&mut shell);
        shell.spawn()
    }

    /// Writes the input of the command. Input that a pipe may not buffer is written on a separate thread, because the
    /// command may read it late or never.
    pub(crate) fn feed(self, child: &mut Child) -> io::Result<()> {
        let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
        let is_short = self.input.len() <= PIPE;
        // A command need not read its input.
        let mut write = move || drop(stdin.write_all(&self.input));
        if is_short {
            write();
            return Ok(());
        }
        thread::Builder::new().name("exec input".into()).spawn(write).map(drop)
    }

    /// Runs the command to its end, or until it is cancelled; returns whether it succeeded.
    pub(crate) fn run(mut self, is_cancelled: impl Fn() -> bool) -> io::Result<bool> {
        let mut child = self.start(sys::lead_group)?;
        self.feed(&mut child)?;
        wait(&mut child, is_cancelled)
    }
}

/// Waits for the end of a command. When it is cancelled, asks the command and its processes to end, and kills them if
/// they do not.
fn wait(child: &mut Child, is_cancelled: impl Fn() -> bool) -> io::Result<bool> {
    let mut nap = Duration::from_micros(100);
    let mut kill_at = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if is_cancelled() {
            match kill_at {
                None => {
                    sys::end_group(child, false);
                    kill_at = Some(Instant::now() + GRACE);
                }
                Some(at) if Instant::now() >= at => sys::end_group(child, true),
                Some(_) => {}
            }
        }
        thread::sleep(nap);
        nap = MAX_NAP.min(nap * 2);
    }
}
