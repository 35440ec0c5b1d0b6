//! `--snapshot`: the state, for those who come late.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use anyhow::Context;
use mcast::{Destination, Family};
use mcast_stream::{Publisher, Snapshot, SnapshotServer};

use crate::console::Console;
use crate::exit::Failure;
use crate::sys;

/// Where the state comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It is the content of this file.
    File(PathBuf),
    /// This shell command prints it.
    Command(String),
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
        console: &Console,
    ) -> anyhow::Result<Self> {
        let state = State::choose(text);
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
        let server = publisher.serve_snapshots(address(destination)?, capture)?;
        console.note(format_args!("snapshots are {what}, to be had at {}", server.address()));
        Ok(Self { _server: server, failures })
    }

    /// Why somebody did not get one.
    pub(super) fn failure(&self) -> Option<String> {
        self.failures.try_recv().ok()
    }
}

impl State {
    fn choose(text: &str) -> Self {
        match Path::new(text).is_file() {
            true => Self::File(text.into()),
            false => Self::Command(text.to_owned()),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::File(path) => format!("the content of {}", path.display()),
            Self::Command(command) => format!("what `{command}` prints"),
        }
    }

    fn capture(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path),
            Self::Command(command) => {
                let output = sys::shell(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
                match output.status.success() {
                    true => Ok(output.stdout),
                    false => Err(io::Error::other(output.status.to_string())),
                }
            }
        }
    }
}

/// Where to listen: on the network that the stream goes to, and no other.
fn address(destination: &Destination) -> anyhow::Result<SocketAddr> {
    let family = destination.address.group.family();
    let interface = match &destination.interface {
        Some(selector) => Some(mcast::find(selector)?),
        None => mcast::default_interface_of(family).context("no interface to serve snapshots on")?,
    };
    let addresses = interface.iter().flat_map(|interface| &interface.addresses).map(|each| each.address);
    let address =
        addresses.into_iter().find(|address| Family::of(*address) == family && !is_link_local(*address));
    let address = address.ok_or_else(|| {
        Failure::environment(format!("the interface has no {family} address to serve snapshots at"))
            .remedy("give it one that is not link-local")
    })?;
    Ok(SocketAddr::new(address, 0))
}

/// Such an address says nothing without an interface, and that is another one on each host.
const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
