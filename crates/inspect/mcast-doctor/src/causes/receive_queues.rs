//! Queues that overflow on the receiving machine: of a processor, and of a socket.

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::depth::BUFFER_FULL;
use crate::depth::Depth;
use crate::kernel_drops::evidence;
use crate::observation::{Interest, Observation, ProgramSocket};
use crate::snapshot::{Counter, UdpSocket};
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Tool, remedies};

/// The device's ring or the kernel's backlog queue is full: datagrams are lost before the IP layer.
pub(super) const BACKLOG_DROPS: Cause =
    Cause::new(Check::Observation(backlog_drops), &["sysctl/net: netdev_max_backlog"])
        .offering(|on| [&enlarge_backlog()[..], &[enlarge_ring(on.name())]].concat());

fn backlog_drops(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    if interests.is_empty() {
        return Vec::new();
    }
    let queue = observation.after.backlog_dropped.saturating_sub(observation.before.backlog_dropped);
    let mut findings: Vec<_> =
        interests.iter().filter_map(|interest| of_interest(observation, interest)).collect();
    // The counter covers the whole machine, so it is evidence only together with a loss.
    if findings.is_empty()
        && queue > 0
        && observation.expected_flows().iter().any(|flow| flow.status.depth.is_lost_here())
    {
        findings.push(
            Finding::warning(
                Id::BacklogDrops,
                "The kernel's queue between the device and the IP layer overflowed and dropped packets.",
            )
            .change(
                EvidenceKind::Counter,
                "/proc/net/softnet_stat, second column",
                observation.before.backlog_dropped,
                observation.after.backlog_dropped,
            )
            .with_remedies(enlarge_backlog()),
        );
    }
    let mut interfaces: Vec<_> = interests.iter().map(|interest| interest.interface).collect();
    interfaces.dedup();
    findings.extend(interfaces.into_iter().filter_map(|interface| ring(observation, interface)));
    findings
}

/// Returns the finding about datagrams of an interest for which the kernel gives the queue as the reason.
fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.dropped_flows(interest, |drop| drop.reason == "CPU_BACKLOG");
    let drops: Vec<_> = flows.iter().flat_map(|flow| flow.drops.iter().copied()).collect();
    let (interface, to) = (observation.link_name(drops.first()?.arrived_on?), interest.destination());
    let cause = format!(
        "The kernel's queue between the device {interface} and the IP layer overflowed and dropped datagrams to {to}."
    );
    let finding = Finding::fault(Id::BacklogDrops, cause)
        .on_interface(interface)
        .for_group(to)
        .with_all_evidence(evidence(drops))
        .with_remedies(enlarge_backlog());
    Some(finding)
}

fn enlarge_backlog() -> [Remedy; 2] {
    let scope = RemedyScope::new("everything that arrives on this machine, on any interface");
    remedies::sysctl("net.core.netdev_max_backlog", 10_000, scope)
}

fn enlarge_ring(interface: &str) -> Remedy {
    Remedy::now(Tool::Ethtool, ["-G", interface, "rx", "4096"]).with_scope(
        RemedyScope::new(format!("everything that arrives on {interface}"))
            .warning("many devices lose their link for some seconds, and with it a remote session"),
    )
}

fn ring(observation: &Observation, interface: InterfaceIndex) -> Option<Finding> {
    let (before, after) = (observation.before.link(interface)?, observation.after.link(interface)?);
    let missed = (before.statistics.receive_missed, after.statistics.receive_missed);
    (missed.1 > missed.0).then(|| {
        Finding::warning(
            Id::BacklogDrops,
            format!("The receive ring of {} overflowed: the device dropped packets that the kernel did not fetch in time.", after.name()),
        )
        .on_interface(after.name())
        .change(EvidenceKind::Counter, format!("{} rx_missed_errors", after.name()), missed.0, missed.1)
        .with_remedies([enlarge_ring(after.name())]).advise(Tool::Program, "The device puts all datagrams of one flow into one queue: spread the load over several groups or ports.")
    })
}

/// A socket's receive buffer is full, so arriving datagrams are dropped.
pub(super) const RECEIVE_BUFFER_OVERFLOW: Cause =
    Cause::new(Check::Observation(receive_buffer_overflow), &["socket(7): SO_RCVBUF"]).offering(|on| {
        let enlarge = remedies::socket::receive_buffer(212_992, LARGE_BUFFER as usize);
        on.on_socket(&[enlarge]).into_iter().chain(raise_limit()).collect()
    });

/// The recommended buffer size: about 1/30 s of traffic at 1 Gbit/s.
const LARGE_BUFFER: i64 = 4 << 20;

fn receive_buffer_overflow(observation: &Observation) -> Vec<Finding> {
    if observation.is_about_machine() {
        return observation
            .after
            .udp_sockets
            .iter()
            .filter_map(|socket| of_machine(observation, socket))
            .collect();
    }
    let examined = observation.examined_sockets();
    let mut findings: Vec<_> =
        examined.iter().filter_map(|examined| of_program(observation, examined)).collect();
    if observation.program().is_none() {
        findings.extend(of_doctor(observation).or_else(|| of_any_program(observation)));
    }
    findings
}

