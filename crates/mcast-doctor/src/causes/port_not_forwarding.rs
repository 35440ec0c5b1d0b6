//! The spanning tree state of a bridge port is not "forwarding": no frame passes it.

use super::{Cause, Check};
use crate::forwarding::{BlockedFlow, Obstacle};
use crate::observation::Observation;
use crate::snapshot::{Link, PortState};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["IEEE 802.1D-2004 section 7.4"])
    .offering(|on| remedies(on.name(), on.bridge.name(), PortState::Blocking, false));

fn check(observation: &Observation) -> Vec<Finding> {
    let ports = observation.after.links.iter().filter(|link| link.interface.up && link.interface.running);
    ports.filter_map(|port| judge(observation, port)).collect()
}

fn judge(observation: &Observation, port: &Link) -> Option<Finding> {
    let (bridge, settings) = observation.bridge_of(port)?;
    let state = port.port?.state;
    let is_redundant = state == PortState::Blocking && settings.spanning_tree;
    if state == PortState::Forwarding || is_redundant || !bridge.interface.up {
        return None;
    }
    // The ports of a bridge with spanning tree pass through these states when they come up.
    let is_transient = settings.spanning_tree && matches!(state, PortState::Listening | PortState::Learning);
    let arrived = observation.wire.ports.flows.iter().find(|flow| {
        flow.key.interface == port.index()
            && !flow.key.outgoing
            && observation.interests().iter().any(|interest| interest.destination() == flow.destination())
    });
    let blocked: Vec<_> = [Obstacle::IngressState, Obstacle::EgressState]
        .into_iter()
        .flat_map(|obstacle| observation.blocked_flows(obstacle))
        .filter(|blocked| {
            blocked.first.from.index() == port.index()
                || blocked.legs.iter().any(|leg| leg.to.index() == port.index())
        })
        .collect();
    let loses = arrived.is_some() || !blocked.is_empty();
    let severity = if is_transient && !loses { Severity::Warning } else { Severity::Fault };
    let (name, of) = (port.name(), bridge.name());
    let soon = if is_transient {
        " Spanning tree moves it on to forwarding within its forward delay, 15 s for each state."
    } else {
        ""
    };
    let finding = Finding::new(
        Id::PortNotForwarding,
        severity,
        format!("{of} passes no frames at its port {name}, because the port's spanning tree state is {state}.{soon}"),
    )
    .on_interface(name)
    .evidence(EvidenceKind::Setting, format!("{name} state"), state)
    .evidence(
        EvidenceKind::Setting,
        format!("{of} stp_state"),
        if settings.spanning_tree { "on" } else { "off" },
    )
    .with_all_evidence(blocked.first().map(BlockedFlow::evidence).unwrap_or_default())
    .with_remedies(remedies(name, of, state, settings.spanning_tree));
    let group = arrived.or_else(|| Some(blocked.first()?.first.flow)).map(Flow::destination);
    Some(match group {
        Some(group) => finding.for_group(group),
        None => finding,
    })
}

fn remedies(port: &str, bridge: &str, state: PortState, spanning_tree: bool) -> Vec<Remedy> {
    match (spanning_tree, state) {
        (true, PortState::Disabled) => vec![Remedy::advice(
            Tool::Network,
            format!(
                "Find out why spanning tree disabled the port ({port}): its program's log, or a BPDU on a port with `guard on`."
            ),
        )],
        (true, _) => vec![Remedy::advice(
            Tool::Network,
            format!(
                "Wait for spanning tree, or shorten the delay: `ip link set dev {bridge} type bridge forward_delay 400` (4 s). On a bridge without redundant links, spanning tree may be turned off."
            ),
        )],
        (false, _) => vec![Remedy::now(Tool::Bridge, ["link", "set", "dev", port, "state", "3"]).with_scope(
            RemedyScope::new(format!("all traffic of {port}")).warning(
                "make sure first that the port closes no loop: without spanning tree, nothing else breaks it",
            ),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarding::tests::bridged;

    fn severities(state: PortState, spanning_tree: bool, frames: bool) -> Vec<Severity> {
        let mut observation = bridged(0, |bridge, port| {
            (bridge.spanning_tree, port.state) = (spanning_tree, state);
        });
        if !frames {
            observation.wire.ports.flows.clear();
        }
        check(&observation).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn redundant_links_are_blocked_on_purpose() {
        assert_eq!(severities(PortState::Blocking, true, true), []);
        assert_eq!(severities(PortState::Blocking, false, false), [Severity::Fault; 2]);
    }

    #[test]
    fn port_that_is_coming_up_is_a_fault_only_if_it_loses_datagrams() {
        assert_eq!(severities(PortState::Learning, true, false), [Severity::Warning; 2]);
        assert_eq!(severities(PortState::Learning, true, true), [Severity::Fault; 2]);
        assert_eq!(severities(PortState::Learning, false, false), [Severity::Fault; 2]);
        assert_eq!(severities(PortState::Listening, true, false), [Severity::Warning; 2]);
        assert_eq!(severities(PortState::Forwarding, true, true), []);
    }

    #[test]
    fn port_that_spanning_tree_disabled_is_a_fault() {
        assert_eq!(severities(PortState::Disabled, true, false), [Severity::Fault; 2]);
        let [remedy] = &remedies("eth1", "br0", PortState::Disabled, true)[..] else { panic!("one remedy") };
        assert_eq!(remedy.command(), None);
    }
}
