//! Interfaces that are down, were deleted and created again, or do not exist.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mcast::{ErrorKind, Family, InterfaceSelector};

use super::{Cause, Check, routes, sending_sockets};
use crate::finding::list;
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{Observation, Program, ProgramSocket, TrialMembership, index_of};
use crate::outcome::PrintedErrorKind;
use crate::snapshot::Link;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool, remedies};

/// The interface is down or has no carrier.
pub(super) const INTERFACE_DOWN: Cause =
    Cause::new(Check::Observation(interface_down), &[]).offering(|on| remedies::linux::bring_up(&on.link));

fn interface_down(observation: &Observation) -> Vec<Finding> {
    if let Some(program) = observation.program() {
        let is_cut_off = is_cut_off(observation, program);
        let findings = if is_cut_off { none_usable(observation) } else { of_program(observation, program) };
        return with_sending(observation, findings);
    }
    let Some(trial) = observation.trial() else {
        return if observation.is_about_machine() { none_usable(observation) } else { Vec::new() };
    };
    if trial.failed_with(ErrorKind::NoUsableInterface).is_some() {
        return none_usable(observation)
            .into_iter()
            .map(|finding| finding.for_group(trial.destination()))
            .collect();
    }
    let refused = trial.failed_with(ErrorKind::InterfaceDown).and_then(|failure| failure.interface.clone());
    let joined: Vec<_> = trial.joined.iter().filter_map(|index| observation.after.link(*index)).collect();
    // If one of several interfaces has no carrier, that is normal: a container bridge without containers, say.
    let without_carrier = joined.iter().filter(|_| joined.iter().all(|link| !link.interface.running));
    let mut names: Vec<_> =
        refused.into_iter().chain(without_carrier.map(|link| link.name().to_owned())).collect();
    names.dedup();
    let links = names.iter().filter_map(|name| observation.after.link_named(name));
    let mut findings: Vec<_> = links.map(|link| unusable(link).for_group(trial.destination())).collect();
    if findings.is_empty() && trial.failures.is_empty() {
        findings = may_arrive_elsewhere(observation, trial);
    }
    with_sending(observation, findings)
}

/// Adds the interfaces that do not work, and by which the examined datagrams should leave: the kernel drops them before they are
/// captured, while this machine receives its own copies.
fn with_sending(observation: &Observation, mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut cut_off = BTreeMap::<_, (&Link, Vec<&KernelDrop>)>::new();
    for drop in observation.dropped_sending(|drop| drop.reason.starts_with("QDISC_")) {
        let link = drop.interface.and_then(|index| observation.after.link(index));
        if let Some(link) = link.filter(|link| !link.interface.running) {
            cut_off.entry((link.index(), drop.destination)).or_insert((link, Vec::new())).1.push(drop);
        }
    }
    let is_named = |found: &[Finding], link: &Link| {
        found.iter().any(|own| own.severity == Severity::Fault && own.subject.has_interface(link.name()))
    };
    for ((_, to), (link, drops)) in cut_off {
        if !is_named(&findings, link) {
            findings.push(unusable(link).for_group(to).with_all_evidence(evidence(drops)));
        }
    }
    findings
}

/// Returns warnings about interfaces on which a silent group may arrive once they work: those with an address, if the
/// membership names no interface.
fn may_arrive_elsewhere(observation: &Observation, trial: &TrialMembership) -> Vec<Finding> {
    let names_one = !matches!(trial.membership.interface, None | Some(InterfaceSelector::All));
    let is_seen = observation.wire.flows.iter().any(|flow| flow.key.group == trial.group().addr());
    if names_one || is_seen || observation.received_anything() {
        return Vec::new();
    }
    let family = trial.group().family();
    let is_unusable = |link: &&Link| {
        let is_broken = !link.interface.up || !link.interface.running;
        // A bridge without ports has no carrier, and IPv6 addresses vanish with the link.
        is_broken
            && link.bridge.is_none()
            && !link.interface.loopback
            && link.interface.port_of.is_none()
            && (link.has_address(family) || link.has_address(Family::V4))
    };
    let warning =
        |link| Finding { severity: Severity::Warning, ..unusable(link).for_group(trial.destination()) };
    observation.after.links.iter().filter(is_unusable).map(warning).collect()
}

