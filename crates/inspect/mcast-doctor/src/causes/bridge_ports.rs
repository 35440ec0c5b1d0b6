//! Bridges and their ports: what they do not forward, and ports that are down or have been taken out.

use std::net::IpAddr;

use super::scope_section::Placeholders;
use super::{Cause, Check};
use crate::action;
use crate::change::{Attribute, Change};
use crate::fate::forwarding::{Barrier, BlockedFlow, is_link_local};
use crate::finding::list;
use crate::observation::{Interest, Observation};
use crate::remedies::port_option;
use crate::snapshot::{Link, PortState};
use crate::wire::Flow;
use crate::{
    Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies,
};

/// Two ports of a bridge are isolated: they exchange no frames with each other.
pub(super) const PORT_ISOLATED: Cause =
    Cause::new(Check::Observation(port_isolated), &["bridge(8): isolated"])
        .without_loss()
        .offering(|on| vec![end_isolation(on.name())]);

fn port_isolated(observation: &Observation) -> Vec<Finding> {
    let blocked = observation.blocked_flows(Barrier::Isolation);
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
        "{} forwards nothing between its ports {names}, which are isolated: a group that a host behind one of them sends does not reach members behind the others.",
        bridge.name()
    );
    let member = member.map(|port| {
        let location = format!("bridge mdb show dev {}", bridge.name());
        Evidence::new(EvidenceKind::Table, location, format!("members behind {}", port.name()))
    });
    Some(
        Finding::new(Id::PortIsolated, severity, cause)
            .on_interfaces(ports.iter().map(|port| port.name()))
            .evidence(EvidenceKind::Setting, format!("{names} isolated"), "on")
            .with_all_evidence(member)
            .with_remedies([end_isolation(first.name())]),
    )
}

fn end_isolation(port: &str) -> Remedy {
    let scope = RemedyScope::new(format!("all traffic between {port} and other isolated ports")).warning(
        "the isolation may be intended: without it, the hosts behind this port can reach those behind the others with any protocol",
    );
    Remedy::now_changing(Tool::Bridge, port_option(port, "isolated", "off")).with_scope(scope)
}

/// A bridge port is locked: it accepts frames only from hosts that were entered in the forwarding table.
pub(super) const PORT_LOCKED: Cause =
    Cause::new(Check::Observation(port_locked), &["IEEE 802.1X", "bridge(8): locked"])
        .offering(|on| vec![admit_host(on.name(), Placeholders::MAC)]);

fn port_locked(observation: &Observation) -> Vec<Finding> {
    let blocked = observation.blocked_flows(Barrier::Lock);
    let findings = blocked.iter().map(|blocked| {
        let from = blocked.first.from.name();
        let macs = blocked.first.flow.mac_list();
        Finding::fault(
            Id::PortLocked,
            format!("{}, because {from} is locked and accepts no frames from {macs}.", blocked.sentence()),
        )
        .concerning(from, blocked.first.flow.destination())
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
                format!(
                    "The port {name} is locked and no host behind it is admitted, so it passes no frames."
                ),
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
    let admitted = Change::Host { mac: mac.to_owned(), port: port.to_owned(), is_there: true };
    match mac {
        "MAC" => Remedy::advice(
            Tool::Bridge,
            format!("Admit a host by its Ethernet address: `{}`.", action::command_line(&admitted.actions())),
        ),
        _ => Remedy::now_changing(Tool::Bridge, admitted).with_scope(
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
    // Spanning tree blocks a port on purpose where there is a loop.
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
    Some(finding.with(group, Finding::for_group))
}

/// Returns the flows that do not pass because of the state of a port.
fn blocked_at<'a>(observation: &'a Observation, port: &Link) -> Vec<BlockedFlow<'a>> {
    let obstacles = [Barrier::IngressState, Barrier::EgressState].into_iter();
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
            true => " Spanning tree lets it forward after its forward delay, 15 s for each state.",
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
        let finding = Finding::new(Id::PortNotForwarding, severity, cause).on_interface(*name);
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
                "Wait for spanning tree, or shorten the delay: {shorter}. On a bridge without redundant links, you can turn spanning tree off."
            ),
            (false, _) => {
                let scope = RemedyScope::new(format!("all traffic of {name}")).warning(
                    "first check that the port closes no loop: without spanning tree, nothing else breaks it",
                );
                let forward = Remedy::now_changing(Tool::Bridge, port_option(name, "state", "3"));
                return vec![forward.with_scope(scope)];
            }
        };
        vec![Remedy::advice(Tool::Network, advice)]
    }
}

