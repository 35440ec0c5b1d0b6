//! The program is stopped, so it reads nothing, and its receive buffer fills up.

use super::scope_section::Placeholders;
use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::observation::{Observation, RunState};
use crate::{Action, Evidence, EvidenceKind, Finding, Id, Persistence, Remedy, RemedyScope, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["signal(7)", "cgroups(7)"])
    .offering(|_| vec![resume(&RunState::Stopped, Placeholders::PID)]);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for finding in observation.examined_sockets().iter().filter_map(|examined| judge(observation, examined)) {
        // One finding per program, however many sockets it has.
        if findings.iter().all(|known| known.subject.program != finding.subject.program) {
            findings.push(finding);
        }
    }
    findings
}

fn judge(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    let process = socket.stopped()?;
    // A process that runs may have left reading to the one that is stopped.
    if !socket.is_stopped() && !observation.is_unread(socket) {
        return None;
    }
    let state = &process.run_state;
    let (how, location, value) = match state {
        RunState::Running => return None,
        RunState::Stopped => ("by a signal (SIGSTOP, or Ctrl-Z)", format!("/proc/{}/stat", process.pid), "T"),
        RunState::Traced => ("by a debugger", format!("/proc/{}/stat", process.pid), "t"),
        RunState::Frozen { file, .. } => {
            ("because its cgroup is frozen", file.display().to_string(), "frozen")
        }
    };
    let (before, after) = socket.drops;
    let waiting = socket.queued.last().copied().unwrap_or_default();
    let is_idle = after == before && waiting == 0;
    let lost = match after.saturating_sub(before) {
        0 if is_idle => "it reads nothing".to_owned(),
        0 => format!("it reads nothing, and {waiting} bytes wait in its receive buffer"),
        dropped => {
            format!("it reads nothing, its receive buffer is full, and {dropped} datagrams were dropped")
        }
    };
    let severity = if is_idle { Severity::Warning } else { examined.severity };
    let drops =
        Evidence::change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), before, after);
    let group = socket.interests().next().map(|interest| interest.destination());
    let who = match socket.is_stopped() {
        true => program.to_owned(),
        false => format!("Process {} of {program}, which has the same socket,", process.pid),
    };
    let finding = Finding::new(Id::ProgramStopped, severity, format!("{who} is stopped {how}, so {lost}."))
        .in_program(program)
        .evidence(EvidenceKind::Socket, location, value)
        .with_all_evidence((after > before).then_some(drops))
        .with_remedies([resume(state, process.pid)]);
    Some(match group {
        Some(group) => finding.for_group(group),
        None => finding,
    })
}

fn resume(state: &RunState, pid: u32) -> Remedy {
    match state {
        RunState::Frozen { file, thaw } => {
            let write = Action::Write { path: file.clone(), text: format!("{thaw}\n") };
            let scope = RemedyScope::new("every process of the frozen control group");
            Remedy::with_actions(Tool::Container, Persistence::Now, vec![write]).with_scope(scope)
        }
        RunState::Traced => {
            Remedy::advice(Tool::Program, "Continue it in the debugger, or detach the debugger.")
        }
        RunState::Stopped | RunState::Running => Remedy::now(Tool::Kill, ["-CONT", &pid.to_string()])
            .with_scope(RemedyScope::new(format!("process {pid}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, joined_socket, program};
    use crate::observation::{ProcessState, ProgramSocket};
    use mcast::SourceFilter;

    /// Returns the finding about a program in a state, and its remedy.
    fn judged(run_state: RunState) -> (String, Remedy) {
        let processes = vec![ProcessState { pid: 7, run_state, cgroup: None }];
        let socket = ProgramSocket { processes, ..joined_socket(ETH0, SourceFilter::ANY) };
        let [finding] = &check(&program(vec![socket], Vec::new()))[..] else { panic!("one finding") };
        assert_eq!(finding.severity, Severity::Warning, "it reads nothing, and nothing waits");
        (finding.cause.clone(), finding.remedies[0].clone())
    }

    #[test]
    fn remedy_depends_on_what_stopped_the_program() {
        let (cause, remedy) = judged(RunState::Stopped);
        assert!(cause.contains("by a signal"), "{cause}");
        assert_eq!(remedy.command().as_deref(), Some("kill -CONT 7"));
        let (cause, remedy) = judged(RunState::Traced);
        assert!(cause.contains("by a debugger") && remedy.command().is_none(), "{cause}");
        let (cause, remedy) =
            judged(RunState::Frozen { file: "/sys/fs/cgroup/a/cgroup.freeze".into(), thaw: "0" });
        assert!(cause.contains("its cgroup is frozen"), "{cause}");
        let write = Action::Write { path: "/sys/fs/cgroup/a/cgroup.freeze".into(), text: "0\n".into() };
        assert_eq!(remedy.actions(), [write]);
    }
}
