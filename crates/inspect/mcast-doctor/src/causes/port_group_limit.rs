//! A bridge port has as many groups as it may have, and takes no further member.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{Action, Evidence, EvidenceKind, Finding, Id, Instructions, Remedy, RemedyScope, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.1", "bridge(8): mcast_max_groups"])
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

fn check(observation: &Observation) -> Vec<Finding> {
    let ports = observation.after.links.iter();
    ports.flat_map(|port| limits(port).filter_map(|limit| judge(observation, port, limit))).collect()
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

fn judge(observation: &Observation, port: &Link, reached: Limit) -> Option<Finding> {
    let (bridge, _) = observation.bridge_of(port)?;
    let (groups, limit) = (reached.groups, reached.limit);
    let (name, of) = (port.name(), bridge.name());
    let place = reached.vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
    let refused = refused(observation, port);
    let severity = if refused.is_some() { Severity::Fault } else { Severity::Warning };
    let outcome = match &refused {
        Some((host, to)) => {
            format!("it ignores that {host} has joined {}, and does not forward the group to {name}", to.ip())
        }
        None => {
            format!("hosts behind it that join another group do not get it as long as {of} has a querier")
        }
    };
    let cause = format!(
        "{of} has learnt {groups} groups behind its port {name}{place}, which may have {limit}: {outcome}."
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
        .advise(Tool::Network, format!("`bridge mdb show dev {of}` lists the groups. IPv6 hosts join several by themselves, one for each address."));
    Some(match refused {
        Some((_, to)) => finding.for_group(to),
        None => finding,
    })
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
    let set = |limit: String| -> Vec<String> {
        let vlan = reached.vlan.map(|vlan| vlan.to_string());
        let on = match &vlan {
            Some(vlan) => vec!["vlan", "set", "vid", vlan, "dev", port],
            None => vec!["link", "set", "dev", port],
        };
        on.into_iter().chain(["mcast_max_groups", &limit]).map(str::to_owned).collect()
    };
    let scope = RemedyScope::new(format!("every group that hosts behind {port} join")).warning(
        "the limit may protect the table of the bridge, or be what the hosts behind the port may receive; the bridge learns members with their next report",
    );
    let undo = Action::Run { program: "bridge".into(), args: set(before.to_string()) };
    let remedy = Remedy::now(Tool::Bridge, set(reached.limit.max(16).saturating_mul(4).to_string()));
    let undo = Some(Instructions::Actions { actions: vec![undo], needs_root: true });
    Remedy { undo, ..remedy.with_scope(scope) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH1, control, report, severities};
    use crate::forwarding::tests::bridged;
    use crate::snapshot::{BridgeGroup, VlanLimit};
    use crate::wire::ControlPacket;

    fn limited(groups: u32) -> Observation {
        bridged(0, |bridge, port| {
            (bridge.snooping, bridge.querier) = (true, true);
            (port.groups, port.group_limit) = (groups, 8);
        })
    }

    #[test]
    fn port_that_has_reached_its_limit_is_a_warning() {
        assert_eq!(severities(&CAUSE, &limited(7)), []);
        assert_eq!(severities(&CAUSE, &limited(8)), [Severity::Warning; 2]);
        let unlimited = bridged(0, |_, port| port.groups = 1000);
        assert_eq!(severities(&CAUSE, &unlimited), []);
    }

    #[test]
    fn limit_of_a_vlan_is_raised_in_that_vlan() {
        let mut observation = bridged(0, |_, _| {});
        observation.after.links[2].vlan_limits = vec![VlanLimit { vlan: 10, groups: 4, limit: 4 }];
        let [finding] = &check(&observation)[..] else { panic!() };
        assert!(finding.cause.contains("its port eth1 in VLAN 10, which may have 4"), "{}", finding.cause);
        let command = finding.remedies[0].command().unwrap();
        assert_eq!(command, "bridge vlan set vid 10 dev eth1 mcast_max_groups 64");
    }

    #[test]
    fn member_that_the_port_refuses_is_a_fault() {
        let mut observation = limited(8);
        let (time, _) = observation.wire.span.unwrap();
        let packet = control(time, "10.9.0.9", report("239.1.2.3"));
        observation.wire.ports.control = vec![ControlPacket { interface: ETH1, ..packet }];
        assert_eq!(severities(&CAUSE, &observation), [Severity::Warning, Severity::Fault]);
        let group = BridgeGroup { port: ETH1, group: [239, 1, 2, 3].into(), source: None, blocked: false };
        observation.after.bridge_groups.push(group);
        assert_eq!(severities(&CAUSE, &observation), [Severity::Warning; 2]);
    }
}
