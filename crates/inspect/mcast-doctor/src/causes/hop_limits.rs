//! Datagrams that do not get as far as their receivers, because of their TTL or of the scope of their group.

use std::collections::BTreeMap;

use mcast::group::{Scope, WellKnown};
use mcast::{Family, Group};
use mcast_sys::GroupOptions;

use super::intervals::resting;
use super::{Cause, Check};
use crate::fate::leaving;
use crate::finding::list;
use crate::netfilter::Hook;
use crate::observation::{Interest, Observation, ReceivedCount, TrialMembership};
use crate::snapshot::{MulticastRoute, UdpSocket};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

/// The hop limit is too small to cross the next router. The default of senders is 1.
pub(super) const TTL_TOO_SMALL: Cause =
    Cause::new(Check::Observation(ttl_too_small), &["RFC 1112 section 6.1"])
        .without_loss()
        .offering(|on| on.on_socket(&[remedies::socket::hop_limit(Family::V4, 1, FAR)]));

fn ttl_too_small(observation: &Observation) -> Vec<Finding> {
    let mut findings = zero_hop_limits(observation);
    findings.extend(other_than_required(observation));
    for flow in observation.wire.flows.iter().filter(|flow| flow.hop_limits.1 <= 1) {
        let is_sent_by_program =
            flow.key.outgoing && observation.program().is_some_and(|program| program.sends(flow));
        let finding = match blocked_outgoing_interfaces(observation, flow) {
            Some(to) => at_router(observation, flow, &to),
            None if is_sent_by_program && flow.hop_limits.1 == 1 && may_cross_routers(flow) => {
                at_sender(observation, flow)
            }
            None => continue,
        };
        findings.push(finding);
    }
    findings
}

/// The sources that a finding names; the others are counted.
const MAX_NAMED: usize = 5;

/// Judges datagrams of protocols that require the greatest hop limit: receivers drop others, which may come from another network
/// (RFC 5082 section 3).
fn other_than_required(observation: &Observation) -> Vec<Finding> {
    const GREATEST: u8 = 255;
    // RFC 4795 section 2.5 recommends it, and not everybody follows.
    const RECOMMENDED: &str = "llmnr";
    let interests = observation.interests();
    let is_examined = |flow: &Flow| match flow.key.outgoing {
        true => observation.program().is_some_and(|program| program.sends(flow)),
        false => interests.iter().any(|interest| {
            (interest.group.addr(), interest.port, interest.interface)
                == (flow.key.group, flow.key.port, flow.key.interface)
        }),
    };
    let other = |flow: &Flow| -> Option<&'static WellKnown> {
        // Behind a router, a hop limit of less is what must be expected.
        let group = Group::new(flow.key.group).ok().filter(|group| group.scope() == Scope::LinkLocal)?;
        let known = group.well_known().find(|known| known.ports.contains(&flow.key.port))?;
        let is_required = known.hop_limit == Some(GREATEST) && known.name != RECOMMENDED;
        (is_required && flow.hop_limits.0 != GREATEST).then_some(known)
    };
    // In a network with many devices, many senders may be alike.
    let mut alike: BTreeMap<_, (&WellKnown, Vec<&Flow>)> = BTreeMap::new();
    for flow in observation.wire.flows.iter().filter(|flow| is_examined(flow)) {
        if let Some(known) = other(flow) {
            let key =
                (flow.key.interface, flow.destination(), flow.key.outgoing, flow.hop_limits.0, known.name);
            alike.entry(key).or_insert_with(|| (known, Vec::new())).1.push(flow);
        }
    }
    let findings = alike.into_iter().map(|((interface, to, is_sent, observed, name), (known, flows))| {
        let interface = observation.link_name(interface);
        let mut sources = list(flows.iter().take(MAX_NAMED).map(|flow| flow.key.source));
        if flows.len() > MAX_NAMED {
            sources += &format!(" and {} more", flows.len() - MAX_NAMED);
        }
        let verb = if is_sent { "is sent" } else { "arrives" };
        let cause = format!(
            "{to} from {sources} {verb} with hop limit {observed}, but {name} requires {GREATEST} ({}): receivers that check it drop these datagrams.",
            known.reference
        );
        let datagrams: u64 = flows.iter().map(|flow| flow.datagrams).sum();
        // Most receivers do not check it, so that it is the sender's business.
        let severity = if is_sent { Severity::Warning } else { Severity::Note };
        let finding = Finding::new(Id::TtlTooSmall, severity, cause)
            .concerning(&interface, to)
            .evidence(EvidenceKind::Packet, &interface, format!("{datagrams} datagrams, hop limit {observed}"))
            .advise(
                Tool::Program,
                format!("In the sender, set {} to {GREATEST}.", hop_limit_option(Family::of(to.ip()))),
            );
        match flows.as_slice() {
            [flow] => finding.from_source(flow.key.source),
            _ => finding,
        }
    });
    findings.collect()
}

