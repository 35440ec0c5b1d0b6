//! What a bridge that snoops forwards too little of: its options, its limits, and the addresses it compares.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use mcast::Group;

use super::{Cause, Check};
use crate::change::{Attribute, Change};
use crate::observation::{Interest, Observation};
use crate::remedies::port_option;
use crate::snapshot::Link;
use crate::{
    Evidence, EvidenceKind, Finding, Id, Instructions, Persistence, Remedy, RemedyScope, Severity, Tool,
    remedies,
};

/// A bridge does not flood unregistered groups to a port. 224.0.0.x is never reported, and without snooping no
/// group is registered.
pub(super) const FLOOD_OFF: Cause = Cause::new(Check::Observation(flood_off), &["RFC 4541 section 2.1.2"])
    .without_loss()
    .offering(|on| flood(&on.link));

fn flood_off(observation: &Observation) -> Vec<Finding> {
    let ports = observation.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| !port.floods_multicast && !port.leads_to_router)?;
        let bridge = link.interface.port_of.and_then(|bridge| observation.after.link(bridge))?;
        Some((link, port, bridge, bridge.bridge?))
    });
    ports
        .map(|(link, _, bridge, options)| {
            let (severity, groups) = if options.snooping {
                (
                    Severity::Warning,
                    "groups that no host has reported, including 224.0.0.x, which hosts never report",
                )
            } else {
                (Severity::Fault, "any group, because snooping is off as well")
            };
            Finding::new(
                Id::FloodOff,
                severity,
                format!("{} does not forward to {} {groups}.", bridge.name(), link.name()),
            )
            .on_interface(link.name())
            .evidence(EvidenceKind::Setting, format!("{} mcast_flood", link.name()), "off")
            .evidence(
                EvidenceKind::Setting,
                format!("{} mcast_snooping", bridge.name()),
                if options.snooping { "on" } else { "off" },
            )
            .with_remedies(flood(link))
        })
        .collect()
}

fn flood(port: &Link) -> Vec<Remedy> {
    let name = port.name();
    let scope = RemedyScope::new(format!("every group that no host behind {name} has reported"));
    let now = Remedy::now_changing(Tool::Bridge, port_option(name, "mcast_flood", "on"));
    remedies::with_networkd(now.with_scope(scope), port, "flood", "[Bridge]\nMulticastFlood=yes\n")
}

/// A bridge removes a port from a group at the first leave, although other hosts behind it still listen.
pub(super) const FAST_LEAVE: Cause = Cause::new(Check::Observation(fast_leave), &["RFC 4541 section 2.1.1"])
    .without_loss()
    .offering(|on| leave_slowly(&on.link));

fn fast_leave(observation: &Observation) -> Vec<Finding> {
    let risky = observation.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| port.fast_leave && port.hosts > 1)?;
        let bridge = link.interface.port_of.and_then(|bridge| observation.after.link(bridge))?;
        bridge.bridge.is_some_and(|bridge| bridge.snooping).then_some((link, port, bridge))
    });
    risky
        .map(|(link, port, bridge)| {
            Finding::warning(
                Id::FastLeave,
                format!("{} removes {} from a group at the first leave, although {} hosts are behind the port, so the other hosts lose the group as well.", bridge.name(), link.name(), port.hosts),
            )
            .on_interface(link.name())
            .evidence(EvidenceKind::Setting, format!("{} fastleave", link.name()), "on")
            .evidence(EvidenceKind::Table, format!("bridge fdb of {}", link.name()), format!("{} hosts", port.hosts))
            .with_remedies(leave_slowly(link))
        })
        .collect()
}

fn leave_slowly(port: &Link) -> Vec<Remedy> {
    let name = port.name();
    let scope = format!("every group that hosts behind {name} leave: they get it a few seconds longer");
    let scope = RemedyScope::new(scope);
    let now = Remedy::now_changing(Tool::Bridge, port_option(name, "fastleave", "off"));
    remedies::with_networkd(now.with_scope(scope), port, "fast-leave", "[Bridge]\nFastLeave=no\n")
}

/// Groups share an Ethernet address (32 IPv4 groups each), so devices and simple switches cannot distinguish them.
pub(super) const MAC_ALIAS: Cause =
    Cause::new(Check::Observation(mac_alias), &["RFC 1112 section 6.4"]).without_loss();

