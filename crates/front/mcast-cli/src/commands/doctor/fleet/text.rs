//! The report on a fleet as text (the machines, the matrix, and the findings) and as JSON (`schemas/doctor-fleet-*.json`).

use std::io::{self, Write};

use anstyle::Style;
use mcast::Family;
use mcast_doctor::{Finding, Severity};
use mcast_fleet::{
    FleetCell, FleetFinding, FleetHostReport, FleetHostStatus, FleetPair, FleetReport, FleetTarget,
    FleetVerdict, PathOutcome, SwitchPort,
};
use mcast_terminal::{Console, Output};
use serde::Serialize;

use crate::commands::doctor::text::{safe, write_finding};
use crate::output::{Cell, Palette, Table, count_of, record, write_json};

pub(super) fn write(report: &FleetReport, console: &Console, out: &mut Output) -> io::Result<()> {
    let palette = console.palette();
    machines(report, palette).write(out)?;
    for target in 0..report.matrix.targets.len() {
        writeln!(out)?;
        matrix(report, target, palette).write(out)?;
    }
    writeln!(out)?;
    let is_brief = mcast_terminal::is_terminal() && !console.is_verbose();
    for finding in &report.all_findings() {
        write_finding(finding, is_brief, palette, out)?;
        writeln!(out)?;
    }
    out.flush()?;
    for (name, why) in not_probed(report) {
        console.warn(format_args!("{} did not probe {}", safe(name), safe(why)));
    }
    if (0..report.matrix.targets.len()).any(|target| needs_legend(report, target)) {
        console.note(LEGEND);
    }
    console.note(summary(report));
    Ok(())
}

/// What the cells of a matrix mean.
pub(super) const LEGEND: &str = "rows send, columns receive; \u{2264}N: nothing above N bytes; \
                                 -N%: lost; later: not any more; ?: not tested";

/// Returns the groups that machines could not probe, with the machine and the reason.
pub(super) fn not_probed(report: &FleetReport) -> impl Iterator<Item = (&str, &str)> {
    report.hosts.iter().flat_map(|host| host.not_probed.iter().map(|why| (&*host.name, &**why)))
}

/// Returns all ordered pairs of different machines.
pub(super) fn pairs(report: &FleetReport) -> impl Iterator<Item = FleetPair> {
    let hosts = report.hosts.len();
    (0..hosts).flat_map(move |from| (0..hosts).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

/// Returns whether the matrix has cells that do not explain themselves.
fn needs_legend(report: &FleetReport, target: usize) -> bool {
    pairs(report).any(|pair| report.matrix.outcome(target, pair) != PathOutcome::Complete)
}

fn machines(report: &FleetReport, palette: &Palette) -> Table {
    let mut table = Table::new(&["#", "machine", "status", "switch port", "reason"], palette.heading);
    for (index, host) in report.hosts.iter().enumerate() {
        let style = if host.status == FleetHostStatus::Examined { palette.good } else { palette.bad };
        table.row([
            Cell::new((index + 1).to_string()).right(),
            Cell::new(safe(&host.name)).style(palette.address),
            Cell::new(host.status.as_str()).style(style),
            Cell::new(ports(host)),
            Cell::new(reason(host)).style(palette.dim),
        ]);
    }
    table
}

pub(super) fn ports(host: &FleetHostReport) -> String {
    let ports = host.switch_ports.iter().map(|port| format!("{} of {}", port.port, port.switch));
    safe(&ports.collect::<Vec<_>>().join(", "))
}

/// Returns why a machine did not take part, or what it could not see.
pub(super) fn reason(host: &FleetHostReport) -> String {
    match &host.reason {
        Some(why) => safe(why),
        None if !host.captures => "cannot capture: no LLDP, and less about itself (run it with sudo)".into(),
        None => String::new(),
    }
}

fn matrix(report: &FleetReport, target: usize, palette: &Palette) -> Table {
    let hosts = report.hosts.len();
    let mut titles = vec![safe(&report.matrix.target_name(target))];
    titles.extend((1..=hosts).map(|number| format!("{number:>4}")));
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles, palette.heading);
    for (from, host) in report.hosts.iter().enumerate() {
        let title = Cell::new(format!("{:>2} {}", from + 1, safe(&host.name))).style(palette.address);
        let cells = (0..hosts).map(|to| match from == to {
            true => Cell::new("-").style(palette.dim).right(),
            false => {
                let outcome = report.matrix.outcome(target, (from, to));
                let text = report.matrix.short_outcome(target, (from, to));
                Cell::new(text).style(style_of(outcome, palette)).right()
            }
        });
        table.row([title].into_iter().chain(cells));
    }
    table
}

fn style_of(outcome: PathOutcome, palette: &Palette) -> Style {
    match outcome {
        PathOutcome::Complete => palette.good,
        PathOutcome::NotTested => palette.dim,
        PathOutcome::Limited | PathOutcome::Lossy => palette.warning,
        PathOutcome::Silent | PathOutcome::Forgotten => palette.bad,
    }
}

/// Returns the last line: what the verdict is, and what it rests on.
pub(super) fn summary(report: &FleetReport) -> String {
    let machines = format!("{} of {} machines took part", report.examined(), report.hosts.len());
    let found = [(Severity::Fault, "fault"), (Severity::Warning, "warning")];
    let counts = found.map(|(severity, name)| (report.count(severity) as u64, name));
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| count_of(*count, name)).collect();
    let counts = counts.join(", ");
    match report.verdict() {
        FleetVerdict::Healthy => format!("everything arrives everywhere; {machines}"),
        FleetVerdict::Faults | FleetVerdict::Warnings => format!("{counts}; {machines}"),
        FleetVerdict::Unknown | FleetVerdict::NeedsRights => {
            let separator = if counts.is_empty() { "" } else { "; " };
            let untested = if report.has_untested_paths() && report.examined() > 1 {
                "some paths between machines that took part were not tested; "
            } else {
                ""
            };
            format!("{counts}{separator}unknown: {untested}{machines}")
        }
    }
}

