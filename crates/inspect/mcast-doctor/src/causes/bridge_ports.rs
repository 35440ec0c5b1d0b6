//! What keeps a port of a bridge from passing any frame of a flow: isolation, a lock, its state.

use super::scope_section::Placeholders;
use super::{Cause, Check};
use crate::finding::list;
use crate::forwarding::{BlockedFlow, Obstacle};
use crate::observation::Observation;
use crate::snapshot::{Link, PortState};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

/// Two ports of a bridge are isolated: they exchange no frames with each other.
pub(super) const PORT_ISOLATED: Cause =
    Cause::new(Check::Observation(port_isolated), &["bridge(8): isolated"])
        .without_loss()
        .offering(|on| vec![end_isolation(on.name())]);

fn port_isolated(observation: &Observation) -> Vec<Finding> {
    let blocked = observation.blocked_flows(Obstacle::Isolation);
    if !blocked.is_empty() {
        return blocked.iter().map(isolated_flow).collect();
    }
    let bridges = observation.after.links.iter().filter(|link| link.bridge.is_some());
    bridges.filter_map(|bridge| isolated_ports(observation, bridge)).collect()
}

fn isolated_flow(blocked: &BlockedFlow<'_>) -> Finding {
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
    .with_remedies([end_isolation(from)])
}

fn isolated_ports(observation: &Observation, bridge: &Link) -> Option<Finding> {
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
            .with_remedies([end_isolation(first.name())]),
    )
}

fn end_isolation(port: &str) -> Remedy {
    let scope = RemedyScope::new(format!("all traffic between {port} and other isolated ports")).warning(
        "the isolation may be intended: without it, the hosts behind this port can reach those behind the others, with all protocols",
    );
    Remedy::now(Tool::Bridge, ["link", "set", "dev", port, "isolated", "off"]).with_scope(scope)
}

/// A bridge port is locked: it accepts frames only from hosts that were entered in the forwarding table.
pub(super) const PORT_LOCKED: Cause =
    Cause::new(Check::Observation(port_locked), &["IEEE 802.1X", "bridge(8): locked"])
        .offering(|on| vec![admit_host(on.name(), Placeholders::MAC)]);

fn port_locked(observation: &Observation) -> Vec<Finding> {
    let blocked = observation.blocked_flows(Obstacle::Lock);
    let findings = blocked.iter().map(|blocked| {
        let from = blocked.first.from.name();
        let macs = blocked.first.flow.mac_list();
        Finding::fault(
            Id::PortLocked,
            format!("{}, because {from} is locked and accepts no frames from {macs}.", blocked.sentence()),
        )
        .on_interface(from)
        .for_group(blocked.first.flow.destination())
        .evidence(EvidenceKind::Setting, format!("{from} locked"), "on")
        .with_all_evidence(blocked.evidence())
        .with_remedies(blocked.first.flow.macs.iter().map(|mac| admit_host(from, &mac.to_string())))
        .with_remedies([authenticator()])
    });
    let findings: Vec<_> = findings.collect();
    if !findings.is_empty() {
        return findings;
    }
    let empty = observation.after.links.iter().filter(|link| {
        link.interface.running && link.port.is_some_and(|port| port.locked && port.hosts == 0)
    });
    empty
        .map(|link| {
            let name = link.name();
            Finding::warning(
                Id::PortLocked,
                format!("The port {name} is locked, and no host behind it is admitted: no frame that arrives there passes."),
            )
            .on_interface(name)
            .evidence(EvidenceKind::Setting, format!("{name} locked"), "on")
            .evidence(EvidenceKind::Table, format!("bridge fdb of {name}"), "0 hosts")
            .with_remedies([admit_host(name, "MAC"), authenticator()])
        })
        .collect()
}

/// Admits a host, whose address may be a placeholder.
fn admit_host(port: &str, mac: &str) -> Remedy {
    let words = ["fdb", "replace", mac, "dev", port, "master", "static"];
    match mac {
        "MAC" => Remedy::advice(
            Tool::Bridge,
            format!("Admit a host by its Ethernet address: `bridge {}`.", words.join(" ")),
        ),
        _ => Remedy::now(Tool::Bridge, words).with_scope(
            RemedyScope::new(format!("all traffic from {mac} at {port}"))
                .warning("every host that uses this address passes the port"),
        ),
    }
}

fn authenticator() -> Remedy {
    Remedy::advice(
        Tool::Network,
        "Usually an authenticator such as hostapd admits hosts (802.1X): have the host authenticate. Every host that uses an admitted address passes the port.",
    )
}

/// The spanning tree state of a bridge port is not "forwarding": no frame passes it.
pub(super) const PORT_NOT_FORWARDING: Cause =
    Cause::new(Check::Observation(port_not_forwarding), &["IEEE 802.1D-2004 section 7.4"]).offering(|on| {
        let (name, bridge) = (on.name(), on.bridge.name());
        let state = PortState::Blocking;
        ClosedPort { name, bridge, state, spanning_tree: false, forwards_now: false }.remedies()
    });

