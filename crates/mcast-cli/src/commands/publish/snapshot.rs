//! `--snapshot`: the state, for those who come late.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use mcast::{Destination, Family};
use mcast_stream::{Publisher, Snapshot, SnapshotServer};

use crate::console::Console;
use crate::exit::Failure;
use crate::sys;

/// Where the state comes from: it is the content of this file, where there is one at the time, else what this shell
/// command prints.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State(String);

/// How long a command may take: who asked waits no longer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn parse(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("name a file, or write a shell command".into()),
        false => Ok(text.to_owned()),
    }
}

/// Hands out the state as it is whenever somebody asks, until it is dropped.
#[derive(Debug)]
pub(super) struct Snapshots {
    _server: SnapshotServer,
    failures: Receiver<String>,
}

impl Snapshots {
    pub(super) fn serve(
        text: &str,
        publisher: &Arc<Publisher>,
        destination: &Destination,
        port: u16,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let state = State(text.to_owned());
        let (tell, failures) = channel();
        let what = state.words();
        let weak = Arc::downgrade(publisher);
        let capture = move || {
            // The number first: what is published meanwhile may be in the state, and comes again.
            let message = weak.upgrade()?.next_message();
            match state.capture() {
                Ok(bytes) => Some(Snapshot { message, bytes }),
                Err(error) => {
                    // Whoever would read it has ended.
                    let _ = tell.send(format!("no snapshot: {}: {error}", state.words()));
                    None
                }
            }
        };
        let at = SocketAddr::new(address(destination)?, port);
        let server = publisher
            .serve_snapshots(at, capture)
            .with_context(|| format!("cannot serve snapshots at {at}"))?;
        console.note(format_args!("serving snapshots ({what}) at {}", server.address()));
        Ok(Self { _server: server, failures })
    }

    /// Why somebody did not get one.
    pub(super) fn failure(&self) -> Option<String> {
        self.failures.try_recv().ok()
    }
}

impl State {
    fn is_file(&self) -> bool {
        Path::new(&self.0).is_file()
    }

    fn words(&self) -> String {
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

/// What a shell command prints, if it succeeds, and in time.
fn output_of(command: &str) -> io::Result<Vec<u8>> {
    let mut child = sys::shell(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let Some(mut output) = child.stdout.take() else { return Ok(Vec::new()) };
    let (tell, told) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        // Nobody waits any longer where the time is over.
        let _ = tell.send(output.read_to_end(&mut bytes).map(|_| bytes));
    };
    std::thread::Builder::new().name("snapshot".into()).spawn(read)?;
    let Ok(bytes) = told.recv_timeout(PATIENCE) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it was still running after 10 s"));
    };
    match child.wait()? {
        status if status.success() => bytes,
        status => Err(io::Error::other(status.to_string())),
    }
}

/// Where to listen: on the network that the stream goes to, and no other.
fn address(destination: &Destination) -> anyhow::Result<IpAddr> {
    let family = destination.address.group.family();
    let interface = match &destination.interface {
        Some(selector) => Some(mcast::find(selector)?),
        None => mcast::default_interface_of(family).context("no interface to serve snapshots on")?,
    };
    let addresses = interface.iter().flat_map(|interface| &interface.addresses).map(|each| each.address);
    let address =
        addresses.into_iter().find(|address| Family::of(*address) == family && !is_link_local(*address));
    Ok(address.ok_or_else(|| {
        Failure::environment(format!("the interface has no {family} address to serve snapshots at"))
            .remedy("give it one that is not link-local")
    })?)
}

/// Such an address says nothing without an interface, and that is another one on each host.
const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
