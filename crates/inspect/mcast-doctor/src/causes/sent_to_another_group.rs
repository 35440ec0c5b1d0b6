//! Nothing is sent to the group, but something is sent to one that a slip of the finger could turn it into.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use super::memberships::may_be_refused;
use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["RFC 5771", "RFC 7346"]);

/// The maximum number of groups that a sentence names.
const MAX_NAMED: usize = 3;

/// The mistake that turns one group into another, the likeliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Similarity {
    /// A character is changed, missing, added, or swapped with the next one.
    Character,
    /// Numbers are swapped.
    Numbers,
    /// The flags or the scope of an IPv6 group differ, and the rest is equal.
    Scope,
    /// A bit differs, as in groups that share an Ethernet address.
    Bit,
}

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let is_silent = observation.wire.flows.iter().all(|flow| flow.key.group != group);
    if !is_silent || observation.received_anything() {
        return None;
    }
    let nearness = |flow: &&Flow| Some((near_miss(observation, interest, flow)?, Reverse(flow.datagrams)));
    let mut candidates: Vec<_> =
        observation.wire.flows.iter().filter_map(|flow| Some((nearness(&flow)?, flow))).collect();
    candidates.sort_by_key(|(nearness, _)| *nearness);
    let Some(((nearest, _), flow)) = candidates.first().copied() else {
        return of_other_family(observation, interest);
    };
    let interface = observation.link_name(interest.interface);
    let (to, actual) = (interest.destination(), flow.destination());
    // Where several groups are equally near, they are most likely the channels of one sender, and this one is off.
    let is_alone =
        candidates.iter().all(|((other, _), own)| *other > nearest || own.key.group == flow.key.group);
    let mut others: Vec<_> = candidates.iter().map(|(_, other)| other.destination().to_string()).collect();
    others.retain(|other| *other != actual.to_string());
    others.dedup();
    others.truncate(MAX_NAMED - 1);
    let (severity, cause) = if is_alone {
        let beside = match others.is_empty() {
            true => String::new(),
            false => format!(" Less similar groups arrive as well: {}.", others.join(", ")),
        };
        let cause = format!(
            "Nothing for {to} reaches {interface}, but {} sends to {actual}, which has {}.{beside}",
            flow.key.source,
            difference(group, flow.key.group)
        );
        (Severity::Fault, cause)
    } else {
        let cause = format!(
            "Nothing for {to} reaches {interface}, but similar groups do: {actual} from {}, and {}.",
            flow.key.source,
            others.join(", ")
        );
        (Severity::Warning, cause)
    };
    let finding = Finding::new(Id::SentToAnotherGroup, severity, cause)
        .about(&interface, to, flow.key.source)
        .with_all_evidence(candidates.iter().take(MAX_NAMED).map(|(_, flow)| observation.packets_of(flow)))
        .evidence(EvidenceKind::Packet, &interface, format!("no datagram to {}", interest.group))
        .with_remedies(remedies(actual, to));
    Some(finding)
}

