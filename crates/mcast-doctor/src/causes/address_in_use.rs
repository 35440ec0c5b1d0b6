//! Another program has the port open and does not share it: `bind` fails with `EADDRINUSE`.

use mcast::ErrorKind;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["socket(7): SO_REUSEADDR"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let Some(trial) = observation.trial() else { return Vec::new() };
    let Some(failure) = trial.failed_with(ErrorKind::AddressInUse) else { return Vec::new() };
    let owners = observation.before.udp_sockets.iter().filter(|socket| socket.local.port() == trial.port());
    let evidence = owners.clone().map(|socket| {
        let programs = match socket.programs.as_slice() {
            [] => "an unidentified program".to_owned(),
            programs => programs.join(", "),
        };
        Evidence::new(EvidenceKind::Socket, format!("{} (socket {})", socket.local, socket.inode), programs)
    });
    let names: Vec<_> = owners.clone().flat_map(|socket| socket.programs.clone()).collect();
    let who = if names.is_empty() { "Another program".to_owned() } else { names.join(", ") };
    let finding = Finding::new(
        Id::AddressInUse,
        Severity::Fault,
        format!("{who} has UDP port {} open and does not share it.", trial.port()),
    )
    .for_group(trial.destination())
    .with_evidence(Evidence::new(EvidenceKind::Answer, "bind", &failure.text))
    .with_all_evidence(evidence)
    .with_remedies([
        Remedy::advice(
            Tool::Program,
            "Set SO_REUSEADDR (SO_REUSEPORT on macOS and BSD) before bind in every program that uses the port. A single program that does not set it keeps all others out.",
        ),
    ]);
    vec![finding]
}
