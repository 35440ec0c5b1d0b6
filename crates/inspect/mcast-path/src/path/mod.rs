//! Tests of the path between two machines: which probes to send, and what the replies mean.

mod findings;
mod loss;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::{io, iter};

use mcast::interface::Interface;
use mcast::{Family, GroupAddr};
use mcast_measure::wire::{Examination, SessionId};
use mcast_measure::{ProbeCase, ProbeSession, RespondingHost};

pub use loss::{Tally, is_certain};

/// The smallest probe, with which hop limits are tested.
const SMALLEST: usize = 64;
/// Sizes that every network should carry.
const SMALL: [usize; 2] = [512, 1_200];
/// Sizes of a few fragments, and of many.
const LARGE: [usize; 2] = [4_000, 16_000];
/// Used if the MTU is unknown.
const DEFAULT_MTU: u32 = 1_500;

/// A test of the path to the listeners of a group: which sizes and hop limits arrive, and how often, by multicast and
/// beside it by unicast.
///
/// Its [`session`](Self::session) creates the probes and records the replies; [`run`](Self::run) sends and receives them.
///
/// ```
/// use mcast_doctor::Id;
/// use mcast_path::PathTest;
/// use mcast_measure::ClockTime;
/// use mcast_measure::wire::SessionId;
///
/// let mut test = PathTest::new("239.255.2.3:5000".parse()?, None, 1, SessionId(7));
/// for case in 0..test.session.cases().len() {
///     let probe = test.session.probe(ClockTime(0), case).unwrap();
///     // Send the probe here.
///     test.session.handle_sent(ClockTime(0), case);
/// }
/// // Nobody replied.
/// assert_eq!(test.findings(false)[0].id, Id::NothingArrives);
/// # Ok::<(), mcast::ParseError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PathTest {
    /// The group.
    pub address: GroupAddr,
    /// The name of the interface on which probes are sent, if it is known.
    pub interface: Option<String>,
    /// The probes to the group and their replies.
    pub session: ProbeSession,
    /// The probes by unicast, by host.
    pub unicast: Vec<UnicastPath>,
    /// What listeners found out about themselves.
    pub examinations: Vec<ListenerExamination>,
    /// The replies on the wire of this machine, by listener; `None` if it could not be captured.
    pub replies_on_wire: Option<Vec<(IpAddr, u64)>>,
    /// The largest payload that fits in one frame of that interface.
    frame: usize,
    highest: u8,
}

/// What a listener found out about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerExamination {
    /// The source of its reply.
    pub address: IpAddr,
    /// Its first reply, with the findings of its latest one.
    pub result: Examination,
}

impl PathTest {
    /// Creates a test with hop limits up to `highest`. Its sizes lie around the payload of one frame of the
    /// interface.
    #[must_use]
    pub fn new(address: GroupAddr, interface: Option<&Interface>, highest: u8, id: SessionId) -> Self {
        let frame = payload_of_frame(interface, address.group.family());
        let session = ProbeSession::path_test(id, cases(frame, highest));
        Self {
            address,
            interface: interface.map(|interface| interface.name.clone()),
            session,
            unicast: Vec::new(),
            examinations: Vec::new(),
            replies_on_wire: None,
            frame,
            highest,
        }
    }

    /// Also probes these hosts by unicast, whether they answer probes to the group or not. An address without a port
    /// has port 0: [`UNICAST_PROBE_PORT`](crate::UNICAST_PROBE_PORT) is used. Addresses of another family than the
    /// group's are ignored.
    #[must_use]
    pub fn with_peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let is_v4 = self.address.group.addr().is_ipv4();
        for peer in peers.into_iter().filter(|peer| peer.is_ipv4() == is_v4) {
            self.add_peer(peer);
        }
        self
    }

    fn add_peer(&mut self, mut peer: SocketAddr) {
        if self.unicast.iter().any(|path| path.address.ip() == peer.ip()) {
            return;
        }
        if peer.port() == 0 {
            peer.set_port(crate::UNICAST_PROBE_PORT);
        }
        let id = SessionId(self.session.id().0.wrapping_add(1 + self.unicast.len() as u64));
        self.unicast.push(UnicastPath::new(peer, id, self.session.cases(), self.highest));
    }

    /// Returns the largest payload that fits in one frame of the interface.
    #[must_use]
    pub const fn frame(&self) -> usize {
        self.frame
    }

    /// Returns the number of unicast probes of the size of a case that a listener answered, and the number sent; `None`
    /// if it is not probed by unicast, or the case has a lower hop limit than the highest.
    #[must_use]
    pub fn unicast_results(&self, listener: &RespondingHost, case: usize) -> Option<(u64, u64)> {
        let case = self.session.cases().get(case).filter(|case| case.hop_limit == self.highest)?;
        Some(self.unicast_of(listener)?.answered(|size| size == case.size))
    }

    /// Returns the unicast probes to a responder.
    fn unicast_of(&self, responder: &RespondingHost) -> Option<&UnicastPath> {
        self.unicast.iter().find(|path| path.responder().is_some_and(|other| other.id == responder.id))
    }

    /// Returns what a responder found out about itself.
    fn examination_of(&self, responder: u64) -> Option<&Examination> {
        self.examinations.iter().map(|each| &each.result).find(|result| result.responder == responder)
    }
}

/// Returns the largest payload that fits in one frame of this interface.
fn payload_of_frame(interface: Option<&Interface>, family: Family) -> usize {
    let headers = match family {
        Family::V4 => 20 + 8,
        Family::V6 => 40 + 8,
    };
    let mtu = interface.map_or(DEFAULT_MTU, |interface| interface.mtu);
    usize::try_from(mtu).unwrap_or(usize::MAX).saturating_sub(headers).clamp(SMALLEST, 65_000)
}

/// Returns every size with the highest hop limit, and the smallest size with lower hop limits, each twice the
/// one before.
fn cases(frame: usize, highest: u8) -> Vec<ProbeCase> {
    let mut sizes = vec![SMALLEST];
    sizes.extend(SMALL.into_iter().filter(|size| *size < frame));
    sizes.extend([frame, frame + 1]);
    sizes.extend(LARGE.into_iter().filter(|size| *size > frame + 1));
    sizes.dedup();
    let by_size = sizes.into_iter().map(|size| ProbeCase { size, hop_limit: highest });
    let doubling = iter::successors(Some(1_u8), |hops| hops.checked_mul(2));
    let lower = doubling.take_while(|hops| *hops < highest);
    by_size.chain(lower.map(|hop_limit| ProbeCase { size: SMALLEST, hop_limit })).collect()
}

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
    fn new(address: SocketAddr, id: SessionId, cases: &[ProbeCase], highest: u8) -> Self {
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
    fn handle_error(&mut self, error: &io::Error) {
        self.failure = match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(UnicastFailure::Refused),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(UnicastFailure::Unreachable)
            }
            _ => self.failure,
        };
    }
}
