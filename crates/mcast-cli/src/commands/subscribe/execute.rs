//! `--exec`: a process a message, one after the other, since their order is what matters.

use std::io::{self, Write};
use std::process::Stdio;

use mcast_stream::receiver::Message;
use mcast_stream::wire::StreamId;

use crate::sys;

/// Runs the command with the message, or the snapshot, as its input; says whether it succeeded.
pub(super) fn run(
    command: &str,
    stream: StreamId,
    message: &Message<'_>,
    is_snapshot: bool,
) -> io::Result<bool> {
    let mut shell = sys::shell(command);
    shell.stdin(Stdio::piped());
    shell.env("MCAST_STREAM", stream.to_string());
    shell.env("MCAST_SEQUENCE", message.number.to_string());
    shell.env("MCAST_LENGTH", message.bytes.len().to_string());
    if is_snapshot {
        shell.env("MCAST_SNAPSHOT", "1");
    }
    let mut child = shell.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // That it does not read is its own business.
        let _ = input.write_all(message.bytes);
    }
    Ok(child.wait()?.success())
}
