//! Programs that take nothing from their sockets, and filters they attach to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitStatus;

use mcast::Family;
use mcast_sys::SocketFilter;
use mcast_sys::capture::FilterInstruction;

use super::filter_rules::arriving_for;
use super::scope_section::Placeholders;
use super::{Cause, Check, Forecast};
use crate::change::Change;
use crate::fate::depth::REJECTED;
use crate::fate::sockets::ExaminedSocket;
use crate::fate::{Ahead, Stage, Way, as_known};
use crate::kernel_drops::evidence;
use crate::observation::{Interest, Observation, RunState};
use crate::outcome::Outcome;
use crate::snapshot::Counter;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, classic_filter};

/// The program that the doctor has started ended while it was examined.
pub(super) const PROGRAM_ENDED: Cause =
    Cause::new(Check::Observation(program_ended), &["wait(2)", "signal(7)"]);

fn program_ended(observation: &Observation) -> Vec<Finding> {
    observation
        .program()
        .and_then(|program| judge_program_ended(observation, &program.name, program.ended?))
        .into_iter()
        .collect()
}

fn judge_program_ended(observation: &Observation, program: &str, status: ExitStatus) -> Option<Finding> {
    let severity = if status.success() { Severity::Note } else { Severity::Fault };
    let outcome = match status.success() {
        true => "",
        false => " Its sockets are closed, and it receives nothing.",
    };
    let cause = format!("{program} exited while it was examined ({}).{outcome}", Outcome(status));
    let finding = Finding::new(Id::ProgramEnded, severity, cause)
        .in_program(program)
        .evidence(EvidenceKind::Answer, "exit status", status)
        .advise(
            Tool::Program,
            "Its output may show why. After a signal: `coredumpctl info` or `dmesg` shows where it crashed, and whether the kernel killed it because memory ran out.",
        );
    let group = observation.interests().first().map(Interest::destination);
    Some(finding.with(group.filter(|_| !status.success()), Finding::for_group))
}

/// The program is stopped, so it reads nothing, and its receive buffer fills up.
pub(super) const PROGRAM_STOPPED: Cause =
    Cause::new(Check::Observation(program_stopped), &["signal(7)", "cgroups(7)"])
        .at(Stage::Queue)
        .offering(|_| vec![resume(&RunState::Stopped, Placeholders::PID)]);

fn program_stopped(observation: &Observation) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for finding in observation
        .examined_sockets()
        .iter()
        .filter_map(|examined| judge_program_stopped(observation, examined))
    {
        // One finding per program, however many sockets it has.
        if findings.iter().all(|known| known.subject.program != finding.subject.program) {
            findings.push(finding);
        }
    }
    findings
}

fn judge_program_stopped(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
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
    Some(finding.with(group, Finding::for_group))
}

fn resume(state: &RunState, pid: u32) -> Remedy {
    match state {
        RunState::Frozen { file, thaw } => {
            let write = Change::File { path: file.clone(), text: Some(format!("{thaw}\n")) };
            let scope = RemedyScope::new("every process of the frozen control group");
            Remedy::now_changing(Tool::Container, write).with_scope(scope)
        }
        RunState::Traced => {
            Remedy::advice(Tool::Program, "Continue it in the debugger, or detach the debugger.")
        }
        RunState::Stopped | RunState::Running => {
            Remedy::now_changing(Tool::Kill, Change::Process { pid, runs: true, started: None })
                .with_scope(RemedyScope::new(format!("process {pid}")))
        }
    }
}

/// Datagrams reach the socket, but the program does not read them.
pub(super) const NOT_READ: Cause = Cause::new(Check::Socket(not_read), &["udp(7)"]).at(Stage::Queue);

fn not_read(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    // Otherwise, the process that should read is stopped.
    if socket.stopped().is_some() || !observation.is_unread(socket) {
        return None;
    }
    let (local, seconds) = (socket.local?, observation.listened().as_secs_f64());
    let flows = observation.taken_by(socket);
    let to = flows.first()?.destination();
    let (first, last) = (*socket.queued.first()?, *socket.queued.last()?);
    let dropped = socket.drops.1.saturating_sub(socket.drops.0);
    // As long as there is room, nothing is lost.
    let severity = if dropped > 0 { examined.severity } else { Severity::Warning };
    let arrived: u64 = flows.iter().map(|flow| flow.sound()).sum();
    let outcome = match dropped {
        0 => format!("{arrived} datagrams to {to} wait in its receive buffer"),
        _ => format!("its receive buffer is full, and {dropped} datagrams to {to} were dropped"),
    };
    let finding = Finding::new(
        Id::NotRead,
        severity,
        format!("{program} has read nothing from its socket on {local} for at least {seconds:.1} s: {outcome}."),
    )
    .for_group(to)
    .from_sources(flows.iter().map(|flow| flow.key.source))
    .in_program(program)
    .change(EvidenceKind::Socket, format!("bytes in the receive queue of socket {}", socket.inode), first, last)
    .change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), socket.drops.0, socket.drops.1)
    .advise(
        Tool::Program,
        format!("See what it waits for: `cat /proc/{pid}/stack` or `gdb -p {pid}`. Call recv in a loop, in a thread that does nothing else. If several of its sockets are bound to port {}, close those that it does not read.", local.port(), pid = socket.processes.first().map_or(0, |process| process.pid)),
    );
    Some(finding)
}

