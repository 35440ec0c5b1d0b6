//! Sockets that cannot send to groups, because what they have chosen to send from or by is not on this machine.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use mcast::{ErrorKind, Family, InterfaceIndex};
use mcast_sys::{SendAnswer, SendInterface};

use crate::finding::list;
use crate::observation::{Observation, Program, ProgramSocket};
use crate::snapshot::Link;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool};

/// What a socket has chosen, and this machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// The address that it is bound to.
    BoundAddress(IpAddr),
    /// The address of its interface for groups (`IP_MULTICAST_IF`).
    InterfaceAddress(Ipv4Addr),
    /// The index of its interface for groups, which the kernel reports in IPv6 only.
    Index(Family, Option<InterfaceIndex>),
    /// The interface that it is bound to (`SO_BINDTODEVICE`).
    BoundInterface(InterfaceIndex),
}

/// Returns the findings about sockets of a program that have chosen what this machine does not have.
pub(super) fn judge(observation: &Observation, program: &Program) -> Vec<Finding> {
    let mut reported = BTreeSet::new();
    let findings = program.sockets.iter().filter_map(|socket| {
        let missing = missing(observation, socket)?;
        let finding = finding(observation, program, socket, missing);
        // Several sockets of a program may have made the same choice.
        reported.insert(finding.cause.clone()).then_some(finding)
    });
    findings.collect()
}

/// Returns whether a socket cannot send for a reason that a route for groups does not remove, or can send without one.
pub(super) fn needs_no_route(observation: &Observation, socket: &ProgramSocket) -> bool {
    matches!(socket.send_answer, Some((_, SendAnswer::Accepted))) || missing(observation, socket).is_some()
}

/// Returns what a socket has chosen that was on this machine neither before nor after listening. A socket that has joined a group,
/// or that sends, is not judged: it works, or something else is wrong with it.
fn missing(observation: &Observation, socket: &ProgramSocket) -> Option<Missing> {
    let local = socket.local.filter(|_| socket.never_joined() && !socket.closed)?;
    let is_sending = |flow: &crate::wire::Flow| flow.key.outgoing && flow.key.source.port() == local.port();
    let answer = socket.send_answer.map(|(_, answer)| answer);
    if answer == Some(SendAnswer::Accepted) || observation.wire.flows.iter().any(is_sending) {
        return None;
    }
    let has_index = |index: InterfaceIndex| observation.link(index).is_some();
    if let Some(index) = socket.bound_interface.filter(|index| !has_index(*index)) {
        return Some(Missing::BoundInterface(index));
    }
    let is_absent = |address: IpAddr| {
        let is_plain = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
        is_plain && !observation.before.is_own(address) && !observation.after.is_own(address)
    };
    let family = Family::of(local.ip());
    if is_absent(local.ip()) {
        // Linux checks the source of what it sends in IPv4 only.
        let is_refused = answer.is_some() || family == Family::V4;
        return is_refused.then_some(Missing::BoundAddress(local.ip()));
    }
    let options = socket.options.as_ref()?.groups.get(&family)?;
    match (options.sends_by, answer) {
        // The address that the socket is bound to, if there is one, takes precedence.
        (Some(SendInterface::Address(address)), _) => (local.ip().is_unspecified()
            && is_absent(address.into()))
        .then_some(Missing::InterfaceAddress(address)),
        (Some(SendInterface::Index(index)), _) => {
            (!has_index(index)).then_some(Missing::Index(family, Some(index)))
        }
        // The kernel looks for no other interface than the one that the socket has chosen.
        (None, Some(SendAnswer::Refused { kind: ErrorKind::NoSuchInterface, .. })) => {
            Some(Missing::Index(family, None))
        }
        _ => None,
    }
}

