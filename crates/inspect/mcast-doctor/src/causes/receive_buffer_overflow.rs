//! A socket's receive buffer is full, so arriving datagrams are dropped.

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::depth::Depth;
use crate::kernel_drops::evidence;
use crate::observation::{Observation, ProgramSocket};
use crate::snapshot::{Counter, UdpSocket};
use crate::socket_losses::BUFFER_FULL;
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["socket(7): SO_RCVBUF"]).offering(|on| {
        let enlarge = remedies::socket::receive_buffer(212_992, LARGE_BUFFER as usize);
        on.on_socket(&[enlarge]).into_iter().chain(raise_limit()).collect()
    });

/// The recommended buffer size: about 1/30 s of traffic at 1 Gbit/s.
const LARGE_BUFFER: i64 = 4 << 20;

fn check(observation: &Observation) -> Vec<Finding> {
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
