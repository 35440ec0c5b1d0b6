//! Examines a fleet: starts the members, lets them probe, and collects their reports.

use std::time::{Duration, Instant};

use crate::hosts::{FleetHost, FleetHostStatus, SessionError, status_of};
use crate::message::{Hello, MemberCommand, MemberEvent, PROTOCOL, Peer};
use crate::report::{Collection, FleetHostReport, FleetReport, Member};
use crate::session::{MemberSession, SshOptions};

/// How long a member may take to join, beyond the time for the connection.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a member may take for what is not proportional to the number of probes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long members may take to report after an interrupt.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(5);
/// Much more than a probe takes.
const PER_PROBE: Duration = Duration::from_millis(40);
/// More than the number of sizes and hop limits of a test.
const CASES: u32 = 20;
/// More than the number of groups and interfaces that a member probes.
const MAX_TARGETS: usize = 1_000;

/// The reason of a member that does not follow the protocol.
const UNEXPECTED: &str = "unexpected answer";

/// What to examine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FleetPlan {
    /// The machines.
    pub hosts: Vec<FleetHost>,
    /// The arguments of `mcast` on the machines, without the interfaces.
    pub arguments: Vec<String>,
    /// The interfaces of machines that name none themselves.
    pub interfaces: Vec<String>,
    /// How to reach the machines.
    pub ssh: SshOptions,
    /// The number of probes per size and hop limit.
    pub count: u16,
    /// The highest hop limit.
    pub ttl: u8,
    /// Probe again after this time, while the memberships last.
    pub again_after: Option<Duration>,
    /// How long to wait for LLDP if a path fails, from the start.
    pub lldp_wait: Duration,
}

impl FleetPlan {
    /// Returns a plan for these machines. On each, `mcast` runs with `arguments`.
    #[must_use]
    pub fn new(hosts: Vec<FleetHost>, arguments: Vec<String>) -> Self {
        Self {
            hosts,
            arguments,
            interfaces: Vec::new(),
            ssh: SshOptions::default(),
            count: 5,
            ttl: 1,
            again_after: None,
            lldp_wait: Duration::from_secs(30),
        }
    }
}

/// Examines a fleet. `report_progress` is called with what is done next; the examination ends early, with what it has,
/// if `keep_going` returns `false`, which is called at least every 100 ms.
pub fn examine_fleet(
    plan: &FleetPlan,
    keep_going: &dyn Fn() -> bool,
    report_progress: &mut dyn FnMut(&str),
) -> FleetReport {
    let mut coordinator = Coordinator { plan, keep_going, members: Vec::new(), start: Instant::now() };
    report_progress(&format!("connecting to {} machines", plan.hosts.len()));
    coordinator.connect();
    coordinator.probe_all(0, report_progress);
    if let Some(time) = plan.again_after {
        report_progress(&format!("waiting until the memberships are {} s old", time.as_secs()));
        coordinator.wait_until(coordinator.start + time);
        coordinator.probe_all(1, report_progress);
    }
    report_progress("collecting the reports");
    coordinator.collect_reports();
    let mut report = coordinator.report();
    let has_unnamed = |host: &FleetHostReport| host.captures && host.switch_ports.is_empty();
    if !report.findings.is_empty() && report.hosts.iter().any(has_unnamed) && keep_going() {
        let end = coordinator.start + plan.lldp_wait;
        if Instant::now() < end {
            report_progress("waiting for LLDP, which names the switch ports");
            coordinator.wait_until(end);
            coordinator.update_reports();
            report = coordinator.report();
        }
    }
    report
}

struct Coordinator<'a> {
    plan: &'a FleetPlan,
    keep_going: &'a dyn Fn() -> bool,
    members: Vec<Member>,
    start: Instant,
}

