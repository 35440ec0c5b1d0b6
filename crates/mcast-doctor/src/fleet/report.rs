//! The result of examining a fleet.

use serde::Serialize;

use super::decision::FleetFinding;
use super::hosts::FleetHost;
use super::matrix::{FleetMatrix, UnicastCell};
use super::message::{MemberReport, OwnFinding, SwitchPort};
use super::status::FleetHostStatus;
use crate::{Finding, Id, Remedy, Severity, Tool};

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
    /// Groups that a machine could not probe, with the reason.
    pub not_probed: Vec<(String, String)>,
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
    /// Some machines did not take part, or fewer than two did.
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
        self.all_findings().filter(|finding| finding.severity == severity).count()
    }

    /// Returns all findings: first those of the machines about themselves, because they explain the others.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let own = self.hosts.iter().flat_map(|host| &host.findings);
        own.chain(self.findings.iter().map(|each| &each.finding))
    }

    /// Returns the verdict.
    #[must_use]
    pub fn verdict(&self) -> FleetVerdict {
        let worst = self.all_findings().map(|finding| finding.severity).max();
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
            _ if self.hosts.iter().filter(|host| host.status == FleetHostStatus::Examined).count() < 2
                || self.hosts.iter().any(|host| host.status != FleetHostStatus::Examined)
                || !self.not_probed.is_empty() =>
            {
                FleetVerdict::Unknown
            }
            Some(Severity::Warning) => FleetVerdict::Warnings,
            _ => FleetVerdict::Healthy,
        }
    }
}

impl FleetHostReport {
    pub(super) fn new(
        host: &FleetHost,
        failure: Option<&(FleetHostStatus, String)>,
        captures: bool,
        report: &MemberReport,
    ) -> Self {
        let (status, reason) = match failure {
            Some((status, reason)) => (*status, Some(reason.clone())),
            None => (FleetHostStatus::Examined, None),
        };
        Self {
            name: host.name.clone(),
            status,
            reason,
            captures,
            switch_ports: report.switch_ports.clone(),
            findings: report.findings.iter().filter_map(|own| own_finding(&host.name, own)).collect(),
        }
    }
}

/// Returns a finding of a machine about itself; `None` if this version does not know it.
fn own_finding(host: &str, own: &OwnFinding) -> Option<Finding> {
    let severity = if own.is_fault { Severity::Fault } else { Severity::Warning };
    let cause = format!("{host} reports about itself: {}", own.cause);
    let remedy = Remedy::advice(Tool::Network, format!("run `mcast doctor` on {host} for the remedy"));
    Some(Finding::new(own.id.parse::<Id>().ok()?, severity, cause).with_remedies([remedy]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[FleetHostStatus], own: &[Severity]) -> FleetReport {
        let host = |status: &FleetHostStatus| FleetHostReport {
            name: "a".into(),
            status: *status,
            reason: None,
            captures: true,
            switch_ports: Vec::new(),
            findings: own.iter().map(|severity| Finding::new(Id::NoRoute, *severity, "x")).collect(),
        };
        FleetReport {
            hosts: statuses.iter().map(host).collect(),
            matrix: FleetMatrix::default(),
            unicast: Vec::new(),
            findings: Vec::new(),
            not_probed: Vec::new(),
        }
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
    fn a_finding_of_a_later_version_is_left_out() {
        let own = |id: &str| OwnFinding { id: id.into(), is_fault: true, cause: "It is.".into() };
        assert_eq!(own_finding("a", &own("no-such-finding")), None);
        assert_eq!(own_finding("a", &own("no-route")).unwrap().cause, "a reports about itself: It is.");
    }
}