/// A port that passes no frames, or passed none when the examination began.
#[derive(Clone, Copy)]
struct ClosedPort<'a> {
    name: &'a str,
    bridge: &'a str,
    state: PortState,
    /// Whether spanning tree runs on the bridge.
    spanning_tree: bool,
    forwards_now: bool,
}

fn port_not_forwarding(observation: &Observation) -> Vec<Finding> {
    let ports = observation.after.links.iter().filter(|link| link.interface.up && link.interface.running);
    ports.filter_map(|port| judge_port_not_forwarding(observation, port)).collect()
}

fn judge_port_not_forwarding(observation: &Observation, port: &Link) -> Option<Finding> {
    let (bridge, settings) = observation.bridge_of(port)?;
    let spanning_tree = settings.spanning_tree;
    let now = port.port?.state;
    let is_redundant = now == PortState::Blocking && spanning_tree;
    if is_redundant || !bridge.interface.up {
        return None;
    }
    let closed = ClosedPort {
        name: port.name(),
        bridge: bridge.name(),
        state: observation.closed_state(port)?,
        spanning_tree,
        forwards_now: now == PortState::Forwarding,
    };
    let arrived = observation.wire.ports.flows.iter().find(|flow| {
        flow.key.interface == port.index()
            && !flow.key.outgoing
            && observation.interests().iter().any(|interest| interest.destination() == flow.destination())
            && (!closed.forwards_now || observation.is_short_on(bridge, flow))
    });
    let blocked = blocked_at(observation, port);
    let loses = arrived.is_some() || !blocked.is_empty();
    if closed.forwards_now && !loses {
        return None;
    }
    let group = arrived.or_else(|| Some(blocked.first()?.first.flow)).map(Flow::destination);
    let finding = closed
        .finding(loses, now)
        .with_all_evidence(blocked.first().map(BlockedFlow::evidence).unwrap_or_default());
    Some(match group {
        Some(group) => finding.for_group(group),
        None => finding,
    })
}

/// Returns the flows that do not pass because of the state of a port.
fn blocked_at<'a>(observation: &'a Observation, port: &Link) -> Vec<BlockedFlow<'a>> {
    let obstacles = [Obstacle::IngressState, Obstacle::EgressState].into_iter();
    obstacles
        .flat_map(|obstacle| observation.blocked_flows(obstacle))
        .filter(|blocked| {
            blocked.first.from.index() == port.index()
                || blocked.legs.iter().any(|leg| leg.to.index() == port.index())
        })
        .collect()
}

