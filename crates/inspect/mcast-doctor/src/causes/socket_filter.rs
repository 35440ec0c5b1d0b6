//! A filter on the socket, or on the cgroup of the program, rejects datagrams.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mcast::Family;
use mcast_sys::SocketFilter;
use mcast_sys::capture::FilterInstruction;

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::classic_filter;
use crate::kernel_drops::evidence;
use crate::netfilter::KnownPacket;
use crate::observation::Observation;
use crate::snapshot::Counter;
use crate::socket_losses::REJECTED;
use crate::{EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(
    Check::Socket(check),
    &["socket(7): SO_ATTACH_FILTER", "systemd.resource-control(5): IPAddressDeny"],
);

const ATTACHED: &str = "Remove or correct the filter that the program attaches to the socket (SO_ATTACH_FILTER, SO_ATTACH_BPF; SO_DETACH_FILTER removes it).";

fn check(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
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
    let sources: Vec<_> = flows.iter().map(|flow| flow.key.source.to_string()).collect();
    let family = Family::of(to.ip());
    let finding = Finding::new(
        Id::SocketFilter,
        severity,
        format!("{who} rejects what reaches its socket on {local}: {refused} datagrams were dropped, although its receive buffer has room."),
    )
    .for_group(to)
    .in_program(program)
    .change(EvidenceKind::Counter, format!("drops of socket {}", socket.inode), socket.drops.0, socket.drops.1)
    .with_all_evidence(observation.counter_change(Counter::ReceiveBufferErrors, family))
    .with_all_evidence(observation.counter_change(Counter::InErrors, family))
    .with_all_evidence(evidence(observation.drops_at(socket, REJECTED)))
    .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
    .with_remedies([remedy]);
    Some(if sources.is_empty() { finding } else { finding.from_source(sources.join(", ")) })
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

/// Returns the findings about filters of the examined program's sockets that are certain to reject a datagram, which something
/// else keeps from them.
pub(super) fn ahead(
    observation: &Observation,
    packet: &KnownPacket,
    (what, group): (&str, IpAddr),
) -> Vec<Finding> {
    let examined = observation.examined_sockets();
    let finding = |examined: &ExaminedSocket<'_>| {
        let (program, socket) = (examined.program, examined.socket);
        let Some(SocketFilter::Classic(instructions)) = socket.options.as_ref()?.filter.as_ref() else {
            return None;
        };
        let local = socket.local?;
        classic_filter::rejects(instructions, packet, local.port()).then_some(())?;
        let who = classic(program, instructions);
        let cause = format!("{who} rejects {what} as soon as they get to its socket on {local}.");
        let location = format!("socket {} of {program}", socket.inode);
        let finding = Finding::new(Id::SocketFilter, examined.severity, cause)
            .for_group(SocketAddr::new(group, local.port()))
            .in_program(program)
            .evidence(EvidenceKind::Socket, location, "its filter rejects every such datagram")
            .with_remedies([Remedy::advice(Tool::Program, ATTACHED)]);
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
    use super::*;

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
