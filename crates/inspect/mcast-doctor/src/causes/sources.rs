//! Datagrams whose source address the receiving system refuses.

use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};

use super::scope_section::Placeholders;
use super::{Cause, Check, Forecast};
use crate::fate::Stage;
use crate::fate::depth::{KernelVerdict, LostFlow};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::snapshot::interface_setting;
use crate::wire::{Flow, FlowKey};
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Tool, remedies};

/// Datagrams arrive from 0.0.0.0, because the sender had no address. The system drops them without counting
/// them. On the sender itself, they leave, and its own sockets receive them.
pub(super) const SOURCE_ZERO: Cause =
    Cause::new(Check::Observation(source_zero), &["RFC 1122 section 3.2.1.3"])
        .at(Stage::Source)
        .predicted_by(Forecast::Flow(source_zero_ahead));

fn source_zero(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let mut flows: Vec<_> = interests.iter().flat_map(|interest| observation.arrivals(interest)).collect();
    if matches!(observation.target, ExaminationTarget::File) {
        flows.extend(&observation.wire.flows);
    }
    // Linux accepts this source in IPv6, and in IPv4 for groups in 224.0.0.0/24.
    let is_received = |flow: &Flow| match observation.trial() {
        Some(trial) => trial.received_from(flow.key.interface, flow.key.source) > 0,
        None => observation.program().is_some() && flow.key.source.is_ipv6(),
    };
    // A machine without an address may send to itself.
    let is_inside =
        |flow: &Flow| observation.link(flow.key.interface).is_some_and(|link| link.interface.loopback);
    flows.retain(|flow| !is_inside(flow) && flow.key.source.ip().is_unspecified() && !is_received(flow));
    let mut findings = Vec::new();
    findings.extend(flows.into_iter().map(|flow| source_zero_finding(observation, flow)));
    findings.extend(sent(observation));
    findings
}

/// Returns the finding about a flow that does not get to the check of its source, because something drops it before.
fn source_zero_ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let source = flow.key.source.ip();
    (source.is_ipv4() && source.is_unspecified()).then(|| source_zero_finding(observation, flow))
}

fn source_zero_finding(observation: &Observation, flow: &Flow) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let macs = flow.mac_list();
    Finding::fault(
                Id::SourceZero,
                format!("Datagrams for {} arrive on {interface} without a source address ({}), so the kernel drops them.", flow.destination(), flow.key.source.ip()),
            )
            .about_flow(&interface, flow)
            .evidence(EvidenceKind::Packet, &interface, format!("{} datagrams from {}, sent by {macs}", flow.datagrams, flow.key.source))
            .advise(Tool::Network, format!("On the machine with the hardware address {macs}, give the sending interface an address: ip address add ADDRESS/PREFIX dev INTERFACE"))
}

/// Returns findings about datagrams that this machine sends without an address.
fn sent(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let is_examined = |flow: &Flow| {
        interests.iter().any(|interest| interest.destination() == flow.destination())
            || observation.program().is_some_and(|program| program.sends(flow))
    };
    // Linux accepts 0.0.0.0 for the groups of the local network control block.
    let is_accepted = |flow: &Flow| match flow.key.group {
        std::net::IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        std::net::IpAddr::V6(_) => true,
    };
    let is_device =
        |flow: &Flow| observation.link(flow.key.interface).is_some_and(|link| !link.interface.loopback);
    let flows = observation.wire.flows.iter().filter(|flow| {
        let (from, is_sent) = (flow.key.source.ip(), flow.key.outgoing);
        is_sent && from.is_unspecified() && !is_accepted(flow) && is_device(flow) && is_examined(flow)
    });
    let finding = |flow: &Flow| {
        let (interface, to) = (observation.link_name(flow.key.interface), flow.destination());
        Finding::fault(
            Id::SourceZero,
            format!("This machine sends to {to} by {interface} without a source address (0.0.0.0), so every other machine drops the datagrams."),
        )
        .about_flow(&interface, flow)
        .with_evidence(observation.packets_of(flow))
        .advise(Tool::Ip, format!("Give {interface} an address, then restart the sender: ip address add ADDRESS/PREFIX dev {interface}"))
    };
    flows.map(finding).collect()
}