fn mac_alias(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| (interest.group, interest.interface));
    interests
        .iter()
        .flat_map(|interest| {
            alias_of_control_group(observation, interest)
                .into_iter()
                .chain(alias_of_other_group(observation, interest))
        })
        .collect()
}

/// Judges a group that shares its address with one of 224.0.0.x, which switches flood.
fn alias_of_control_group(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let control = interest.group.control_alias()?;
    Some(mac_alias_finding(
        observation,
        interest,
        format!(
            "{} has the same Ethernet address as {control}, so switches flood it to every port.",
            interest.group
        ),
        Evidence::new(
            EvidenceKind::Packet,
            interest.group.ethernet_address().to_string(),
            format!("{} and {control}", interest.group),
        ),
    ))
}

/// Judges a group that shares its address with another group on the wire.
fn alias_of_other_group(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let address = interest.group.ethernet_address();
    let alias = observation.wire.flows.iter().find_map(|flow| {
        let group = Group::new(flow.key.group).ok()?;
        let here = flow.key.interface == interest.interface && !flow.key.outgoing;
        let unwanted =
            group != interest.group && !observation.after.is_joined(group.addr(), interest.interface);
        (here && unwanted && group.ethernet_address() == address).then_some((group, flow))
    });
    let (group, flow) = alias?;
    Some(mac_alias_finding(
        observation,
        interest,
        format!(
            "{group} arrives although no program on this machine has joined it: it shares an Ethernet address with {}.",
            interest.group
        ),
        Evidence::new(
            EvidenceKind::Packet,
            observation.link_name(interest.interface),
            format!("{} datagrams from {} to {group}, {address}", flow.datagrams, flow.key.source),
        ),
    ))
}

fn mac_alias_finding(
    observation: &Observation,
    interest: &Interest<'_>,
    cause: String,
    evidence: Evidence,
) -> Finding {
    Finding::warning(Id::MacAlias, cause)
        .concerning(observation.link_name(interest.interface), interest.group)
        .with_evidence(evidence)
        .advise(
                Tool::Network,
                "Choose a group whose low 23 bits differ from those of all other groups in use. Avoid x.0.0.y and x.128.0.y.",
            ).with_remedies([remedies::mcast::pick()])
}

/// A bridge port has as many groups as it may have, and takes no further member.
pub(super) const PORT_GROUP_LIMIT: Cause = Cause::new(
    Check::Observation(port_group_limit),
    &["RFC 4541 section 2.1.1", "bridge(8): mcast_max_groups"],
)
.without_loss()
.offering(|on| {
    let limit = |vlan| Limit { vlan, groups: 16, limit: 16 };
    vec![raise(on.name(), limit(None), "VALUE"), raise(on.name(), limit(Some(42)), "VALUE")]
});

/// The number of groups that a port has, or may have in a VLAN.
#[derive(Clone, Copy)]
struct Limit {
    vlan: Option<u16>,
    groups: u32,
    limit: u32,
}

fn port_group_limit(observation: &Observation) -> Vec<Finding> {
    let ports = observation.after.links.iter();
    ports
        .flat_map(|port| limits(port).filter_map(|limit| judge_port_group_limit(observation, port, limit)))
        .collect()
}

/// Returns the limits that a port has reached.
fn limits(port: &Link) -> impl Iterator<Item = Limit> {
    let whole = port.port.map(|port| Limit { vlan: None, groups: port.groups, limit: port.group_limit });
    let by_vlan = port.vlan_limits.iter();
    let by_vlan = by_vlan.map(|each| Limit { vlan: Some(each.vlan), groups: each.groups, limit: each.limit });
    whole.into_iter().chain(by_vlan).filter(|limit| limit.limit > 0 && limit.groups >= limit.limit)
}

/// Returns whether a port has as many groups as it may have, at least in one VLAN.
pub(super) fn has_all_groups(port: &Link) -> bool {
    limits(port).next().is_some()
}