/// Judges senders on this machine with a hop limit of 0: the sockets of the examined program, or those whose datagrams do not
/// leave, although the doctor's own socket or the output hook received them.
fn zero_hop_limits(observation: &Observation) -> Vec<Finding> {
    let sockets = observation.before.udp_sockets.iter().filter_map(|socket| {
        let options = observation.before.socket_options.get(&socket.inode)?;
        let is_zero = |family| options.groups.get(&family).is_some_and(|groups| keeps_here(groups, family));
        // A socket of IPv6 has options for both families.
        let examined = observation.trial().map(|trial| trial.group().family());
        let mut families = [Family::V4, Family::V6].into_iter();
        let family = families.find(|family| examined.is_none_or(|own| own == *family) && is_zero(*family))?;
        match (observation.trial(), observation.program()) {
            (Some(trial), _) => {
                is_kept_here(observation, trial, socket).then_some((socket, family, Severity::Fault))
            }
            (None, Some(program)) => {
                let own = program.sockets.iter().find(|own| own.inode == socket.inode)?;
                // A program that only receives may set it as well.
                let is_sender = own.memberships.is_empty();
                Some((socket, family, if is_sender { Severity::Fault } else { Severity::Warning }))
            }
            (None, None) => None,
        }
    });
    sockets.map(|(socket, family, severity)| zero_hop_limit(observation, socket, family, severity)).collect()
}

/// Returns whether what a socket sends to a group that is joined here does not leave. In IPv6, the kernel looks at the hop limit only
/// of what it loops back.
fn keeps_here(options: &GroupOptions, family: Family) -> bool {
    options.hop_limit == 0 && (family == Family::V4 || options.loopback)
}

/// A hop limit for all routers of a site.
const FAR: u8 = 16;

fn zero_hop_limit(
    observation: &Observation,
    socket: &UdpSocket,
    family: Family,
    severity: Severity,
) -> Finding {
    let port = socket.local.port();
    let sent =
        || observation.wire.flows.iter().find(|flow| flow.key.outgoing && flow.key.source.port() == port);
    let to = observation.trial().map(TrialMembership::destination).or_else(|| Some(sent()?.destination()));
    let process = observation.before.socket_processes.get(&socket.inode).map(|(_, name)| name);
    let who = observation.program().map(|program| &program.name).or(process);
    let who = who.map_or("A program on this machine", |name| name);
    let option = hop_limit_option(family);
    let text = to.map_or_else(|| "groups".to_owned(), |to| to.to_string());
    let finding = Finding::new(
        Id::TtlTooSmall,
        severity,
        format!("{who} sends to {text} from port {port} with hop limit 0: while a program on this machine has joined the group, nothing leaves the machine."),
    )
    .in_program(who)
    // The kernel looks at the hop limit behind the output hook.
    .at_hook(Hook::Postrouting)
    .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("{option} 0"))
    .with_remedies(observation.program().and_then(|program| {
        let own = program.sockets.iter().find(|own| own.inode == socket.inode)?;
        remedies::socket::change(own, &[remedies::socket::hop_limit(family, 0, 1)])
    }))
    .with_remedies([raise(family)]);
    finding.with(to, |finding, to| finding.for_group(to).with_remedies([remedies::mcast::send_far(to)]))
}