pub(super) const PORT_MISSING: Cause =
    Cause::new(Check::Observation(port_missing), &["bridge(8)", "ip-link(8): master"]).offering(|on| {
        let mut offers = remedies::linux::bring_up(&on.link);
        offers.push(put_back(on.name(), on.bridge.name()));
        offers
    });

/// Fewer frames come in by any interface that is up.
const MIN_FRAMES: u64 = 3;

fn port_missing(observation: &Observation) -> Vec<Finding> {
    let down = observation.after.links.iter().filter_map(|port| down(observation, port));
    let interests = observation.interests();
    let outside = interests.iter().filter_map(|interest| outside(observation, interest));
    let idle = observation.after.links.iter().filter(|_| observation.is_about_machine());
    let idle = idle.filter_map(|link| beside_ports(observation, link));
    down.chain(outside).chain(idle).collect()
}

/// Judges an interface that nothing uses, on a switch whose other interfaces of this kind are ports of a bridge. A machine
/// that has an address on the bridge is more than a switch, and may have a spare interface.
fn beside_ports(observation: &Observation, link: &Link) -> Option<Finding> {
    let is_idle =
        observation.is_unused(link) && !link.is_promiscuous && link.statistics.received >= MIN_FRAMES;
    let same_kind = observation.after.links.iter().filter(|port| port.kind == link.kind);
    let ports: Vec<_> = same_kind.filter_map(|port| Some((port, observation.bridge_of(port)?.0))).collect();
    let (port, bridge) = *ports.first().filter(|_| is_idle)?;
    let has_address = bridge.interface.addresses.iter().any(|own| !is_link_local(own.address));
    let same_name = ports.iter().filter(|(port, _)| stem(port.name()) == stem(link.name())).count();
    if has_address && same_name < 2 {
        return None;
    }
    let (name, of, frames) = (link.name(), bridge.name(), link.statistics.received);
    let cause = format!(
        "{name} is up and has received {frames} frames, but nothing uses it: it has no address and, unlike {}, is not a port of {of}. Hosts and routers behind it exchange no groups with the ports of {of}.",
        port.name()
    );
    let finding = finding(link, bridge, Severity::Warning, cause);
    Some(finding.evidence(EvidenceKind::Interface, port.name(), format!("port of {of}")))
}

/// Returns the name of an interface up to its first digit, which interfaces of one kind have in common.
fn stem(name: &str) -> &str {
    name.split(|character: char| character.is_ascii_digit()).next().unwrap_or(name)
}

/// Judges a port that is down: whether it was in use, and whether an examined group is joined on its bridge.
fn down(observation: &Observation, port: &Link) -> Option<Finding> {
    let (bridge, _) = observation.bridge_of(port).filter(|(bridge, _)| bridge.interface.up)?;
    let was_up = observation.before.link(port.index()).is_some_and(|before| before.interface.up);
    let frames = port.statistics.received;
    let interests = observation.interests();
    let interest = interests.iter().find(|interest| interest.interface == bridge.index());
    let is_examined = observation.is_about_machine() || interest.is_some();
    // A port by which nothing ever came in is not used.
    if port.interface.up || !is_examined || !(was_up || frames > 0) {
        return None;
    }
    let (name, of) = (port.name(), bridge.name());
    let (since, severity) = match was_up {
        true => ("went down while the doctor listened", Severity::Fault),
        false => ("is down", Severity::Warning),
    };
    let cause = format!(
        "{name}, a port of {of}, {since}: hosts and routers behind it exchange no groups with the other ports. It had received {frames} frames before."
    );
    let finding = Finding::new(Id::PortMissing, severity, cause)
        .on_interface(name)
        .evidence(EvidenceKind::Interface, name, format!("down, port of {of}, {frames} frames received"))
        .with_remedies(remedies::bring_up(port));
    Some(finding.with(interest.map(Interest::destination), Finding::for_group))
}