fn judge_port_group_limit(observation: &Observation, port: &Link, reached: Limit) -> Option<Finding> {
    let (bridge, _) = observation.bridge_of(port)?;
    let (groups, limit) = (reached.groups, reached.limit);
    let (name, of) = (port.name(), bridge.name());
    let place = reached.vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
    let refused = refused(observation, port);
    let severity = if refused.is_some() { Severity::Fault } else { Severity::Warning };
    let outcome = match &refused {
        Some((host, to)) => {
            format!("it ignores reports of {host} for {}, and does not forward the group to {name}", to.ip())
        }
        None => {
            format!("hosts behind it that join another group do not get it as long as {of} has a querier")
        }
    };
    let cause = format!(
        "{of} has learnt {groups} groups behind its port {name}{place}, whose limit is {limit}: {outcome}."
    );
    let report = refused.iter().map(|(host, to)| {
        Evidence::new(EvidenceKind::Packet, name, format!("a report for {} from {host}", to.ip()))
    });
    let finding = Finding::new(Id::PortGroupLimit, severity, cause)
        .on_interface(name)
        .evidence(EvidenceKind::Setting, format!("{name}{place} mcast_max_groups"), limit)
        .evidence(EvidenceKind::Table, format!("{name}{place} mcast_n_groups"), groups)
        .with_all_evidence(report)
        .with_remedies([raise(name, reached, limit)])
        .advise(Tool::Network, format!("`bridge mdb show dev {of}` lists the groups. IPv6 hosts join one for each of their addresses automatically."));
    Some(finding.with(refused, |finding, (_, to)| finding.for_group(to)))
}

/// Returns an examined group that a host behind the port has reported and that snooping has not learnt there, and the host.
fn refused(observation: &Observation, port: &Link) -> Option<(IpAddr, SocketAddr)> {
    let interests = observation.interests();
    interests.iter().find_map(|interest| {
        let report = observation.unlearnt_report(port, interest.group.addr())?;
        Some((report.source, interest.destination()))
    })
}

/// Raises a limit from its value before. Older versions of `bridge` do not show it.
fn raise(port: &str, reached: Limit, before: impl fmt::Display) -> Remedy {
    let option = "mcast_max_groups".to_owned();
    let attribute = match reached.vlan {
        Some(vlan) => Attribute::PortVlan(vlan, option),
        None => Attribute::Port(option),
    };
    let set = |limit: String| Change::interface(port, attribute.clone(), limit);
    let scope = RemedyScope::new(format!("every group that hosts behind {port} join")).warning(
        "the limit may be intended, to protect the bridge's table or to restrict the hosts behind the port; the bridge learns members from their next report",
    );
    let raised = set(reached.limit.max(16).saturating_mul(4).to_string());
    let remedy = Remedy::now_changing(Tool::Bridge, raised);
    let undo = Some(Instructions::Actions { actions: set(before.to_string()).actions(), needs_root: true });
    Remedy { undo, ..remedy.with_scope(scope) }
}

/// The group table of a bridge is full. The kernel then disables snooping and floods all groups.
pub(super) const SNOOPING_TABLE_FULL: Cause =
    Cause::new(Check::Observation(snooping_table_full), &["RFC 4541 section 2.1.1"])
        .without_loss()
        .offering(|on| vec![enlarge_table(on.bridge.name(), 1024)]);

fn snooping_table_full(observation: &Observation) -> Vec<Finding> {
    let full = observation.after.links.iter().filter_map(|link| {
        let bridge = link.bridge.filter(|bridge| bridge.table_limit > 0 && bridge.table_entries > 0)?;
        let nearly = u64::from(bridge.table_entries) * 10 >= u64::from(bridge.table_limit) * 9;
        nearly.then_some((link, bridge))
    });
    full.map(|(link, bridge)| {
        let state = if bridge.snooping {
            "nearly full: when it overflows, the kernel disables snooping"
        } else {
            "full, so snooping is off and every group is flooded to every port"
        };
        Finding::warning(Id::SnoopingTableFull, format!("The group table of {} is {state}.", link.name()))
            .on_interface(link.name())
            .evidence(
                EvidenceKind::Table,
                format!("bridge mdb show dev {}", link.name()),
                format!("{} entries", bridge.table_entries),
            )
            .evidence(EvidenceKind::Setting, format!("{} mcast_hash_max", link.name()), bridge.table_limit)
            .evidence(
                EvidenceKind::Setting,
                format!("{} mcast_snooping", link.name()),
                if bridge.snooping { "on" } else { "off" },
            )
            .with_remedies([enlarge_table(link.name(), bridge.table_limit)])
    })
    .collect()
}

