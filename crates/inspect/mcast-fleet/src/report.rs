//! The result of examining a fleet.

use std::collections::BTreeSet;

use mcast::GroupAddr;
use serde::Serialize;

use crate::decision::{FleetFinding, judge_fleet};
use crate::hosts::{FleetHost, FleetHostStatus};
use crate::matrix::{FleetCell, FleetMatrix, FleetTarget, UnicastCell};
use crate::message::{Hello, MemberReport, OwnFinding, Probed, ProbedCase, SwitchPort};
use crate::session::MemberSession;
use mcast_doctor::{Finding, Id, Remedy, Severity, Tool};

/// The maximum number of machines that a sentence names besides the first and the last.
const MAX_NAMED: usize = 6;

/// What a fleet's examination has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FleetReport {
    /// The machines, in the order of the plan.
    pub hosts: Vec<FleetHostReport>,
    /// The results between them.
    pub matrix: FleetMatrix,
    /// The unicast probes between them.
    pub unicast: Vec<UnicastCell>,
    /// The findings about the paths, most severe first.
    pub findings: Vec<FleetFinding>,
}

/// One machine of a fleet.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FleetHostReport {
    /// Its name.
    pub name: String,
    /// Whether it took part.
    pub status: FleetHostStatus,
    /// Why not.
    pub reason: Option<String>,
    /// Whether it can capture, which it needs to see what it loses itself, and to listen for LLDP.
    pub captures: bool,
    /// Groups that it could not probe, with the reason.
    pub not_probed: Vec<String>,
    /// The switch ports that it is connected to.
    pub switch_ports: Vec<SwitchPort>,
    /// What it found out about itself.
    pub findings: Vec<Finding>,
}

/// The verdict on a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FleetVerdict {
    /// All machines took part, and everything arrives everywhere.
    Healthy,
    /// There are warnings and no faults.
    Warnings,
    /// Some machines did not take part, or fewer than two did, or a path between those that did was not tested.
    Unknown,
    /// Like [`Unknown`](Self::Unknown), because ssh or sudo refused to run it.
    NeedsRights,
    /// There are faults.
    Faults,
}

impl FleetReport {
    /// Returns the number of findings of a severity, about the paths and of the machines about themselves.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.all_findings().iter().filter(|finding| finding.severity == severity).count()
    }

    /// Returns all findings: first those of the machines about themselves, because they explain the others. What several
    /// machines report alike, apart from numbers, is one finding.
    #[must_use]
    pub fn all_findings(&self) -> Vec<Finding> {
        let mut own: Vec<(String, Vec<&str>, &Finding)> = Vec::new();
        for host in &self.hosts {
            for finding in &host.findings {
                let cause = finding.cause.strip_prefix(&about_itself(&host.name)).unwrap_or(&finding.cause);
                let key = format!("{} {}", finding.id, without_digits(cause));
                match own
                    .iter_mut()
                    .find(|(known, _, first)| *known == key && first.severity == finding.severity)
                {
                    Some((_, names, _)) => names.push(&host.name),
                    None => own.push((key, vec![&host.name], finding)),
                }
            }
        }
        let own = own.into_iter().map(|(_, names, first)| of_machines(&names, first));
        own.chain(self.findings.iter().map(|each| each.finding.clone())).collect()
    }

    /// Returns the verdict.
    #[must_use]
    pub fn verdict(&self) -> FleetVerdict {
        let own = self.hosts.iter().flat_map(|host| &host.findings);
        let findings = own.chain(self.findings.iter().map(|each| &each.finding));
        let worst = findings.map(|finding| finding.severity).max();
        let mut absent = self
            .hosts
            .iter()
            .map(|host| host.status)
            .filter(|status| *status != FleetHostStatus::Examined)
            .peekable();
        match worst {
            Some(Severity::Fault) => FleetVerdict::Faults,
            _ if absent.peek().is_some() && absent.all(FleetHostStatus::needs_rights) => {
                FleetVerdict::NeedsRights
            }
            _ if self.examined() < self.hosts.len().max(2) || self.has_untested_paths() => {
                FleetVerdict::Unknown
            }
            Some(Severity::Warning) => FleetVerdict::Warnings,
            _ => FleetVerdict::Healthy,
        }
    }
}

impl FleetReport {
    /// Returns the number of machines that took part until the end.
    #[must_use]
    pub fn examined(&self) -> usize {
        self.hosts.iter().filter(|host| host.status == FleetHostStatus::Examined).count()
    }