/// Returns whether the doctor's own socket received from a socket of this machine, or something else dropped what it sends, and
/// nothing of it left.
fn is_kept_here(observation: &Observation, trial: &TrialMembership, socket: &UdpSocket) -> bool {
    let port = socket.local.port();
    let is_unsent = || {
        leaving::unsent(observation).iter().any(|unsent| {
            let family = trial.group().family();
            let senders = unsent.sockets(observation, |options| keeps_here(options, family));
            unsent.to == trial.destination() && senders.iter().any(|sender| sender.inode == socket.inode)
        })
    };
    let is_sender =
        |count: &ReceivedCount| count.source.port() == port && observation.before.is_own(count.source.ip());
    let mut sent = observation.wire.outgoing(trial.group().addr());
    let is_received = trial.received.iter().any(is_sender);
    (is_received && !sent.any(|flow| flow.key.source.port() == port)) || is_unsent()
}

/// Returns the interfaces to which this machine would forward the flow if its hop limit were larger.
fn blocked_outgoing_interfaces(observation: &Observation, flow: &Flow) -> Option<String> {
    let route = observation.after.multicast_routes.iter().find(|route| {
        let here = route.from.as_deref() == Some(&observation.link_name(flow.key.interface));
        !flow.key.outgoing && here && route.group == flow.key.group && route.source == flow.key.source.ip()
    })?;
    (!route.to.is_empty()).then(|| list(route.to.iter().map(|(name, _)| name)))
}

fn at_router(observation: &Observation, flow: &Flow, to: &str) -> Finding {
    let (destination, source, hop_limit) = (flow.destination(), flow.key.source, flow.hop_limits.1);
    let interface = observation.link_name(flow.key.interface);
    let route = format!("{} from {interface} to {to}", flow.key.group);
    let cause = format!(
        "{destination} from {source} arrives with hop limit {hop_limit}, so it is not forwarded to {to}."
    );
    ttl_too_small_finding(observation, flow, Severity::Fault, cause).evidence(
        EvidenceKind::Table,
        "/proc/net/ip_mr_cache",
        route,
    )
}

fn at_sender(observation: &Observation, flow: &Flow) -> Finding {
    let (destination, hop_limit) = (flow.destination(), flow.hop_limits.1);
    let cause = format!(
        "{destination} is sent with hop limit {hop_limit}: receivers behind a router do not receive it."
    );
    let family = Family::of(flow.key.group);
    let on_socket = observation.program().and_then(|program| {
        let change = remedies::socket::hop_limit(family, hop_limit, FAR);
        remedies::socket::change(program.socket_of(flow)?, &[change])
    });
    let finding = ttl_too_small_finding(observation, flow, Severity::Note, cause);
    Finding { remedies: on_socket.into_iter().chain(finding.remedies).collect(), ..finding }
}

fn ttl_too_small_finding(
    observation: &Observation,
    flow: &Flow,
    severity: Severity,
    cause: String,
) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let packets = format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1);
    Finding::new(Id::TtlTooSmall, severity, cause)
        .about_flow(&interface, flow)
        .evidence(EvidenceKind::Packet, &interface, packets)
        .with_remedies([raise(Family::of(flow.key.group)), remedies::mcast::send_far(flow.destination())])
}

pub(super) const fn hop_limit_option(family: Family) -> &'static str {
    match family {
        Family::V4 => "IP_MULTICAST_TTL",
        Family::V6 => "IPV6_MULTICAST_HOPS",
    }
}

fn raise(family: Family) -> Remedy {
    let option = hop_limit_option(family);
    Remedy::advice(
        Tool::Program,
        format!("In the sender, set {option} to more than the number of routers on the path."),
    )
}

/// Returns whether the scope of the group allows it to cross routers.
fn may_cross_routers(flow: &Flow) -> bool {
    let scope = Group::new(flow.key.group).map(Group::scope);
    matches!(scope, Ok(Scope::SiteLocal | Scope::OrganizationLocal | Scope::Global))
}

