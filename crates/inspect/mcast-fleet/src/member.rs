//! A member of a fleet: listens, probes on command, and reports, over its standard input and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Commands, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mcast::interface::Interface;
use mcast::{GroupAddr, Membership, Outgoing, Sender, Waker};
use mcast_measure::wire::SessionId;

use crate::edges::SwitchPorts;
use crate::message::{
    Arrivals, Hello, MemberCommand, MemberEvent, MemberReport, OwnFinding, PROTOCOL, Peer, Probed,
    ProbedCase, ProbedPeer,
};
use mcast_doctor::{Error, Finding, Result, Severity, examine_machine, explain_error};
use mcast_path::{Listener, PathTest, UnicastPath};

/// The longest command in bytes.
const MAX_COMMAND: u64 = 1 << 20;
/// The longest wait before a check whether the time is over.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A group that a member probes on one interface.
#[derive(Clone, Debug)]
pub struct MemberTarget {
    /// The group.
    pub address: GroupAddr,
    /// The interface on which probes are sent, if it is known.
    pub interface: Option<Interface>,
    /// The datagram without payload.
    pub outgoing: Outgoing<'static>,
}

/// One machine of a fleet: joins groups and answers probes, probes the groups itself on command, and reports
/// what has arrived and what it found out about itself.
#[derive(Debug)]
pub struct FleetMember {
    listener: Listener,
    targets: Vec<MemberTarget>,
    interfaces: Vec<Interface>,
}

impl FleetMember {
    /// Joins the groups.
    ///
    /// # Errors
    /// If a group cannot be joined, or the interfaces cannot be listed.
    pub fn join(memberships: Vec<Membership>, targets: Vec<MemberTarget>) -> Result<Self> {
        let listener = Listener::path_tests(memberships)?;
        let statuses = listener.receiver().memberships();
        let joined = |interface: &Interface| {
            let of = |status: &mcast::MembershipStatus| {
                status.interfaces.iter().any(|each| each.name == interface.name)
            };
            statuses.iter().any(of)
        };
        let interfaces = mcast::interface::list()?.into_iter().filter(joined).collect();
        Ok(Self { listener, targets, interfaces })
    }

    /// Follows the commands in `input` until it ends, or for `timeout`.
    ///
    /// # Errors
    /// If `output` cannot be written, or the groups cannot be received.
    pub fn run(
        &self,
        input: impl Read + Send + 'static,
        output: impl Write,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let commands = read_commands(input, Arc::clone(&is_stopped), self.listener.receiver().waker())?;
        let names: Vec<_> = self.interfaces.iter().map(|interface| interface.name.clone()).collect();
        let ports = SwitchPorts::default();
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        thread::scope(|scope| {
            let stopped = &*is_stopped;
            let listening = scope.spawn(|| {
                self.listener.run(None, |_| Ok::<_, Error>(!stopped.load(Ordering::Relaxed)), |_| ())
            });
            scope.spawn(|| ports.listen(&names, stopped));
            let refusals = Vec::new();
            let mut session = Session { member: self, ports: &ports, is_stopped: stopped, output, refusals };
            let followed = session.follow(&commands, end);
            stopped.store(true, Ordering::Relaxed);
            // If the waker fails, the listener notices with the next datagram.
            let _ = self.listener.receiver().waker().wake();
            followed?;
            listening.join().unwrap_or(Ok(()))
        })
    }