    /// Returns whether a group was not probed from a machine that took part to another one, or none was probed at all.
    #[must_use]
    pub fn has_untested_paths(&self) -> bool {
        let examined: Vec<_> =
            self.hosts.iter().map(|host| host.status == FleetHostStatus::Examined).collect();
        let takes_part = |host: usize| examined.get(host).copied().unwrap_or_default();
        let hosts = || (0..self.hosts.len()).filter(|host| takes_part(*host));
        let is_untested = |group: GroupAddr| {
            let mut pairs = hosts().flat_map(|from| hosts().map(move |to| (from, to)));
            pairs.any(|(from, to)| from != to && !self.matrix.is_tested(group, (from, to)))
        };
        let targets = &self.matrix.targets;
        targets.is_empty() || targets.iter().any(|target| is_untested(target.group))
    }
}

impl FleetHostReport {
    pub(super) fn new(host: &FleetHost, member: &Member, not_probed: Vec<String>) -> Self {
        let report = &member.report;
        let (status, reason) = match &member.failure {
            Some((status, reason)) => (*status, Some(reason.clone())),
            None => (FleetHostStatus::Examined, None),
        };
        Self {
            name: host.name.clone(),
            status,
            reason,
            captures: member.hello.as_ref().is_some_and(|hello| hello.captures),
            not_probed,
            switch_ports: report.switch_ports.clone(),
            findings: report.findings.iter().filter_map(|own| own_finding(&host.name, own)).collect(),
        }
    }
}

/// Returns the beginning of what a machine reports about itself.
fn about_itself(host: &str) -> String {
    format!("{host} reports about itself: ")
}

/// Returns what several machines report alike, in the words of the first.
fn of_machines(names: &[&str], first: &Finding) -> Finding {
    let [name, others @ .., last] = names else { return first.clone() };
    let shown = others.iter().take(MAX_NAMED).map(|other| format!(", {other}")).collect::<String>();
    let more = match others.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    let cause = first.cause.strip_prefix(&about_itself(name)).unwrap_or(&first.cause);
    let which = if names.len() == 2 { "both" } else { "each" };
    // The commands of the others name other interfaces, rules and processes.
    let own = first.remedies.iter().map(|remedy| remedy.instructions.text());
    let others = format!("The remedy on {which} of them is that of {name}, with the names that apply there.");
    let advice = own.chain([others]).map(|text| Remedy::advice(Tool::Network, text));
    Finding::new(
        first.id,
        first.severity,
        format!("{name}{shown}{more} and {last} report about themselves, {name} in these words: {cause}"),
    )
    .with_remedies(advice)
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// Returns a finding of a machine about itself; `None` if this version does not know it.
fn own_finding(host: &str, own: &OwnFinding) -> Option<Finding> {
    let severity = if own.is_fault { Severity::Fault } else { Severity::Warning };
    let cause = about_itself(host) + &own.cause;
    let text = match &own.remedy {
        Some(remedy) => format!("On {host}: {remedy}"),
        None => format!("See `mcast explain {}`, and apply it on {host}.", own.id),
    };
    let remedy = Remedy::advice(Tool::Network, text);
    Some(Finding::new(own.id.parse::<Id>().ok()?, severity, cause).with_remedies([remedy]))
}

/// What is known about one machine.
#[derive(Default)]
pub(super) struct Member {
    pub(super) session: Option<MemberSession>,
    pub(super) hello: Option<Hello>,
    pub(super) failure: Option<(FleetHostStatus, String)>,
    /// The probes that it has sent, with the round.
    pub(super) probed: Vec<(u8, Probed)>,
    pub(super) report: MemberReport,
}

impl Member {
    pub(super) const fn takes_part(&self) -> bool {
        self.hello.is_some() && self.failure.is_none()
    }

    /// Returns whether it probes this group on more than one interface.
    fn has_several_interfaces(&self, group: &str) -> bool {
        let probed = self.probed.iter().filter(|(_, probed)| probed.group == group);
        probed.map(|(_, probed)| &probed.interface).collect::<BTreeSet<_>>().len() > 1
    }
}

/// The members, with the machines that they run on.
pub(super) struct Collection<'a> {
    pub(super) hosts: &'a [FleetHost],
    pub(super) members: &'a [Member],
    /// The highest hop limit.
    pub(super) hop_limit: u8,
}