/// A filter on the socket, or on the cgroup of the program, rejects datagrams.
pub(super) const SOCKET_FILTER: Cause = Cause::new(
    Check::Socket(socket_filter),
    &["socket(7): SO_ATTACH_FILTER", "systemd.resource-control(5): IPAddressDeny"],
)
.at(Stage::SocketFilter)
.predicted_by(Forecast::Way(socket_filter_ahead));

const ATTACHED: &str = "Remove or correct the filter that the program attaches to the socket (SO_ATTACH_FILTER, SO_ATTACH_BPF; SO_DETACH_FILTER removes it).";

fn socket_filter(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    let refused = observation.losses_of(socket).refused;
    let flows = observation.taken_by(socket);
    let arrived: u64 = flows.iter().map(|flow| flow.sound()).sum();
    if refused == 0 {
        return None;
    }
    // A filter may reject some datagrams on purpose.
    let is_all = arrived > 0 && refused * 5 >= arrived * 4;
    let severity = if is_all { examined.severity } else { Severity::Warning };
    let local = socket.local?;
    let to = flows.first().map_or(local, |flow| flow.destination());
    let cgroup = socket.processes.iter().find_map(|process| process.cgroup.as_deref());
    let filter = socket.options.as_ref().and_then(|options| options.filter.as_ref());
    let addresses = flows.iter().map(|flow| flow.key.source.ip()).collect();
    let (who, remedy) = rejecter(program, filter, cgroup, &addresses);
    let family = Family::of(to.ip());
    let finding = Finding::new(
        Id::SocketFilter,
        severity,
        format!("{who} rejects the datagrams to its socket on {local}: {refused} were dropped, although its receive buffer has room."),
    )
    .for_group(to)
    .from_sources(flows.iter().map(|flow| flow.key.source))
    .in_program(program)
    .change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), socket.drops.0, socket.drops.1)
    .with_all_evidence(observation.counter_change(Counter::ReceiveBufferErrors, family))
    .with_all_evidence(observation.counter_change(Counter::InErrors, family))
    .with_all_evidence(evidence(observation.drops_at(socket, REJECTED)))
    .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
    .with_remedies([remedy]);
    Some(finding)
}

/// Returns what rejects datagrams, and what to do about it.
fn rejecter(
    program: &str,
    filter: Option<&SocketFilter>,
    cgroup: Option<&str>,
    sources: &BTreeSet<IpAddr>,
) -> (String, Remedy) {
    let list = "`bpftool cgroup tree` lists the programs at cgroups.";
    let (who, advice) = match (filter, cgroup) {
        (Some(SocketFilter::Classic(instructions)), _) => {
            (classic(program, instructions), ATTACHED.to_owned())
        }
        (Some(SocketFilter::Extended), _) => {
            (format!("The socket filter of {program} (SO_ATTACH_BPF)"), ATTACHED.to_owned())
        }
        (None, Some(cgroup)) => {
            let who =
                format!("A BPF program at the cgroup {cgroup}, in which {program} runs, or at one above it,");
            let unit = cgroup.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"));
            let advice = unit.map_or_else(|| list.to_owned(), |unit| admit(unit, sources) + list);
            (who, advice)
        }
        (None, None) => {
            (format!("A filter of the socket or of the cgroup of {program}"), format!("{ATTACHED} {list}"))
        }
    };
    (who, Remedy::advice(Tool::Program, advice))
}

fn classic(program: &str, instructions: &[FilterInstruction]) -> String {
    let plural = if instructions.len() == 1 { "" } else { "s" };
    format!("The socket filter of {program} (SO_ATTACH_FILTER, {} instruction{plural})", instructions.len())
}

