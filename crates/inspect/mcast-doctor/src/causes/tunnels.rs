//! Datagrams in tunnels: IPsec policies refuse them, or they arrive decapsulated elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_sys::Encapsulation;

use super::filter_rules::explained;
use super::scope_section::Placeholders;
use super::{Cause, Check, Forecast};
use crate::change::Change;
use crate::fate::depth::{KernelVerdict, LostFlow, UNKNOWN_ESP};
use crate::fate::sockets::ExaminedSocket;
use crate::fate::{Ahead, Stage, Way, has_usable_source};
use crate::kernel_drops::evidence;
use crate::observation::{Interest, Observation};
use crate::snapshot::{IpsecAction, IpsecPolicy, explains};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

/// An IPsec policy of this machine rejects the datagrams, because they arrive without protection or are not allowed.
pub(super) const IPSEC_POLICY: Cause =
    Cause::new(Check::Interest(ipsec_policy), &["RFC 4301 section 4.4.1", "ip-xfrm(8)"])
        .at(Stage::Policy)
        .predicted_by(Forecast::Way(ipsec_policy_ahead))
        .offering(|on| vec![allow(1, &Placeholders::SOURCE.to_string(), on.to)]);

/// The counters of packets that arrived and that a policy rejected.
const COUNTERS: [&str; 4] = ["XfrmInPolBlock", "XfrmInTmplMismatch", "XfrmInNoPols", "XfrmInPolError"];

/// The number of packets below which unrelated traffic may explain the counters.
const MIN_PACKETS: u64 = 10;

const LIST: &str = "`ip xfrm policy` lists the policies. Permanently: exempt the group where they are configured (a passthrough connection of strongSwan or Libreswan), or protect the stream with IPsec at the sender, too.";

impl Observation {
    /// Returns how many packets IPsec policies rejected for a socket.
    pub(crate) fn refused_by_ipsec(&self) -> u64 {
        COUNTERS.iter().filter_map(|name| self.rise_of(name)).sum()
    }
}

fn ipsec_policy(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let refused = observation.refused_by_ipsec();
    if !observation.wire.is_tapped(interest.interface) {
        return by_counters_alone(observation, interest);
    }
    let is_rejected = |lost: &LostFlow<'_>| match observation.kernel_verdict(lost, "XFRM_POLICY") {
        KernelVerdict::Proven => true,
        KernelVerdict::Refuted => false,
        KernelVerdict::Unknown => explains(refused, lost.lost),
    };
    let mut lost = observation.lost_flows(interest);
    lost.retain(is_rejected);
    let first = lost.first()?.flow;
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let source = first.key.source;
    // The first that matches decides.
    let policies = observation.after.ipsec_policies.iter();
    let policy = policies
        .filter(|policy| policy.applies_to(source.ip(), to))
        .min_by_key(|policy| policy.priority)
        .filter(|policy| policy.action != IpsecAction::Allow);
    let why = match policy.map(|policy| policy.action) {
        Some(IpsecAction::Protect) => ": it requires IPsec, but they arrive without it",
        _ => "",
    };
    let named =
        policy.map_or_else(|| "An IPsec policy".to_owned(), |policy| format!("The IPsec policy `{policy}`"));
    let cause = format!(
        "{named} of this machine rejects the datagrams from {source} to {to} that arrive on {interface}{why}."
    );
    let drops = observation.kernel_drops.drops.iter();
    let drops = drops.filter(|drop| drop.reason == "XFRM_POLICY" && drop.is_of(&first.key));
    let finding = Finding::new(Id::IpsecPolicy, Severity::Fault, cause)
        .about_flow(&interface, first)
        .explaining(lost.iter().map(|lost| explained(observation, lost.flow)))
        .with_evidence(observation.packets_of(first))
        .with_all_evidence(evidence(drops))
        .with_all_evidence(policy_counters(observation))
        .with_remedies(remedies(policy, &first.key.source.ip().to_string(), to));
    Some(finding.with(interest.owner(), Finding::in_program))
}

/// Returns the finding about datagrams that do not get to the policies yet.
fn ipsec_policy_ahead(ahead: &Ahead<'_>) -> Vec<Finding> {
    let observation = ahead.observation;
    let is_before = ahead.faults().any(|fault| Stage::of(fault) < Stage::Policy);
    let (interface, source, to) = match ahead.way {
        Way::Arriving { meant, .. } if is_before => {
            let source = has_usable_source(observation, meant).then_some(meant.key.source);
            (meant.key.interface, source, meant.destination())
        }
        Way::Silent(interest) if !ahead.has(Id::IpsecPolicy) => {
            (interest.interface, None, interest.destination())
        }
        _ => return Vec::new(),
    };
    rejected(observation, &observation.link_name(interface), source, to).into_iter().collect()
}

