//! The result of examining a fleet.

use mcast::GroupAddr;
use serde::Serialize;

use super::collection::Member;
use super::decision::FleetFinding;
use super::hosts::FleetHost;
use super::matrix::{FleetMatrix, UnicastCell};
use super::message::{OwnFinding, SwitchPort};
use super::status::FleetHostStatus;
use crate::{Finding, HistoryEntry, Id, Remedy, Severity, Tool};

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

    /// Returns whether another examination has found the same, on the same paths.
    #[must_use]
    pub fn has_same_outcome(&self, other: &Self) -> bool {
        HistoryEntry::of_fleet(self).has_same_outcome(&HistoryEntry::of_fleet(other))
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

#[cfg(test)]
mod tests {
    use super::super::matrix::{FleetCell, FleetTarget};
    use super::*;

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