fn finding(
    observation: &Observation,
    program: &Program,
    socket: &ProgramSocket,
    missing: Missing,
) -> Finding {
    let owner = &socket.owner;
    let refused = socket.send_answer.and_then(|(to, answer)| match answer {
        SendAnswer::Refused { number, .. } => Some((to, io::Error::from_raw_os_error(number))),
        SendAnswer::Accepted => None,
    });
    let (what, unless) = match &refused {
        Some((_, error)) => (format!("cannot send to groups, because {missing}: {error}"), ""),
        None => (
            format!("can probably not send to groups, because {missing}"),
            ", unless a local route covers it",
        ),
    };
    // Of a program that works by its other sockets, it is not known whether it uses this one.
    let works = |other: &ProgramSocket| {
        let port = other.local.map(|local| local.port());
        let mut flows = observation.wire.flows.iter();
        !other.never_joined() || flows.any(|flow| flow.key.outgoing && port == Some(flow.key.source.port()))
    };
    let severity = match refused.is_some() && !program.sockets.iter().any(works) {
        true => Severity::Fault,
        false => Severity::Warning,
    };
    let answer = refused.map(|(to, error)| {
        Evidence::new(EvidenceKind::Answer, format!("a datagram to {}, which is not sent", to.ip()), error)
    });
    let nearest = nearest(observation, missing);
    let shown = |link: &&Link| nearest.is_none_or(|nearest| nearest.index() == link.index());
    let links = observation.after.links.iter().filter(|link| link.is_of_the_host()).filter(shown);
    let interfaces = links.map(|link| {
        let addresses = link.interface.addresses.iter().map(|own| own.address);
        Evidence::new(EvidenceKind::Interface, link.name(), list(addresses))
    });
    Finding::new(Id::NoSuchInterface, severity, format!("{owner} {what}{unless}."))
        .in_program(owner)
        .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), missing.choice())
        .with_all_evidence(answer)
        .with_all_evidence(interfaces)
        .advise(Tool::Program, advice(missing, nearest))
}

/// Returns the interface in whose network a missing address is.
fn nearest(observation: &Observation, missing: Missing) -> Option<&Link> {
    let address = match missing {
        Missing::BoundAddress(address) => address,
        Missing::InterfaceAddress(address) => address.into(),
        Missing::Index(..) | Missing::BoundInterface(_) => return None,
    };
    observation.after.links.iter().find(|link| link.is_of_the_host() && link.is_next_to(address))
}

fn advice(missing: Missing, nearest: Option<&Link>) -> String {
    let place =
        nearest.map(|link| format!(" {} is in the network of the address.", link.name())).unwrap_or_default();
    match missing {
        Missing::BoundAddress(address) => format!(
            "Bind the socket to an address of this machine, or to none, and restart the program.{place} If {address} belongs to this machine, add it again first."
        ),
        Missing::InterfaceAddress(_) => format!(
            "Restart the program.{place} In its code, choose the interface by its index (ip_mreqn.imr_ifindex), which remains valid when the address changes."
        ),
        Missing::Index(..) | Missing::BoundInterface(_) => "Restart the program, so that it chooses an interface that exists. In its code, choose again when an interface of that name appears (netlink RTM_NEWLINK).".to_owned(),
    }
}

impl Missing {
    /// Returns what the socket has chosen.
    fn choice(self) -> String {
        match self {
            Self::BoundAddress(address) => format!("bound to {address}"),
            Self::InterfaceAddress(address) => format!("IP_MULTICAST_IF {address}"),
            Self::Index(Family::V4, None) => "IP_MULTICAST_IF with an index".to_owned(),
            Self::Index(Family::V6, None) => "IPV6_MULTICAST_IF".to_owned(),
            Self::Index(Family::V4, Some(index)) => format!("IP_MULTICAST_IF {index}"),
            Self::Index(Family::V6, Some(index)) => format!("IPV6_MULTICAST_IF {index}"),
            Self::BoundInterface(index) => format!("SO_BINDTODEVICE {index}"),
        }
    }
}

