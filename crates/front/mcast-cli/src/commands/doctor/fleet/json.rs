//! The report on a fleet as JSON: `schemas/doctor-fleet-*.json`.

use std::io;

use mcast::Family;
use mcast_doctor::{
    Finding, FleetCell, FleetFinding, FleetHostReport, FleetHostStatus, FleetPair, FleetReport, FleetTarget,
    FleetVerdict, PathOutcome, Severity, SwitchPort,
};
use mcast_terminal::Output;
use serde::Serialize;

use super::text::pairs;
use crate::output::{record, write_json};

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

record! {
    fn new(host: &'a FleetHostReport) {}

    struct Machine<'a> {
        machine: &'a str = &host.name,
        status: FleetHostStatus = host.status,
        reason: Option<&'a str> = host.reason.as_deref(),
        captures: bool = host.captures,
        not_probed: &'a [String] = &host.not_probed,
        switch_ports: &'a [SwitchPort] = &host.switch_ports,
        findings: &'a [Finding] = &host.findings,
    }
}

record! {
    fn new(report: &'a FleetReport, target: usize, pair: FleetPair) {
        let (from, to) = pair;
        let unicast =
            report.unicast.iter().filter(|cell| (cell.target, cell.from, cell.to) == (target, from, to));
        let (unicast_sent, unicast_received) =
            unicast.fold((0, 0), |sum, cell| (sum.0 + cell.sent, sum.1 + cell.answered));
        let FleetTarget { group, interface } = &report.matrix.targets[target];
    }

    struct Path<'a> {
        from: &'a str = &report.matrix.hosts[from],
        to: &'a str = &report.matrix.hosts[to],
        family: &'static str = match group.group.family() {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        },
        group: String = group.to_string(),
        interface: Option<&'a str> = interface.as_deref(),
        outcome: PathOutcome = report.matrix.outcome(target, pair),
        unicast_sent: u64 = unicast_sent,
        unicast_received: u64 = unicast_received,
        probes: &'a [FleetCell] = report.matrix.between(target, pair),
    }
}

record! {
    fn new(report: &FleetReport) {}

    struct VerdictRecord {
        verdict: FleetVerdict = report.verdict(),
        machines: usize = report.hosts.len(),
        examined: usize = report.examined(),
        faults: usize = report.count(Severity::Fault),
        warnings: usize = report.count(Severity::Warning),
    }
}

pub(super) fn write(report: &FleetReport, out: &mut Output) -> io::Result<()> {
    report.hosts.iter().try_for_each(|host| write_json(out, &Object::Machine(Machine::new(host))))?;
    for target in 0..report.matrix.targets.len() {
        for pair in pairs(report) {
            write_json(out, &Object::Path(Path::new(report, target, pair)))?;
        }
    }
    report.findings.iter().try_for_each(|finding| write_json(out, &Object::Finding(finding)))?;
    write_json(out, &Object::Verdict(VerdictRecord::new(report)))
}
