//! Another program has the port open and does not share it: `bind` fails with `EADDRINUSE`.

use mcast::ErrorKind;

use super::{Cause, Check};
use crate::observation::{Observation, Program};
use crate::printed_error::{self, PrintedErrorKind};
use crate::snapshot::UdpSocket;
use crate::{Evidence, EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["socket(7): SO_REUSEADDR"]);

fn check(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let failure = trial.failed_with(ErrorKind::AddressInUse);
        let finding = failure.map(|failure| {
            let answer = Evidence::new(EvidenceKind::Answer, "bind", &failure.text);
            finding(observation, &[trial.port()], answer).for_group(trial.destination())
        });
        return finding.into_iter().collect();
    }
    let printed = observation.program().and_then(|program| printed(observation, program));
    printed.into_iter().collect()
}

/// Judges a program that prints the error. The port is in its arguments, or in the line.
fn printed(observation: &Observation, program: &Program) -> Option<Finding> {
    let errors = program.failed_with(PrintedErrorKind::AddressInUse, &observation.wire);
    let error = errors.first()?;
    let arguments = program.arguments.iter().flat_map(|argument| printed_error::ports(argument));
    let ports: Vec<_> = error.ports().chain(arguments).collect();
    let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
    let finding = finding(observation, &ports, answer).in_program(&program.name);
    Some(finding.advise(
        Tool::Program,
        "If no program has the port open, the socket has already joined this group on this interface: join once.",
    ))
}

/// Returns the finding about the programs that have one of these ports open.
fn finding(observation: &Observation, ports: &[u16], answer: Evidence) -> Finding {
    let is_one = |socket: &&UdpSocket| ports.contains(&socket.local.port());
    let owners: Vec<_> = observation.before.udp_sockets.iter().filter(is_one).collect();
    let evidence = owners.iter().map(|socket| {
        let programs = match socket.programs.as_slice() {
            [] => "an unidentified program".to_owned(),
            programs => programs.join(", "),
        };
        Evidence::new(EvidenceKind::Socket, format!("{} (socket {})", socket.local, socket.inode), programs)
    });
    let names: Vec<_> = owners.iter().flat_map(|socket| socket.programs.clone()).collect();
    let who = if names.is_empty() { "Another program".to_owned() } else { names.join(", ") };
    let only = if let [port] = ports { Some(*port) } else { None };
    let port = owners.first().map(|socket| socket.local.port()).or(only);
    let what = port.map_or_else(|| "the port".to_owned(), |port| format!("UDP port {port}"));
    Finding::fault(Id::AddressInUse, format!("{who} has {what} open and does not share it."))
        .with_evidence(answer)
        .with_all_evidence(evidence)
        .advise(
            Tool::Program,
            "Set SO_REUSEADDR (SO_REUSEPORT on macOS and BSD) before bind in every program that uses the port. A single program that does not set it keeps all others out.",
        )
}