/// Returns a finding for each group of a program that it has joined only on interfaces that are down or have no carrier.
fn of_program(observation: &Observation, program: &Program) -> Vec<Finding> {
    let mut groups = BTreeMap::<_, BTreeMap<_, &Link>>::new();
    for interest in observation.interests() {
        if let Some(link) = observation.link(interest.interface) {
            groups.entry(interest.destination()).or_default().insert(link.index(), link);
        }
    }
    let is_working = |link: &&Link| link.interface.up && link.interface.running;
    let silent =
        groups.into_iter().filter(|(_, links)| !links.values().copied().any(|link| is_working(&link)));
    let finding = |to: SocketAddr, link| unusable(link).for_group(to).in_program(&program.name);
    silent.flat_map(|(to, links)| links.into_values().map(move |link| finding(to, link))).collect()
}

/// Returns whether the examined program has joined groups at most on the loopback interface, and nothing that it
/// receives or sends was captured.
fn is_cut_off(observation: &Observation, program: &Program) -> bool {
    let interests = observation.interests();
    let is_inside = interests
        .iter()
        .filter_map(|interest| observation.link(interest.interface))
        .all(|link| link.interface.loopback);
    let is_silent = interests.iter().all(|interest| observation.arrivals(interest).is_empty())
        && !observation.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow));
    is_inside && is_silent && !program.sockets.is_empty()
}

/// Returns a finding for every interface that could be used, if no interface is usable.
fn none_usable(observation: &Observation) -> Vec<Finding> {
    let links = || {
        observation
            .after
            .links
            .iter()
            .filter(|link| !link.interface.loopback && link.interface.port_of.is_none())
    };
    let is_usable = |link: &Link| link.interface.up && link.interface.running && link.interface.multicast;
    if links().any(is_usable) {
        return Vec::new();
    }
    let unusable: Vec<_> =
        links().filter(|link| link.interface.multicast || !link.interface.up).map(unusable).collect();
    if !unusable.is_empty() {
        return unusable;
    }
    let off: Vec<_> =
        links().filter(|link| link.interface.up && link.interface.running).map(Link::name).collect();
    if !off.is_empty() {
        return vec![switched_off(&off)];
    }
    let cause =
        "No interface of this machine except the loopback can carry multicast, so no group can reach it.";
    let names = list(observation.after.links.iter().map(Link::name));
    let finding = Finding::fault(Id::InterfaceDown, cause)
        .evidence(EvidenceKind::Interface, "interfaces", names)
        .advise(
            Tool::Network,
            "Connect this machine to a network. If it is a container, start it with a network.",
        );
    vec![finding]
}

/// Returns the finding about interfaces that work, but not for groups.
fn switched_off(names: &[&str]) -> Finding {
    let cause = format!(
        "Multicast is off on {}, and no other interface except the loopback can carry it, so programs find no interface for groups.",
        list(names)
    );
    let commands = list(names.iter().map(|name| format!("`ip link set dev {name} multicast on`")));
    let advice = match cfg!(any(target_os = "linux", target_os = "android")) {
        true => format!("Switch it on where the network carries groups: {commands}."),
        false => "Use an interface to a network that carries multicast: most tunnels do not.".to_owned(),
    };
    let state = |name: &&str| Evidence::new(EvidenceKind::Interface, *name, "up, without the flag MULTICAST");
    Finding::fault(Id::InterfaceDown, cause)
        .on_interfaces(names.iter().copied())
        .with_all_evidence(names.iter().map(state))
        .advise(Tool::Network, advice)
}

pub(super) fn unusable(link: &Link) -> Finding {
    let name = link.name();
    let is_served = link.kind.as_deref() == Some("tun");
    let (description, state) = match link.interface.up {
        true if is_served => ("has no carrier: no program serves the tunnel", "no carrier"),
        true => ("has no carrier: no cable is plugged in, or the other end is down", "no carrier"),
        false => ("is down", "down"),
    };
    let finding = Finding::fault(Id::InterfaceDown, format!("{name} {description}."))
        .on_interface(name)
        .evidence(EvidenceKind::Interface, name, state);
    match link.interface.up {
        true if is_served => finding.advise(
            Tool::Program,
            "Start the program that serves it, such as a VPN client or a virtual machine, or send by another interface.",
        ),
        true => finding.advise(Tool::Network, "Check the cable, the Wi-Fi association and the other end."),
        false => finding.with_remedies(remedies::bring_up(link)),
    }
}

