//! Sockets whose address, connection or options admit other datagrams than those of the groups they have joined.

use std::collections::BTreeSet;

use mcast::{ErrorKind, Family, Membership};

use super::{Cause, Check, Placeholders, carriers};
use crate::fate::Stage;
use crate::fate::sockets::{Blocked, Refusal};
use crate::kernel_drops::evidence;
use crate::observation::{Interest, Observation, Program, ProgramSocket, index_of};
use crate::outcome::{self, PrintedErrorKind};
use crate::snapshot::{UdpSocket, explains};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool, remedies};

/// The socket has joined a group, but is bound to a unicast address, so it receives only datagrams sent to that
/// address. (On Windows it would receive the group as well.)
pub(super) const BOUND_TO_UNICAST: Cause =
    Cause::new(Check::Blocked(bound_to_unicast), &["RFC 3678 section 4"]).at(Stage::Socket);

fn bound_to_unicast(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    // `connect` sets the local address; binding differently would not help.
    let Refusal::Address(local) = blocked.refusal else { return None };
    if local.ip().is_multicast() || blocked.socket.peer.is_some() {
        return None;
    }
    let cause = format!(
        "The socket has joined {} but is bound to {local}, so it receives only datagrams sent to that address.",
        blocked.to.ip()
    );
    let advice = format!(
        "Bind to the group ({}), or bind to the wildcard address and check the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).",
        blocked.to
    );
    let finding = blocked.finding(observation, Id::BoundToUnicast, cause, format!("bound to {local}"));
    Some(finding.advise(Tool::Program, advice))
}

/// A program has joined a group with a socket that is bound to no port: the kernel delivers nothing to such a socket.
pub(super) const NOT_BOUND: Cause =
    Cause::new(Check::Observation(not_bound), &["ip(7)", "udp(7)"]).at(Stage::Socket);

fn not_bound(observation: &Observation) -> Vec<Finding> {
    let Some(program) = observation.program() else { return Vec::new() };
    // It may have joined for another socket.
    if program.sockets.iter().any(|socket| socket.local.is_some()) {
        return Vec::new();
    }
    let open = program.sockets.iter().filter(|socket| !socket.closed);
    open.flat_map(|socket| {
        let joined = socket.memberships.iter();
        joined.filter_map(move |membership| unbound_finding(observation, socket, membership))
    })
    .collect()
}

fn unbound_finding(
    observation: &Observation,
    socket: &ProgramSocket,
    membership: &Membership,
) -> Option<Finding> {
    let (group, index) = (membership.address.group.addr(), index_of(membership)?);
    let flow = observation.wire.incoming(group).find(|flow| flow.key.interface == index)?;
    let (owner, to) = (&socket.owner, flow.destination());
    // It may have joined for another program, or for what this machine forwards.
    let is_for_others = observation.after.udp_sockets.iter().any(|other| other.local.port() == to.port())
        || observation.link(index).is_some_and(|link| observation.routes_groups(link, Family::of(group)));
    if is_for_others {
        return None;
    }
    let interface = observation.link_name(index);
    let cause = format!(
        "{owner} has joined {group} on {interface} with a socket that is not bound to a port, so it receives nothing."
    );
    // Many programs join with such a socket on purpose, for a switch or a router. It is a fault only where somebody has asked.
    let severity = if observation.is_survey { Severity::Note } else { Severity::Fault };
    let finding = Finding::new(Id::NotBound, severity, cause)
        .concerning(interface, to)
        .in_program(owner)
        .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), "a member, without a port")
        .with_evidence(observation.packets_of(flow));
    let advice = format!("Bind the socket to port {}, to which {group} is sent.", to.port());
    Some(finding.advise(Tool::Program, advice))
}

/// The socket has joined one group but is bound to another, so it does not receive the group that it joined.
pub(super) const BOUND_TO_OTHER_GROUP: Cause =
    Cause::new(Check::Blocked(bound_to_other_group), &["ip(7)"]).at(Stage::Socket);

