//! Kinds of networks and interfaces that carry multicast badly or not at all.

use mcast::InterfaceIndex;

use super::filter_rules::masquerading;
use super::{Cause, Check};
use crate::change::{Change, NewInterface};
use crate::observation::{Interest, Observation};
use crate::service::ServiceTarget;
use crate::snapshot::MacvlanMode;
use crate::wire::Flow;
use crate::{Depth, Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

/// Cloud networks carry no multicast, or only if it is set up.
pub(super) const CLOUD_NETWORK: Cause = Cause::new(Check::Observation(cloud_network), &[]);

fn cloud_network(observation: &Observation) -> Vec<Finding> {
    let Some(cloud) = &observation.after.machine.cloud else { return Vec::new() };
    let interests = observation.interests();
    let is_cloud_link = |index: InterfaceIndex| {
        observation.link(index).is_some_and(|link| link.kind.is_none() && !link.interface.loopback)
    };
    let silent = interests.iter().any(|interest| {
        is_cloud_link(interest.interface)
            && observation.wire.is_complete(interest.interface)
            && observation.wire.incoming(interest.group.addr()).next().is_none()
    });
    let severity = match (observation.is_about_machine(), silent && !observation.received_anything()) {
        (true, _) => Severity::Note,
        (false, true) => Severity::Warning,
        (false, false) => return Vec::new(),
    };
    let cause = match cloud.as_str() {
        "Amazon EC2" => "Amazon EC2 networks carry multicast only within a transit gateway multicast domain, and only with IGMPv2.".to_owned(),
        cloud => format!("{cloud} virtual networks do not carry multicast."),
    };
    let finding = Finding::new(Id::CloudNetwork, severity, cause)
        .evidence(EvidenceKind::Machine, "/sys/class/dmi/id", cloud)
        .advise(Tool::Network, "Send by unicast, or carry groups over an overlay (VXLAN with the addresses of the other machines). On EC2, set up a transit gateway multicast domain and admit IGMP from 0.0.0.0/32 in the security group.");
    vec![finding]
}

/// A container bridge translates addresses for unicast but does not forward groups.
pub(super) const CONTAINER_BRIDGE: Cause = Cause::new(Check::Observation(container_bridge), &[]);

fn container_bridge(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let is_silent = |interest: &&Interest<'_>| {
        if interest.is_relayed(&interests) {
            return false;
        }
        let arrives = observation.wire.incoming(interest.group.addr()).next().is_some();
        // A program may receive what this machine sends itself.
        let is_read = observation.expected_flows().iter().any(|flow| {
            flow.status.destination == interest.destination() && flow.status.depth == Depth::Arrives
        });
        !arrives && !is_read && !observation.received_anything() && !interest.group.scope().stays_on_link()
    };
    let is_inside = |index: InterfaceIndex| {
        observation.wire.is_complete(index)
            && observation.link(index).is_some_and(|link| {
                link.peer_elsewhere
                    && link.kind.as_deref() == Some("veth")
                    && observation.after.gateways.iter().any(|name| name == link.name())
            })
    };
    let mut inside = interests.iter().filter(is_silent).filter(|interest| is_inside(interest.interface));
    let found = inside.find_map(|interest| Some((interest, observation.link(interest.interface)?)));
    let Some((interest, link)) = found else { return Vec::new() };
    let marker = observation
        .after
        .machine
        .container
        .iter()
        .map(|marker| Evidence::new(EvidenceKind::Machine, marker, "exists"));
    // Any namespace may have such an interface; only in a container is the bridge known not to forward.
    let (severity, bridge) = match &observation.after.machine.container {
        Some(_) => (Severity::Warning, "whose bridge does not forward groups from outside"),
        None => (Severity::Note, "whose bridge may not forward groups from outside"),
    };
    let finding = Finding::new(
        Id::ContainerBridge,
        severity,
        format!("{} leads to another network namespace of this machine, {bridge}, and nothing for {} arrived.", link.name(), interest.group),
    )
    .concerning(link.name(), interest.destination())
    .evidence(EvidenceKind::Interface, link.name(), "veth with its peer in another network namespace")
    .evidence(EvidenceKind::Route, "default", format!("via a gateway on {}", link.name()))
    .with_all_evidence(marker)
    .advise(Tool::Container, "Run the container in the host network (docker run --network host; hostNetwork: true in Kubernetes), or give it a macvlan interface (docker network create -d macvlan).");
    // Participants of DDS exchange data by the addresses that they announce, which nobody outside reaches.
    vec![match interest.group.addr() == ServiceTarget::DDS_GROUP {
        true => finding,
        false => finding.advise(
            Tool::Mcast,
            format!("Run `mcast relay {} from eth0 to docker:NAME` on the host.", interest.destination()),
        ),
    }]
}

