//! A gateway on sockets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mcast_group::{Family, Group, SourceFilter};
use mcast_sys::SendRequest;
use mcast_sys::poller::Poller;
use mcast_sys::socket::Socket;

use super::find::find;
use super::{AT_ONCE, RECEIVE_BUFFER, plain};
use crate::amt::{AmtGateway, AmtRelayName, GatewayCounts, GatewayEvent, GatewayOutput, TunnelledDatagram};
use crate::driver::path::unspecified;

/// A gateway and its sockets: one for each family, because the family of the relay is not known in advance.
#[derive(Debug)]
pub(in crate::driver) struct GatewaySocket {
    gateway: AmtGateway,
    name: AmtRelayName,
    /// The source whose operator names the relay.
    source: Option<IpAddr>,
    sockets: Vec<(Family, Socket)>,
    poller: Arc<Poller>,
    search: Option<Receiver<Vec<SocketAddr>>>,
}

impl GatewaySocket {
    /// Opens the sockets.
    pub(in crate::driver) fn open(
        name: AmtRelayName,
        source: Option<IpAddr>,
        poller: Arc<Poller>,
    ) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for family in [Family::V4, Family::V6] {
            match open(family) {
                Ok(socket) => sockets.push((family, socket)),
                // A kernel may lack one family.
                Err(error) if family == Family::V6 && sockets.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        // Random: the hash has a key of its own in every gateway.
        let (key, mut count) = (RandomState::new(), 0_u64);
        let random = move || {
            count += 1;
            key.hash_one(count) as u32
        };
        Ok(Self { gateway: AmtGateway::new(random), name, source, sockets, poller, search: None })
    }

    pub(in crate::driver) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    pub(in crate::driver) const fn counts(&self) -> GatewayCounts {
        self.gateway.counts()
    }

    pub(in crate::driver) fn deadline(&self) -> Option<Duration> {
        self.gateway.poll_timeout()
    }

    /// Receives a group from these sources; from none: leaves it. Call [`Self::do_due`] after this.
    pub(in crate::driver) fn set_membership(&mut self, now: Duration, group: Group, sources: SourceFilter) {
        self.gateway.set_membership(now, group, sources);
    }

    /// Receives these groups, and leaves all others. Call [`Self::do_due`] after this.
    pub(in crate::driver) fn set_memberships(
        &mut self,
        now: Duration,
        wanted: BTreeMap<Group, SourceFilter>,
    ) {
        let gone: Vec<Group> = self.gateway.groups().filter(|group| !wanted.contains_key(group)).collect();
        // The tunnel ends with the last group, so those that are added come first.
        wanted.into_iter().for_each(|(group, sources)| self.gateway.set_membership(now, group, sources));
        gone.into_iter().for_each(|group| self.gateway.set_membership(now, group, SourceFilter::NONE));
    }

    /// Leaves all groups, and ends the tunnel.
    pub(in crate::driver) fn stop(&mut self, now: Duration) {
        self.gateway.stop(now);
        self.do_due(now);
    }

    /// Does what is due. Returns what happened.
    pub(in crate::driver) fn do_due(&mut self, now: Duration) -> Vec<GatewayEvent> {
        match self.search.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => {}
            // Without its thread, the search finds nothing.
            Some(found) => {
                self.search = None;
                self.gateway.use_relays(now, found.unwrap_or_default());
            }
        }
        if self.gateway.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.gateway.handle_timeout(now);
        }
        let mut events = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                GatewayOutput::FindRelays => self.find(now),
                GatewayOutput::Send { to, bytes } => {
                    // An ICMP message about an earlier datagram ends the first call. What is lost is sent again later.
                    let _ = self.send(to, &bytes).or_else(|_| self.send(to, &bytes));
                }
                GatewayOutput::Event(event) => events.push(event),
            }
        }
        events
    }

    /// Passes the datagrams that have arrived to `deliver`, each with the number of those that its socket has dropped,
    /// until it returns `false`. Call [`Self::do_due`] after this.
    pub(in crate::driver) fn receive(
        &mut self,
        now: Duration,
        buffer: &mut [u8],
        mut deliver: impl FnMut(&TunnelledDatagram<'_>, Option<u32>) -> bool,
    ) {
        let mut unreachable = Vec::new();
        for (_, socket) in &self.sockets {
            for _ in 0..AT_ONCE {
                match socket.receive(buffer) {
                    Ok(received) => {
                        let bytes = buffer.get(..received.length).unwrap_or_default();
                        let datagram = self.gateway.handle_datagram(now, plain(received.source), bytes);
                        if datagram.is_some_and(|datagram| !deliver(&datagram, received.overflow)) {
                            return;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // One of the errors that are taken below.
                    Err(_) => {}
                }
            }
            unreachable.extend(socket.take_unreachable());
        }
        for relay in unreachable {
            self.gateway.handle_unreachable(now, plain(relay));
        }
    }

    fn find(&mut self, now: Duration) {
        match find(&self.name, self.source, Arc::clone(&self.poller)) {
            Ok(search) => self.search = Some(search),
            // The gateway tries again later.
            Err(_) => self.gateway.use_relays(now, Vec::new()),
        }
    }

    fn send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let family = Family::of(to.ip());
        let socket = self.sockets.iter().find(|(known, _)| *known == family);
        let (_, socket) = socket.ok_or(io::ErrorKind::Unsupported)?;
        socket.send(&SendRequest {
            payload,
            to,
            interface: None,
            source: None,
            hop_limit: None,
            traffic_class: None,
            launch: None,
        })
    }
}

/// Opens a socket that also reports ICMP messages.
fn open(family: Family) -> io::Result<Socket> {
    let socket = Socket::open(family)?;
    socket.only_own_memberships(true)?;
    socket.receive_details()?;
    socket.report_queue_drops()?;
    socket.set_receive_buffer(RECEIVE_BUFFER)?;
    socket.bind(SocketAddr::new(unspecified(family), 0))?;
    Ok(socket)
}