/// Judges a group that is joined on a bridge: whether its source or a member of it is behind an interface that nothing
/// uses, and that was probably a port of the bridge.
fn outside(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let bridge = observation.link(interest.interface).filter(|link| link.bridge.is_some())?;
    source_outside(observation, interest, bridge).or_else(|| member_outside(observation, interest, bridge))
}

fn source_outside(observation: &Observation, interest: &Interest<'_>, bridge: &Link) -> Option<Finding> {
    let inside: Vec<_> = observation.arrivals(interest).iter().map(|flow| flow.key.source).collect();
    let mut flows = observation.wire.incoming(interest.group.addr());
    // What also arrives on the bridge is a copy, as of a mirrored port.
    let (flow, port) = flows.find_map(|flow| {
        let port = observation.link(flow.key.interface).filter(|link| observation.is_unused(link))?;
        let is_wanted = flow.destination() == interest.destination()
            && flow.key.vlan.is_none()
            && interest.sources.admits(flow.key.source.ip())
            && !inside.contains(&flow.key.source);
        is_wanted.then_some((flow, port))
    })?;
    let (to, source) = (interest.destination(), flow.key.source);
    let cause = format!(
        "{to} from {source} arrives on {}, which is not a port of {}, on which it is joined. No address and no other interface uses {}.",
        port.name(),
        bridge.name(),
        port.name()
    );
    let explained = ExplainedFlow { destination: to, source: None, interface: bridge.name().to_owned() };
    let finding = finding(port, bridge, Severity::Fault, cause)
        .for_group(to)
        .from_source(source)
        .explaining([explained])
        .with_evidence(observation.packets_of(flow));
    Some(finding)
}

fn member_outside(observation: &Observation, interest: &Interest<'_>, bridge: &Link) -> Option<Finding> {
    let group = interest.group.addr();
    let reports =
        || observation.wire.control.iter().filter(|packet| !packet.outgoing && packet.message.joins(group));
    let inside: Vec<IpAddr> =
        reports().filter(|packet| packet.interface == bridge.index()).map(|packet| packet.source).collect();
    let (port, host) = reports().find_map(|packet| {
        let port = observation.link(packet.interface).filter(|link| observation.is_unused(link))?;
        (!inside.contains(&packet.source)).then_some((port, packet.source))
    })?;
    let is_sent = observation.wire.outgoing(group).any(|flow| flow.key.interface == port.index());
    let sources = list(observation.arrivals(interest).iter().map(|flow| flow.key.source));
    if is_sent || sources.is_empty() || interest.group.scope().stays_on_link() {
        return None;
    }
    let (to, name, of) = (interest.destination(), port.name(), bridge.name());
    let cause = format!(
        "{host} behind {name} has joined {group}, which arrives on {of} from {sources}. {name} is not a port of {of}, so the group does not reach {host}."
    );
    let report = Evidence::new(EvidenceKind::Packet, name, format!("a report for {group} from {host}"));
    Some(finding(port, bridge, Severity::Fault, cause).for_group(to).with_evidence(report))
}

fn finding(port: &Link, bridge: &Link, severity: Severity, cause: String) -> Finding {
    let (name, of) = (port.name(), bridge.name());
    Finding::new(Id::PortMissing, severity, cause)
        .on_interface(name)
        .evidence(EvidenceKind::Interface, name, "up, without an address, port of no bridge")
        .with_remedies([put_back(name, of)])
        .advise(
            Tool::Network,
            format!("Permanently: list {name} among the ports of {of} where {of} is configured (systemd-networkd: `Bridge={of}` in the file of {name}; NetworkManager: `nmcli connection add type bridge-slave ifname {name} master {of}`)."),
        )
}