/// The interface was deleted and created again. Memberships belong to its index, so they were lost.
pub(super) const INTERFACE_RECREATED: Cause =
    Cause::new(Check::Observation(interface_recreated), &["RFC 3678 section 4"]);

fn interface_recreated(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    program.sockets.iter().flat_map(|socket| lost(observation, program, socket)).collect()
}

fn lost(observation: &Observation, program: &Program, socket: &ProgramSocket) -> Vec<Finding> {
    let gone = socket.memberships.iter().filter_map(|membership| {
        let before = observation.before.link(index_of(membership)?)?;
        let now = observation.after.link_named(before.name());
        let is_another = now.is_none_or(|now| now.index() != before.index());
        let rejoin = now.is_some_and(|now| {
            socket.memberships_after.iter().any(|later| {
                later.address.group == membership.address.group && index_of(later) == Some(now.index())
            })
        });
        (is_another && !rejoin).then_some((membership, before, now))
    });
    gone.map(|(membership, before, now)| {
        let event = if now.is_some() { "was created again" } else { "was deleted" };
        let index = now.map_or_else(|| "none".to_owned(), |now| now.index().to_string());
        Finding::fault(
            Id::InterfaceRecreated,
            format!("{} {event}, and the membership of {} was lost with the old interface: the program must join again.", before.name(), membership.address.group),
        )
        .concerning(before.name(), membership.address.group)
        .in_program(&program.name)
        .change(EvidenceKind::Interface, format!("index of {}", before.name()), before.index(), index)
        .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("no longer a member of {}", membership.address.group))
        .advise(Tool::Program, "Join again when an interface of that name appears (netlink RTM_NEWLINK). In the mcast library, ReceiverBuilder::follow does this.").advise(Tool::Program, "Until then, restart the program.")
    })
    .collect()
}

/// The program names an interface or an address that this machine does not have.
pub(super) const NO_SUCH_INTERFACE: Cause =
    Cause::new(Check::Observation(no_such_interface), &["RFC 3678 section 4", "ip(7)"]);

fn no_such_interface(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    let printed = judge_no_such_interface(observation, program);
    printed.into_iter().chain(sending_sockets::judge(observation, program)).collect()
}

fn judge_no_such_interface(observation: &Observation, program: &Program) -> Option<Finding> {
    let failed = |kind| program.failed_with(kind, &observation.wire).first().copied();
    let foreign = program.arguments.iter().find_map(|argument| foreign_address(observation, argument));
    // Without a route, a join that names no interface fails in the same way.
    let is_routed = routes::missing_routes(observation).next().is_none();
    let refused_bind = failed(PrintedErrorKind::AddressUnavailable);
    let refused_join = || failed(PrintedErrorKind::NoDevice).filter(|_| is_routed || foreign.is_some());
    let error = refused_bind.or_else(refused_join)?;
    let severity = if is_routed || refused_bind.is_some() { Severity::Fault } else { Severity::Warning };
    let what = match foreign {
        Some(address) => format!("{address}, which is not an address of this machine"),
        None => "an interface or an address that this machine does not have".to_owned(),
    };
    let own = observation.after.links.iter().filter(|link| link.is_of_the_host()).map(|link| {
        let addresses = link.interface.addresses.iter().map(|own| own.address);
        Evidence::new(EvidenceKind::Interface, link.name(), list(addresses))
    });
    let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
    let finding = Finding::new(
        Id::NoSuchInterface,
        severity,
        format!("{} was refused a bind or a join: it names {what}.", program.name),
    )
    .in_program(&program.name)
    .with_evidence(answer)
    .with_all_evidence(own)
    .advise(
        Tool::Program,
        "Give the program the name or an address of one of these interfaces. In its code, choose interfaces by index (ip_mreqn.imr_ifindex, MCAST_JOIN_GROUP).",
    );
    Some(finding)
}