fn bound_to_other_group(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    let Refusal::Address(local) = blocked.refusal else { return None };
    if !local.ip().is_multicast() {
        return None;
    }
    let (program, group, to) = (blocked.program, blocked.to.ip(), blocked.to);
    let cause = format!(
        "{program} has joined {group} but its socket is bound to {local}, so it receives only what is sent to {}.",
        local.ip()
    );
    let finding = blocked.finding(observation, Id::BoundToOtherGroup, cause, format!("bound to {local}"));
    Some(finding.advise(
        Tool::Program,
        format!("Bind to {to}, or join {} instead. To receive several groups with one socket, bind it to the wildcard address and check the destination of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).", local.ip()),
    ))
}

/// The socket is bound to another interface (`SO_BINDTODEVICE`) than the one on which it has joined the group.
pub(super) const BOUND_TO_OTHER_INTERFACE: Cause =
    Cause::new(Check::Blocked(bound_to_other_interface), &["socket(7): SO_BINDTODEVICE"]).at(Stage::Socket);

fn bound_to_other_interface(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    let Refusal::Interface(bound) = blocked.refusal else { return None };
    let (bound, joined) = (observation.link_name(bound), observation.link_name(blocked.interface));
    let cause = format!(
        "{} has joined {} on {joined}, but its socket is bound to {bound} (SO_BINDTODEVICE), so it receives only from there.",
        blocked.program, blocked.to
    );
    let socket = format!("bound to {bound}, joined on {joined}");
    let finding = blocked.finding(observation, Id::BoundToOtherInterface, cause, socket);
    Some(finding.advise(
        Tool::Program,
        format!("Join on {bound} if the group arrives there; otherwise bind to {joined}, or to no interface. Many programs have an option for it (--interface, bindtodevice, so-bindtodevice)."),
    ))
}

/// The socket is connected, so it receives only from its peer, and only at the address that `connect` chose.
pub(super) const CONNECTED_ELSEWHERE: Cause =
    Cause::new(Check::Blocked(connected_elsewhere), &["udp(7)"]).at(Stage::Socket);

fn connected_elsewhere(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    let peer = blocked.socket.peer?;
    let cause = match blocked.refusal {
        Refusal::Peer(_) if peers_arrive(observation, blocked) => return None,
        Refusal::Peer(_) => {
            let source = blocked.flows.first()?.key.source;
            format!(
                "The socket is connected to {peer}, so it does not receive from {source}, which sends to {}.",
                blocked.to
            )
        }
        Refusal::Address(local) if !local.ip().is_multicast() => {
            format!(
                "The socket is connected to {peer}, which also bound it to {local}: it receives only datagrams sent to that address, and none sent to {}.",
                blocked.to
            )
        }
        _ => return None,
    };
    let finding = blocked.finding(observation, Id::ConnectedElsewhere, cause, format!("connected to {peer}"));
    Some(finding.advise(
        Tool::Program,
        "Do not connect the receiving socket. To admit a single source, join with that source (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP).",
    ))
}

/// Returns whether the peer sends to the group as well: then the socket is connected to it on purpose.
fn peers_arrive(observation: &Observation, blocked: &Blocked<'_>) -> bool {
    let to = |port| port == blocked.to.port();
    let mut flows = observation.wire.incoming(blocked.to.ip());
    flows.any(|flow| to(flow.key.port) && Some(flow.key.source) == blocked.socket.peer)
}

/// The socket receives only groups that it has joined itself, but another socket holds the membership.
pub(super) const OWN_GROUPS_ONLY: Cause =
    Cause::new(Check::Blocked(own_groups_only), &["ip(7): IP_MULTICAST_ALL"])
        .at(Stage::Socket)
        .offering(Placeholders::join);