/// Makes an interface a port of a bridge.
fn put_back(port: &str, bridge: &str) -> Remedy {
    let scope = RemedyScope::new(format!("all traffic of {port} and {bridge}")).warning(
        "it may have been removed on purpose; first check that it closes no loop, and that no other program uses it",
    );
    Remedy::now_changing(Tool::Ip, Change::interface(port, Attribute::Master, bridge)).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, control, flow, machine, report, severities};
    use super::*;
    use crate::fate::forwarding::tests::{TO, bridged, on_bridge};
    use crate::observation::ExaminationTarget;
    use crate::snapshot::BridgePort;
    use crate::wire::{ControlPacket, Tap};

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
        assert_eq!(ingress.subject.interface().as_deref(), Some("eth0"));
    }

    /// Returns the examination of a bridge of which `eth1` is not a port any more.
    fn taken_out(change: impl FnOnce(&mut Observation)) -> Vec<Severity> {
        let mut observation = on_bridge(bridged(0, |_, _| {}));
        for link in &mut observation.after.links[2..3] {
            (link.port, link.interface.port_of) = (None, None);
            link.interface.addresses.clear();
        }
        change(&mut observation);
        severities(&PORT_MISSING, &observation)
    }

    #[test]
    fn port_that_was_in_use_and_is_down_is_a_warning() {
        let outcome = |up_before, received| {
            let mut observation = on_bridge(bridged(0, |_, _| {}));
            observation.before.links[2].interface.up = up_before;
            observation.after.links[2].interface.up = false;
            observation.after.links[2].statistics.received = received;
            severities(&PORT_MISSING, &observation)
        };
        assert_eq!((outcome(false, 0), outcome(false, 7)), (vec![], vec![Severity::Warning]));
        assert_eq!(outcome(true, 7), [Severity::Fault]);
    }

    #[test]
    fn port_that_is_down_does_not_concern_a_group_on_another_interface() {
        let mut observation = bridged(0, |_, _| {});
        observation.after.links[2].interface.up = false;
        observation.after.links[2].statistics.received = 7;
        assert_eq!(severities(&PORT_MISSING, &observation), []);
        observation.target = ExaminationTarget::Machine;
        observation.before = observation.after.clone();
        assert_eq!(severities(&PORT_MISSING, &observation), [Severity::Warning]);
    }

    #[test]
    fn idle_interface_beside_the_ports_of_a_switch_is_a_warning() {
        let outcome = |change: fn(&mut Link, &mut Link)| {
            let mut observation = bridged(0, |_, _| {});
            let [_, _, port, bridge] = &mut observation.after.links[..] else { panic!() };
            (port.port, port.interface.port_of) = (None, None);
            port.interface.addresses.clear();
            port.statistics.received = 100;
            change(port, bridge);
            observation.target = ExaminationTarget::Machine;
            severities(&PORT_MISSING, &observation)
        };
        assert_eq!(outcome(|_, _| {}), [Severity::Warning]);
        assert_eq!(outcome(|port, _| port.is_promiscuous = true), [], "captures a mirrored port");
        assert_eq!(outcome(|port, _| port.statistics.received = 0), [], "not connected");
        assert_eq!(outcome(|port, _| port.kind = Some("tun".into())), [], "another kind");
        let host = |_: &mut Link, bridge: &mut Link| {
            bridge.interface.addresses = machine().links[1].interface.addresses.clone();
        };
        assert_eq!(outcome(host), [], "a host with a spare interface");
    }

    #[test]
    fn sender_behind_an_interface_outside_the_bridge_is_a_fault() {
        let sent =
            |observation: &mut Observation| observation.wire.flows = vec![flow(ETH1, "10.9.0.1:6000", TO)];
        assert_eq!(taken_out(sent), [Severity::Fault]);
        assert_eq!(taken_out(|_| {}), []);
        let addressed = |observation: &mut Observation| {
            sent(observation);
            observation.after.links[2].interface.addresses = machine().links[2].interface.addresses.clone();
        };
        assert_eq!(taken_out(addressed), [], "the host uses it");
        let mirrored = |observation: &mut Observation| {
            sent(observation);
            let bridge = observation.interests()[0].interface;
            observation.wire.flows.push(flow(bridge, "10.9.0.1:6000", TO));
        };
        assert_eq!(taken_out(mirrored), [], "a copy");
    }

    #[test]
    fn member_behind_an_interface_outside_the_bridge_is_a_fault_if_the_group_arrives() {
        let joined = |arrives: bool| {
            taken_out(|observation| {
                let bridge = observation.interests()[0].interface;
                let (time, _) = observation.wire.span.unwrap();
                let packet = control(time, "10.9.0.9", report("239.1.2.3"));
                observation.wire.control = vec![ControlPacket { interface: ETH1, ..packet }];
                let interface = if arrives { bridge } else { ETH0 };
                observation.wire.flows = vec![flow(interface, "10.9.0.1:6000", TO)];
            })
        };
        assert_eq!((joined(true), joined(false)), (vec![Severity::Fault], vec![]));
    }
}
