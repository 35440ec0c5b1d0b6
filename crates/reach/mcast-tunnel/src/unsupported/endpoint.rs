//! An endpoint whose tunnels are always down: this program was built without ciphers, so that nobody has a key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::event::{
    DropReason, EndpointConfig, EndpointRole, LinkCounts, LinkId, LinkStatus, TunnelEvent, TunnelTransmit,
};
use crate::key::TunnelKeys;
use crate::record::{TunnelDatagram, TunnelWant};

/// One end of tunnels that share a socket. Without ciphers, they are always down.
#[derive(Debug)]
pub struct TunnelEndpoint {
    names: Vec<String>,
    is_listener: bool,
}

impl TunnelEndpoint {
    /// Creates an endpoint whose tunnels are down.
    #[must_use]
    pub fn new(config: EndpointConfig) -> Self {
        match config.role {
            EndpointRole::Dialer(name) => Self { names: vec![name], is_listener: false },
            EndpointRole::Listener => Self { names: Vec::new(), is_listener: true },
        }
    }

    /// Does nothing.
    pub fn set_address(&mut self, _: ClockTime, _: SocketAddr) {}

    /// Sets the names of the tunnels that a listener would accept.
    pub fn set_names(&mut self, _: ClockTime, names: &BTreeSet<String>) {
        if self.is_listener {
            self.names
                .extend(names.iter().filter(|name| !self.names.contains(name)).cloned().collect::<Vec<_>>());
        }
    }

    /// Does nothing.
    pub fn set_keys(&mut self, _: ClockTime, _: TunnelKeys) {}

    /// Returns the tunnel with this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<LinkId> {
        self.names.iter().position(|known| known == name).map(LinkId)
    }

    /// Returns the name of a tunnel.
    #[must_use]
    pub fn name(&self, link: LinkId) -> Option<&str> {
        self.names.get(link.0).map(String::as_str)
    }

    /// Returns the tunnels.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, LinkStatus)> {
        let down = |name: &String| LinkStatus {
            name: name.clone(),
            peer: None,
            round_trip: None,
            counts: LinkCounts::default(),
        };
        self.names.iter().enumerate().map(move |(number, name)| (LinkId(number), down(name)))
    }

    /// Returns nothing.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        std::iter::empty()
    }

    /// Does nothing.
    pub fn set_wants(&mut self, _: LinkId, _: Vec<TunnelWant>) {}

    /// Returns that the tunnel is down.
    pub fn send<P: AsRef<[u8]>>(
        &mut self,
        _: ClockTime,
        _: LinkId,
        _: &TunnelDatagram<P>,
        _: Option<Duration>,
    ) -> bool {
        false
    }

    /// Does nothing.
    pub fn handle_datagram(&mut self, _: ClockTime, _: SocketAddr, _: &[u8]) {}

    /// Does nothing.
    pub fn handle_coalesced(&mut self, _: ClockTime, _: SocketAddr, _: &[u8], _: usize) {}

    /// Does nothing.
    pub fn handle_timeout(&mut self, _: ClockTime) {}

    /// Returns nothing.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<ClockTime> {
        None
    }

    /// Returns nothing.
    pub fn poll_transmit(&mut self, _: ClockTime, _: &mut Vec<u8>) -> Option<TunnelTransmit> {
        None
    }

    /// Returns nothing.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        None
    }

    /// Does nothing.
    pub fn stop(&mut self, _: ClockTime) {}
}