fn rejected(
    observation: &Observation,
    interface: &str,
    source: Option<SocketAddr>,
    to: SocketAddr,
) -> Option<Finding> {
    // Of an unknown source, only what applies to every source is known.
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let address = source.map_or(any, |source| source.ip());
    let policies = observation.after.ipsec_policies.iter();
    let policy = policies
        .filter(|policy| policy.applies_to(address, to))
        .min_by_key(|policy| policy.priority)
        .filter(|policy| policy.action != IpsecAction::Allow)
        .filter(|policy| source.is_some() || policy.source.1 == 0)?;
    let from = source.map(|source| format!(" from {source}")).unwrap_or_default();
    let cause = format!(
        "The IPsec policy `{policy}` of this machine rejects the datagrams{from} to {to} when they reach a socket."
    );
    let finding = Finding::fault(Id::IpsecPolicy, cause)
        .concerning(interface, to)
        .evidence(EvidenceKind::Setting, "ip xfrm policy", policy)
        .with_remedies(remedies(Some(policy), &address.to_string(), to));
    Some(finding.with(source, Finding::from_source))
}

/// Judges without a capture: policies rejected packets while nothing was received.
fn by_counters_alone(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let is_silent = observation.trial().is_some() && !observation.received_anything();
    let to = interest.destination();
    let refused =
        Some(observation.refused_by_ipsec()).filter(|refused| is_silent && *refused >= MIN_PACKETS)?;
    let cause = format!(
        "IPsec policies of this machine rejected {refused} packets while nothing for {to} was received. They may or may not be for {to}."
    );
    let finding = Finding::new(Id::IpsecPolicy, Severity::Warning, cause)
        .concerning(observation.link_name(interest.interface), to)
        .with_all_evidence(policy_counters(observation))
        .advise(Tool::Ip, LIST);
    Some(finding)
}

/// Returns the counters that increased.
fn policy_counters(observation: &Observation) -> impl Iterator<Item = Evidence> {
    COUNTERS.iter().filter_map(|name| observation.increase_of(name))
}

/// Lets the datagrams pass with a policy in front of the one that rejects them, if there can be one.
fn remedies(policy: Option<&IpsecPolicy>, source: &str, to: SocketAddr) -> Vec<Remedy> {
    let before = policy.and_then(|policy| policy.priority.checked_sub(1));
    let pass = before.map(|priority| allow(priority, source, to));
    let advice = match policy {
        Some(policy) if policy.priority == 0 => format!(
            "No policy can precede this one, as its priority is 0. Change it where it is configured (strongSwan, Libreswan), or delete it: `ip xfrm policy delete dir in {}`.",
            policy.selector()
        ),
        _ => LIST.to_owned(),
    };
    pass.into_iter().chain([Remedy::advice(Tool::Ip, advice)]).collect()
}

/// Returns a policy that accepts a stream as it is.
fn allow(priority: u32, source: &str, to: SocketAddr) -> Remedy {
    let (group, port) = (to.ip().to_string(), to.port().to_string());
    let selector = ["dir", "in", "src", source, "dst", &group, "proto", "udp", "dport", &port];
    let selector = selector.map(str::to_owned).into();
    let policy = Change::Policy { selector, priority: priority.to_string(), is_there: true };
    Remedy::now_changing(Tool::Ip, policy).with_scope(
        RemedyScope::new(format!("datagrams from {source} to {to}"))
            .warning("they are accepted unencrypted and unauthenticated"),
    )
}

/// The kernel takes the datagrams of a socket for a tunnel, instead of delivering them to the program.
pub(super) const DECAPSULATED: Cause =
    Cause::new(Check::Socket(decapsulated), &["RFC 3948 section 2", "udp(7)"]).at(Stage::SocketFilter);

fn decapsulated(observation: &Observation, examined: &ExaminedSocket<'_>) -> Option<Finding> {
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
        "The kernel decapsulates the datagrams to the socket of {program} on {local} (UDP_ENCAP, {protocol}): {outcome}."
    );
    let location = format!("socket {} of {program}", socket.inode);
    let finding = Finding::new(Id::Decapsulated, severity, cause)
        .for_group(joined)
        .in_program(program)
        .evidence(EvidenceKind::Socket, location, format!("UDP_ENCAP {number}"))
        .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
        .with_all_evidence(tunnel_counters(observation))
        .advise(
            Tool::Program,
            "Receive the group with a socket of its own, on which UDP_ENCAP is not set. A socket for IKE and ESP is for unicast.",
        );
    Some(finding.from_sources(flows.iter().map(|flow| flow.key.source)))
}

