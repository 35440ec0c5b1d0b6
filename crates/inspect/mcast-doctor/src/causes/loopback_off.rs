//! A sender on this machine has `IP_MULTICAST_LOOP` off, so this machine does not receive what it sends.

use mcast::Family;

use super::{Cause, Check};
use crate::observation::{Interest, Observation, Program};
use crate::snapshot::UdpSocket;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["ip(7): IP_MULTICAST_LOOP"])
    .offering(|on| on.on_socket(&[remedies::socket::loop_back(Family::V4)]));

/// The last datagram may still be on its way back when listening ends, so a single one proves nothing.
const MIN_DATAGRAMS: u64 = 3;

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if let Some(program) = observation.program() {
        return for_program(observation, interest, program);
    }
    let trial = observation.trial()?;
    let is_not_looped_back = |flow: &&Flow| {
        let source = flow.key.source.ip();
        flow.key.interface == interest.interface
            && flow.key.port == interest.port
            && flow.datagrams >= MIN_DATAGRAMS
            && observation.before.is_own(source)
            && interest.sources.admits(source)
            && trial.received_from(interest.interface, flow.key.source) == 0
    };
    let flow = observation.wire.outgoing(interest.group.addr()).find(is_not_looped_back)?;
    let source = flow.key.source;
    let evidence = Evidence::new(
        EvidenceKind::Socket,
        "the doctor's own, joined on the same interface",
        format!("0 datagrams from {source}"),
    );
    Some(finding(observation, flow, Severity::Fault, evidence))
}

/// Judges what other programs on this machine send to the examined one, by the options of their sockets.
fn for_program(observation: &Observation, interest: &Interest<'_>, program: &Program) -> Option<Finding> {
    let sender = |flow: &Flow| {
        let mut sockets = observation.before.udp_sockets.iter();
        sockets.find_map(|socket| {
            let options = observation.before.socket_options.get(&socket.inode)?;
            let is_off = !options.groups.get(&interest.family())?.loopback;
            (is_off && socket.local.port() == flow.key.source.port()).then_some(socket)
        })
    };
    let is_kept_out = |flow: &&Flow| {
        let source = flow.key.source.ip();
        flow.key.interface == interest.interface
            && flow.key.port == interest.port
            && observation.before.is_own(source)
            && interest.sources.admits(source)
            // A program may want not to receive what it sends itself.
            && !program.sends(flow)
    };
    let mut sent = observation.wire.outgoing(interest.group.addr()).filter(is_kept_out);
    let (flow, socket) = sent.find_map(|flow| Some((flow, sender(flow)?)))?;
    // What arrives from other machines may be all that it is meant to receive.
    let severity =
        if observation.arrivals(interest).is_empty() { Severity::Fault } else { Severity::Warning };
    let evidence = Evidence::new(
        EvidenceKind::Socket,
        format!("socket {}", socket.inode),
        format!("{} off", option(interest.family())),
    );
    Some(finding(observation, flow, severity, evidence).in_program(&program.name))
}

/// Returns the remedy for the socket of a sender on this machine, if there is one at its port that has the option off.
fn on_socket(observation: &Observation, flow: &Flow) -> Option<Remedy> {
    let family = Family::of(flow.key.group);
    let snapshot = &observation.before;
    let is_off = |socket: &&UdpSocket| {
        let options =
            snapshot.socket_options.get(&socket.inode).and_then(|options| options.groups.get(&family));
        socket.local.port() == flow.key.source.port() && options.is_some_and(|options| !options.loopback)
    };
    let socket = snapshot.udp_sockets.iter().find(is_off)?;
    let (pid, name) = snapshot.socket_processes.get(&socket.inode)?;
    remedies::socket::of_process(*pid, name, socket.inode, &[remedies::socket::loop_back(family)])
}

const fn option(family: Family) -> &'static str {
    match family {
        Family::V4 => "IP_MULTICAST_LOOP",
        Family::V6 => "IPV6_MULTICAST_LOOP",
    }
}

fn finding(observation: &Observation, flow: &Flow, severity: Severity, evidence: Evidence) -> Finding {
    let (source, to) = (flow.key.source, flow.destination());
    let interface = observation.link_name(flow.key.interface);
    let option = option(Family::of(to.ip()));
    Finding::new(
        Id::LoopbackOff,
        severity,
        format!("Datagrams that {source} on this machine sends to {to} do not reach receivers on this machine: the sender has {option} off."),
    )
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams sent, none looped back", flow.datagrams))
    .with_evidence(evidence)
    .with_remedies(on_socket(observation, flow))
    .advise(
        Tool::Program,
        format!("Set {option} to 1 on the sending socket (on Windows, on the receiving one)."),
    )
}