/// Judges a socket that a program reads too slowly. One that is not read at all has causes of its own.
fn of_program(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    let full = observation.losses_of(socket).full;
    if full == 0 || socket.is_stopped() || observation.is_unread(socket) {
        return None;
    }
    let (before, after) = socket.drops;
    let local = socket.local?;
    let size = socket
        .receive_buffer
        .map(|size| Evidence::new(EvidenceKind::Socket, "SO_RCVBUF", format!("{size} bytes")));
    let finding = Finding::new(
        Id::ReceiveBufferOverflow,
        examined.severity,
        format!("{program} does not read fast enough from its socket on {local}: {full} datagrams were dropped because the buffer was full."),
    )
    .in_program(program)
    .explaining(flows_at(observation, socket))
    .change(EvidenceKind::Counter, format!("drops of socket {} in /proc/net/udp", socket.inode), before, after)
    .with_all_evidence(evidence(observation.drops_at(socket, BUFFER_FULL)))
    .with_all_evidence(size)
    .with_remedies(socket.receive_buffer.and_then(|size| {
        let large = LARGE_BUFFER as usize;
        let change = remedies::socket::receive_buffer(size, large);
        remedies::socket::change(socket, &[change]).filter(|_| size < large)
    }))
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

/// Returns the flows that stop at a socket.
fn flows_at(observation: &Observation, socket: &ProgramSocket) -> Vec<ExplainedFlow> {
    let flows = observation.expected_flows().into_iter().filter(|flow| {
        flow.status.depth == Depth::AtSocket
            && flow.interest.socket.is_some_and(|other| other.inode == socket.inode)
    });
    flows.map(|flow| ExplainedFlow::from(&flow.status)).collect()
}

/// Judges the sockets bound to a group, which are certainly used for multicast. A warning, because the drops may
/// be long ago.
fn of_machine(observation: &Observation, socket: &UdpSocket) -> Option<Finding> {
    if socket.drops == 0 || !socket.local.ip().is_multicast() {
        return None;
    }
    let who = socket.programs.first().map_or("An unidentified program", String::as_str);
    let finding = Finding::warning(
        Id::ReceiveBufferOverflow,
        format!(
            "{who} has lost {} datagrams to {} because the receive buffer of its socket was full.",
            socket.drops, socket.local
        ),
    )
    .for_group(socket.local)
    .in_program(who)
    .evidence(
        EvidenceKind::Counter,
        format!("drops of socket {} in /proc/net/udp", socket.inode),
        socket.drops,
    )
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

/// Judges the doctor's own socket: not a fault, but a program with the same buffer size would lose datagrams too. A socket
/// that received nothing was not full, and dropped them for another reason.
fn of_doctor(observation: &Observation) -> Option<Finding> {
    let trial = observation.trial()?;
    let full = observation.losses_of_trial(trial).full;
    if full == 0 {
        return None;
    }
    let finding = Finding::note(
        Id::ReceiveBufferOverflow,
        format!(
            "The receive buffer of the doctor's own socket was too small for {}: {full} datagrams were dropped.",
            trial.destination()
        ),
    )
    .for_group(trial.destination())
    .evidence(EvidenceKind::Counter, "SO_MEMINFO drops", full)
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

/// Judges the counter for all sockets together, on systems that have no other (macOS, FreeBSD).
fn of_any_program(observation: &Observation) -> Option<Finding> {
    let interest =
        observation.interests().into_iter().next().filter(|_| observation.after.udp_sockets.is_empty())?;
    let name = Counter::ReceiveBufferErrors.name(interest.family());
    let (before, after) = observation.values(name).filter(|(before, after)| after > before)?;
    let finding = Finding::warning(
        Id::ReceiveBufferOverflow,
        format!("{} datagrams were dropped while listening because the receive buffer of some program was full. The system does not report which.", after - before),
    )
    .change(EvidenceKind::Counter, "netstat -s -p udp, dropped due to full socket buffers", before, after)
    .with_remedies(buffer_remedies(observation));
    Some(finding)
}

fn buffer_remedies(observation: &Observation) -> Vec<Remedy> {
    let mut remedies = vec![Remedy::advice(
        Tool::Program,
        "Request a larger buffer (SO_RCVBUF, 4 MiB), read in batches (recvmmsg), and process the datagrams in a different thread.",
    )];
    if observation.after.number("net.core.rmem_max").is_some_and(|limit| limit < LARGE_BUFFER) {
        remedies.extend(raise_limit());
    }
    remedies
}

fn raise_limit() -> [Remedy; 2] {
    let scope = RemedyScope::after_restart("the largest buffer that any program of this host may request");
    remedies::sysctl("net.core.rmem_max", LARGE_BUFFER, scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership, severities};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn machine_wide_drops_are_reported_only_with_a_loss() {
        let with = |received| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
            observation.after.backlog_dropped = 5;
            backlog_drops(&observation).len()
        };
        assert_eq!((with(10), with(5)), (0, 1));
    }

    #[test]
    fn reason_of_the_kernel_is_proof() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 5);
        observation.kernel_drops.drops = vec![kernel_drop("CPU_BACKLOG", "10.9.0.1:6000", TO, 5)];
        observation.after.backlog_dropped = 5;
        assert_eq!(severities(&BACKLOG_DROPS, &observation), [Severity::Fault]);
    }

    #[test]
    fn full_ring_is_reported() {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.after.links[2].statistics.receive_missed = 3;
        assert_eq!(backlog_drops(&observation), [], "the ring of another interface");
        observation.after.links[1].statistics.receive_missed = 3;
        assert_eq!(backlog_drops(&observation).len(), 1);
    }
}