/// Datagrams arrive with one of this machine's own addresses as their source, or with an address that a local route covers.
/// The system drops them without counting them.
pub(super) const SOURCE_IS_LOCAL: Cause =
    Cause::new(Check::Interest(source_is_local), &["RFC 1812 section 5.3.7", "ip-sysctl: accept_local"])
        .at(Stage::Source)
        .predicted_by(Forecast::Flow(source_is_local_ahead))
        .offering(|on| {
            address_remedies(
                Placeholders::SOURCE,
                true,
                &interface_setting(Family::V4, on.name(), "accept_local"),
            )
        });

fn source_is_local(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if !is_refused(observation, interest.interface, interest.group.addr()) {
        return None;
    }
    // Datagrams of this machine that it receives on the sending interface may arrive again on another interface
    // of the same network.
    let is_received = |source: IpAddr| {
        let trial = observation.trial();
        trial.is_some_and(|trial| trial.received.iter().any(|count| count.source.ip() == source))
    };
    let mut flows = observation.arrivals(interest);
    flows.retain(|flow| match flow.key.source.ip() {
        source if observation.before.is_own(source) => !is_received(source),
        // Without a source, datagrams are dropped before routes are looked up.
        source => {
            !source.is_unspecified()
                && is_routed_locally(observation, source)
                && is_lost(observation, interest, flow)
        }
    });
    (!flows.is_empty()).then(|| source_is_local_finding(observation, &flows))
}

/// Returns the finding about a flow that does not get to the check of its source, because something drops it before.
fn source_is_local_ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let FlowKey { interface, group, source, outgoing, .. } = flow.key;
    let is_local = observation.before.is_own(source.ip()) || is_certainly_local(observation, source.ip());
    (is_local && !outgoing && is_refused(observation, interface, group))
        .then(|| source_is_local_finding(observation, &[flow]))
}

/// Returns whether an interface refuses datagrams from the addresses of this machine.
fn is_refused(observation: &Observation, interface: InterfaceIndex, group: IpAddr) -> bool {
    let name = observation.link_name(interface);
    let is_accepted = |interface: &str| observation.after.number(&accept_local(interface)) == Some(1);
    // This is normal on the loopback interface.
    let is_loopback = observation.link(interface).is_none_or(|link| link.interface.loopback);
    !is_loopback && group.is_ipv4() && !is_accepted(&name) && !is_accepted("all")
}

fn accept_local(interface: &str) -> String {
    interface_setting(Family::V4, interface, "accept_local")
}

fn source_is_local_finding(observation: &Observation, flows: &[&Flow]) -> Finding {
    let Some(flow) = flows.first() else { return Finding::fault(Id::SourceIsLocal, "") };
    let interface = observation.link_name(flow.key.interface);
    let setting = accept_local(&interface);
    let (source, to) = (flow.key.source.ip(), flow.destination());
    let cause = match observation.before.is_own(source) {
        true => format!(
            "Datagrams for {to} arrive on {interface} with this machine's own address {source} as their source, so the kernel drops them."
        ),
        false => format!(
            "Datagrams for {to} arrive on {interface} from {source}, which this machine takes for one of its own addresses, because a route of type local covers it. The kernel drops them."
        ),
    };
    let route = (!observation.before.is_own(source)).then(|| {
        Evidence::new(
            EvidenceKind::Route,
            format!("ip route get {source}"),
            "local, by the loopback interface",
        )
    });
    Finding::fault(Id::SourceIsLocal, cause)
        .about(&interface, to, source)
        .explaining(flows.iter().map(|flow| ExplainedFlow {
            destination: flow.destination(),
            source: Some(flow.key.source.ip()),
            interface: interface.clone(),
        }))
        .with_all_evidence(flows.iter().map(|flow| {
            Evidence::new(
                EvidenceKind::Packet,
                &interface,
                format!(
                    "{} datagrams from {}, sent by {}",
                    flow.datagrams,
                    flow.key.source.ip(),
                    flow.mac_list()
                ),
            )
        }))
        .with_all_evidence(route)
        .evidence(EvidenceKind::Setting, &setting, 0)
        .with_remedies(address_remedies(source, observation.before.is_own(source), &setting))
}