fn enlarge_table(bridge: &str, limit: u32) -> Remedy {
    let limit = limit.max(1024).saturating_mul(4).to_string();
    let set = |option: &str, value: &str| Change::interface(bridge, Attribute::Bridge(option.into()), value);
    let options = [set("mcast_hash_max", &limit), set("mcast_snooping", "1")];
    let scope = RemedyScope::new(format!("every group that {bridge} forwards"))
        .warning("the bridge forwards groups only to members again, and learns these after the next query");
    Remedy::of(Tool::Ip, Persistence::Now, options).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, control, flow, membership, report, severities};
    use crate::fate::forwarding::tests::bridged;
    use crate::snapshot::{BridgeGroup, JoinedGroup, VlanLimit};
    use crate::wire::ControlPacket;

    #[test]
    fn group_that_arrives_only_by_its_ethernet_address_is_a_warning() {
        let outcome = |interface, group: &str, is_joined: bool| {
            let other = flow(interface, "10.9.0.7:6000", &format!("{group}:5000"));
            let mut observation = membership("239.1.2.3:5000", vec![other], 0);
            if is_joined {
                let group = group.parse().unwrap();
                observation.after.joined.push(JoinedGroup { group, interface });
            }
            severities(&MAC_ALIAS, &observation)
        };
        assert_eq!(outcome(ETH0, "239.129.2.3", false), [Severity::Warning]);
        assert_eq!(outcome(ETH0, "239.129.2.3", true), [], "a program wants it");
        assert_eq!(outcome(ETH0, "239.1.2.4", false), []);
        assert_eq!(outcome(ETH1, "239.129.2.3", false), []);
    }

    #[test]
    fn group_with_the_ethernet_address_of_a_control_group_is_flooded() {
        let outcome =
            |group: &str| severities(&MAC_ALIAS, &membership(&format!("{group}:5000"), Vec::new(), 0));
        assert_eq!((outcome("239.128.0.5"), outcome("239.128.1.5")), (vec![Severity::Warning], vec![]));
    }

    fn limited(groups: u32) -> Observation {
        bridged(0, |bridge, port| {
            (bridge.snooping, bridge.querier) = (true, true);
            (port.groups, port.group_limit) = (groups, 8);
        })
    }

    #[test]
    fn port_that_has_reached_its_limit_is_a_warning() {
        assert_eq!(severities(&PORT_GROUP_LIMIT, &limited(7)), []);
        assert_eq!(severities(&PORT_GROUP_LIMIT, &limited(8)), [Severity::Warning; 2]);
        let unlimited = bridged(0, |_, port| port.groups = 1000);
        assert_eq!(severities(&PORT_GROUP_LIMIT, &unlimited), []);
    }

    #[test]
    fn limit_of_a_vlan_is_raised_in_that_vlan() {
        let mut observation = bridged(0, |_, _| {});
        observation.after.links[2].vlan_limits = vec![VlanLimit { vlan: 10, groups: 4, limit: 4 }];
        let [finding] = &port_group_limit(&observation)[..] else { panic!() };
        assert!(finding.cause.contains("its port eth1 in VLAN 10, whose limit is 4"), "{}", finding.cause);
        let command = finding.remedies[0].command().unwrap();
        assert_eq!(command, "bridge vlan set vid 10 dev eth1 mcast_max_groups 64");
    }

    #[test]
    fn member_that_the_port_refuses_is_a_fault() {
        let mut observation = limited(8);
        let (time, _) = observation.wire.span.unwrap();
        let packet = control(time, "10.9.0.9", report("239.1.2.3"));
        observation.wire.ports.control = vec![ControlPacket { interface: ETH1, ..packet }];
        assert_eq!(severities(&PORT_GROUP_LIMIT, &observation), [Severity::Warning, Severity::Fault]);
        let group = BridgeGroup { port: ETH1, group: [239, 1, 2, 3].into(), source: None, blocked: false };
        observation.after.bridge_groups.push(group);
        assert_eq!(severities(&PORT_GROUP_LIMIT, &observation), [Severity::Warning; 2]);
    }
}