/// Wireless links send groups at the lowest rate, do not retransmit losses, and delay groups while stations
/// sleep.
pub(super) const WIRELESS: Cause = Cause::new(Check::Observation(wireless), &["RFC 9119 section 3"]);

fn wireless(observation: &Observation) -> Vec<Finding> {
    let used: Vec<_> = observation.interests().iter().map(|interest| interest.interface).collect();
    let wireless = observation.after.links.iter().filter(|link| {
        link.wireless
            && link.interface.running
            && (observation.is_about_machine() || used.contains(&link.index()))
    });
    wireless
        .map(|link| {
            Finding::note(
                Id::Wireless,
                format!("{} is wireless: multicast is sent at the lowest rate, late, and without retransmissions.", link.name()),
            )
            .on_interface(link.name())
            .evidence(EvidenceKind::Interface, link.name(), "wireless")
            .advise(Tool::Network, "On the access point, enable the conversion of multicast to unicast (\"multicast enhancement\", \"IGMP snooping\"), or raise the multicast rate. Or use a cable.").advise(Tool::Mcast, "Run `mcast ping GROUP:PORT` to measure delay and loss to another machine.")
        })
        .collect()
}

/// A container or virtual machine with a macvlan interface on this host sends the group. The host does not receive what
/// its own macvlan interfaces send, nor they what it sends. In source mode, such an interface receives from listed hosts
/// only.
pub(super) const MACVLAN_ISOLATION: Cause =
    Cause::new(Check::Interest(macvlan_isolation), &["ip-link(8): macvlan"])
        .offering(|on| vec![add_interface(on.name(), "INTERFACE-mv")]);