impl Coordinator<'_> {
    /// Starts all sessions at once, and waits until each has joined or failed.
    fn connect(&mut self) {
        for host in &self.plan.hosts {
            let mut arguments = self.plan.arguments.clone();
            let interfaces = host.interface.as_ref().map_or(&*self.plan.interfaces, std::slice::from_ref);
            arguments.extend(interfaces.iter().flat_map(|interface| ["-i".into(), interface.clone()]));
            let mut member = Member::default();
            match MemberSession::start(&self.plan.ssh, host, &arguments) {
                Ok(session) => member.session = Some(session),
                Err(error) => member.failure = Some(status_of(&error, self.plan.ssh.sudo, false)),
            }
            self.members.push(member);
        }
        let deadline = Instant::now() + self.plan.ssh.connect_timeout + JOIN_TIMEOUT;
        for index in 0..self.members.len() {
            match self.next(index, deadline) {
                Some(MemberEvent::Hello(hello)) => self.accept(index, hello),
                Some(_) => self.fail(index, FleetHostStatus::Failed, UNEXPECTED.into()),
                None => {}
            }
        }
    }

    fn accept(&mut self, index: usize, hello: Hello) {
        let own = env!("CARGO_PKG_VERSION");
        if hello.protocol != PROTOCOL || hello.version != own {
            let why = match hello.version == own {
                true => format!("its mcast is another build of {own}"),
                false => format!("its mcast is {}, this one is {own}", hello.version),
            };
            self.fail(index, FleetHostStatus::OtherVersion, why);
        } else if let Some(other) = self.same_machine(&hello) {
            let why = format!("the same machine as {}, under another name", self.plan.hosts[other].name);
            self.fail(index, FleetHostStatus::Failed, why);
        } else {
            self.members[index].hello = Some(hello);
        }
    }

    /// Returns the member with the same addresses. On two machines with the same addresses, both would have the same port.
    fn same_machine(&self, hello: &Hello) -> Option<usize> {
        let is_same = |other: &Hello| {
            !hello.addresses.is_empty()
                && other.addresses == hello.addresses
                && other.unicast_port != hello.unicast_port
        };
        self.members.iter().position(|member| member.hello.as_ref().is_some_and(is_same))
    }

    /// Returns the next message of a member; if it fails, notes why. An interrupt ends the probes of a member that has
    /// joined, not its session: its report shows what has arrived so far.
    fn next(&mut self, index: usize, deadline: Instant) -> Option<MemberEvent> {
        let session = self.members[index].session.as_mut()?;
        match session.next(deadline, self.keep_going) {
            Ok(event) => Some(event),
            Err(SessionError::Cancelled) if self.members[index].hello.is_some() => None,
            Err(error) => {
                let has_joined = self.members[index].hello.is_some();
                let (status, why) = status_of(&error, self.plan.ssh.sudo, has_joined);
                self.fail(index, status, why);
                None
            }
        }
    }

    fn fail(&mut self, index: usize, status: FleetHostStatus, why: String) {
        let member = &mut self.members[index];
        member.failure.get_or_insert((status, why));
        // Dropping the session ends the member.
        member.session = None;
    }

    /// Lets one machine after the other probe, so that they do not disturb each other.
    fn probe_all(&mut self, round: u8, report_progress: &mut dyn FnMut(&str)) {
        for index in 0..self.members.len() {
            if !self.members[index].takes_part() || !(self.keep_going)() {
                continue;
            }
            report_progress(&format!("{} probes the others", self.plan.hosts[index].name));
            let peers = self.peers_of(index);
            let command = MemberCommand::Probe { count: self.plan.count, ttl: self.plan.ttl, peers };
            if let Some(session) = &mut self.members[index].session {
                session.send(&command);
            }
            self.receive_results(index, round);
        }
    }

    /// Receives the results of a probe command: one per group and interface.
    fn receive_results(&mut self, index: usize, round: u8) {
        let probes = u32::from(self.plan.count).saturating_mul(CASES);
        let timeout = ANSWER_TIMEOUT + PER_PROBE.saturating_mul(probes);
        for _ in 0..MAX_TARGETS {
            match self.next(index, Instant::now() + timeout) {
                Some(MemberEvent::Probed(probed)) => self.members[index].probed.push((round, probed)),
                Some(MemberEvent::ProbesDone) | None => return,
                Some(_) => break,
            }
        }
        self.fail(index, FleetHostStatus::Failed, UNEXPECTED.into());
    }

    /// Returns all other machines.
    fn peers_of(&self, index: usize) -> Vec<Peer> {
        let others =
            self.members.iter().enumerate().filter(|(other, member)| *other != index && member.takes_part());
        let hellos = others.filter_map(|(_, member)| member.hello.as_ref());
        let peers = hellos.filter(|hello| hello.unicast_port != 0).map(|hello| Peer {
            listener: hello.listener,
            port: hello.unicast_port,
            addresses: hello.addresses.clone(),
        });
        peers.collect()
    }

    fn wait_until(&self, end: Instant) {
        const SLICE: Duration = Duration::from_millis(100);
        while (self.keep_going)() && Instant::now() < end {
            std::thread::sleep(SLICE.min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Returns when the reports must have arrived.
    fn request_reports(&mut self) -> Instant {
        for member in &mut self.members {
            if let Some(session) = &mut member.session {
                session.send(&MemberCommand::Report);
            }
        }
        Instant::now() + if (self.keep_going)() { ANSWER_TIMEOUT } else { INTERRUPTED_TIMEOUT }
    }

    /// Collects the reports, also after an interrupt.
    fn collect_reports(&mut self) {
        let deadline = self.request_reports();
        for index in 0..self.members.len() {
            if let Err((status, why)) = self.collect_report(index, deadline) {
                self.fail(index, status, why);
            }
        }
    }

    fn collect_report(&mut self, index: usize, deadline: Instant) -> Result<(), (FleetHostStatus, String)> {
        let member = &mut self.members[index];
        let Some(session) = &mut member.session else { return Ok(()) };
        let is_interrupted = !(self.keep_going)();
        for _ in 0..MAX_TARGETS {
            match session.next(deadline, &|| true) {
                Ok(MemberEvent::Report(report)) => {
                    member.report = report;
                    return Ok(());
                }
                // The results of the probes during which the interrupt arrived.
                Ok(MemberEvent::Probed(_) | MemberEvent::ProbesDone) if is_interrupted => {}
                Ok(_) => break,
                Err(SessionError::TimedOut) if is_interrupted => {
                    return Err(status_of(&SessionError::Cancelled, self.plan.ssh.sudo, true));
                }
                Err(error) => return Err(status_of(&error, self.plan.ssh.sudo, true)),
            }
        }
        Err((FleetHostStatus::Failed, UNEXPECTED.into()))
    }

    /// Collects the reports again. A member whose session has ended meanwhile, or is interrupted, keeps its first one.
    fn update_reports(&mut self) {
        let deadline = self.request_reports();
        for member in &mut self.members {
            let next = member.session.as_mut().map(|session| session.next(deadline, self.keep_going));
            if let Some(Ok(MemberEvent::Report(report))) = next {
                member.report = report;
            }
        }
    }

    fn report(&self) -> FleetReport {
        Collection { hosts: &self.plan.hosts, members: &self.members, hop_limit: self.plan.ttl }.report()
    }
}