/// Returns whether a flow is lost, and not for another reason that the kernel gives. Without policy routing and local
/// routes of its own, the system compares the source only with the addresses of interfaces.
fn is_lost(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> bool {
    let lost = observation.lost_flows(interest);
    let mut same = lost.iter().filter(|lost| lost.flow.key == flow.key);
    same.any(|lost| observation.kernel_verdict(lost, "IP_LOCAL_SOURCE") != KernelVerdict::Refuted)
}

/// Returns whether a route makes an address local that no interface has.
fn is_routed_locally(observation: &Observation, source: IpAddr) -> bool {
    if source.is_loopback() {
        return false;
    }
    let route = observation.source_routes.get(&source).copied().flatten();
    route.and_then(|index| observation.link(index)).is_some_and(|link| link.interface.loopback)
}

/// Returns whether a local route covers an address that is not one of the loopback interface's addresses: the system looks for the
/// latter only if there are rules for routing.
fn is_certainly_local(observation: &Observation, source: IpAddr) -> bool {
    let mut links = observation.after.links.iter();
    let is_on_loopback = links.any(|link| link.interface.loopback && link.is_next_to(source));
    !source.is_unspecified() && is_routed_locally(observation, source) && !is_on_loopback
}

/// Returns the remedies. A source in 127.0.0.0/8 is dropped whatever the setting (RFC 1122 section 3.2.1.3).
fn address_remedies(source: IpAddr, is_own: bool, setting: &str) -> Vec<Remedy> {
    if source.is_loopback() {
        let advice = format!(
            "The sender has bound its socket to {source}. Bind it to the address of its interface, or to none."
        );
        return vec![Remedy::advice(Tool::Program, advice)];
    }
    let advice = match is_own {
        true => format!(
            "If another host also has {source}, give one of them another address. If this machine sends to itself through two interfaces, allow that:"
        ),
        false => format!(
            "Find the route with `ip route show table local match {source}` and narrow it: it comes from an address with too short a prefix, or from a transparent proxy or load balancer. Until then:"
        ),
    };
    let mut remedies = vec![Remedy::advice(Tool::Network, advice)];
    let scope = RemedyScope::new("every IPv4 packet that arrives on this interface")
        .warning("packets that pretend to come from this machine are no longer dropped there");
    remedies.extend(remedies::sysctl(setting, 1, scope));
    remedies
}

/// Datagrams arrive with a source address that cannot belong to a host: a group, the broadcast address, or a loopback
/// address. The system drops them without counting them.
pub(super) const INVALID_SOURCE: Cause = Cause::new(
    Check::Observation(invalid_source),
    &["RFC 1122 section 3.2.1.3", "RFC 4291 sections 2.5.3 and 2.7"],
)
.at(Stage::Source)
.predicted_by(Forecast::Flow(invalid_source_ahead));

fn invalid_source(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        let flows = observation.all_arrivals().into_iter();
        return flows.filter_map(|flow| in_file(observation, flow)).collect();
    }
    let interests = observation.interests();
    interests.iter().flat_map(|interest| of_interest(observation, interest)).collect()
}

/// Returns the finding about a flow that does not get to the check of its source, because something drops it before.
fn invalid_source_ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    // On the loopback interface, loopback addresses are normal.
    let is_loopback = observation.link(flow.key.interface).is_none_or(|link| link.interface.loopback);
    let kind = kind(flow.key.source.ip()).filter(|_| !flow.key.outgoing && !is_loopback)?;
    let interface = observation.link_name(flow.key.interface);
    Some(described(observation, (&interface, flow), kind, correct_sender(flow)))
}

/// Judges a flow in a capture. On a loopback interface, where loopback addresses are normal, frames have no Ethernet
/// addresses or zeros.
fn in_file(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let is_ethernet = flow.macs.iter().any(|mac| mac.0 != [0; 6]);
    let source = flow.key.source.ip();
    let kind = kind(source).filter(|_| is_ethernet)?;
    let interface = observation.link_name(flow.key.interface);
    let cause = format!(
        "Datagrams for {} come from {source}, which is {kind} and not a host's address, so receivers drop them.",
        flow.destination()
    );
    let finding = Finding::fault(Id::InvalidSource, cause)
        .about_flow(&interface, flow)
        .with_evidence(observation.packets_of(flow))
        .with_remedies([correct_sender(flow)]);
    Some(finding)
}