/// Returns a unicast address in an argument that no interface has.
fn foreign_address(observation: &Observation, argument: &str) -> Option<IpAddr> {
    let is_part = |character: char| character.is_ascii_hexdigit() || ".:".contains(character);
    let words = argument.split(|character| !is_part(character));
    let addresses = words.flat_map(|word| {
        // An address alone, before a port, or between colons.
        let host = word.rsplit_once(':').map(|(host, _)| host);
        [Some(word), host]
            .into_iter()
            .flatten()
            .chain(word.split(':'))
            .filter_map(|word| word.parse::<IpAddr>().ok())
    });
    let is_usable = |address: &IpAddr| !address.is_multicast() && !address.is_unspecified();
    let mut foreign = addresses.filter(|address| is_usable(address) && !observation.before.is_own(*address));
    foreign.next()
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, joined_socket, machine, membership, program};

    #[test]
    fn machine_without_usable_interface_is_a_fault() {
        let outcome = |change: fn(&mut crate::snapshot::Snapshot)| {
            let mut observation = Observation { after: machine(), ..Observation::default() };
            change(&mut observation.after);
            interface_down(&observation).into_iter().map(|finding| finding.cause).collect::<Vec<_>>()
        };
        assert_eq!(outcome(|_| {}), Vec::<String>::new());
        assert_eq!(
            outcome(|machine| machine.links[1].interface.up = false),
            Vec::<String>::new(),
            "eth1 is left"
        );
        let down = outcome(|machine| {
            machine.links.truncate(2);
            machine.links[1].interface.up = false;
        });
        assert_eq!(down, ["eth0 is down."]);
        let none = outcome(|machine| machine.links.truncate(1));
        assert!(none[0].contains("except the loopback"), "{none:?}");
    }

    #[test]
    fn silent_group_may_arrive_on_an_interface_that_is_down() {
        use super::super::fixtures::flow;

        let outcome = |flows, selector| {
            let mut observation = membership("239.1.2.3:5000", flows, 0);
            observation.trial_mut().membership.interface = selector;
            observation.after.links[2].interface.up = false;
            interface_down(&observation)
        };
        let findings = outcome(Vec::new(), None);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.severity, finding.cause.as_str()), (Severity::Warning, "eth1 is down."));
        assert_eq!(outcome(Vec::new(), Some(InterfaceSelector::Index(ETH0))), []);
        assert_eq!(outcome(vec![flow(ETH0, "10.9.0.1:6000", "239.1.2.3:5000")], None), []);
    }

    #[test]
    fn one_of_several_without_carrier_is_not_reported() {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.trial_mut().joined = vec![ETH0, ETH1];
        observation.after.links[1].interface.running = false;
        assert_eq!(interface_down(&observation), []);
        observation.after.links[2].interface.running = false;
        assert_eq!(interface_down(&observation).len(), 2);
    }

    #[test]
    fn program_whose_interfaces_are_all_down_gets_nothing() {
        let sockets = [ETH0, ETH1].map(|interface| joined_socket(interface, SourceFilter::ANY));
        let mut observation = program(sockets.into(), Vec::new());
        assert_eq!(interface_down(&observation), []);
        observation.after.links[1].interface.up = false;
        assert_eq!(interface_down(&observation), [], "eth1 is left");
        observation.after.links[2].interface.running = false;
        let causes: Vec<_> = interface_down(&observation).into_iter().map(|finding| finding.cause).collect();
        assert_eq!(
            causes,
            ["eth0 is down.", "eth1 has no carrier: no cable is plugged in, or the other end is down."]
        );
    }

    #[test]
    fn foreign_address_is_found_in_arguments() {
        let observation = program(Vec::new(), Vec::new());
        let found = |argument| foreign_address(&observation, argument).map(|address| address.to_string());
        assert_eq!(found("udp://@239.1.2.3:5000?localaddr=10.9.0.99").as_deref(), Some("10.9.0.99"));
        assert_eq!(found("ip-add-membership=239.1.2.3:10.7.0.1,reuseaddr").as_deref(), Some("10.7.0.1"));
        assert_eq!(found("10.9.0.99:5000").as_deref(), Some("10.9.0.99"));
        assert_eq!(found("0.0.0.0:5000 10.9.0.2 239.1.2.3"), None);
    }
}
