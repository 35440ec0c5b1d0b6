//! `--exec`: one process per message, one after the other to keep the order.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mcast_stream::JobContext;
use mcast_stream::subscriber::Message;
use mcast_stream::wire::StreamId;

use crate::sys;

/// A command to run with a message or a snapshot as its input.
#[derive(Debug)]
pub(super) struct Call {
    command: Arc<str>,
    stream: StreamId,
    number: u64,
    bytes: Vec<u8>,
    is_snapshot: bool,
}

impl Call {
    pub(super) fn with_message(command: &Arc<str>, stream: StreamId, message: &Message<'_>) -> Self {
        Self {
            command: Arc::clone(command),
            stream,
            number: message.number,
            bytes: message.bytes.to_vec(),
            is_snapshot: false,
        }
    }

    /// Creates a call with a snapshot, which includes all messages before `number`.
    pub(super) fn with_snapshot(command: &Arc<str>, stream: StreamId, number: u64, bytes: Vec<u8>) -> Self {
        Self { command: Arc::clone(command), stream, number, bytes, is_snapshot: true }
    }

    /// Runs the command to its end, or until it is cancelled; returns whether it succeeded.
    pub(super) fn run(self, context: &JobContext<'_>) -> io::Result<bool> {
        let mut shell = sys::shell(&self.command);
        shell.stdin(Stdio::piped());
        sys::lead_group(&mut shell);
        shell.env("MCAST_STREAM", self.stream.to_string());
        shell.env("MCAST_SEQUENCE", self.number.to_string());
        shell.env("MCAST_LENGTH", self.bytes.len().to_string());
        if self.is_snapshot {
            shell.env("MCAST_SNAPSHOT", "1");
        }
        let mut child = shell.spawn()?;
        if let Some(input) = child.stdin.take() {
            feed(input, self.bytes)?;
        }
        wait(&mut child, context)
    }
}

/// The number of bytes that every pipe buffers.
const PIPE: usize = 4096;
/// How long a command may take to end when asked to.
const GRACE: Duration = Duration::from_secs(1);
/// The longest interval of checks whether a command has ended.
const MAX_NAP: Duration = Duration::from_millis(20);

/// Writes the input of a command. Input that a pipe may not buffer is written on a separate thread, because the command
/// may never read it.
fn feed(mut input: ChildStdin, bytes: Vec<u8>) -> io::Result<()> {
    // A command need not read its input.
    let is_short = bytes.len() <= PIPE;
    let mut write = move || drop(input.write_all(&bytes));
    if is_short {
        write();
        return Ok(());
    }
    thread::Builder::new().name("input".into()).spawn(write).map(drop)
}

/// Waits for the end of a command. When it is cancelled, asks the command and its processes to end, and kills them if
/// they do not.
fn wait(child: &mut Child, context: &JobContext<'_>) -> io::Result<bool> {
    let mut nap = Duration::from_micros(100);
    let mut kill_at = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if context.is_cancelled() {
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