#[derive(Debug, Serialize)]
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
        /// Name of the machine, as it was given without the user
        machine: &'a str = &host.name,
        /// Whether the machine took part, and if not, why
        status: FleetHostStatus = host.status,
        /// Why it did not take part; null if it did
        reason: Option<&'a str> = host.reason.as_deref(),
        /// Whether it can capture packets, which LLDP and a part of its findings about itself need
        captures: bool = host.captures,
        /// Groups that it could not probe, with the reason
        not_probed: &'a [String] = &host.not_probed,
        /// Switch ports at the other end of its interfaces, as LLDP names them
        switch_ports: &'a [SwitchPort] = &host.switch_ports,
        /// Findings of the machine about itself
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
        /// Sending machine
        from: &'a str = &report.matrix.hosts[from],
        /// Receiving machine
        to: &'a str = &report.matrix.hosts[to],
        /// Address family of the group
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["ipv4", "ipv6"])))]
        family: &'static str = match group.group.family() {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        },
        /// Group and port that were probed
        group: String = group.to_string(),
        /// Interface of the sender; null unless a machine probes on several
        interface: Option<&'a str> = interface.as_deref(),
        /// What became of the probes with the highest hop limit
        outcome: PathOutcome = report.matrix.outcome(target, pair),
        /// Unicast probes sent
        unicast_sent: u64 = unicast_sent,
        /// Unicast probes that the receiving machine replied to
        unicast_received: u64 = unicast_received,
        /// Results by size, hop limit and round
        probes: &'a [FleetCell] = report.matrix.between(target, pair),
    }
}

record! {
    fn new(report: &FleetReport) {}

    struct VerdictRecord {
        /// The verdict
        verdict: FleetVerdict = report.verdict(),
        /// Number of machines
        machines: usize = report.hosts.len(),
        /// Number of machines that took part
        examined: usize = report.examined(),
        /// Number of faults
        faults: usize = report.count(Severity::Fault),
        /// Number of warnings
        warnings: usize = report.count(Severity::Warning),
    }
}

mcast_json::schemas! { pub(in crate::commands::doctor),
    super::super::json::describe_finding(
        RecordSchema::new::<Machine<'_>>(
            "doctor-fleet-machine",
            "Machine of a fleet (`mcast doctor --fleet --json`)",
        )
        .event("fleet-machine")
        .about("One object per machine."),
        "findings[].",
    )
    .describe("findings[]", "One finding")
    .describe("not_probed[]", "Group and reason")
    .describe("switch_ports[]", "One port"),
    RecordSchema::new::<Path<'_>>("doctor-fleet-path", "Path of a fleet (`mcast doctor --fleet --json`)")
        .event("fleet-path")
        .about(
            "One object per ordered pair of machines and group, and per interface if machines \
             probe on several.",
        )
        .describe("probes[]", "One result"),
    super::super::json::describe_finding(
        RecordSchema::new::<FleetFinding>(
            "doctor-fleet-finding",
            "Finding about paths of a fleet (`mcast doctor --fleet --json`)",
        )
        .event("fleet-finding")
        .about("One object per common edge of failing paths."),
        "",
    )
    .describe("from[]", "Name of a machine")
    .describe("to[]", "Name of a machine"),
    RecordSchema::new::<VerdictRecord>(
        "doctor-fleet-verdict",
        "Verdict on a fleet (`mcast doctor --fleet --json`)",
    )
    .event("fleet-verdict")
    .about("The last object."),
}

pub(super) fn write_objects(report: &FleetReport, out: &mut Output) -> io::Result<()> {
    report.hosts.iter().try_for_each(|host| write_json(out, &Object::Machine(Machine::new(host))))?;
    for target in 0..report.matrix.targets.len() {
        for pair in pairs(report) {
            write_json(out, &Object::Path(Path::new(report, target, pair)))?;
        }
    }
    report.findings.iter().try_for_each(|finding| write_json(out, &Object::Finding(finding)))?;
    write_json(out, &Object::Verdict(VerdictRecord::new(report)))
}