/// Returns the counters of IPsec that increased.
fn tunnel_counters(observation: &Observation) -> impl Iterator<Item = Evidence> {
    UNKNOWN_ESP.iter().filter_map(|name| observation.increase_of(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mcast::{Family, SourceFilter};
    use mcast_sys::SocketOptions;

    use super::*;
    use crate::Depth;
    use crate::causes::fixtures::{
        ETH0, flow, joined_socket, kernel_drop, membership, program, severities, with_counters,
    };
    use crate::snapshot::JoinedGroup;

    const TO: &str = "239.1.2.3:5000";

    fn observation(received: u64) -> Observation {
        membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received)
    }

    fn policy(priority: u32, action: IpsecAction) -> IpsecPolicy {
        let network = |address: &str, prefix| (address.parse().unwrap(), prefix);
        IpsecPolicy {
            source: network("10.9.0.0", 24),
            destination: network("239.0.0.0", 8),
            protocol: 0,
            port: None,
            priority,
            action,
        }
    }

    #[test]
    fn counter_or_reason_of_the_kernel_proves_it() {
        let by_counter =
            |rise| IPSEC_POLICY.judge(&with_counters(observation(0), &[("XfrmInPolBlock", rise)])).len();
        assert_eq!((by_counter(10), by_counter(1)), (1, 0));
        let mut other = with_counters(observation(0), &[("XfrmInPolBlock", 10)]);
        other.kernel_drops.drops = vec![kernel_drop("NETFILTER_DROP", "10.9.0.1:6000", TO, 10)];
        assert_eq!(IPSEC_POLICY.judge(&other), []);
        other.kernel_drops.drops = vec![kernel_drop("XFRM_POLICY", "10.9.0.1:6000", TO, 10)];
        assert_eq!(IPSEC_POLICY.judge(&other).len(), 1);
        assert_eq!(IPSEC_POLICY.judge(&with_counters(observation(10), &[("XfrmInPolBlock", 10)])), []);
    }

    #[test]
    fn without_a_capture_it_is_a_warning() {
        let found = |received, rise| {
            let mut observation = with_counters(observation(received), &[("XfrmInNoPols", rise)]);
            observation.wire.taps[0].refused = Some("no right".into());
            IPSEC_POLICY.judge(&observation).iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!((found(0, 10), found(10, 10), found(0, 3)), (vec![Severity::Warning], vec![], vec![]));
    }

    #[test]
    fn remedy_precedes_the_policy_that_rejects() {
        let commands = |policies: Vec<IpsecPolicy>| {
            let mut observation = with_counters(observation(0), &[("XfrmInPolBlock", 10)]);
            observation.after.ipsec_policies = policies;
            let finding = IPSEC_POLICY.judge(&observation).remove(0);
            (finding.cause, finding.remedies.iter().find_map(Remedy::command))
        };
        let (cause, command) = commands(vec![policy(9, IpsecAction::Protect), policy(7, IpsecAction::Block)]);
        assert!(cause.contains("src 10.9.0.0/24 dst 239.0.0.0/8 action block priority 7"), "{cause}");
        let expected = "ip xfrm policy add dir in src 10.9.0.1 dst 239.1.2.3 proto udp dport 5000 priority 6 action allow";
        assert_eq!(command.as_deref(), Some(expected));
        assert_eq!(commands(vec![policy(0, IpsecAction::Block)]).1, None);
        assert_eq!(commands(vec![]).1, None);
    }

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
        assert_eq!(
            (depth(&lost), severities(&DECAPSULATED, &lost)),
            (Depth::AtSocket, vec![Severity::Fault])
        );
        let some = observed(esp, 1);
        assert_eq!(
            (depth(&some), severities(&DECAPSULATED, &some)),
            (Depth::AtSocket, vec![Severity::Fault])
        );
        let ike = observed(esp, 0);
        assert_eq!((depth(&ike), severities(&DECAPSULATED, &ike)), (Depth::Arrives, vec![]));
        let plain = observed(Some(None), 10);
        assert_eq!((depth(&plain), severities(&DECAPSULATED, &plain)), (Depth::Arrives, vec![]));
    }

    #[test]
    fn what_a_tunnel_takes_is_unknown_without_its_options() {
        let other = observed(Some(Some(Encapsulation::Other(3))), 10);
        assert_eq!(
            (depth(&other), severities(&DECAPSULATED, &other)),
            (Depth::Unknown, vec![Severity::Warning])
        );
        assert_eq!(depth(&observed(None, 10)), Depth::Unknown);
        assert_eq!(depth(&observed(None, 0)), Depth::Arrives);
    }
}
