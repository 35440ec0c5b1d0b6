//! Datagrams from and to an examined port that were not sent to a group.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast::InterfaceIndex;
use mcast_capture::Frame;
use mcast_packet::Transport;

/// The maximum number of flows, which bounds the memory.
const MAX_FLOWS: usize = 256;

/// Datagrams from one address to another, of which neither is a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnicastFlow {
    pub(crate) interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) datagrams: u64,
}

/// Sorts captured frames into flows.
#[derive(Debug, Default)]
pub(crate) struct UnicastRecorder(BTreeMap<(InterfaceIndex, bool, SocketAddr, SocketAddr), u64>);

impl UnicastRecorder {
    pub(crate) fn record(&mut self, frame: &Frame<'_>) {
        let packet = frame.packet();
        let (Some(ip), Some(Transport::Udp(udp))) = (packet.ip_layer(), &packet.transport) else { return };
        if ip.destination.is_multicast() {
            return;
        }
        let source = SocketAddr::new(ip.source, udp.source_port);
        let destination = SocketAddr::new(ip.destination, udp.destination_port);
        let key = (frame.interface, frame.direction.is_outgoing(), source, destination);
        if self.0.len() < MAX_FLOWS || self.0.contains_key(&key) {
            *self.0.entry(key).or_default() += 1;
        }
    }

    pub(crate) fn finish(self) -> Vec<UnicastFlow> {
        let flow = |((interface, outgoing, source, destination), datagrams)| UnicastFlow {
            interface,
            outgoing,
            source,
            destination,
            datagrams,
        };
        self.0.into_iter().map(flow).collect()
    }
}
