//! The kernel takes the datagrams of a socket for a tunnel, instead of delivering them to the program.

use mcast_sys::Encapsulation;

use super::{Cause, Check};
use crate::acceptance::ExaminedSocket;
use crate::finding::list;
use crate::observation::Observation;
use crate::socket_losses::UNKNOWN_ESP;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Socket(check), &["RFC 3948 section 2", "udp(7)"]);

fn check(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
    let (program, socket) = (examined.program, examined.socket);
    let encapsulation = socket.options.as_ref()?.encapsulation?;
    let (protocol, number) = match encapsulation {
        Encapsulation::Esp => ("ESP of IPsec".to_owned(), 2),
        Encapsulation::Other(number) => (format!("protocol {number} (linux/udp.h)"), number),
    };
    let local = socket.local?;
    let joined = socket.interests().next()?.destination();
    let flows = observation.taken_by(socket);
    let taken: u64 = flows.iter().filter_map(|flow| observation.decapsulated(Some(socket), flow)).sum();
    let arrived: u64 = flows.iter().map(|flow| flow.sound()).sum();
    let is_lost = taken.saturating_mul(20) >= arrived.max(1);
    let outcome = match encapsulation {
        Encapsulation::Esp if is_lost => {
            format!(
                "it has taken {taken} of {arrived} datagrams to {joined}, which the program does not receive"
            )
        }
        // Only datagrams that begin with four zero bytes arrived.
        Encapsulation::Esp if arrived > 0 => return None,
        _ => "the program does not receive what the kernel takes".to_owned(),
    };
    let severity = if is_lost { examined.severity } else { Severity::Warning };
    let cause = format!(
        "The kernel decapsulates what reaches the socket of {program} on {local} (UDP_ENCAP, {protocol}): {outcome}."
    );
    let location = format!("socket {} of {program}", socket.inode);
    let finding = Finding::new(Id::Decapsulated, severity, cause)
        .for_group(joined)
        .in_program(program)
        .evidence(EvidenceKind::Socket, location, format!("UDP_ENCAP {number}"))
        .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
        .with_all_evidence(counters(observation))
        .advise(
            Tool::Program,
            "Receive the group with a socket of its own, on which UDP_ENCAP is not set. A socket for IKE and ESP is for unicast.",
        );
    let sources = list(flows.iter().map(|flow| flow.key.source));
    Some(if sources.is_empty() { finding } else { finding.from_source(sources) })
}

/// Returns the counters of IPsec that increased.
fn counters(observation: &Observation) -> impl Iterator<Item = Evidence> {
    UNKNOWN_ESP.iter().filter_map(|name| {
        let (before, after) = observation.values(name).filter(|(before, after)| after > before)?;
        Some(Evidence::change(EvidenceKind::Counter, *name, before, after))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mcast::{Family, SourceFilter};
    use mcast_sys::SocketOptions;

    use super::super::fixtures::{ETH0, flow, joined_socket, program, severities, with_counters};
    use super::*;
    use crate::Depth;
    use crate::snapshot::JoinedGroup;

    const TO: &str = "239.1.2.3:5000";

    /// Returns an observation of a program for which 10 datagrams arrived, of which some look like ESP.
    fn observed(encapsulation: Option<Option<Encapsulation>>, like_esp: u64) -> Observation {
        let options = encapsulation.map(|encapsulation| SocketOptions {
            family: Family::V4,
            v6_only: false,
            bound_interface: None,
            receive_buffer: 0,
            filter: None,
            encapsulation,
            groups: BTreeMap::new(),
        });
        let socket = crate::observation::ProgramSocket { options, ..joined_socket(ETH0, SourceFilter::ANY) };
        let mut flow = flow(ETH0, "10.9.0.1:6000", TO);
        flow.like_esp = like_esp;
        let mut observation = program(vec![socket], vec![flow]);
        observation.before.joined = vec![JoinedGroup { group: [239, 1, 2, 3].into(), interface: ETH0 }];
        with_counters(
            observation,
            &[
                ("IpInReceives", 10),
                ("IpExtInMcastPkts", 10),
                ("UdpInDatagrams", 10),
                ("XfrmInNoStates", like_esp),
            ],
        )
    }

    fn depth(observation: &Observation) -> Depth {
        observation.expected_flows()[0].status.depth
    }

    #[test]
    fn datagrams_that_the_kernel_takes_for_a_tunnel_do_not_arrive() {
        let esp = Some(Some(Encapsulation::Esp));
        let lost = observed(esp, 10);
        assert_eq!((depth(&lost), severities(&CAUSE, &lost)), (Depth::AtSocket, vec![Severity::Fault]));
        let some = observed(esp, 1);
        assert_eq!((depth(&some), severities(&CAUSE, &some)), (Depth::AtSocket, vec![Severity::Fault]));
        let ike = observed(esp, 0);
        assert_eq!((depth(&ike), severities(&CAUSE, &ike)), (Depth::Arrives, vec![]));
        let plain = observed(Some(None), 10);
        assert_eq!((depth(&plain), severities(&CAUSE, &plain)), (Depth::Arrives, vec![]));
    }

    #[test]
    fn what_a_tunnel_takes_is_unknown_without_its_options() {
        let other = observed(Some(Some(Encapsulation::Other(3))), 10);
        assert_eq!((depth(&other), severities(&CAUSE, &other)), (Depth::Unknown, vec![Severity::Warning]));
        assert_eq!(depth(&observed(None, 10)), Depth::Unknown);
        assert_eq!(depth(&observed(None, 0)), Depth::Arrives);
    }
}
