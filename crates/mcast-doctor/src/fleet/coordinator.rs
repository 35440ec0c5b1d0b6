//! Examines a fleet: starts the members, lets them probe, and collects their reports.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast::{Family, GroupAddr};

use super::decision::judge_fleet;
use super::hosts::FleetHost;
use super::matrix::{FleetCell, FleetMatrix, UnicastCell};
use super::message::{Hello, MemberCommand, MemberEvent, MemberReport, PROTOCOL, Probed, ProbedCase};
use super::report::{FleetHostReport, FleetReport};
use super::session::{MemberSession, SessionError, SshOptions};
use super::status::{FleetHostStatus, status_of};

/// How long a member may take to join, beyond the time for the connection.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a member may take for what is not proportional to the number of probes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Much more than a probe takes.
const PER_PROBE: Duration = Duration::from_millis(40);
/// More than the number of sizes and hop limits of a test.
const CASES: u32 = 20;

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
            coordinator.collect_reports();
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

/// What is known about one machine.
#[derive(Default)]
struct Member {
    session: Option<MemberSession>,
    hello: Option<Hello>,
    failure: Option<(FleetHostStatus, String)>,
    /// The probes that it has sent, with the round.
    probed: Vec<(u8, Probed)>,
    report: MemberReport,
}

impl Member {
    fn report_of(&self, host: &FleetHost) -> FleetHostReport {
        let captures = self.hello.as_ref().is_some_and(|hello| hello.captures);
        FleetHostReport::new(host, self.failure.as_ref(), captures, &self.report)
    }