fn own_groups_only(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    if blocked.refusal != Refusal::Membership {
        return None;
    }
    let (program, group) = (blocked.program, blocked.to.ip());
    let interface = observation.link_name(blocked.interface);
    let is_ipv6_socket = blocked.socket.local.is_some_and(|local| local.is_ipv6());
    let (why, socket) = match (group.is_ipv4(), is_ipv6_socket) {
        (true, true) => (
            "an IPv6 socket receives only the IPv4 groups that it has joined itself",
            "an IPv6 socket, not a member itself",
        ),
        (true, false) => ("IP_MULTICAST_ALL is off", "IP_MULTICAST_ALL off, not a member itself"),
        (false, _) => ("IPV6_MULTICAST_ALL is off", "IPV6_MULTICAST_ALL off, not a member itself"),
    };
    let cause = format!(
        "{group} is joined on {interface} by another socket, and the socket of {program} on port {} does not receive it: {why}.",
        blocked.to.port()
    );
    let finding = blocked.finding(observation, Id::OwnGroupsOnly, cause, socket.to_owned());
    let join = remedies::socket::join(group, blocked.interface, &mcast::SourceFilter::ANY);
    let finding = finding.with_remedies(remedies::socket::change(blocked.socket, &join));
    Some(finding.advise(
        Tool::Program,
        format!("Join {group} on the socket that reads (MCAST_JOIN_GROUP), or turn IP_MULTICAST_ALL (IPV6_MULTICAST_ALL) on there."),
    ))
}

/// The socket has joined a group of one address family and receives only the other.
pub(super) const FAMILY_MISMATCH: Cause =
    Cause::new(Check::Blocked(family_mismatch), &["RFC 3493 section 5.3", "ipv6(7): IPV6_V6ONLY"])
        .at(Stage::Socket);

fn family_mismatch(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    if blocked.refusal != Refusal::Family {
        return None;
    }
    let (program, to, local) = (blocked.program, blocked.to, blocked.socket.local?);
    let (why, advice) = match (blocked.socket.is_v6_only(), to.is_ipv4()) {
        (true, _) => (
            format!("its socket on {local} receives IPv6 only (IPV6_V6ONLY is on)"),
            format!("Turn IPV6_V6ONLY off before bind, or open an IPv4 socket for {}.", to.ip()),
        ),
        (false, true) => (
            format!("its socket is bound to the IPv6 address {local}"),
            format!("Bind to the wildcard address (::), or open an IPv4 socket for {}.", to.ip()),
        ),
        (false, false) => (
            format!("its socket is bound to the IPv4 address {local}"),
            format!("Bind to the wildcard address (::) or to {}.", to.ip()),
        ),
    };
    let cause = format!("{program} has joined {}, but {why}.", to.ip());
    let finding = blocked.finding(observation, Id::FamilyMismatch, cause, why);
    Some(finding.advise(Tool::Program, advice))
}

/// The group arrives, but on another port.
pub(super) const WRONG_PORT: Cause = Cause::new(Check::Interest(wrong_port), &[]).at(Stage::Port);

fn wrong_port(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    membership_of_another_port(observation, interest).or_else(|| carriers::wrong_port(observation, interest))
}