/// This machine routes the group, but its threshold is not below the hop limit of the datagrams.
pub(super) const TTL_THRESHOLD: Cause =
    Cause::new(Check::Observation(ttl_threshold), &["RFC 1112 section 6.1"]).without_loss();

fn ttl_threshold(observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for route in &observation.after.multicast_routes {
        let Some(from) = &route.from else { continue };
        let flow = observation.wire.incoming(route.group).find(|flow| {
            flow.key.source.ip() == route.source && observation.link_name(flow.key.interface) == *from
        });
        let Some(flow) = flow else { continue };
        // The kernel forwards only datagrams whose hop limit exceeds the threshold, and none with a hop limit of 1.
        let is_strict = |threshold: u8| threshold > 1 && threshold >= flow.hop_limits.1;
        let strict: Vec<_> = route.to.iter().filter(|(_, threshold)| is_strict(*threshold)).collect();
        let Some((interface, threshold)) = strict.first() else { continue };
        findings.push(
            Finding::fault(Id::TtlThreshold, format!(
                    "{} arrives with hop limit {}, but is forwarded to {interface} only with a hop limit above {threshold}.",
                    route.group, flow.hop_limits.1
                ))
            .about(interface, flow.destination(), flow.key.source)
            .evidence(
                EvidenceKind::Table,
                "/proc/net/ip_mr_cache",
                format!("{interface}, threshold {threshold}"),
            )
            .evidence(
                EvidenceKind::Packet,
                from,
                format!("hop limit {} to {}", flow.hop_limits.0, flow.hop_limits.1),
            )
            .advise(
                    Tool::Network,
                    format!(
                        "Lower the threshold of {interface} (smcroute: phyint {interface} ttl-threshold 1)."
                    ),
                ).advise(
                    Tool::Program,
                    format!("Or send with a hop limit above {threshold} (IP_MULTICAST_TTL)."),
                ),
        );
    }
    findings
}

/// The scope of the group's address keeps it from reaching this machine.
pub(super) const SCOPE_NEVER_LEAVES: Cause =
    Cause::new(Check::Observation(scope_never_leaves), &["RFC 4291 section 2.7", "RFC 5771 section 4"]);

fn scope_never_leaves(observation: &Observation) -> Vec<Finding> {
    let routed = routed_link_local_group(observation);
    if observation.received_anything() {
        return routed.into_iter().collect();
    }
    let mut findings: Vec<_> = routed.into_iter().collect();
    findings.extend(observation.interests().iter().filter_map(|interest| by_scope(observation, interest)));
    findings.extend(silent_link_local_group(observation));
    findings
}

fn by_scope(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let outside = observation.link(interest.interface).is_some_and(|link| !link.interface.loopback);
    let (severity, cause) = match interest.group.scope() {
        Scope::InterfaceLocal if outside => (
            Severity::Fault,
            format!(
                "{} has interface-local scope: it never leaves the machine that sends it.",
                interest.group
            ),
        ),
        Scope::Reserved(0) => {
            (Severity::Fault, format!("{} has the reserved scope 0, so kernels drop it.", interest.group))
        }
        Scope::Reserved(_) => {
            (Severity::Warning, format!("{} has a reserved scope, which must not be used.", interest.group))
        }
        _ => return None,
    };
    let finding = Finding::new(Id::ScopeNeverLeaves, severity, cause)
        .concerning(observation.link_name(interest.interface), interest.destination())
        .with_evidence(evidence(interest))
        .advise(
            Tool::Program,
            "Use a group with a wider scope: ff02:: for one link, ff05:: for a site, ff08:: for an organization.",
        );
    Some(finding)
}