    const fn takes_part(&self) -> bool {
        self.hello.is_some() && self.failure.is_none()
    }
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
                Err(error) => member.failure = Some(self.status_of(&error)),
            }
            self.members.push(member);
        }
        let deadline = Instant::now() + self.plan.ssh.connect_timeout + JOIN_TIMEOUT;
        for index in 0..self.members.len() {
            match self.next(index, deadline) {
                Some(MemberEvent::Hello(hello)) => self.accept(index, hello),
                Some(_) => self.fail(index, FleetHostStatus::Failed, "unexpected answer".into()),
                None => {}
            }
        }
    }

    fn accept(&mut self, index: usize, hello: Hello) {
        let own = env!("CARGO_PKG_VERSION");
        if hello.protocol != PROTOCOL || hello.version != own {
            let why = format!("its mcast is {}, this one is {own}", hello.version);
            self.fail(index, FleetHostStatus::OtherVersion, why);
        } else {
            self.members[index].hello = Some(hello);
        }
    }

    /// Returns the next message of a member; if it fails, notes why.
    fn next(&mut self, index: usize, deadline: Instant) -> Option<MemberEvent> {
        let session = self.members[index].session.as_mut()?;
        match session.next(deadline, self.keep_going) {
            Ok(event) => Some(event),
            Err(error) => {
                let (status, why) = self.status_of(&error);
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

    fn status_of(&self, error: &SessionError) -> (FleetHostStatus, String) {
        status_of(error, self.plan.ssh.sudo)
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
            let probes = u32::from(self.plan.count).saturating_mul(CASES);
            let deadline = Instant::now() + ANSWER_TIMEOUT + PER_PROBE.saturating_mul(probes);
            while let Some(MemberEvent::Probed(probed)) = self.next(index, deadline) {
                self.members[index].probed.push((round, probed));
            }
        }
    }

    /// Returns an address of each family of all other machines.
    fn peers_of(&self, index: usize) -> Vec<SocketAddr> {
        let others =
            self.members.iter().enumerate().filter(|(other, member)| *other != index && member.takes_part());
        let hellos =
            others.filter_map(|(_, member)| member.hello.as_ref()).filter(|hello| hello.unicast_port != 0);
        let addresses = hellos.flat_map(|hello| {
            let first = |is_v4: bool| hello.addresses.iter().find(move |address| address.is_ipv4() == is_v4);
            [first(true), first(false)]
                .into_iter()
                .flatten()
                .map(|address| SocketAddr::new(*address, hello.unicast_port))
        });
        addresses.collect()
    }

    fn wait_until(&self, end: Instant) {
        const SLICE: Duration = Duration::from_millis(100);
        while (self.keep_going)() && Instant::now() < end {
            std::thread::sleep(SLICE.min(end.saturating_duration_since(Instant::now())));
        }
    }

    fn collect_reports(&mut self) {
        for member in &mut self.members {
            if let Some(session) = &mut member.session {
                session.send(&MemberCommand::Report);
            }
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        for index in 0..self.members.len() {
            match self.next(index, deadline) {
                Some(MemberEvent::Report(report)) => self.members[index].report = report,
                Some(_) => self.fail(index, FleetHostStatus::Failed, "unexpected answer".into()),
                None => {}
            }
        }
    }

    fn report(&self) -> FleetReport {
        let hosts: Vec<_> =
            self.plan.hosts.iter().zip(&self.members).map(|(host, member)| member.report_of(host)).collect();
        let mut matrix = FleetMatrix {
            hosts: hosts.iter().map(|host| host.name.clone()).collect(),
            switch_ports: hosts.iter().map(|host| host.switch_ports.clone()).collect(),
            cells: Vec::new(),
        };
        let mut unicast = Vec::new();
        let mut not_probed = Vec::new();
        for (from, member) in self.members.iter().enumerate() {
            for (round, probed) in &member.probed {
                if let Some(error) = &probed.error {
                    not_probed.push((hosts[from].name.clone(), format!("{}: {error}", probed.group)));
                }
                for to in (0..self.members.len()).filter(|to| *to != from) {
                    matrix.cells.extend(self.cells(from, to, *round, probed));
                    unicast.extend(self.unicast(from, to, probed).filter(|_| *round == 0));
                }
            }
        }
        let findings = judge_fleet(&matrix, &unicast);
        FleetReport { hosts, matrix, unicast, findings, not_probed }
    }

    /// Returns what one machine has received of a test of another.
    fn cells(&self, from: usize, to: usize, round: u8, probed: &Probed) -> Vec<FleetCell> {
        let receiver = &self.members[to];
        let (Some(hello), Ok(group)) = (&receiver.hello, probed.group.parse::<GroupAddr>()) else {
            return Vec::new();
        };
        if !receiver.takes_part() || !hello.groups.contains(&probed.group) {
            return Vec::new();
        }
        let arrivals = receiver.report.arrivals.iter().find(|arrivals| arrivals.session == probed.session);
        let received = |case: &ProbedCase| {
            let probes = arrivals.into_iter().flat_map(|arrivals| &arrivals.probes);
            let same = probes.filter(|(size, ttl, _)| (*size, *ttl) == (case.size, case.ttl));
            same.map(|(_, _, count)| *count).sum()
        };
        let answered = |case: &ProbedCase| {
            let own = case.answered.iter().find(|(listener, _)| *listener == hello.listener);
            own.map_or(0, |(_, answered)| *answered)
        };
        let family = group.group.family();
        let cell = |case: &ProbedCase| FleetCell {
            from,
            to,
            family,
            size: case.size,
            hop_limit: case.ttl,
            round,
            fits: case.size <= probed.frame,
            sent: case.sent,
            received: received(case),
            answered: answered(case),
        };
        probed.cases.iter().map(cell).collect()
    }

    fn unicast(&self, from: usize, to: usize, probed: &Probed) -> impl Iterator<Item = UnicastCell> {
        let hello = self.members[to].hello.as_ref();
        let is_to = |address: SocketAddr| {
            hello.is_some_and(|hello| {
                hello.unicast_port == address.port() && hello.addresses.contains(&address.ip())
            })
        };
        let peers = probed.unicast.iter().filter(|peer| is_to(peer.address));
        let cells = peers.map(|peer| UnicastCell {
            from,
            to,
            family: Family::of(peer.address.ip()),
            sent: peer.sent,
            answered: peer.answered,
        });
        cells.collect::<Vec<_>>().into_iter()
    }
}