fn membership_of_another_port(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let own_port = |flow: &Flow| flow.key.port == interest.port;
    if observation.wire.incoming(group).any(own_port) || observation.wire.outgoing(group).any(own_port) {
        return None;
    }
    // The same group may be joined on several ports; the datagrams match one of them.
    let is_served = |port| {
        observation.interests().iter().any(|other| other.group == interest.group && other.port == port)
    };
    let other = |flow: &&Flow| {
        flow.key.interface == interest.interface
            && flow.key.vlan.is_none()
            && interest.sources.admits(flow.key.source.ip())
            && !is_served(flow.key.port)
    };
    let is_own = |flow: &&Flow| observation.after.is_own(flow.key.source.ip());
    let sent = observation.wire.outgoing(group).filter(is_own);
    let flow = observation.wire.incoming(group).chain(sent).find(other)?;
    let (actual_port, source) = (flow.key.port, flow.key.source);
    let drops = observation.kernel_drops.drops.iter();
    let unclaimed: Vec<_> = drops.filter(|drop| drop.is_without_socket() && drop.is_of(&flow.key)).collect();
    let is_claimed = !explains(unclaimed.iter().map(|drop| drop.packets).sum(), flow.datagrams);
    // Another program on this machine has that port open and may be the intended receiver.
    let is_open = observation.after.udp_sockets.iter().any(|socket| socket.local.port() == actual_port);
    let severity = if is_open && is_claimed { Severity::Warning } else { Severity::Fault };
    let interface = observation.link_name(interest.interface);
    let actual = std::net::SocketAddr::new(group, actual_port);
    let finding = Finding::new(
        Id::WrongPort,
        severity,
        format!(
            "{source} sends to port {actual_port} of {}, but the membership uses port {}.",
            interest.group, interest.port
        ),
    )
    .about(&interface, interest.destination(), source)
    .evidence(
        EvidenceKind::Packet,
        &interface,
        format!("{} datagrams to {actual}, none to port {}", flow.datagrams, interest.port),
    )
    .with_all_evidence(evidence(unclaimed))
    .advise(
        Tool::Program,
        format!("Bind to port {actual_port}, or have the sender use port {}.", interest.port),
    )
    .with_remedies([remedies::mcast::recv(actual)]);
    Some(finding)
}

/// Another program has the port open and does not share it: `bind` fails with `EADDRINUSE`.
pub(super) const ADDRESS_IN_USE: Cause =
    Cause::new(Check::Observation(address_in_use), &["socket(7): SO_REUSEADDR"]);

fn address_in_use(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let is_of_kernel = carriers::of_port(&observation.before, trial.port()).is_some();
        let failure = trial.failed_with(ErrorKind::AddressInUse).filter(|_| !is_of_kernel);
        let finding = failure.map(|failure| {
            let answer = Evidence::new(EvidenceKind::Answer, "bind", &failure.text);
            address_in_use_finding(observation, &[trial.port()], answer).for_group(trial.destination())
        });
        return finding.into_iter().collect();
    }
    let printed = observation.program().and_then(|program| printed(observation, program));
    printed.into_iter().collect()
}

/// Judges a program that prints the error. The port is in its arguments, or in the line.
fn printed(observation: &Observation, program: &Program) -> Option<Finding> {
    let errors = program.failed_with(PrintedErrorKind::AddressInUse, &observation.wire);
    let error = errors.first()?;
    let arguments = program.arguments.iter().flat_map(|argument| outcome::ports(argument));
    let ports: Vec<_> = error.ports().chain(arguments).collect();
    let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
    let finding = address_in_use_finding(observation, &ports, answer).in_program(&program.name);
    Some(finding.advise(
        Tool::Program,
        "If no program has the port open, the socket has already joined this group on this interface: join once.",
    ))
}

