//! A relay of AMT on a socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use mcast_group::{Family, Group, SourceFilter};
use mcast_pace::ClockTime;
use mcast_sys::socket::Socket;
use mcast_sys::{OutgoingDatagram, SendRequest};

use super::{AT_ONCE, RECEIVE_BUFFER, plain};
use crate::amt::{AmtRelay, AmtRelayCounts, AmtRelayLimits, encapsulate};
use crate::driver::{AmtStatistics, DriverError};

const SEND_BUFFER: usize = 4 << 20;

/// A relay of AMT and its socket.
#[derive(Debug)]
pub(in crate::driver) struct AmtListener {
    relay: AmtRelay,
    pub(in crate::driver) socket: Socket,
    sent: u64,
    unsent: u64,
}

/// A datagram to a gateway.
struct ForGateway<'a> {
    to: SocketAddr,
    bytes: &'a [u8],
}

impl OutgoingDatagram for ForGateway<'_> {
    fn payload(&self) -> &[u8] {
        self.bytes
    }

    fn shares_settings(&self, other: &Self) -> bool {
        self.to == other.to
    }
}

impl AmtListener {
    /// Opens the socket.
    pub(in crate::driver) fn open(address: SocketAddr) -> Result<Self, DriverError> {
        let failed = |source| DriverError::AmtListener { address, source };
        let relay = AmtRelay::new(address, AmtRelayLimits::default())
            .map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self { relay, socket: open(address).map_err(failed)?, sent: 0, unsent: 0 })
    }

    /// Returns what gateways have joined.
    pub(in crate::driver) fn wanted(&self) -> BTreeMap<Group, SourceFilter> {
        self.relay.wanted()
    }

    /// Returns when to call [`Self::do_due`].
    pub(in crate::driver) fn deadline(&self) -> Option<ClockTime> {
        self.relay.poll_timeout()
    }

    /// Adds its counters.
    pub(in crate::driver) fn add_to(&self, all: &mut AmtStatistics) {
        let AmtRelayCounts { invalid, wrong_mac, refused_gateways, unanswered } = self.relay.counts();
        all.gateways += self.relay.gateways().len() as u64;
        all.sent += self.sent;
        all.unsent += self.unsent;
        all.refuse("invalid-message", invalid);
        all.refuse("wrong-mac", wrong_mac);
        all.refuse("too-many-gateways", refused_gateways);
        all.refuse("too-many-requests", unanswered);
    }

    /// Answers what has arrived. Returns whether memberships have changed.
    pub(in crate::driver) fn receive(&mut self, now: ClockTime, buffer: &mut [u8]) -> bool {
        let mut has_changed = false;
        for _ in 0..AT_ONCE {
            match self.socket.receive(buffer) {
                Ok(received) => {
                    let (from, bytes) = (plain(received.source), buffer.get(..received.length));
                    let (answer, changed) = self.relay.handle_datagram(now, from, bytes.unwrap_or_default());
                    has_changed |= changed;
                    if let Some(answer) = answer {
                        // The gateway repeats what is not answered.
                        let _ = self.socket.send(&request(&ForGateway { to: from, bytes: &answer }));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // One of the errors that are taken below.
                Err(_) => {}
            }
        }
        self.forget_unreachable() || has_changed
    }

    /// Removes gateways that no longer report. Returns whether memberships have changed.
    pub(in crate::driver) fn do_due(&mut self, now: ClockTime) -> bool {
        self.relay.handle_timeout(now)
    }

    /// Sends a datagram to the gateways that have joined its group. Returns whether memberships have changed, because a
    /// gateway cannot be reached.
    pub(in crate::driver) fn send(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        hop_limit: u8,
        payload: &[u8],
    ) -> bool {
        let Ok(group) = Group::new(destination.ip()) else { return false };
        let Ok(bytes) = encapsulate(source, destination, hop_limit, payload) else {
            self.unsent += 1;
            return false;
        };
        let gateways = self.relay.receivers(group, source.ip());
        let datagrams: Vec<_> = gateways.map(|to| ForGateway { to, bytes: &bytes }).collect();
        let (mut rest, mut has_failed) = (datagrams.as_slice(), false);
        while !rest.is_empty() {
            match self.socket.send_run(rest, |datagram| Some(request(datagram))) {
                Ok(sent) => {
                    self.sent += sent.datagrams as u64;
                    rest = &rest[sent.datagrams.clamp(1, rest.len())..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // One gateway must not delay the others, so a full queue is not waited for.
                Err(error) => {
                    let is_earlier = error.kind() != io::ErrorKind::WouldBlock && !has_failed;
                    has_failed |= is_earlier;
                    // An ICMP message about an earlier datagram ends one call, and this datagram is sent again.
                    if !is_earlier {
                        self.unsent += 1;
                        rest = &rest[1..];
                    }
                }
            }
        }
        has_failed && self.forget_unreachable()
    }

    fn forget_unreachable(&mut self) -> bool {
        let mut has_changed = false;
        for gateway in self.socket.take_unreachable() {
            has_changed |= self.relay.handle_unreachable(plain(gateway));
        }
        has_changed
    }
}

const fn request<'a>(datagram: &ForGateway<'a>) -> SendRequest<'a> {
    SendRequest {
        payload: datagram.bytes,
        to: datagram.to,
        interface: None,
        source: None,
        hop_limit: None,
        traffic_class: None,
        launch: None,
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::open(Family::of(address.ip()))?;
    socket.only_own_memberships(true)?;
    socket.report_queue_drops()?;
    socket.set_receive_buffer(RECEIVE_BUFFER)?;
    socket.set_send_buffer(SEND_BUFFER)?;
    socket.bind(address)?;
    Ok(socket)
}