fn correct_sender(flow: &Flow) -> Remedy {
    Remedy::advice(
        Tool::Program,
        format!(
            "Correct the sender, whose Ethernet address is {}: bind its socket to the address of its interface or to none. A packet generator, a tunnel or address translation may also have set the source.",
            flow.mac_list()
        ),
    )
}

fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Vec<Finding> {
    // On the loopback interface, loopback addresses are normal.
    if observation.link(interest.interface).is_none_or(|link| link.interface.loopback) {
        return Vec::new();
    }
    // Of this machine's own addresses, `source-is-local` reports the IPv4 ones.
    let is_reported = |source: IpAddr| source.is_ipv4() && observation.before.is_own(source);
    let mut flows = observation.arrivals(interest);
    flows.retain(|flow| !observation.is_received(flow) && !is_reported(flow.key.source.ip()));
    let of_flow = |flow: &Flow| match kind(flow.key.source.ip()) {
        Some(kind) => Some(invalid_source_finding(observation, interest, flow, kind, correct_sender(flow))),
        None => broadcast_here(observation, interest, flow),
    };
    flows.into_iter().filter_map(of_flow).collect()
}

/// Returns the finding about a source that this machine takes for the broadcast address of its own network, because the
/// prefix lengths differ. The reverse path filter, in both modes, and policy routing look for that.
fn broadcast_here(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Option<Finding> {
    let IpAddr::V4(source) = flow.key.source.ip() else { return None };
    let links = observation.after.links.iter();
    let network = links.flat_map(|link| &link.interface.addresses).find(|own| {
        own.prefix < 31
            && own.contains(source.into())
            && source.to_bits() | !(u32::MAX << (32 - own.prefix)) == source.to_bits()
    })?;
    let is_this_flow = |lost: &&LostFlow<'_>| lost.flow.key == flow.key;
    let lost = observation.lost_flows(interest);
    let is_dropped = lost
        .iter()
        .find(is_this_flow)
        .is_some_and(|lost| observation.kernel_verdict(lost, "IP_INVALID_SOURCE") != KernelVerdict::Refuted);
    is_dropped.then(|| {
        let kind = format!("the broadcast address of this machine's network {}/{}", network.address, network.prefix);
        let advice = format!(
            "Give {source} and this machine the same prefix length: with the right one, it is an ordinary address. `ip address show` shows the one here."
        );
        invalid_source_finding(observation, interest, flow, &kind, Remedy::advice(Tool::Network, advice))
    })
}

/// Returns what an address is that cannot be a source; `None` for others.
fn kind(source: IpAddr) -> Option<&'static str> {
    let is_broadcast = matches!(source, IpAddr::V4(address) if address.is_broadcast());
    match source {
        _ if source.is_multicast() => Some("a group"),
        _ if is_broadcast => Some("the broadcast address"),
        _ if source.is_loopback() => Some("a loopback address, valid only within a host"),
        _ => None,
    }
}

fn invalid_source_finding(
    observation: &Observation,
    interest: &Interest<'_>,
    flow: &Flow,
    kind: &str,
    remedy: Remedy,
) -> Finding {
    let source = flow.key.source.ip();
    let is_from = |drop: &KernelDrop| drop.source.ip() == source;
    let dropped = observation.dropped_flows(interest, is_from);
    let interface = observation.link_name(interest.interface);
    described(observation, (&interface, flow), kind, remedy)
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
}

