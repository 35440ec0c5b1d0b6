//! `--exec`: a process a message, one after the other, since their order is what matters.

use std::io::{self, Write};
use std::process::Stdio;
use std::sync::Arc;

use mcast_stream::receiver::Message;
use mcast_stream::wire::StreamId;

use crate::sys;

/// A message, or a snapshot, on its way to the command.
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

    /// The state, which has all messages before this one.
    pub(super) fn with_snapshot(command: &Arc<str>, stream: StreamId, number: u64, bytes: Vec<u8>) -> Self {
        Self { command: Arc::clone(command), stream, number, bytes, is_snapshot: true }
    }

    /// Runs the command with the message as its input, to its end; says whether it succeeded.
    pub(super) fn run(&self) -> io::Result<bool> {
        let mut shell = sys::shell(&self.command);
        shell.stdin(Stdio::piped());
        shell.env("MCAST_STREAM", self.stream.to_string());
        shell.env("MCAST_SEQUENCE", self.number.to_string());
        shell.env("MCAST_LENGTH", self.bytes.len().to_string());
        if self.is_snapshot {
            shell.env("MCAST_SNAPSHOT", "1");
        }
        let mut child = shell.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // That it does not read is its own business.
            let _ = input.write_all(&self.bytes);
        }
        Ok(child.wait()?.success())
    }
}
