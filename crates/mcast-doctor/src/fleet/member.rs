//! A member of a fleet: listens, probes on command, and reports, over its standard input and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Commands, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{GroupAddr, Interface, Membership, Outgoing, Sender, Waker};
use mcast_measure::wire::SessionId;

use super::message::{
    Arrivals, Hello, MemberCommand, MemberEvent, MemberReport, OwnFinding, PROTOCOL, Probed, ProbedCase,
    ProbedPeer,
};
use super::switch_ports::SwitchPorts;
use crate::{Error, PathTest, ProbeListener, Result, Severity, examine_machine};

/// The longest command in bytes.
const MAX_COMMAND: u64 = 1 << 20;
/// The longest wait before a check whether the time is over.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A group that a member probes.
#[derive(Clone, Debug)]
pub struct MemberTarget {
    /// The group.
    pub address: GroupAddr,
    /// The interface on which probes are sent, if there is one only.
    pub interface: Option<Interface>,
    /// The datagrams without payload: one per interface.
    pub outgoing: Vec<Outgoing<'static>>,
}

/// One machine of a fleet: joins groups and answers probes, probes the groups itself on command, and reports
/// what has arrived and what it found out about itself.
#[derive(Debug)]
pub struct FleetMember {
    listener: ProbeListener,
    targets: Vec<MemberTarget>,
    interfaces: Vec<Interface>,
}

impl FleetMember {
    /// Joins the groups.
    ///
    /// # Errors
    /// If a group cannot be joined, or the interfaces cannot be listed.
    pub fn join(memberships: Vec<Membership>, targets: Vec<MemberTarget>) -> Result<Self> {
        let listener = ProbeListener::for_path_tests(memberships)?;
        let statuses = listener.receiver().memberships();
        let joined = |interface: &Interface| {
            let of = |status: &mcast::MembershipStatus| {
                status.interfaces.iter().any(|each| each.name == interface.name)
            };
            statuses.iter().any(of)
        };
        let interfaces = mcast::interfaces()?.into_iter().filter(joined).collect();
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
            let listening =
                scope.spawn(|| self.listener.run(None, || !stopped.load(Ordering::Relaxed), |_| ()));
            scope.spawn(|| ports.listen(&names, stopped));
            let mut session = Session { member: self, ports: &ports, is_stopped: stopped, output };
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
fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local())
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

    fn probe(&self, target: &MemberTarget, count: u16, ttl: u8, peers: &[std::net::SocketAddr]) -> Probed {
        let id = SessionId::random();
        let test = PathTest::new(target.address, target.interface.as_ref(), ttl, id);
        let mut test = test.with_peers(peers.iter().copied());
        let keep_going = || !self.is_stopped.load(Ordering::Relaxed);
        let result = Sender::builder()
            .build()
            .and_then(|sender| test.run(&sender, &target.outgoing, count, keep_going));
        let mut probed = summary(&test);
        probed.error = result.err().map(|error| error.to_string());
        probed
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
        if let Ok(report) = examine_machine() {
            let serious = report.findings.into_iter().filter(|finding| finding.severity > Severity::Note);
            let serious = serious.map(|finding| OwnFinding {
                id: finding.id.to_string(),
                is_fault: finding.severity == Severity::Fault,
                cause: finding.cause,
            });
            for finding in serious {
                if !findings.iter().any(|known| known.id == finding.id) {
                    findings.push(finding);
                }
            }
        }
        MemberReport { arrivals: arrivals.collect(), findings, switch_ports: self.ports.all() }
    }
}

/// Parses `fault firewall-drops-data CAUSE`.
fn own_finding(line: &str) -> Option<OwnFinding> {
    let (severity, rest) = line.split_once(' ')?;
    let (id, cause) = rest.split_once(' ')?;
    Some(OwnFinding { id: id.to_owned(), is_fault: severity == "fault", cause: cause.to_owned() })
}

fn summary(test: &PathTest) -> Probed {
    let answered = |case| {
        let responders = test.session.responders().iter();
        responders.map(|responder| (responder.id, responder.multicast(case).received())).collect()
    };
    let cases = test.session.cases().iter().enumerate().map(|(index, case)| ProbedCase {
        size: case.size,
        ttl: case.hop_limit,
        sent: test.session.sent(index),
        answered: answered(index),
    });
    let unicast = test.unicast.iter().map(|path| {
        let (answered, sent) = path.answered(|_| true);
        ProbedPeer { address: path.address, sent, answered, failure: path.failure }
    });
    Probed {
        group: test.address.to_string(),
        session: test.session.id().0,
        frame: test.frame(),
        cases: cases.collect(),
        unicast: unicast.collect(),
        error: None,
    }
}
