//! `--snapshot`: serves the state to late joiners.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use mcast_stream::{Snapshot, SnapshotServer};
use mcast_terminal::Console;

use super::feed::Feed;
use crate::log_lines::LogLines;
use crate::message_layer::refusal_text;
use crate::sys;

/// The source of the state: the content of this file if it exists at the time, otherwise the output of this shell
/// command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateSource(String);

/// How long a command may take; subscribers wait no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the current state on request, until dropped.
#[derive(Debug)]
pub(super) struct Snapshots {
    server: SnapshotServer,
    failures: Receiver<String>,
}

impl Snapshots {
    pub(super) fn serve(
        state: StateSource,
        feed: &Arc<Feed>,
        port: u16,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let (failure_sender, failures) = channel();
        let what = state.description();
        let weak = Arc::downgrade(feed);
        let capture = move || {
            // The number is read first: messages published meanwhile may be in the state, and are delivered again.
            let message = weak.upgrade()?.next_message();
            match state.capture() {
                Ok(bytes) => Some(Snapshot { message, bytes }),
                Err(error) => {
                    // An error means that the command is ending.
                    let _ = failure_sender.send(format!("no snapshot: {}: {error}", state.description()));
                    None
                }
            }
        };
        let publisher = feed.publisher();
        let at = SocketAddr::new(publisher.interface_address()?, port);
        let server = publisher
            .serve_snapshots(at, capture)
            .with_context(|| format!("cannot serve snapshots at {at}"))?;
        console.note(format_args!("serving snapshots ({what}) at {}", server.address()));
        Ok(Self { server, failures })
    }

    pub(super) fn export_metrics(&self) {
        self.server.export_metrics();
    }

    /// Reports the requests for a snapshot that failed or were refused since the last call.
    pub(super) fn report(&self, lines: &LogLines<'_>) {
        self.failures.try_iter().for_each(|failure| lines.warn(failure));
        while let Some(refused) = self.server.take_refused() {
            lines.about(Some(refused.client.ip())).warn(refusal_text("a snapshot", &refused));
        }
    }
}

impl StateSource {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.trim().is_empty() {
            true => Err("name a file, or write a shell command".into()),
            false => Ok(Self(text.to_owned())),
        }
    }

    fn is_file(&self) -> bool {
        Path::new(&self.0).is_file()
    }

    fn description(&self) -> String {
        match self.is_file() {
            true => format!("the content of {}", self.0),
            false => format!("the output of `{}`", self.0),
        }
    }

    fn capture(&self) -> io::Result<Vec<u8>> {
        match self.is_file() {
            true => std::fs::read(&self.0),
            false => output_of(&self.0),
        }
    }
}

/// Returns the output of a shell command, if it succeeds in time.
fn output_of(command: &str) -> io::Result<Vec<u8>> {
    let mut child = sys::shell(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let Some(mut output) = child.stdout.take() else { return Ok(Vec::new()) };
    let (output_sender, result) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        // After the timeout, the receiver of the output no longer exists.
        let _ = output_sender.send(output.read_to_end(&mut bytes).map(|_| bytes));
    };
    std::thread::Builder::new().name("snapshot".into()).spawn(read)?;
    let Ok(bytes) = result.recv_timeout(TIMEOUT) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it was still running after 10 s"));
    };
    match child.wait()? {
        status if status.success() => bytes,
        status => Err(io::Error::other(status.to_string())),
    }
}
