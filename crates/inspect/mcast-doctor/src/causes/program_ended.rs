//! The program that the doctor has started ended while it was examined.

use std::process::ExitStatus;

use super::{Cause, Check};
use crate::exit_status::Outcome;
use crate::observation::{Interest, Observation};
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["wait(2)", "signal(7)"]);

fn check(observation: &Observation) -> Vec<Finding> {
    observation
        .program()
        .and_then(|program| judge(observation, &program.name, program.ended?))
        .into_iter()
        .collect()
}

fn judge(observation: &Observation, program: &str, status: ExitStatus) -> Option<Finding> {
    let severity = if status.success() { Severity::Note } else { Severity::Fault };
    let outcome = match status.success() {
        true => "",
        false => " Its sockets are closed, and it receives nothing.",
    };
    let cause = format!("{program} ended while it was examined ({}).{outcome}", Outcome(status));
    let finding = Finding::new(Id::ProgramEnded, severity, cause)
        .in_program(program)
        .evidence(EvidenceKind::Answer, "exit status", status)
        .advise(
            Tool::Program,
            "Its output may show why. After a signal: `coredumpctl info` or `dmesg` shows where it crashed, and whether the kernel ended it for lack of memory.",
        );
    let group = observation.interests().first().map(Interest::destination);
    Some(match group.filter(|_| !status.success()) {
        Some(group) => finding.for_group(group),
        None => finding,
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use mcast::SourceFilter;

    use super::super::fixtures::{ETH0, joined_socket, program};
    use super::*;
    use crate::observation::ExaminationTarget;

    fn outcome(status: i32) -> (Severity, String) {
        let mut observation = program(vec![joined_socket(ETH0, SourceFilter::ANY)], Vec::new());
        let ExaminationTarget::Program(program) = &mut observation.target else { panic!() };
        program.ended = Some(ExitStatus::from_raw(status));
        let finding = check(&observation).pop().unwrap();
        (finding.severity, finding.cause)
    }

    #[test]
    fn program_that_fails_is_a_fault() {
        let (severity, cause) = outcome(11);
        assert!(severity == Severity::Fault && cause.contains("signal: 11 (SIGSEGV)"), "{cause}");
        assert_eq!(outcome(1 << 8).0, Severity::Fault);
        assert_eq!(outcome(0).0, Severity::Note);
    }

    #[test]
    fn program_that_runs_has_not_ended() {
        assert_eq!(check(&program(vec![joined_socket(ETH0, SourceFilter::ANY)], Vec::new())), []);
    }
}