/// Judges a multicast route of this machine for an examined group that routers must not forward. In IPv6, the kernel does
/// not use it.
fn routed_link_local_group(observation: &Observation) -> Option<Finding> {
    let interests = observation.interests();
    let is_link_local = |interest: &&Interest<'_>| interest.group.scope() == Scope::LinkLocal;
    let (interest, route) = interests.iter().filter(is_link_local).find_map(|interest| {
        let mut routes = observation.after.multicast_routes.iter();
        let is_of = |route: &&MulticastRoute| route.group == interest.group.addr() && route.from.is_some();
        Some((interest, routes.find(is_of)?))
    })?;
    let from = route.from.as_deref().unwrap_or("no interface");
    let to: Vec<_> = route.to.iter().map(|(name, _)| name.as_str()).collect();
    let to = if to.is_empty() { "no interface".to_owned() } else { to.join(", ") };
    let cause = format!(
        "This router has a multicast route for {}, which is a link-local group: routers do not forward it to other networks, whatever the hop limit.",
        interest.group
    );
    let finding = Finding::new(Id::ScopeNeverLeaves, Severity::Fault, cause)
        .for_group(interest.destination())
        .with_evidence(evidence(interest))
        .evidence(EvidenceKind::Table, "ip mroute show", format!("{} from {from} to {to}", interest.group))
        .advise(
            Tool::Program,
            "To cross routers, use a group with a wider scope: 239.0.0.0/8 in IPv4, ff05:: or ff08:: in IPv6.",
        );
    Some(finding)
}

/// Judges a silent link-local group: senders on other networks cannot reach this machine, whatever the hop limit
/// and the routers. A protocol with a fixed group, such as mDNS, then needs a reflector.
fn silent_link_local_group(observation: &Observation) -> Option<Finding> {
    observation.trial()?;
    let interests = observation.interests();
    let link_local_interests: Vec<_> = interests
        .iter()
        .filter(|interest| interest.group.scope() == Scope::LinkLocal)
        .filter(|interest| observation.link(interest.interface).is_some_and(|link| !link.interface.loopback))
        .collect();
    let one = link_local_interests
        .first()
        .filter(|_| interests.iter().all(|interest| observation.arrivals(interest).is_empty()))?;
    let is_captured =
        link_local_interests.iter().all(|interest| observation.wire.is_complete(interest.interface));
    let may_rest = link_local_interests
        .iter()
        .any(|interest| resting(interest.group, interest.port, observation.listened()).is_some());
    // Without a complete capture there may be other reasons, and a protocol that sends rarely may have nothing to send.
    let severity = if is_captured && !may_rest { Severity::Fault } else { Severity::Note };
    let names = list(link_local_interests.iter().map(|interest| observation.link_name(interest.interface)));
    let finding = Finding::new(
        Id::ScopeNeverLeaves,
        severity,
        format!(
            "Nothing for {} arrived in {:.1} s, and it is a link-local group: routers do not forward it, so it can only come from machines on the network of {names}.",
            one.destination(),
            observation.listened().as_secs_f64()
        ),
    )
    .on_interfaces(link_local_interests.iter().map(|interest| observation.link_name(interest.interface)))
    .for_group(one.destination())
    .with_evidence(evidence(one))
    .advise(
            Tool::Network,
            "To receive from another network, another VLAN or outside a container, run a relay on a machine that is in both: `mcast relay`, or for mDNS the avahi reflector (enable-reflector=yes in avahi-daemon.conf).",
        ).advise(Tool::Network, "On the same network, check that something sends: many of these protocols are silent until queried.");
    Some(finding)
}

fn evidence(interest: &Interest<'_>) -> Evidence {
    Evidence::new(
        EvidenceKind::Packet,
        interest.group.to_string(),
        format!("scope {}", interest.group.scope()),
    )
}

#[cfg(test)]
mod tests {
    use mcast::interface::InterfaceAddress;

    use super::*;
    use crate::causes::fixtures::{ETH0, flow, membership};