/// Returns how near a flow is that could have been meant: a candidate to a similar group.
fn near_miss(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> Option<Similarity> {
    let is_candidate = is_candidate(observation, interest, flow);
    similarity(interest.group.addr(), flow.key.group).filter(|_| is_candidate)
}

/// Returns a warning if nothing but a group of the other family gets datagrams on the same port.
fn of_other_family(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let group = interest.group.addr();
    let mut candidates = observation.wire.flows.iter().filter(|flow| {
        is_candidate(observation, interest, flow) && flow.key.group.is_ipv4() != group.is_ipv4()
    });
    let (flow, None) = (candidates.next()?, candidates.next()) else { return None };
    let interface = observation.link_name(interest.interface);
    let (to, actual, source) = (interest.destination(), flow.destination(), flow.key.source);
    let name = |is_ipv4| if is_ipv4 { "IPv4" } else { "IPv6" };
    let cause = format!(
        "Nothing for {to} reaches {interface}, but {source} sends to the same port of {}, by {} instead of {}.",
        flow.key.group,
        name(!group.is_ipv4()),
        name(group.is_ipv4())
    );
    let finding = Finding::new(Id::SentToAnotherGroup, Severity::Warning, cause)
        .about(&interface, to, source)
        .with_evidence(observation.packets_of(flow))
        .with_remedies(remedies(actual, to));
    Some(finding)
}

/// Returns whether a flow is to the same port of a group that no program on this machine has joined.
fn is_candidate(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> bool {
    let is_joined = observation.before.is_joined(flow.key.group, interest.interface)
        || observation.after.is_joined(flow.key.group, interest.interface);
    let is_sent_here = observation.after.is_own(flow.key.source.ip());
    (!flow.key.outgoing || is_sent_here)
        && flow.key.interface == interest.interface
        && flow.key.vlan.is_none()
        && flow.key.port == interest.port
        && !is_joined
        && !may_be_refused(observation, flow)
}

fn remedies(actual: SocketAddr, to: SocketAddr) -> [Remedy; 2] {
    [
        Remedy::advice(
            Tool::Program,
            format!(
                "Compare the addresses in the configurations of sender and receiver: join {}, or have the sender use {}.",
                actual.ip(),
                to.ip()
            ),
        ),
        remedies::mcast::recv(actual),
    ]
}

/// Returns which mistake turns one group into the other; `None` if no single one does.
pub(super) fn similarity(one: IpAddr, other: IpAddr) -> Option<Similarity> {
    let (bits, same_numbers) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let sorted = |mut octets: [u8; 4]| {
                octets.sort_unstable();
                octets
            };
            ((one.to_bits() ^ other.to_bits()).count_ones(), sorted(one.octets()) == sorted(other.octets()))
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => ((one.to_bits() ^ other.to_bits()).count_ones(), false),
        _ => return None,
    };
    match () {
        () if is_one_slip(&text(one), &text(other)) => Some(Similarity::Character),
        () if same_numbers => Some(Similarity::Numbers),
        () if is_other_scope(one, other) => Some(Similarity::Scope),
        () if bits == 1 => Some(Similarity::Bit),
        () => None,
    }
}

/// Returns whether two IPv6 groups differ only in their flags and scope (RFC 4291 section 2.7).
fn is_other_scope(one: IpAddr, other: IpAddr) -> bool {
    let (IpAddr::V6(one), IpAddr::V6(other)) = (one, other) else { return false };
    one != other && one.octets()[2..] == other.octets()[2..]
}

/// Returns the address with all its numbers, so that a slip in one does not change how others are abbreviated.
fn text(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.to_string().into_bytes(),
        IpAddr::V6(address) => {
            let words: Vec<_> = address.segments().iter().map(|word| format!("{word:x}")).collect();
            words.join(":").into_bytes()
        }
    }
}