impl Collection<'_> {
    pub(super) fn report(&self) -> FleetReport {
        let (targets, hop_limit) = (self.targets(), self.hop_limit);
        let mut matrix = FleetMatrix { targets, hop_limit, ..FleetMatrix::default() };
        let mut unicast = Vec::new();
        for (from, round, probed) in self.probed() {
            let Some(target) = matrix.targets.iter().position(|target| self.is_of(target, probed)) else {
                continue;
            };
            for to in (0..self.members.len()).filter(|to| *to != from) {
                let cells = self.cells(to, round, probed);
                matrix.cells.entry((target, (from, to))).or_default().extend(cells);
                unicast.extend(self.unicast((from, to), target, probed).filter(|_| round == 0));
            }
        }
        let members = self.hosts.iter().zip(self.members);
        let hosts: Vec<_> = members
            .map(|(host, member)| {
                FleetHostReport::new(host, member, self.not_probed(member, &matrix.targets))
            })
            .collect();
        matrix.hosts = hosts.iter().map(|host| host.name.clone()).collect();
        matrix.switch_ports = hosts.iter().map(|host| host.switch_ports.clone()).collect();
        let findings = judge_fleet(&matrix, &unicast);
        FleetReport { hosts, matrix, unicast, findings }
    }

    /// Returns the probes of all members, with the member and the round.
    fn probed(&self) -> impl Iterator<Item = (usize, u8, &Probed)> {
        let members = self.members.iter().enumerate();
        members.flat_map(|(from, member)| {
            member.probed.iter().map(move |(round, probed)| (from, *round, probed))
        })
    }

    /// Returns what was probed, IPv4 first.
    fn targets(&self) -> Vec<FleetTarget> {
        let mut targets: Vec<FleetTarget> = Vec::new();
        for (_, _, probed) in self.probed() {
            if let Ok(group) = probed.group.parse::<GroupAddr>()
                && !targets.iter().any(|target| self.is_of(target, probed))
            {
                let interface = probed.interface.clone().filter(|_| self.has_several(&probed.group));
                targets.push(FleetTarget { group, interface });
            }
        }
        targets.sort_by_key(|target| !target.group.group.addr().is_ipv4());
        targets
    }

    /// Returns whether a member probes this group on more than one interface, so that their names matter.
    fn has_several(&self, group: &str) -> bool {
        self.members.iter().any(|member| member.has_several_interfaces(group))
    }

    fn is_of(&self, target: &FleetTarget, probed: &Probed) -> bool {
        target.group.to_string() == probed.group
            && (target.interface == probed.interface || !self.has_several(&probed.group))
    }

    /// Returns the groups that a member could not probe, with the reason.
    fn not_probed(&self, member: &Member, targets: &[FleetTarget]) -> Vec<String> {
        let Some(hello) = member.hello.as_ref().filter(|_| member.takes_part()) else { return Vec::new() };
        let failed = member.probed.iter().filter_map(|(_, probed)| {
            probed.error.as_ref().map(|error| format!("{}: {error}", probed.group))
        });
        let groups: BTreeSet<_> = targets.iter().map(|target| target.group).collect();
        let not_joined = groups.into_iter().filter(|group| !hello.groups.contains(&group.to_string()));
        let family = |group: &GroupAddr| group.group.family();
        let not_joined =
            not_joined.map(|group| format!("{group}: no interface has an {} address", family(&group)));
        let mut all: Vec<_> = failed.chain(not_joined).collect();
        all.dedup();
        all
    }

    /// Returns what one machine has received of a test of another.
    fn cells(&self, to: usize, round: u8, probed: &Probed) -> Vec<FleetCell> {
        let receiver = &self.members[to];
        let Some(hello) = receiver.hello.as_ref().filter(|_| receiver.takes_part()) else {
            return Vec::new();
        };
        let arrivals = receiver.report.arrivals.iter().find(|arrivals| arrivals.session == probed.session);
        // What was forgotten may have arrived.
        if !hello.groups.contains(&probed.group) || (arrivals.is_none() && receiver.report.forgotten > 0) {
            return Vec::new();
        }
        let received = |case: &ProbedCase| {
            let probes = arrivals.into_iter().flat_map(|arrivals| &arrivals.probes);
            let same = probes.filter(|(size, ttl, _)| (*size, *ttl) == (case.size, case.ttl));
            same.map(|(_, _, count)| *count).sum()
        };
        let of_listener = |results: &[(u64, u64)]| {
            results.iter().find(|(listener, _)| *listener == hello.listener).map(|(_, result)| *result)
        };
        let routers = probed.hops.iter().find(|(listener, _)| *listener == hello.listener);
        let cell = |case: &ProbedCase| FleetCell {
            size: case.size,
            hop_limit: case.ttl,
            round,
            frame: probed.frame,
            routers: routers.map(|(_, hops)| *hops),
            sent: case.sent,
            received: received(case),
            answered: of_listener(&case.answered).unwrap_or_default(),
        };
        probed.cases.iter().map(cell).collect()
    }

    fn unicast(
        &self,
        (from, to): (usize, usize),
        target: usize,
        probed: &Probed,
    ) -> impl Iterator<Item = UnicastCell> {
        let listener = self.members[to].hello.as_ref().map(|hello| hello.listener);
        probed.unicast.iter().filter(move |peer| Some(peer.listener) == listener).map(move |peer| {
            UnicastCell {
                from,
                to,
                target,
                is_on_link: peer.is_on_link,
                sent: peer.sent,
                answered: peer.answered,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{FleetCell, FleetTarget};

    fn report(statuses: &[FleetHostStatus], own: &[Severity]) -> FleetReport {
        let host = |status: &FleetHostStatus| FleetHostReport {
            name: "a".into(),
            status: *status,
            reason: None,
            captures: true,
            not_probed: Vec::new(),
            switch_ports: Vec::new(),
            findings: own.iter().map(|severity| Finding::new(Id::NoRoute, *severity, "x")).collect(),
        };
        let hosts: Vec<_> = statuses.iter().map(host).collect();
        let target = FleetTarget { group: "239.1.2.3:5000".parse().unwrap(), interface: None };
        let pairs = (0..hosts.len()).flat_map(|from| (0..hosts.len()).map(move |to| (from, to)));
        let cell = FleetCell {
            size: 64,
            hop_limit: 1,
            round: 0,
            frame: 1_472,
            routers: None,
            sent: 5,
            received: 5,
            answered: 5,
        };
        let cells = pairs.filter(|(from, to)| from != to).map(|pair| ((0, pair), vec![cell]));
        let (targets, cells) = (vec![target], cells.collect());
        let matrix = FleetMatrix { targets, hop_limit: 1, cells, ..FleetMatrix::default() };
        FleetReport { hosts, matrix, unicast: Vec::new(), findings: Vec::new() }
    }

    #[test]
    fn a_path_that_was_not_tested_is_not_healthy() {
        let mut report = report(&[FleetHostStatus::Examined; 3], &[]);
        assert_eq!(report.verdict(), FleetVerdict::Healthy);
        report.matrix.cells.remove(&(0, (0, 1)));
        assert_eq!(report.verdict(), FleetVerdict::Unknown);
        report.matrix = FleetMatrix::default();
        assert_eq!(report.verdict(), FleetVerdict::Unknown);
    }

    #[test]
    fn the_verdict_is_healthy_only_if_all_machines_took_part() {
        use FleetHostStatus::{Examined, LoginRefused, Unreachable};
        let verdict = |statuses: &[FleetHostStatus], own: &[Severity]| report(statuses, own).verdict();
        assert_eq!(verdict(&[Examined, Examined], &[]), FleetVerdict::Healthy);
        assert_eq!(verdict(&[Examined, Examined], &[Severity::Warning]), FleetVerdict::Warnings);
        assert_eq!(verdict(&[Examined, Examined], &[Severity::Fault]), FleetVerdict::Faults);
        assert_eq!(verdict(&[Examined], &[]), FleetVerdict::Unknown);
        assert_eq!(verdict(&[Examined, Examined, Unreachable], &[]), FleetVerdict::Unknown);
        assert_eq!(verdict(&[Examined, LoginRefused], &[]), FleetVerdict::NeedsRights);
        assert_eq!(verdict(&[Examined, LoginRefused, Unreachable], &[]), FleetVerdict::Unknown);
        assert_eq!(verdict(&[Examined, Unreachable], &[Severity::Fault]), FleetVerdict::Faults);
    }

    #[test]
    fn what_several_machines_report_alike_is_one_finding() {
        let mut report = report(&[FleetHostStatus::Examined; 4], &[]);
        let causes = ["Drops 4 of 5.", "Drops 5 of 5.", "Is down.", "Drops 5 of 5."];
        for (number, (host, cause)) in report.hosts.iter_mut().zip(causes).enumerate() {
            host.name = format!("h{number}");
            let own = OwnFinding { id: "no-route".into(), is_fault: true, cause: cause.into(), remedy: None };
            host.findings = own_finding(&host.name, &own).into_iter().collect();
        }
        let causes: Vec<_> = report.all_findings().into_iter().map(|finding| finding.cause).collect();
        let alike = "h0, h1 and h3 report about themselves, h0 in these words: Drops 4 of 5.";
        assert_eq!(causes, [alike, "h2 reports about itself: Is down."]);
        assert_eq!(report.count(Severity::Fault), 2);
    }

    #[test]
    fn the_remedy_of_a_machine_is_reported_with_its_name() {
        let command = "ip link set dev eth0 up".to_owned();
        let own =
            OwnFinding { id: "no-route".into(), is_fault: true, cause: "x".into(), remedy: Some(command) };
        let finding = own_finding("a", &own).unwrap();
        assert_eq!(finding.remedies[0].instructions.text(), "On a: ip link set dev eth0 up");
    }

    #[test]
    fn a_finding_of_a_later_version_is_left_out() {
        let own =
            |id: &str| OwnFinding { id: id.into(), is_fault: true, cause: "It is.".into(), remedy: None };
        assert_eq!(own_finding("a", &own("no-such-finding")), None);
        assert_eq!(own_finding("a", &own("no-route")).unwrap().cause, "a reports about itself: It is.");
    }
}