    #[test]
    fn silent_link_local_group_needs_a_reflector_and_neither_hops_nor_routers() {
        for (to, severity) in [
            ("224.0.0.251:5353", Severity::Note),
            ("[ff02::fb]:5353", Severity::Note),
            ("224.0.0.251:5000", Severity::Fault),
            ("[ff02::fb]:5000", Severity::Fault),
        ] {
            let mut observation = membership(to, Vec::new(), 0);
            observation.after.links[1]
                .interface
                .addresses
                .push(InterfaceAddress::new("fe80::2".parse().unwrap(), 64));
            let findings = super::super::judge(&observation);
            let causes: Vec<_> = findings.iter().map(|finding| (finding.id, finding.severity)).collect();
            assert_eq!(causes, [(Id::ScopeNeverLeaves, severity)], "{to}");
            let text = format!("{findings:?}");
            assert!(text.contains("avahi reflector") && text.contains("mcast relay"), "{text}");
            assert!(!text.contains("hop limit") && !text.contains("must route"), "{text}");
        }
    }

    #[test]
    fn link_local_group_that_arrives_is_not_reported() {
        let to = "224.0.0.251:5353";
        let arriving = membership(to, vec![flow(ETH0, "10.9.0.1:5353", to)], 10);
        assert_eq!(scope_never_leaves(&arriving), []);
        assert_eq!(scope_never_leaves(&membership("239.1.2.3:5000", Vec::new(), 0)), []);
    }

    #[test]
    fn route_for_a_link_local_group_is_reported_even_if_the_router_receives_it() {
        for to in ["224.0.0.77:5000", "[ff02::77]:5000"] {
            let source = if to.starts_with('[') { "[fd09::1]:6000" } else { "10.9.0.1:6000" };
            let mut observation = membership(to, vec![flow(ETH0, source, to)], 10);
            observation.after.multicast_routes = vec![MulticastRoute {
                group: observation.trial_mut().group().addr(),
                source: source.parse::<std::net::SocketAddr>().unwrap().ip(),
                from: Some("eth0".into()),
                packets: 10,
                wrong_interface: 0,
                to: vec![("eth1".into(), 1)],
            }];
            let findings = scope_never_leaves(&observation);
            assert_eq!((findings.len(), findings[0].severity), (1, Severity::Fault), "{findings:?}");
        }
    }

    #[test]
    fn hop_limit_of_the_protocol_is_beside_the_observed_one() {
        let causes = |to: &str, source: &str, hops: u8| {
            let mut flow = flow(ETH0, source, to);
            flow.hop_limits = (hops, hops);
            let findings = ttl_too_small(&membership(to, vec![flow], 10));
            findings.into_iter().map(|finding| (finding.severity, finding.cause)).collect::<Vec<_>>()
        };
        for (to, source) in [("224.0.0.251:5353", "10.9.0.1:5353"), ("[ff02::fb]:5353", "[fd09::1]:5353")] {
            let found = causes(to, source, 1);
            let [(Severity::Note, cause)] = &found[..] else { panic!("{found:?}") };
            assert!(cause.contains("hop limit 1, but mdns requires 255 (RFC 6762"), "{cause}");
            assert_eq!(causes(to, source, 255), []);
        }
        assert_eq!(causes("224.0.0.251:5000", "10.9.0.1:6000", 1), [], "another port is another protocol");
        assert_eq!(causes("224.0.0.252:5355", "10.9.0.1:6000", 1), [], "it is recommended only");
        assert_eq!(causes("224.2.127.254:9875", "10.9.0.1:6000", 15), [], "it may come from another network");
    }

    #[test]
    fn senders_with_another_hop_limit_are_named_together() {
        let flows = (1..=40).map(|host| {
            let mut flow = flow(ETH0, &format!("10.9.0.{host}:5353"), "224.0.0.251:5353");
            flow.hop_limits = (1, 1);
            flow
        });
        let findings = ttl_too_small(&membership("224.0.0.251:5353", flows.collect(), 10));
        let [only] = &findings[..] else { panic!("{findings:?}") };
        assert!(only.cause.contains("10.9.0.5:5353 and 35 more arrives with hop limit 1"), "{}", only.cause);
    }

    #[test]
    fn it_is_a_note_without_a_capture() {
        let mut observation = membership("224.0.0.251:5000", Vec::new(), 0);
        observation.wire.taps[0].refused = Some("no right".into());
        assert_eq!(scope_never_leaves(&observation)[0].severity, Severity::Note);
    }
}