impl ClosedPort<'_> {
    /// Returns whether spanning tree will move the port on: the ports of a bridge with spanning tree pass through these
    /// states when they come up.
    fn is_transient(&self) -> bool {
        self.spanning_tree && matches!(self.state, PortState::Listening | PortState::Learning)
    }

    fn finding(&self, loses: bool, now: PortState) -> Finding {
        let Self { name, bridge, state, .. } = self;
        let severity = if self.is_transient() && !loses { Severity::Warning } else { Severity::Fault };
        let soon = match self.is_transient() {
            true => " Spanning tree moves it on to forwarding within its forward delay, 15 s for each state.",
            false => "",
        };
        let cause = match self.forwards_now {
            true => format!(
                "{bridge} passed no frames at its port {name} while the port's spanning tree state was {state}. The port has begun to forward since the examination began."
            ),
            false => format!(
                "{bridge} passes no frames at its port {name}, because the port's spanning tree state is {state}.{soon}"
            ),
        };
        let (location, kind) = (format!("{name} state"), EvidenceKind::Setting);
        let finding = Finding::new(Id::PortNotForwarding, severity, cause).on_interface(name);
        let finding = match self.forwards_now {
            true => finding.change(kind, location, state, now),
            false => finding.evidence(kind, location, state),
        };
        finding
            .evidence(kind, format!("{bridge} stp_state"), if self.spanning_tree { "on" } else { "off" })
            .with_remedies(self.remedies())
    }

    fn remedies(&self) -> Vec<Remedy> {
        let Self { name, bridge, .. } = self;
        let shorter = format!("`ip link set dev {bridge} type bridge forward_delay 400` (4 s)");
        let advice = match (self.spanning_tree, self.state) {
            (true, _) if self.forwards_now => format!(
                "Examine the group again, now that the port forwards. To make ports forward sooner, shorten the delay of spanning tree: {shorter}."
            ),
            (false, _) if self.forwards_now => {
                "Examine the group again, now that the port forwards.".to_owned()
            }
            (true, PortState::Disabled) => format!(
                "Find out why spanning tree disabled the port ({name}): its program's log, or a BPDU on a port with `guard on`."
            ),
            (true, _) => format!(
                "Wait for spanning tree, or shorten the delay: {shorter}. On a bridge without redundant links, spanning tree may be turned off."
            ),
            (false, _) => {
                let scope = RemedyScope::new(format!("all traffic of {name}")).warning(
                    "make sure first that the port closes no loop: without spanning tree, nothing else breaks it",
                );
                let forward = Remedy::now(Tool::Bridge, ["link", "set", "dev", name, "state", "3"]);
                return vec![forward.with_scope(scope)];
            }
        };
        vec![Remedy::advice(Tool::Network, advice)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{flow, severities};
    use crate::forwarding::tests::{TO, bridged};
    use crate::snapshot::BridgePort;
    use crate::wire::Tap;

    #[test]
    fn isolation_is_serious_only_if_a_flow_does_not_pass() {
        let mut observation = bridged(0, |_, port| port.isolated = true);
        assert_eq!(severities(&PORT_ISOLATED, &observation), [Severity::Warning]);
        observation.wire.ports.flows.clear();
        assert_eq!(severities(&PORT_ISOLATED, &observation), [Severity::Note]);
        assert_eq!(severities(&PORT_ISOLATED, &bridged(10, |_, _| {})), []);
    }

    #[test]
    fn lock_is_a_fault_if_a_flow_does_not_pass_it() {
        let locked = |forwarded| {
            let observation = bridged(forwarded, |_, port| (port.locked, port.hosts) = (true, 1));
            severities(&PORT_LOCKED, &observation)
        };
        assert_eq!((locked(0), locked(10)), (vec![Severity::Fault], vec![]));
    }

    fn severities_of_state(state: PortState, spanning_tree: bool, frames: bool) -> Vec<Severity> {
        let mut observation = bridged(0, |bridge, port| {
            (bridge.spanning_tree, port.state) = (spanning_tree, state);
        });
        if !frames {
            observation.wire.ports.flows.clear();
        }
        port_not_forwarding(&observation).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn redundant_links_are_blocked_on_purpose() {
        assert_eq!(severities_of_state(PortState::Blocking, true, true), []);
        assert_eq!(severities_of_state(PortState::Blocking, false, false), [Severity::Fault; 2]);
    }

    #[test]
    fn port_that_is_coming_up_is_a_fault_only_if_it_loses_datagrams() {
        assert_eq!(severities_of_state(PortState::Learning, true, false), [Severity::Warning; 2]);
        assert_eq!(severities_of_state(PortState::Learning, true, true), [Severity::Fault; 2]);
        assert_eq!(severities_of_state(PortState::Learning, false, false), [Severity::Fault; 2]);
        assert_eq!(severities_of_state(PortState::Listening, true, false), [Severity::Warning; 2]);
        assert_eq!(severities_of_state(PortState::Forwarding, true, true), []);
    }

    #[test]
    fn port_that_spanning_tree_disabled_is_a_fault() {
        assert_eq!(severities_of_state(PortState::Disabled, true, false), [Severity::Fault; 2]);
        let observation = bridged(0, |bridge, port| {
            (bridge.spanning_tree, port.state) = (true, PortState::Disabled);
        });
        let [remedy] = &port_not_forwarding(&observation)[0].remedies[..] else { panic!("one remedy") };
        assert_eq!(remedy.command(), None);
    }

    /// Returns what is found if both ports have begun to forward, and this many of 10 datagrams left, and reached the bridge.
    fn opened(from: PortState, left: usize, reached: usize) -> Vec<Finding> {
        let mut observation = bridged(left, |_, port| port.state = from);
        let bridge = observation.after.links[3].clone();
        observation.wire.taps.push(Tap::on(&bridge));
        let mut passed = flow(bridge.index(), "10.9.0.1:6000", TO);
        passed.datagrams = reached as u64;
        observation.wire.flows.push(passed);
        for link in &mut observation.after.links[1..3] {
            link.port = Some(BridgePort { floods_multicast: true, ..BridgePort::default() });
        }
        port_not_forwarding(&observation)
    }

    #[test]
    fn port_that_has_begun_to_forward_is_a_fault_only_if_it_lost_datagrams() {
        for from in [PortState::Learning, PortState::Blocking] {
            let [ingress, egress] = &opened(from, 2, 10)[..] else { panic!("the flow passes two ports") };
            assert_eq!((ingress.severity, egress.severity), (Severity::Fault, Severity::Fault));
            assert!(ingress.cause.contains(&format!("state was {from}")), "{}", ingress.cause);
            assert_eq!(ingress.remedies[0].command(), None, "nothing is left to set");
            assert_eq!(opened(from, 10, 10), []);
        }
        let [ingress] = &opened(PortState::Learning, 10, 2)[..] else {
            panic!("it did not reach the bridge")
        };
        assert_eq!(ingress.subject.interface.as_deref(), Some("eth0"));
    }
}
