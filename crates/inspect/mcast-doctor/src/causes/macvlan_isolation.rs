//! A container or virtual machine with a macvlan interface on this host sends the group. The host does not receive what
//! its own macvlan interfaces send, nor they what it sends. In source mode, such an interface receives from listed hosts
//! only.

use super::filter_rules::masquerading;
use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::snapshot::MacvlanMode;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["ip-link(8): macvlan"])
    .offering(|on| vec![add_interface(on.name(), "INTERFACE-mv")]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    sent_from_above(observation, interest)
        .or_else(|| not_listed(observation, interest))
        .or_else(|| joined_apart(observation, interest))
}

/// Warns of a silent group on a macvlan that exchanges nothing with the others on its device: whether one of them sends
/// it is not known.
fn joined_apart(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link = observation.link(interest.interface)?;
    let (mode, way) = match link.macvlan_mode? {
        MacvlanMode::Private => ("private", "and receives nothing from them, whatever the switch does"),
        MacvlanMode::Vepa => (
            "vepa",
            "but through the switch, which must send frames back by the port they came from (hairpin)",
        ),
        MacvlanMode::Bridge | MacvlanMode::Source => return None,
    };
    let is_silent = observation.arrivals(interest).is_empty() && !observation.received_anything();
    if !is_silent || !observation.wire.is_complete(interest.interface) {
        return None;
    }
    let (name, to) = (link.name(), interest.destination());
    let cause = format!(
        "Nothing for {to} reaches {name}, a macvlan in mode {mode}: it exchanges nothing directly with other macvlan interfaces (containers, virtual machines) on the same device, {way}."
    );
    let finding = Finding::new(Id::MacvlanIsolation, Severity::Warning, cause)
        .on_interface(name)
        .for_group(to)
        .with_evidence(Evidence::new(EvidenceKind::Setting, format!("ip -details link show {name}"), format!("macvlan mode {mode}")))
        .with_evidence(Evidence::new(EvidenceKind::Packet, name, format!("no datagram to {to} came in")))
        .with_remedies([Remedy::advice(
            Tool::Ip,
            format!("If the sender is on the same machine, use the mode bridge for both, where they were created: ip link set dev {name} type macvlan mode bridge. In Docker, create the network with `-o macvlan_mode=bridge`."),
        )]);
    Some(finding)
}

/// Judges a membership on a macvlan in source mode, while the group arrives at the interface below it.
fn not_listed(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link =
        observation.link(interest.interface).filter(|link| link.macvlan_mode == Some(MacvlanMode::Source))?;
    let lower = observation.link(link.lower?)?;
    let is_below = |flow: &&Flow| {
        flow.key.interface == lower.index()
            && flow.destination() == interest.destination()
            && interest.sources.admits(flow.key.source.ip())
    };
    let flow = observation.wire.incoming(interest.group.addr()).find(is_below)?;
    if !observation.arrivals(interest).is_empty() {
        return None;
    }
    let (name, source, to) = (link.name(), flow.key.source, interest.destination());
    let mac = flow.macs.iter().next()?.to_string();
    let finding = Finding::new(
        Id::MacvlanIsolation,
        Severity::Fault,
        format!("{name} is a macvlan in source mode, which receives only from the Ethernet addresses in its list. {mac}, which sends {to} from {source}, is not in it."),
    )
    .on_interface(name)
    .for_group(to)
    .from_source(source)
    .with_evidence(observation.packets_of(flow))
    .with_evidence(Evidence::new(EvidenceKind::Packet, name, format!("no datagram to {to}")))
    .with_remedies([Remedy::now(
        Tool::Ip,
        ["link", "set", "dev", name, "type", "macvlan", "macaddr", "add", &mac],
    )
    .with_scope(
        RemedyScope::new(format!("everything that {mac} sends"))
            .warning("if there is a router in between, this is the router, with all that it forwards"),
    )]);
    Some(finding)
}

/// Judges a group that an interface on top of the joined one sends.
fn sent_from_above(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let wire = &observation.wire;
    // A frame that leaves with another host's source, and that this machine does not forward, comes from an interface
    // on top of this one.
    let is_forwarded = |source| wire.incoming(group).any(|flow| flow.key.source == source);
    let flow = wire.outgoing(group).find(|flow| {
        flow.key.interface == interest.interface
            && flow.key.port == interest.port
            && !observation.before.is_own(flow.key.source.ip())
            && !flow.key.source.ip().is_unspecified()
            && !is_forwarded(flow.key.source)
            && masquerading(observation, flow).is_none()
    })?;
    let link = observation.link(interest.interface)?;
    if observation.is_received(flow) || link.bridge.is_some() || link.interface.loopback {
        return None;
    }
    let (name, to, source) = (link.name(), interest.destination(), flow.key.source);
    let upper = format!("{name}-mv");
    let finding = Finding::fault(
        Id::MacvlanIsolation,
        format!("{source} sends {to} through {name} of this machine itself, from a macvlan or ipvlan interface on it (a container or virtual machine): the host does not receive what such interfaces send."),
    )
    .on_interface(name)
    .for_group(to)
    .from_source(source)
    .evidence(EvidenceKind::Packet, name, format!("{} datagrams out from {source}, which is not an address of this machine", flow.datagrams))
    .evidence(EvidenceKind::Packet, name, format!("no datagram to {to} came in"))
    .with_remedies([add_interface(name, &upper)]).advise(
            Tool::Program,
            format!("Give {upper} an address, and join the group on {upper} instead of {name}: macvlan interfaces in bridge mode receive each other."),
        );
    Some(finding)
}

fn add_interface(lower: &str, name: &str) -> Remedy {
    Remedy::now(Tool::Ip, ["link", "add", "link", lower, "name", name, "type", "macvlan", "mode", "bridge"])
        .then(["link", "set", "dev", name, "up"])
        .with_scope(RemedyScope::new(format!("a new interface, {name}; nothing else changes")))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn sent(interface: mcast::InterfaceIndex, source: &str) -> Flow {
        let mut flow = flow(interface, source, TO);
        flow.key.outgoing = true;
        flow
    }

    #[test]
    fn frames_of_other_hosts_that_leave_come_from_interfaces_on_top() {
        let found = |flows| CAUSE.judge(&membership(TO, flows, 0)).len();
        assert_eq!(found(vec![sent(ETH0, "10.9.0.77:6000")]), 1);
        assert_eq!(found(vec![sent(ETH0, "10.9.0.2:6000")]), 0, "this machine's own");
        let forwarded = vec![flow(ETH1, "10.8.0.1:6000", TO), sent(ETH0, "10.8.0.1:6000")];
        assert_eq!(found(forwarded), 0, "this machine is a router");
    }
}