    fn hello(&self) -> Hello {
        let usable = self.interfaces.iter().flat_map(Interface::usable_addresses);
        let addresses = usable.map(|entry| entry.address).filter(|address| !is_link_local(*address));
        let memberships = self.listener.receiver().memberships();
        Hello {
            groups: memberships.iter().map(|status| status.membership.address.to_string()).collect(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listener: self.listener.id(),
            unicast_port: self.listener.unicast_port().unwrap_or_default(),
            addresses: addresses.collect(),
            captures: self.listener.can_capture(),
        }
    }
}

/// Returns whether an address of IPv6 is valid on one link only, so that others cannot use it without a zone.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Reads commands on a thread, because reading cannot be interrupted. At the end of the input, stops the member.
fn read_commands(
    input: impl Read + Send + 'static,
    is_stopped: Arc<AtomicBool>,
    waker: Waker,
) -> Result<Commands<MemberCommand>> {
    let (sender, commands) = channel();
    let read = move || {
        let mut input = BufReader::new(input);
        let mut line = String::new();
        loop {
            line.clear();
            match (&mut input).take(MAX_COMMAND).read_line(&mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let Ok(command) = serde_json::from_str(&line) else { break };
            if sender.send(command).is_err() {
                break;
            }
        }
        is_stopped.store(true, Ordering::Relaxed);
        // If the waker fails, the listener notices with the next datagram.
        let _ = waker.wake();
    };
    let started = thread::Builder::new().name("commands".into()).spawn(read);
    started.map_err(|source| Error::Start { program: "the thread \"commands\"".into(), source })?;
    Ok(commands)
}

/// A member that follows commands.
struct Session<'a, W> {
    member: &'a FleetMember,
    ports: &'a SwitchPorts,
    is_stopped: &'a AtomicBool,
    output: W,
    /// Why this machine refused to send probes.
    refusals: Vec<Finding>,
}

impl<W: Write> Session<'_, W> {
    fn follow(&mut self, commands: &Commands<MemberCommand>, end: Option<Instant>) -> Result<()> {
        self.send(&MemberEvent::Hello(self.member.hello()))?;
        while end.is_none_or(|end| Instant::now() < end) {
            match commands.recv_timeout(POLL_INTERVAL) {
                Ok(MemberCommand::Probe { count, ttl, peers }) => {
                    for target in &self.member.targets {
                        let probed = self.probe(target, count, ttl, &peers);
                        self.send(&MemberEvent::Probed(probed))?;
                    }
                    self.send(&MemberEvent::ProbesDone)?;
                }
                Ok(MemberCommand::Report) => self.send(&MemberEvent::Report(self.report()))?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    fn send(&mut self, event: &MemberEvent) -> Result<()> {
        let written = serde_json::to_string(event)
            .map_err(std::io::Error::from)
            .and_then(|line| writeln!(self.output, "{line}"))
            .and_then(|()| self.output.flush());
        written.map_err(|source| Error::Write { path: "standard output".into(), source })
    }

    fn probe(&mut self, target: &MemberTarget, count: u16, ttl: u8, peers: &[Peer]) -> Probed {
        let id = SessionId::random();
        let routes: Vec<_> = peers.iter().map(|peer| self.member.route(target, peer)).collect();
        let test = PathTest::new(target.address, target.interface.as_ref(), ttl, id);
        let mut test = test.with_peers(routes.iter().filter_map(|route| route.address));
        let keep_going = || !self.is_stopped.load(Ordering::Relaxed);
        let targets = std::slice::from_ref(&target.outgoing);
        let result =
            Sender::builder().build().and_then(|sender| test.run(&sender, targets, count, keep_going));
        let error = result.err().map(|error| {
            self.refusals.extend(explain_error(&error));
            error.to_string()
        });
        Probed { error, ..summary(&test, &routes) }
    }

    fn report(&self) -> MemberReport {
        let listener = &self.member.listener;
        let arrivals = listener.arrivals().into_iter().map(|arrivals| Arrivals {
            session: arrivals.session.0,
            probes: arrivals
                .to_group_by_case()
                .map(|(case, count)| (case.size, case.hop_limit, count))
                .collect(),
        });
        let mut findings: Vec<_> =
            listener.own_findings().unwrap_or_default().lines().filter_map(own_finding).collect();
        let machine = examine_machine().map(|report| report.findings).unwrap_or_default();
        let serious = machine.into_iter().filter(|finding| finding.severity > Severity::Note);
        for finding in self.refusals.iter().cloned().chain(serious) {
            if !findings.iter().any(|known| known.id == finding.id.as_str()) {
                findings.push(OwnFinding {
                    id: finding.id.to_string(),
                    is_fault: finding.severity == Severity::Fault,
                    remedy: finding.first_remedy(),
                    cause: finding.cause,
                });
            }
        }
        let (arrivals, forgotten) = (arrivals.collect(), listener.counts().forgotten);
        MemberReport { arrivals, forgotten, findings, switch_ports: self.ports.all() }
    }
}

/// Parses `fault firewall-drops-data CAUSE`, with a tab and the remedy behind it if there is one.
fn own_finding(line: &str) -> Option<OwnFinding> {
    let (line, remedy) = line.split_once('\t').map_or((line, None), |(line, remedy)| (line, Some(remedy)));
    let (severity, rest) = line.split_once(' ')?;
    let (id, cause) = rest.split_once(' ')?;
    Some(OwnFinding {
        id: id.to_owned(),
        is_fault: severity == "fault",
        cause: cause.to_owned(),
        remedy: remedy.map(str::to_owned),
    })
}

/// How to reach a peer by unicast.
struct Route {
    listener: u64,
    /// `None` if the peer has no address of the family of the group that this machine does not have itself.
    address: Option<SocketAddr>,
    is_on_link: Option<bool>,
}

impl FleetMember {
    fn route(&self, target: &MemberTarget, peer: &Peer) -> Route {
        let is_v4 = target.address.group.addr().is_ipv4();
        let own = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        let own: Vec<_> = own.map(|entry| entry.address).collect();
        let local = target.interface.iter().flat_map(Interface::usable_addresses);
        let local: Vec<_> = local
            .filter(|entry| entry.address.is_ipv4() == is_v4 && !is_link_local(entry.address))
            .map(|entry| (entry.address, entry.prefix))
            .collect();
        let others: Vec<_> =
            peer.addresses.iter().copied().filter(|address| address.is_ipv4() == is_v4).collect();
        let chosen = address_of_peer(&others, &own, &local);
        Route {
            listener: peer.listener,
            address: chosen.map(|(address, _)| SocketAddr::new(address, peer.port)),
            is_on_link: chosen.map(|(_, is_on_link)| is_on_link).filter(|_| !local.is_empty()),
        }
    }
}

/// Chooses one of the addresses of a peer, and returns whether it is in a network of the `local` addresses. Networks inside
/// machines, such as those of containers, often have the same addresses on each of them: what is sent to an address that
/// this machine has as its `own` does not leave it.
fn address_of_peer(peer: &[IpAddr], own: &[IpAddr], local: &[(IpAddr, u8)]) -> Option<(IpAddr, bool)> {
    let others = || peer.iter().copied().filter(|address| !own.contains(address));
    let is_on_link = |address: &IpAddr| local.iter().any(|entry| is_in_network(*address, *entry));
    let on_link = others().find(is_on_link).map(|address| (address, true));
    on_link.or_else(|| others().next().map(|address| (address, false)))
}

/// Returns whether an address has the same prefix as another one.
fn is_in_network(address: IpAddr, (other, prefix): (IpAddr, u8)) -> bool {
    let equal_bits = match (address, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    equal_bits >= u32::from(prefix)
}

fn summary(test: &PathTest, routes: &[Route]) -> Probed {
    let responders = test.session.responders();
    let answered = |case| responders.iter().map(|each| (each.id, each.multicast(case).received())).collect();
    let cases = test.session.cases().iter().enumerate().map(|(index, case)| ProbedCase {
        size: case.size,
        ttl: case.hop_limit,
        sent: test.session.sent(index),
        answered: answered(index),
    });
    Probed {
        group: test.address.to_string(),
        interface: test.interface.clone(),
        session: test.session.id().0,
        frame: test.frame(),
        cases: cases.collect(),
        hops: responders.iter().filter_map(|each| Some((each.id, each.hops?.0))).collect(),
        unicast: routes.iter().map(|route| probed_peer(test, route)).collect(),
        error: None,
    }
}

/// Returns the result of the unicast probes to a peer. Answers of another machine with its address do not count.
fn probed_peer(test: &PathTest, route: &Route) -> ProbedPeer {
    let responder = |path: &UnicastPath| path.responder().map(|responder| responder.id);
    let is_to = |path: &&UnicastPath| match route.address {
        Some(address) => path.address.ip() == address.ip(),
        None => responder(path) == Some(route.listener),
    };
    let path = test.unicast.iter().find(is_to);
    let (answered, sent) = path.map_or((0, 0), |path| path.answered(|_| true));
    let is_from_it = path.is_some_and(|path| responder(path) == Some(route.listener));
    let answered = if is_from_it { answered } else { 0 };
    ProbedPeer { listener: route.listener, is_on_link: route.is_on_link, sent, answered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_peer_is_in_the_same_network_and_not_an_own_one() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (container, a, b) = (address("172.17.0.1"), address("10.0.0.1"), address("10.0.0.2"));
        let (own, local) = ([container, a], [(a, 24)]);
        assert_eq!(address_of_peer(&[container, address("10.9.0.2"), b], &own, &local), Some((b, true)));
        assert_eq!(address_of_peer(&[container, b], &own, &[]), Some((b, false)));
        assert_eq!(address_of_peer(&[container], &own, &local), None);
    }

    #[test]
    fn an_address_is_in_a_network_if_the_prefix_is_the_same() {
        let is_in = |address: &str, other: &str, prefix| {
            is_in_network(address.parse().unwrap(), (other.parse().unwrap(), prefix))
        };
        assert!(is_in("10.0.0.7", "10.0.0.200", 24) && !is_in("10.0.1.7", "10.0.0.200", 24));
        assert!(is_in("10.0.1.7", "10.0.0.200", 16) && is_in("1.2.3.4", "5.6.7.8", 0));
        assert!(is_in("fd00::1", "fd00::ffff", 64) && !is_in("fd00:0:0:1::1", "fd00::1", 64));
        assert!(!is_in("10.0.0.7", "fd00::1", 0));
    }
}