fn macvlan_isolation(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
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
        .concerning(name, to)
        .evidence(EvidenceKind::Setting, format!("ip -details link show {name}"), format!("macvlan mode {mode}"))
        .evidence(EvidenceKind::Packet, name, format!("no datagram to {to} came in"))
        .advise(
            Tool::Ip,
            format!("If the sender is on the same machine, use the mode bridge for both, where they were created: ip link set dev {name} type macvlan mode bridge. In Docker, create the network with `-o macvlan_mode=bridge`."),
        );
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
    .about(name, to, source)
    .with_evidence(observation.packets_of(flow))
    .evidence(EvidenceKind::Packet, name, format!("no datagram to {to}"))
    .with_remedies([Remedy::now_changing(
        Tool::Ip,
        Change::MacvlanSource { interface: name.to_owned(), mac: mac.clone(), is_there: true },
    )
    .with_scope(
        RemedyScope::new(format!("everything that {mac} sends"))
            .warning("if there is a router in between, this is the router, with everything that it forwards"),
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
        format!("{source} sends {to} through {name} of this machine, from a macvlan or ipvlan interface on it (a container or virtual machine). A host does not receive what such interfaces send."),
    )
    .about(name, to, source)
    .evidence(EvidenceKind::Packet, name, format!("{} datagrams out from {source}, which is not an address of this machine", flow.datagrams))
    .evidence(EvidenceKind::Packet, name, format!("no datagram to {to} came in"))
    .with_remedies([add_interface(name, &upper)]).advise(
            Tool::Program,
            format!("Give {upper} an address, and join the group on {upper} instead of {name}: macvlan interfaces in bridge mode receive each other."),
        );
    Some(finding)
}

fn add_interface(lower: &str, name: &str) -> Remedy {
    let macvlan = NewInterface::new(lower, name, &["macvlan", "mode", "bridge"]);
    Remedy::now_changing(Tool::Ip, Change::NewInterface(macvlan))
        .with_scope(RemedyScope::new(format!("a new interface, {name}; nothing else changes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, joined_socket, membership, program, severities};

    const TO: &str = "239.1.2.3:5000";

    fn in_cloud(mut observation: Observation) -> Observation {
        observation.after.machine.cloud = Some("Azure".into());
        observation
    }

    #[test]
    fn silent_group_in_a_cloud_is_a_warning() {
        assert_eq!(severities(&CLOUD_NETWORK, &in_cloud(membership(TO, Vec::new(), 0))), [Severity::Warning]);
    }

    #[test]
    fn group_that_arrives_or_uses_a_tunnel_is_not_reported() {
        let arriving = in_cloud(membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10));
        assert_eq!(cloud_network(&arriving), []);
        let mut tunnel = in_cloud(membership(TO, Vec::new(), 0));
        tunnel.after.links[1].kind = Some("vxlan".into());
        assert_eq!(cloud_network(&tunnel), []);
        assert_eq!(cloud_network(&membership(TO, Vec::new(), 0)), []);
    }

    #[test]
    fn program_in_a_container_is_judged_like_a_membership() {
        let mut observation = program(vec![joined_socket(ETH0, mcast::SourceFilter::ANY)], Vec::new());
        let link = &mut observation.after.links[1];
        (link.peer_elsewhere, link.kind) = (true, Some("veth".into()));
        observation.after.gateways = vec!["eth0".into()];
        observation.after.machine.container = Some("/.dockerenv".into());
        assert_eq!(container_bridge(&observation)[0].severity, Severity::Warning);
    }

    #[test]
    fn relay_in_a_container_is_not_at_fault_for_what_nobody_sends() {
        let relay = [(ETH0, 1), (ETH1, 2)].map(|(interface, inode)| {
            let socket = joined_socket(interface, mcast::SourceFilter::ANY);
            crate::observation::ProgramSocket { inode, ..socket }
        });
        let mut observation = program(relay.into(), Vec::new());
        let link = &mut observation.after.links[1];
        (link.peer_elsewhere, link.kind) = (true, Some("veth".into()));
        observation.after.gateways = vec!["eth0".into()];
        observation.after.machine.container = Some("/.dockerenv".into());
        assert_eq!(container_bridge(&observation), []);
    }

    #[test]
    fn veth_to_another_namespace_is_a_warning_only_in_a_container() {
        let outcome = |container: Option<&str>| {
            let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
            let link = &mut observation.after.links[1];
            (link.peer_elsewhere, link.kind) = (true, Some("veth".into()));
            observation.after.gateways = vec!["eth0".into()];
            observation.after.machine.container = container.map(str::to_owned);
            container_bridge(&observation)[0].severity
        };
        assert_eq!(outcome(Some("/.dockerenv")), Severity::Warning);
        assert_eq!(outcome(None), Severity::Note);
    }

    #[test]
    fn only_wireless_interfaces_in_use_are_reported() {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.after.links[2].wireless = true;
        assert_eq!(wireless(&observation), []);
        observation.after.links[1].wireless = true;
        let findings = wireless(&observation);
        assert_eq!(
            findings.iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>(),
            [(Id::Wireless, Severity::Note)]
        );
    }

    fn sent(interface: mcast::InterfaceIndex, source: &str) -> Flow {
        let mut flow = flow(interface, source, TO);
        flow.key.outgoing = true;
        flow
    }

    #[test]
    fn frames_of_other_hosts_that_leave_come_from_interfaces_on_top() {
        let found = |flows| MACVLAN_ISOLATION.judge(&membership(TO, flows, 0)).len();
        assert_eq!(found(vec![sent(ETH0, "10.9.0.77:6000")]), 1);
        assert_eq!(found(vec![sent(ETH0, "10.9.0.2:6000")]), 0, "this machine's own");
        let forwarded = vec![flow(ETH1, "10.8.0.1:6000", TO), sent(ETH0, "10.8.0.1:6000")];
        assert_eq!(found(forwarded), 0, "this machine is a router");
    }
}