/// Returns the finding about the programs that have one of these ports open.
fn address_in_use_finding(observation: &Observation, ports: &[u16], answer: Evidence) -> Finding {
    let is_one = |socket: &&UdpSocket| ports.contains(&socket.local.port());
    let owners: Vec<_> = observation.before.udp_sockets.iter().filter(is_one).collect();
    let evidence = owners.iter().map(|socket| {
        let programs = match socket.programs.as_slice() {
            [] => "an unidentified program".to_owned(),
            programs => programs.join(", "),
        };
        Evidence::new(EvidenceKind::Socket, format!("{} (socket {})", socket.local, socket.inode), programs)
    });
    // A program may have several sockets there.
    let names: BTreeSet<_> = owners.iter().flat_map(|socket| socket.programs.iter()).cloned().collect();
    let who = if names.is_empty() { "Another program".to_owned() } else { Vec::from_iter(names).join(", ") };
    let only = if let [port] = ports { Some(*port) } else { None };
    let port = owners.first().map(|socket| socket.local.port()).or(only);
    let what = port.map_or_else(|| "the port".to_owned(), |port| format!("UDP port {port}"));
    Finding::fault(Id::AddressInUse, format!("{who} has {what} open and does not share it."))
        .with_evidence(answer)
        .with_all_evidence(evidence)
        .advise(
            Tool::Program,
            "Set SO_REUSEADDR (SO_REUSEPORT on macOS and BSD) before bind in every program that uses the port. One program that does not set it keeps out all others.",
        )
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, joined_socket, kernel_drop, membership, program};
    use crate::observation::ProgramSocket;

    const TO: &str = "239.1.2.3:5000";
    const OTHER: &str = "239.1.2.3:5001";

    fn socket(inode: u64, local: &str, is_joined: bool) -> ProgramSocket {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        (socket.inode, socket.local) = (inode, Some(local.parse().unwrap()));
        socket.memberships.retain(|_| is_joined);
        socket
    }

    #[test]
    fn socket_bound_to_unicast_is_a_fault_unless_another_socket_receives() {
        let joined = socket(1, "10.9.0.2:5000", true);
        assert_eq!(BOUND_TO_UNICAST.judge(&program(vec![joined.clone()], Vec::new())).len(), 1);
        let receives = socket(2, "0.0.0.0:5000", false);
        assert_eq!(BOUND_TO_UNICAST.judge(&program(vec![joined.clone(), receives], Vec::new())), []);
        let another_port = socket(2, "0.0.0.0:5001", false);
        assert_eq!(BOUND_TO_UNICAST.judge(&program(vec![joined, another_port], Vec::new())).len(), 1);
    }

    #[test]
    fn connected_socket_is_not_a_fault() {
        let mut connected = socket(1, "10.9.0.2:5000", true);
        connected.peer = Some("10.9.0.7:6000".parse().unwrap());
        assert_eq!(BOUND_TO_UNICAST.judge(&program(vec![connected], Vec::new())), []);
    }

    #[test]
    fn socket_without_memberships_is_not_a_fault() {
        assert_eq!(BOUND_TO_UNICAST.judge(&program(vec![socket(1, "10.9.0.2:5000", false)], Vec::new())), []);
    }

    #[test]
    fn port_of_another_program_is_only_a_warning() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", OTHER)], 0);
        assert_eq!(WRONG_PORT.judge(&observation)[0].severity, Severity::Fault);
        observation.after.udp_sockets = vec![UdpSocket {
            local: "0.0.0.0:5001".parse().unwrap(),
            peer: None,
            inode: 9,
            drops: 0,
            programs: Vec::new(),
        }];
        assert_eq!(WRONG_PORT.judge(&observation)[0].severity, Severity::Warning);
        observation.kernel_drops.drops = vec![kernel_drop("NO_SOCKET", "10.9.0.1:6000", OTHER, 10)];
        assert_eq!(
            WRONG_PORT.judge(&observation)[0].severity,
            Severity::Fault,
            "that program does not take them"
        );
    }

    #[test]
    fn program_with_several_sockets_is_named_once() {
        let mut observation = membership(TO, Vec::new(), 0);
        let socket = |inode| UdpSocket {
            local: TO.parse().unwrap(),
            peer: None,
            inode,
            drops: 0,
            programs: vec!["python3 (7)".into()],
        };
        observation.before.udp_sockets = vec![socket(1), socket(2)];
        let answer = Evidence::new(EvidenceKind::Answer, "bind", "EADDRINUSE");
        let finding = address_in_use_finding(&observation, &[5000], answer);
        assert_eq!(finding.cause, "python3 (7) has UDP port 5000 open and does not share it.");
    }

    #[test]
    fn other_ports_are_not_reported_if_the_right_one_arrives_or_on_other_interfaces() {
        let both = vec![flow(ETH0, "10.9.0.1:6000", OTHER), flow(ETH0, "10.9.0.1:6000", TO)];
        assert_eq!(WRONG_PORT.judge(&membership(TO, both, 10)), []);
        assert_eq!(WRONG_PORT.judge(&membership(TO, vec![flow(ETH1, "10.8.0.1:6000", OTHER)], 0)), []);
    }
}
