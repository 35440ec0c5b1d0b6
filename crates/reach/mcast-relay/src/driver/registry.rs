//! The descriptors that the relay waits for.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use mcast_sys::poller::Poller;

use crate::{LegId, PathId};

/// What a descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    /// The groups of a leg.
    Groups(LegId),
    /// The broadcast sockets of a leg.
    Broadcast(LegId),
    /// The reports of memberships on a leg.
    Members(LegId),
    /// The interfaces of a namespace, by its position.
    Interfaces(usize),
    /// A path.
    Path(PathId),
    /// A socket of tunnels, by its position.
    Tunnel(usize),
    /// A leg that is a relay of AMT.
    AmtGateway(LegId),
    /// The address at which gateways of AMT send requests.
    AmtListener(SocketAddr),
}

/// The poller, and what its tokens stand for. Descriptors leave it when they are closed.
#[derive(Debug)]
pub(super) struct Registry {
    poller: Arc<Poller>,
    readable: HashMap<usize, Readable>,
    next: usize,
}

impl Registry {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { poller: Arc::new(Poller::new()?), readable: HashMap::new(), next: 0 })
    }

    pub(super) const fn poller(&self) -> &Arc<Poller> {
        &self.poller
    }

    pub(super) fn add(&mut self, descriptor: BorrowedFd<'_>, readable: Readable) -> io::Result<()> {
        self.poller.add_descriptor(descriptor, self.next)?;
        self.readable.insert(self.next, readable);
        self.next += 1;
        Ok(())
    }

    /// Forgets what a closed descriptor stood for.
    pub(super) fn forget(&mut self, readable: Readable) {
        self.readable.retain(|_, known| *known != readable);
    }

    pub(super) fn get(&self, token: usize) -> Option<Readable> {
        self.readable.get(&token).copied()
    }
}
