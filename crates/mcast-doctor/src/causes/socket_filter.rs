//! A filter on the socket, or on the cgroup of the program, rejects datagrams.

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::observation::Observation;
use crate::snapshot::Counter;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};
use mcast::Family;
use mcast_sys::SocketFilter;

pub(super) const CAUSE: Cause = Cause::new(
    Check::Observation(check),
    &["socket(7): SO_ATTACH_FILTER", "systemd.resource-control(5): IPAddressDeny"],
);

fn check(observation: &Observation) -> Vec<Finding> {
    observation.examined_sockets().iter().filter_map(|examined| judge(observation, examined)).collect()
}

fn judge(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
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
    let (who, remedy) = rejecter(socket.options.as_ref().and_then(|options| options.filter), cgroup);
    let sources: Vec<_> = flows.iter().map(|flow| flow.key.source.to_string()).collect();
    let family = Family::of(to.ip());
    let finding = Finding::new(
        Id::SocketFilter,
        severity,
        format!("{who} of {program} rejects what reaches its socket on {local}: {refused} datagrams were dropped, although its receive buffer has room."),
    )
    .for_group(to)
    .in_program(program)
    .with_evidence(Evidence::change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), socket.drops.0, socket.drops.1))
    .with_all_evidence(observation.counter_change(Counter::ReceiveBufferErrors, family))
    .with_all_evidence(observation.counter_change(Counter::InErrors, family))
    .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
    .with_remedies([remedy]);
    Some(if sources.is_empty() { finding } else { finding.from_source(sources.join(", ")) })
}

/// Returns what rejects datagrams, and what to do about it.
fn rejecter(filter: Option<SocketFilter>, cgroup: Option<&str>) -> (String, Remedy) {
    let attached = "Remove or correct the filter that the program attaches to the socket (SO_ATTACH_FILTER, SO_ATTACH_BPF; SO_DETACH_FILTER removes it).";
    match (filter, cgroup) {
        (Some(SocketFilter::Classic(count)), _) => (
            format!("The socket filter (SO_ATTACH_FILTER, {count} instructions)"),
            Remedy::advice(Tool::Program, attached),
        ),
        (Some(SocketFilter::Extended), _) => {
            ("The socket filter (SO_ATTACH_BPF)".to_owned(), Remedy::advice(Tool::Program, attached))
        }
        (None, Some(cgroup)) => (
            format!("A BPF program at the cgroup {cgroup}, or one above it,"),
            Remedy::advice(
                Tool::Program,
                format!(
                    "If systemd started it with IPAddressDeny=, admit the sources: `systemctl show UNIT -p IPAddressDeny -p IPAddressAllow`, then `systemctl set-property --runtime UNIT IPAddressAllow=SOURCE`. Otherwise, list the programs with `bpftool cgroup tree`; the cgroup is {cgroup}."
                ),
            ),
        ),
        (None, None) => (
            "A filter of the socket or of the cgroup".to_owned(),
            Remedy::advice(
                Tool::Program,
                format!("{attached} Programs at cgroups are listed by `bpftool cgroup tree`."),
            ),
        ),
    }
}
