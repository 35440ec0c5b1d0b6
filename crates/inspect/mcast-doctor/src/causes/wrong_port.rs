//! The group arrives, but on another port.

use super::{Cause, Check};
use crate::kernel_drops::evidence;
use crate::observation::{Interest, Observation, explains};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &[]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let own_port = |flow: &Flow| flow.key.port == interest.port;
    if observation.wire.incoming(group).any(own_port) || observation.wire.outgoing(group).any(own_port) {
        return None;
    }
    // The same group may be joined on several ports; the datagrams match one of them.
    let is_served = |port| {
        observation.interests().iter().any(|other| other.group == interest.group && other.port == port)
    };
    let other = |flow: &&Flow| {
        flow.key.interface == interest.interface
            && flow.key.vlan.is_none()
            && interest.sources.admits(flow.key.source.ip())
            && !is_served(flow.key.port)
    };
    let is_own = |flow: &&Flow| observation.after.is_own(flow.key.source.ip());
    let sent = observation.wire.outgoing(group).filter(is_own);
    let flow = observation.wire.incoming(group).chain(sent).find(other)?;
    let (actual_port, source) = (flow.key.port, flow.key.source);
    let drops = observation.kernel_drops.drops.iter();
    let unclaimed: Vec<_> = drops.filter(|drop| drop.is_without_socket() && drop.is_of(&flow.key)).collect();
    let is_claimed = !explains(unclaimed.iter().map(|drop| drop.packets).sum(), flow.datagrams);
    // Another program on this machine has that port open and may be the intended receiver.
    let is_open = observation.after.udp_sockets.iter().any(|socket| socket.local.port() == actual_port);
    let severity = if is_open && is_claimed { Severity::Warning } else { Severity::Fault };
    let interface = observation.link_name(interest.interface);
    let actual = std::net::SocketAddr::new(group, actual_port);
    let finding = Finding::new(
        Id::WrongPort,
        severity,
        format!(
            "{source} sends to port {actual_port} of {}, but the membership uses port {}.",
            interest.group, interest.port
        ),
    )
    .on_interface(&interface)
    .for_group(interest.destination())
    .from_source(source)
    .evidence(
        EvidenceKind::Packet,
        &interface,
        format!("{} datagrams to {actual}, none to port {}", flow.datagrams, interest.port),
    )
    .with_all_evidence(evidence(unclaimed))
    .advise(
        Tool::Program,
        format!("Bind to port {actual_port}, or have the sender use port {}.", interest.port),
    )
    .with_remedies([remedies::mcast::recv(actual)]);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, kernel_drop, membership};
    use super::*;
    use crate::snapshot::UdpSocket;

    const TO: &str = "239.1.2.3:5000";
    const OTHER: &str = "239.1.2.3:5001";

    #[test]
    fn port_of_another_program_is_only_a_warning() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", OTHER)], 0);
        assert_eq!(CAUSE.judge(&observation)[0].severity, Severity::Fault);
        observation.after.udp_sockets = vec![UdpSocket {
            local: "0.0.0.0:5001".parse().unwrap(),
            peer: None,
            inode: 9,
            drops: 0,
            programs: Vec::new(),
        }];
        assert_eq!(CAUSE.judge(&observation)[0].severity, Severity::Warning);
        observation.kernel_drops.drops = vec![kernel_drop("NO_SOCKET", "10.9.0.1:6000", OTHER, 10)];
        assert_eq!(CAUSE.judge(&observation)[0].severity, Severity::Fault, "that program does not take them");
    }

    #[test]
    fn other_ports_are_not_reported_if_the_right_one_arrives_or_on_other_interfaces() {
        let both = vec![flow(ETH0, "10.9.0.1:6000", OTHER), flow(ETH0, "10.9.0.1:6000", TO)];
        assert_eq!(CAUSE.judge(&membership(TO, both, 10)), []);
        assert_eq!(CAUSE.judge(&membership(TO, vec![flow(ETH1, "10.8.0.1:6000", OTHER)], 0)), []);
    }
}