/// Returns whether two texts differ in one character, or in two neighbours that are swapped.
fn is_one_slip(one: &[u8], other: &[u8]) -> bool {
    let start = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[start..], &other[start..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    match (&one[..one.len() - end], &other[..other.len() - end]) {
        ([_], [_]) | ([_], []) | ([], [_]) => true,
        ([first, second], [third, fourth]) => (first, second) == (fourth, third),
        _ => false,
    }
}

/// Returns where two groups differ, to be read quickly.
fn difference(one: IpAddr, other: IpAddr) -> String {
    let (one, other) = (text(one), text(other));
    let separator = if one.contains(&b':') { b':' } else { b'.' };
    let pairs = one.split(|byte| *byte == separator).zip(other.split(|byte| *byte == separator));
    let differing: Vec<_> = pairs
        .filter(|(one, other)| one != other)
        .map(|(one, other)| {
            format!("{} instead of {}", String::from_utf8_lossy(other), String::from_utf8_lossy(one))
        })
        .collect();
    differing.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, membership};
    use super::*;
    use crate::snapshot::JoinedGroup;

    const TO: &str = "239.61.7.7:5000";

    fn severities(observation: &Observation) -> Vec<Severity> {
        CAUSE.judge(observation).iter().map(|finding| finding.severity).collect()
    }

    fn silent(others: &[&str]) -> Observation {
        membership(TO, others.iter().map(|to| flow(ETH0, "10.9.0.1:6000", to)).collect(), 0)
    }

    #[test]
    fn slips_of_the_finger_are_similar() {
        let is_similar =
            |one: &str, other: &str| similarity(one.parse().unwrap(), other.parse().unwrap()).is_some();
        for other in [
            "239.61.7.70",
            "239.61.7.8",
            "239.61.77.7",
            "239.16.7.7",
            "239.7.61.7",
            "239.61.7.135",
            "235.61.7.7",
        ] {
            assert!(is_similar("239.61.7.7", other), "{other}");
        }
        for other in ["239.61.9.88", "224.0.0.251", "239.255.255.250", "232.61.8.7"] {
            assert!(!is_similar("239.61.7.7", other), "{other}");
        }
        assert!(is_similar("ff15::1234", "ff05::1234") && is_similar("ff15::1234", "ff15::1243"));
        assert!(is_similar("ff15::1234", "ff15::123") && !is_similar("ff15::1234", "ff02::fb"));
        assert!(is_similar("ff15::1234", "ff02::1234") && !is_similar("ff15::1234", "ff02::1235"));
        assert!(!is_similar("239.1.2.3", "ff15::1"));
    }

    #[test]
    fn single_similar_group_is_a_fault_and_its_difference_is_named() {
        let observation = silent(&["239.61.7.70:5000", "224.0.0.251:5353"]);
        assert_eq!(severities(&observation), [Severity::Fault]);
        let cause = CAUSE.judge(&observation).remove(0).cause;
        assert!(cause.contains("239.61.7.70:5000, which has 70 instead of 7."), "{cause}");
    }

    /// 239.189.7.7 has the Ethernet address of the group.
    #[test]
    fn nearest_group_by_typing_is_named_before_one_with_the_same_ethernet_address() {
        let observation = silent(&["239.189.7.7:5000", "239.61.7.70:5000"]);
        assert_eq!(severities(&observation), [Severity::Fault]);
        let cause = CAUSE.judge(&observation).remove(0).cause;
        let expected = "239.61.7.70:5000, which has 70 instead of 7. Less similar groups arrive as well: 239.189.7.7:5000.";
        assert!(cause.ends_with(expected), "{cause}");
    }

    #[test]
    fn channels_of_one_sender_are_not_mistaken_for_slips() {
        let observation = silent(&["239.61.7.6:5000", "239.61.7.8:5000"]);
        assert_eq!(severities(&observation), [Severity::Warning]);
        let cause = CAUSE.judge(&observation).remove(0).cause;
        assert!(cause.ends_with("239.61.7.6:5000 from 10.9.0.1:6000, and 239.61.7.8:5000."), "{cause}");
    }

    #[test]
    fn groups_for_others_are_not_reported() {
        assert_eq!(severities(&silent(&["239.61.7.70:6000"])), [], "another port");
        let elsewhere = membership(TO, vec![flow(ETH1, "10.8.0.1:6000", "239.61.7.70:5000")], 0);
        assert_eq!(severities(&elsewhere), [], "another interface");
        let mut joined = silent(&["239.61.7.70:5000"]);
        let group = "239.61.7.70".parse().unwrap();
        joined.before.joined.push(JoinedGroup { group, interface: ETH0 });
        assert_eq!(severities(&joined), [], "another program receives it");
        assert_eq!(severities(&silent(&[TO, "239.61.7.70:5000"])), [], "the group itself arrives");
    }
}
