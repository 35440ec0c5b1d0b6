//! The datagrams are sent to the unicast address of a machine, or to the broadcast address of its network, and not to the
//! group.

use std::net::{IpAddr, SocketAddr};

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::wire::UnicastFlow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 1112 section 6.1"]);

/// Fewer datagrams may be a reply or a discovery.
const MIN_DATAGRAMS: u64 = 10;

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    if interests.is_empty() {
        return of_sender(observation).into_iter().collect();
    }
    interests.iter().filter_map(|interest| of_interest(observation, interest)).collect()
}

/// Judges a membership: nothing for it is on the wire, and something is sent to its port and not to a group.
fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let is_silent = observation.wire.flows.iter().all(|flow| flow.key.group != group);
    if !is_silent || observation.received_anything() {
        return None;
    }
    let mut candidates = observation.wire.unicast.iter().filter(|flow| {
        flow.interface == interest.interface
            && flow.destination.port() == interest.port
            && flow.datagrams >= MIN_DATAGRAMS
            && flow.destination.is_ipv4() == group.is_ipv4()
            && (!flow.outgoing || observation.after.is_own(flow.source.ip()))
    });
    let flow = candidates.next()?;
    // Another program that receives unicast on this port may be the intended receiver.
    let is_taken = observation
        .after
        .udp_sockets
        .iter()
        .any(|socket| socket.local == flow.destination || socket.peer == Some(flow.source));
    let severity = if is_taken { Severity::Warning } else { Severity::Fault };
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let cause = format!(
        "Nothing for {to} is on the wire of {interface}, but {} sends to {}, {}, which is not a group.",
        flow.source,
        flow.destination,
        described(observation, flow.destination.ip())
    );
    let finding = Finding::new(Id::SentToUnicast, severity, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(flow.source)
        .with_evidence(evidence(observation, flow))
        .with_evidence(Evidence::new(
            EvidenceKind::Packet,
            &interface,
            format!("no datagram to {}", interest.group),
        ))
        .with_remedies([remedy(Some(to))]);
    Some(finding)
}

/// Judges a program that has joined no group and sends to none.
fn of_sender(observation: &Observation) -> Option<Finding> {
    let program = observation.program()?;
    if observation.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow)) {
        return None;
    }
    let mut sent = observation.wire.unicast.iter().filter(|flow| {
        flow.outgoing && flow.datagrams >= MIN_DATAGRAMS && program.sends_from(flow.source.port())
    });
    let flow = sent.next()?;
    let interface = observation.link_name(flow.interface);
    let cause = format!(
        "{} sends to {}, {}, which is not a group, and to no group.",
        program.name,
        flow.destination,
        described(observation, flow.destination.ip())
    );
    let finding = Finding::new(Id::SentToUnicast, Severity::Warning, cause)
        .on_interface(&interface)
        .in_program(&program.name)
        .with_evidence(evidence(observation, flow))
        .with_remedies([remedy(None)]);
    Some(finding)
}

fn evidence(observation: &Observation, flow: &UnicastFlow) -> Evidence {
    let text = format!("{} datagrams from {} to {}", flow.datagrams, flow.source, flow.destination);
    Evidence::new(EvidenceKind::Packet, observation.link_name(flow.interface), text)
}

/// Returns what an address that is not a group belongs to.
fn described(observation: &Observation, address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() || is_broadcast_here(observation, v4.into()) => {
            "a broadcast address"
        }
        _ if observation.after.is_own(address) => "the unicast address of this machine",
        _ => "the unicast address of one machine",
    }
}

/// Returns whether an address is the last one of a network of this machine.
fn is_broadcast_here(observation: &Observation, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let mut own = observation.after.links.iter().flat_map(|link| &link.interface.addresses);
    own.any(|own| match own.address {
        IpAddr::V4(here) if own.prefix < 31 => {
            let host_bits = u32::MAX.checked_shr(own.prefix.into()).unwrap_or_default();
            here.to_bits() | host_bits == address.to_bits()
        }
        _ => false,
    })
}

fn remedy(to: Option<SocketAddr>) -> Remedy {
    let to = to.map_or_else(|| "the group".to_owned(), |to| to.to_string());
    Remedy::advice(
        Tool::Program,
        format!(
            "In the configuration of the sender, enter {to} as the destination, and a hop limit for groups if receivers are behind a router."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;
    use crate::snapshot::UdpSocket;

    const TO: &str = "239.1.2.3:5000";

    fn sent_to(destination: &str) -> Observation {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.wire.unicast.push(UnicastFlow {
            interface: ETH0,
            outgoing: false,
            source: "10.9.0.1:6000".parse().unwrap(),
            destination: destination.parse().unwrap(),
            datagrams: 10,
        });
        observation
    }

    #[test]
    fn unicast_and_broadcast_to_the_port_are_named() {
        for (to, what) in [
            ("10.9.0.2:5000", "the unicast address of this machine"),
            ("10.9.0.255:5000", "a broadcast address"),
            ("255.255.255.255:5000", "a broadcast address"),
        ] {
            let finding = check(&sent_to(to)).remove(0);
            assert!(finding.cause.contains(&format!("sends to {to}, {what}")), "{}", finding.cause);
            assert_eq!(finding.severity, Severity::Fault);
        }
    }

    #[test]
    fn other_ports_and_groups_that_arrive_are_not_reported() {
        assert_eq!(check(&sent_to("10.9.0.2:5001")), []);
        let mut both = sent_to("10.9.0.2:5000");
        both.wire.flows.push(flow(ETH0, "10.9.0.1:6000", TO));
        assert_eq!(check(&both), []);
        let mut few = sent_to("10.9.0.2:5000");
        few.wire.unicast[0].datagrams = 2;
        assert_eq!(check(&few), []);
    }

    #[test]
    fn unicast_for_another_program_is_only_a_warning() {
        let mut taken = sent_to("10.9.0.2:5000");
        taken.after.udp_sockets = vec![UdpSocket {
            local: "10.9.0.2:5000".parse().unwrap(),
            peer: None,
            inode: 9,
            drops: 0,
            programs: Vec::new(),
        }];
        assert_eq!(check(&taken)[0].severity, Severity::Warning);
    }
}
