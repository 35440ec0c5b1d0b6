//! Two ports of a bridge are isolated: they exchange no frames with each other.

use super::{Cause, Check};
use crate::finding::list;
use crate::forwarding::{BlockedFlow, Obstacle};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["bridge(8): isolated"])
    .without_loss()
    .offering(|on| vec![admit(on.name())]);

fn check(observation: &Observation) -> Vec<Finding> {
    let blocked = observation.blocked_flows(Obstacle::Isolation);
    if !blocked.is_empty() {
        return blocked.iter().map(of_flow).collect();
    }
    let bridges = observation.after.links.iter().filter(|link| link.bridge.is_some());
    bridges.filter_map(|bridge| of_bridge(observation, bridge)).collect()
}

fn of_flow(blocked: &BlockedFlow<'_>) -> Finding {
    // Isolating hosts from each other may be intended if nobody behind the ports has joined the group.
    let severity = if blocked.is_wanted() { Severity::Fault } else { Severity::Warning };
    let (from, names) = (blocked.first.from.name(), blocked.names());
    Finding::new(
        Id::PortIsolated,
        severity,
        format!("{}, because {from} and {names} are isolated from each other.", blocked.sentence()),
    )
    .about_flow(from, blocked.first.flow)
    .evidence(EvidenceKind::Setting, format!("{from}, {names} isolated"), "on")
    .with_all_evidence(blocked.evidence())
    .with_remedies([admit(from)])
}

fn of_bridge(observation: &Observation, bridge: &Link) -> Option<Finding> {
    let ports = observation.after.links.iter().filter(|link| {
        link.interface.port_of == Some(bridge.index()) && link.port.is_some_and(|port| port.isolated)
    });
    let ports: Vec<_> = ports.collect();
    // One isolated port still exchanges frames with all others.
    let [first, _, ..] = ports.as_slice() else { return None };
    let has_member = |port: &&&Link| {
        observation.after.bridge_groups.iter().any(|group| {
            group.port == port.index()
                && mcast::Group::new(group.group).is_ok_and(|group| !group.scope().stays_on_link())
        })
    };
    let member = ports.iter().find(has_member);
    let severity = if member.is_some() { Severity::Warning } else { Severity::Note };
    let names = list(ports.iter().map(|port| port.name()));
    let cause = format!(
        "{} forwards nothing between its ports {names}, which are isolated: a group that is sent behind one does not reach members behind the others.",
        bridge.name()
    );
    let member = member.map(|port| {
        let location = format!("bridge mdb show dev {}", bridge.name());
        Evidence::new(EvidenceKind::Table, location, format!("members behind {}", port.name()))
    });
    Some(
        Finding::new(Id::PortIsolated, severity, cause)
            .on_interface(&names)
            .evidence(EvidenceKind::Setting, format!("{names} isolated"), "on")
            .with_all_evidence(member)
            .with_remedies([admit(first.name())]),
    )
}

fn admit(port: &str) -> Remedy {
    let scope = RemedyScope::new(format!("all traffic between {port} and other isolated ports")).warning(
        "the isolation may be intended: without it, the hosts behind this port can reach those behind the others, with all protocols",
    );
    Remedy::now(Tool::Bridge, ["link", "set", "dev", port, "isolated", "off"]).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::severities;
    use crate::forwarding::tests::bridged;

    #[test]
    fn isolation_is_serious_only_if_a_flow_does_not_pass() {
        let mut observation = bridged(0, |_, port| port.isolated = true);
        assert_eq!(severities(&CAUSE, &observation), [Severity::Warning]);
        observation.wire.ports.flows.clear();
        assert_eq!(severities(&CAUSE, &observation), [Severity::Note]);
        assert_eq!(severities(&CAUSE, &bridged(10, |_, _| {})), []);
    }
}