/// Returns the findings about filters of the examined program's sockets that are certain to reject datagrams, which something
/// else keeps from them.
fn socket_filter_ahead(ahead: &Ahead<'_>) -> Vec<Finding> {
    let observation = ahead.observation;
    if ahead.has(Id::SocketFilter) {
        return Vec::new();
    }
    let (packet, what, group) = match ahead.way {
        Way::Arriving { meant, .. } if observation.program().is_some() => {
            let (source, group) = (meant.key.source, meant.key.group);
            (as_known(observation, meant), format!("the datagrams from {source} to {group}"), group)
        }
        Way::Silent(interest) => {
            let to = interest.destination();
            (arriving_for(observation, interest), format!("the datagrams to {to}"), to.ip())
        }
        _ => return Vec::new(),
    };
    let examined = observation.examined_sockets();
    let finding = |examined: &ExaminedSocket<'_>| {
        let (program, socket) = (examined.program, examined.socket);
        let Some(SocketFilter::Classic(instructions)) = socket.options.as_ref()?.filter.as_ref() else {
            return None;
        };
        let local = socket.local?;
        classic_filter::rejects(instructions, &packet, local.port()).then_some(())?;
        let who = classic(program, instructions);
        let cause = format!("{who} rejects {what} at its socket on {local}.");
        let location = format!("socket {} of {program}", socket.inode);
        let finding = Finding::new(Id::SocketFilter, examined.severity, cause)
            .for_group(SocketAddr::new(group, local.port()))
            .in_program(program)
            .evidence(EvidenceKind::Socket, location, "its filter rejects every such datagram")
            .advise(Tool::Program, ATTACHED);
        Some(finding)
    };
    examined.iter().filter_map(finding).collect()
}

/// Returns how a unit of systemd admits sources, if systemd rejects them.
fn admit(unit: &str, sources: &BTreeSet<IpAddr>) -> String {
    let sources: Vec<_> = sources.iter().map(ToString::to_string).collect();
    format!(
        "`systemctl show {unit} -p IPAddressDeny -p IPAddressAllow` shows whether systemd rejects the source; `systemctl set-property --runtime {unit} IPAddressAllow=\"{}\"` admits it. ",
        sources.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use crate::Action;
    use mcast::SourceFilter;

    use super::*;
    use crate::causes::fixtures::{ETH0, joined_socket, program};
    use crate::observation::{ProcessState, ProgramSocket};

    /// Returns the finding about a program in a state, and its remedy.
    fn judged(run_state: RunState) -> (String, Remedy) {
        let processes = vec![ProcessState { pid: 7, run_state, cgroup: None }];
        let socket = ProgramSocket { processes, ..joined_socket(ETH0, SourceFilter::ANY) };
        let [finding] = &program_stopped(&program(vec![socket], Vec::new()))[..] else {
            panic!("one finding")
        };
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

    #[test]
    fn what_rejects_is_named_as_precisely_as_it_is_known() {
        let sources = BTreeSet::from(["10.9.0.1".parse().unwrap()]);
        let outcome = |filter, cgroup| {
            let (who, remedy) = rejecter("player (7)", filter, cgroup, &sources);
            format!("{who}: {:?}", remedy.instructions)
        };
        let nothing = FilterInstruction { code: 6, jt: 0, jf: 0, k: 0 };
        let filter = SocketFilter::Classic(vec![nothing; 5]);
        let classic = outcome(Some(&filter), Some("/x.service"));
        assert!(classic.contains("player (7) (SO_ATTACH_FILTER, 5 instructions)"), "{classic}");
        let unit = outcome(None, Some("/system.slice/player.service"));
        assert!(unit.contains("systemctl show player.service"), "{unit}");
        assert!(unit.contains("IPAddressAllow=") && unit.contains("10.9.0.1"), "{unit}");
        let container = outcome(None, Some("/docker/7f"));
        assert!(container.contains("cgroup /docker/7f") && !container.contains("systemctl"), "{container}");
    }
}

#[cfg(test)]
#[cfg(unix)]
mod exit_status_tests {
    use std::os::unix::process::ExitStatusExt;

    use mcast::SourceFilter;

    use super::super::fixtures::{ETH0, joined_socket, program};
    use super::*;
    use crate::observation::ExaminationTarget;

    fn outcome(status: i32) -> (Severity, String) {
        let mut observation = program(vec![joined_socket(ETH0, SourceFilter::ANY)], Vec::new());
        let ExaminationTarget::Program(program) = &mut observation.target else { panic!() };
        program.ended = Some(ExitStatus::from_raw(status));
        let finding = program_ended(&observation).pop().unwrap();
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
        assert_eq!(program_ended(&program(vec![joined_socket(ETH0, SourceFilter::ANY)], Vec::new())), []);
    }
}