fn described(
    observation: &Observation,
    (interface, flow): (&str, &Flow),
    kind: &str,
    remedy: Remedy,
) -> Finding {
    let (source, to) = (flow.key.source.ip(), flow.destination());
    let cause = format!(
        "Datagrams for {to} arrive on {interface} from {source}, which is {kind} and not a host's address, so the kernel drops them."
    );
    Finding::fault(Id::InvalidSource, cause)
        .about_flow(interface, flow)
        .with_evidence(observation.packets_of(flow))
        .with_remedies([remedy])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, LO, flow, membership};
    use crate::observation::ReceivedCount;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn sender_without_an_address_is_at_fault_at_the_sender() {
        let findings = |to: &str, interface| {
            let mut sent = flow(interface, "0.0.0.0:6000", to);
            sent.key.outgoing = true;
            SOURCE_ZERO.judge(&membership(to, vec![sent], 10)).len()
        };
        assert_eq!(findings("239.1.2.3:5000", ETH0), 1);
        assert_eq!((findings("224.0.0.50:5000", ETH0), findings("239.1.2.3:5000", LO)), (0, 0));
    }

    #[test]
    fn source_that_the_system_accepts_is_no_fault() {
        let findings = |source, to: &str, received| {
            SOURCE_ZERO.judge(&membership(to, vec![flow(ETH0, source, to)], received)).len()
        };
        assert_eq!(findings("0.0.0.0:6000", "239.1.2.3:5000", 0), 1);
        assert_eq!(findings("[::]:6000", "[ff15::1234]:5000", 10), 0);
    }

    #[test]
    fn loopback_source_has_no_remedy_by_a_setting() {
        let commands = |source: &str| {
            let finding = SOURCE_IS_LOCAL.judge(&membership(TO, vec![flow(ETH0, source, TO)], 0)).remove(0);
            finding.remedies.iter().filter_map(Remedy::command).count()
        };
        assert_eq!((commands("127.0.0.1:6000"), commands("10.8.0.2:6000")), (0, 2));
    }

    #[test]
    fn source_that_a_local_route_covers_is_reported() {
        use super::super::fixtures::{ETH1, LO};

        let outcome = |route| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            observation.source_routes.insert("10.9.0.1".parse().unwrap(), Some(route));
            SOURCE_IS_LOCAL.judge(&observation)
        };
        assert_eq!(outcome(ETH1), []);
        let findings = outcome(LO);
        assert!(findings[0].cause.contains("a route of type local covers it"), "{findings:?}");
    }

    #[test]
    fn what_is_received_where_it_was_sent_may_come_in_again() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.8.0.2:6000", TO)], 0);
        assert_eq!(SOURCE_IS_LOCAL.judge(&observation).len(), 1);
        let source = "10.8.0.2:6000".parse().unwrap();
        observation.trial_mut().received =
            vec![ReceivedCount { interface: super::super::fixtures::ETH1, source, datagrams: 10 }];
        assert_eq!(SOURCE_IS_LOCAL.judge(&observation), []);
    }

    fn findings(source: &str, to: &str, received: u64) -> usize {
        INVALID_SOURCE.judge(&membership(to, vec![flow(ETH0, source, to)], received)).len()
    }

    #[test]
    fn broadcast_address_of_this_machines_network_is_reported() {
        let found = |source, received| {
            let mut observation =
                membership("239.1.2.3:5000", vec![flow(ETH0, source, "239.1.2.3:5000")], received);
            observation.after.links[1].interface.addresses[0].prefix = 26;
            INVALID_SOURCE.judge(&observation).len()
        };
        assert_eq!((found("10.9.0.63:6000", 0), found("10.9.0.63:6000", 10)), (1, 0));
        assert_eq!((found("10.9.0.62:6000", 0), found("10.9.0.127:6000", 0)), (0, 0));
    }

    #[test]
    fn sources_that_no_host_can_have_are_reported() {
        const TO: &str = "239.1.2.3:5000";
        const TO_V6: &str = "[ff15::1234]:5000";
        for source in ["239.9.9.9:6000", "255.255.255.255:6000", "127.0.0.5:6000"] {
            assert_eq!(findings(source, TO, 0), 1, "{source}");
        }
        assert_eq!((findings("[ff15::9]:6000", TO_V6, 0), findings("[::1]:6000", TO_V6, 0)), (1, 1));
        assert_eq!((findings("10.9.0.1:6000", TO, 0), findings("[fd09::1]:6000", TO_V6, 0)), (0, 0));
        assert_eq!(findings("239.9.9.9:6000", TO, 10), 0, "received all the same");
        assert_eq!(findings("127.0.0.1:6000", TO, 0), 0, "reported as this machine's own");
    }
}
