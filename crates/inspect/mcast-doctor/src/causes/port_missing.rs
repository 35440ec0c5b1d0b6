//! A port of a bridge is down, or an interface has been taken out of a bridge: hosts and routers behind it are cut off.

use std::net::IpAddr;

use super::{Cause, Check};
use crate::finding::list;
use crate::forwarding::is_link_local;
use crate::observation::{Interest, Observation};
use crate::snapshot::Link;
use crate::{
    Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies,
};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["bridge(8)", "ip-link(8): master"])
    .offering(|on| {
        let mut offers = remedies::linux::bring_up(&on.link);
        offers.push(put_back(on.name(), on.bridge.name()));
        offers
    });

/// Fewer frames come in by any interface that is up.
const MIN_FRAMES: u64 = 3;

fn check(observation: &Observation) -> Vec<Finding> {
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
        "{name} is up, and {frames} frames have come in by it, but nothing uses it: it has no address and is not a port of {of}, as {} is. Hosts and routers behind it neither send groups to the ports of {of} nor receive any.",
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
        "{name}, a port of {of}, {since}: hosts and routers behind it neither send groups to the other ports nor receive any. {frames} frames have come in by it before."
    );
    let finding = Finding::new(Id::PortMissing, severity, cause)
        .on_interface(name)
        .evidence(EvidenceKind::Interface, name, format!("down, port of {of}, {frames} frames received"))
        .with_remedies(remedies::bring_up(port));
    Some(match interest {
        Some(interest) => finding.for_group(interest.destination()),
        None => finding,
    })
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
        "it may have been taken out on purpose; make sure first that it closes no loop, and that no other program uses it",
    );
    Remedy::now(Tool::Ip, ["link", "set", "dev", port, "master", bridge]).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, control, flow, machine, report, severities};
    use crate::forwarding::tests::{TO, bridged, on_bridge};
    use crate::observation::ExaminationTarget;
    use crate::wire::ControlPacket;

    /// Returns the examination of a bridge of which `eth1` is not a port any more.
    fn taken_out(change: impl FnOnce(&mut Observation)) -> Vec<Severity> {
        let mut observation = on_bridge(bridged(0, |_, _| {}));
        for link in &mut observation.after.links[2..3] {
            (link.port, link.interface.port_of) = (None, None);
            link.interface.addresses.clear();
        }
        change(&mut observation);
        severities(&CAUSE, &observation)
    }

    #[test]
    fn port_that_was_in_use_and_is_down_is_a_warning() {
        let outcome = |up_before, received| {
            let mut observation = on_bridge(bridged(0, |_, _| {}));
            observation.before.links[2].interface.up = up_before;
            observation.after.links[2].interface.up = false;
            observation.after.links[2].statistics.received = received;
            severities(&CAUSE, &observation)
        };
        assert_eq!((outcome(false, 0), outcome(false, 7)), (vec![], vec![Severity::Warning]));
        assert_eq!(outcome(true, 7), [Severity::Fault]);
    }

    #[test]
    fn port_that_is_down_does_not_concern_a_group_on_another_interface() {
        let mut observation = bridged(0, |_, _| {});
        observation.after.links[2].interface.up = false;
        observation.after.links[2].statistics.received = 7;
        assert_eq!(severities(&CAUSE, &observation), []);
        observation.target = ExaminationTarget::Machine;
        observation.before = observation.after.clone();
        assert_eq!(severities(&CAUSE, &observation), [Severity::Warning]);
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
            severities(&CAUSE, &observation)
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