/// Writes a clause: `its socket is bound to 10.0.0.7, which is not an address of this machine`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BoundAddress(address) => {
                write!(f, "its socket is bound to {address}, which is not an address of this machine")
            }
            Self::InterfaceAddress(address) => write!(
                f,
                "its socket has chosen the interface by {address} (IP_MULTICAST_IF), which is not an address of this machine"
            ),
            Self::Index(_, Some(index)) => write!(
                f,
                "its socket has chosen the interface with index {index} (IPV6_MULTICAST_IF), which does not exist"
            ),
            Self::Index(_, None) => f.write_str(
                "its socket has chosen an interface by index (IP_MULTICAST_IF) that does not exist",
            ),
            Self::BoundInterface(index) => write!(
                f,
                "its socket is bound to the interface with index {index} (SO_BINDTODEVICE), which does not exist"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;
    use mcast_sys::{GroupOptions, SocketOptions};

    use super::*;
    use crate::causes::fixtures::{ETH0, flow, joined_socket, program};

    const UNREACHABLE: SendAnswer = SendAnswer::Refused { kind: ErrorKind::NoRoute, number: 101 };
    const NO_DEVICE: SendAnswer = SendAnswer::Refused { kind: ErrorKind::NoSuchInterface, number: 19 };

    fn sender(local: &str, sends_by: Option<SendInterface>, answer: Option<SendAnswer>) -> ProgramSocket {
        let local: std::net::SocketAddr = local.parse().unwrap();
        let family = Family::of(local.ip());
        let group = GroupOptions { all: true, loopback: true, hop_limit: 4, sends_by };
        let options = SocketOptions {
            family,
            v6_only: false,
            bound_interface: None,
            receive_buffer: 4096,
            filter: None,
            encapsulation: None,
            groups: [(family, group)].into(),
        };
        let to = "239.255.255.1:9".parse().unwrap();
        ProgramSocket {
            local: Some(local),
            options: Some(options),
            send_answer: answer.map(|answer| (to, answer)),
            ..ProgramSocket::new(9, "sender (7)".into())
        }
    }

    fn causes(sockets: Vec<ProgramSocket>) -> Vec<(Severity, String)> {
        let observation = program(sockets, Vec::new());
        let findings = judge(&observation, observation.program().unwrap());
        findings.into_iter().map(|finding| (finding.severity, finding.cause)).collect()
    }

    #[test]
    fn bound_address_that_no_interface_has_is_a_fault_if_sends_are_refused() {
        let found = causes(vec![sender("10.9.0.50:6000", None, Some(UNREACHABLE))]);
        let [(Severity::Fault, cause)] = &found[..] else { panic!("{found:?}") };
        assert!(cause.contains("bound to 10.9.0.50"), "{cause}");
        assert_eq!(causes(vec![sender("10.9.0.50:6000", None, None)])[0].0, Severity::Warning);
        // A local route covers it, say.
        assert_eq!(causes(vec![sender("10.9.0.50:6000", None, Some(SendAnswer::Accepted))]), []);
        assert_eq!(causes(vec![sender("[fd09::50]:6000", None, None)]), [], "IPv6 sends from any source");
    }

    #[test]
    fn sockets_without_a_choice_are_not_accused_of_a_missing_route() {
        for local in ["0.0.0.0:6000", "10.9.0.2:6000", "239.1.2.3:6000", "[::]:6000"] {
            assert_eq!(causes(vec![sender(local, None, Some(UNREACHABLE))]), [], "{local}");
        }
    }

    #[test]
    fn chosen_interface_that_does_not_exist_is_named() {
        let address = SendInterface::Address([10, 9, 0, 50].into());
        let gone = SendInterface::Index(InterfaceIndex::new(77).unwrap());
        let cases = [
            ("0.0.0.0:6000", Some(address), UNREACHABLE, "by 10.9.0.50"),
            ("[::]:6000", Some(gone), UNREACHABLE, "with index 77"),
            ("0.0.0.0:6000", None, NO_DEVICE, "by index"),
        ];
        for (local, sends_by, answer, text) in cases {
            let found = causes(vec![sender(local, sends_by, Some(answer))]);
            assert!(found.len() == 1 && found[0].1.contains(text), "{found:?}");
        }
        // The address that it is bound to counts.
        assert_eq!(causes(vec![sender("10.9.0.2:6000", Some(address), Some(UNREACHABLE))]), []);
    }

    #[test]
    fn member_and_sender_are_not_accused() {
        let socket = || sender("10.9.0.50:6000", None, Some(UNREACHABLE));
        let member = joined_socket(ETH0, SourceFilter::ANY);
        let joined = ProgramSocket { memberships: member.memberships.clone(), ..socket() };
        assert_eq!(causes(vec![joined]), []);
        let mut sent = flow(ETH0, "10.9.0.50:6000", "239.1.2.3:5000");
        sent.key.outgoing = true;
        let observation = program(vec![socket()], vec![sent]);
        assert_eq!(judge(&observation, observation.program().unwrap()), []);
        assert_eq!(causes(vec![socket(), member])[0].0, Severity::Warning, "it works by another socket");
    }

    #[test]
    fn sockets_with_the_same_choice_are_one_finding() {
        let socket = || sender("10.9.0.50:6000", None, Some(UNREACHABLE));
        assert_eq!(causes(vec![socket(), socket()]).len(), 1);
    }
}
