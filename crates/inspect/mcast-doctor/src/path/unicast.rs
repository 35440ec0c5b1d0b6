//! Probes by unicast beside those to the group: what they lose as well is not a matter of multicast.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use mcast_measure::wire::SessionId;
use mcast_measure::{ProbeCase, ProbeSession, RespondingHost};

/// Probes of each size to one host by unicast.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnicastPath {
    /// The host, with the port of its listener.
    pub address: SocketAddr,
    /// The probes and their replies; the results are those of [`RespondingHost::multicast`].
    pub session: ProbeSession,
    /// Why the host or its port cannot be reached, if the system knows.
    pub failure: Option<UnicastFailure>,
}

/// Why a host does not answer by unicast, as the system reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnicastFailure {
    /// The host is up, and no program has the port open, or its firewall rejects datagrams to it.
    Refused,
    /// There is no way to the host, or it does not answer at the link layer.
    Unreachable,
}

impl UnicastPath {
    /// Probes with the sizes of these cases that have the highest hop limit.
    pub(super) fn new(address: SocketAddr, id: SessionId, cases: &[ProbeCase], highest: u8) -> Self {
        let sizes: BTreeSet<usize> =
            cases.iter().filter(|case| case.hop_limit == highest).map(|case| case.size).collect();
        let cases = sizes.into_iter().map(|size| ProbeCase { size, hop_limit: 0 }).collect();
        Self { address, session: ProbeSession::unicast_path_test(id, cases), failure: None }
    }

    /// Returns the listener that answers at this address.
    #[must_use]
    pub fn responder(&self) -> Option<&RespondingHost> {
        self.session.responders().first()
    }

    /// Returns the number of probes of these sizes that were answered, and the number sent.
    #[must_use]
    pub fn answered(&self, sizes: impl Fn(usize) -> bool) -> (u64, u64) {
        let cases = self.session.cases().iter().enumerate().filter(|(_, case)| sizes(case.size));
        let count = |index| {
            let received = self.responder().map_or(0, |responder| responder.multicast(index).received());
            (received, self.session.sent(index))
        };
        cases.map(|(index, _)| count(index)).fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
    }

    /// Records a failure to send or receive; others than those of the path do not count.
    pub(super) fn note(&mut self, error: &io::Error) {
        self.failure = match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(UnicastFailure::Refused),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(UnicastFailure::Unreachable)
            }
            _ => self.failure,
        };
    }
}

/// Opens a socket that exchanges datagrams with one host only, so that the system reports its ICMP errors.
pub(super) fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
