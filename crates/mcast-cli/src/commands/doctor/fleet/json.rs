//! The report on a fleet as JSON: `schemas/doctor-fleet-*.json`.

use std::io;

use mcast::Family;
use mcast_doctor::{
    Finding, FleetCell, FleetFinding, FleetHostReport, FleetHostStatus, FleetPair, FleetReport, FleetTarget,
    FleetVerdict, PathOutcome, Severity, SwitchPort,
};
use serde::Serialize;

use super::text::pairs;
use crate::console::Output;
use crate::output::write_json;

#[derive(Serialize)]
#[serde(tag = "event")]
enum Object<'a> {
    #[serde(rename = "fleet-machine")]
    Machine(Machine<'a>),
    #[serde(rename = "fleet-path")]
    Path(Path<'a>),
    #[serde(rename = "fleet-finding")]
    Finding(&'a FleetFinding),
    #[serde(rename = "fleet-verdict")]
    Verdict(VerdictRecord),
}

#[derive(Serialize)]
struct Machine<'a> {
    machine: &'a str,
    status: FleetHostStatus,
    reason: Option<&'a str>,
    captures: bool,
    not_probed: &'a [String],
    switch_ports: &'a [SwitchPort],
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct Path<'a> {
    from: &'a str,
    to: &'a str,
    family: &'static str,
    group: String,
    interface: Option<&'a str>,
    outcome: PathOutcome,
    unicast_sent: u64,
    unicast_received: u64,
    probes: &'a [FleetCell],
}

#[derive(Serialize)]
struct VerdictRecord {
    verdict: FleetVerdict,
    machines: usize,
    examined: usize,
    faults: usize,
    warnings: usize,
}

pub(super) fn write(report: &FleetReport, out: &mut Output) -> io::Result<()> {
    report.hosts.iter().try_for_each(|host| write_json(out, &Object::Machine(machine(host))))?;
    for target in 0..report.matrix.targets.len() {
        for pair in pairs(report) {
            write_json(out, &Object::Path(path(report, target, pair)))?;
        }
    }
    report.findings.iter().try_for_each(|finding| write_json(out, &Object::Finding(finding)))?;
    write_json(out, &Object::Verdict(verdict(report)))
}

fn machine(host: &FleetHostReport) -> Machine<'_> {
    Machine {
        machine: &host.name,
        status: host.status,
        reason: host.reason.as_deref(),
        captures: host.captures,
        not_probed: &host.not_probed,
        switch_ports: &host.switch_ports,
        findings: &host.findings,
    }
}

fn path(report: &FleetReport, target: usize, pair: FleetPair) -> Path<'_> {
    let (from, to) = pair;
    let unicast =
        report.unicast.iter().filter(|cell| (cell.target, cell.from, cell.to) == (target, from, to));
    let (unicast_sent, unicast_received) =
        unicast.fold((0, 0), |sum, cell| (sum.0 + cell.sent, sum.1 + cell.answered));
    let FleetTarget { group, interface } = &report.matrix.targets[target];
    Path {
        from: &report.matrix.hosts[from],
        to: &report.matrix.hosts[to],
        family: match group.group.family() {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        },
        group: group.to_string(),
        interface: interface.as_deref(),
        outcome: report.matrix.outcome(target, pair),
        unicast_sent,
        unicast_received,
        probes: report.matrix.between(target, pair),
    }
}

fn verdict(report: &FleetReport) -> VerdictRecord {
    VerdictRecord {
        verdict: report.verdict(),
        machines: report.hosts.len(),
        examined: report.examined(),
        faults: report.count(Severity::Fault),
        warnings: report.count(Severity::Warning),
    }
}
