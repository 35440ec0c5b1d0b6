//! Routes: by which groups are joined, and back to a source, against which the system checks what arrives (reverse path filter).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mcast::interface::{AddressState, InterfaceAddress};
use mcast::{ErrorKind, Family, InterfaceSelector};
use mcast_sys::{SendAnswer, SendInterface};

use super::{Cause, Check, Forecast, sending_sockets};
use crate::change::{self, Change};
use crate::fate::depth::{KernelVerdict, LostFlow};
use crate::fate::{Ahead, Stage, Way, has_usable_source};
use crate::finding::list;
use crate::kernel_drops::UNROUTED;
use crate::observation::{Interest, Observation, Program, ProgramSocket, TrialMembership};
use crate::outcome::PrintedErrorKind;
use crate::snapshot::{Counter, Link, Route, TableRoute, explains, interface_setting};
use crate::wire::Flow;
use crate::{
    Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies,
};

/// Of fewer datagrams, a single program may have tried one address.
const MIN_DATAGRAMS: u64 = 3;

/// There is no route for groups, so programs that do not choose an interface can neither send (`ENETUNREACH`)
/// nor join.
pub(super) const NO_ROUTE: Cause = Cause::new(Check::Observation(no_route), &["RFC 1112 section 6.1"])
    .offering(|on| remedies::linux::route_groups(Family::V4, &on.link));

fn no_route(observation: &Observation) -> Vec<Finding> {
    // A route does not help behind a rule that rejects groups.
    let missing = unrouted(observation)
        .into_iter()
        .filter(|one| observation.after.routing.rejected(one.family).is_none());
    let rejecting = |family| {
        let decisions = observation.after.routing.rejecting(family).into_iter();
        decisions.filter(|one| one.rule.is_usual()).filter_map(|one| one.route).collect::<Vec<_>>()
    };
    let (rejected, missing): (Vec<_>, Vec<_>) = missing.partition(|one| !rejecting(one.family).is_empty());
    let finding = |Unrouted { family, severity, answer, program, to }: Unrouted| {
        let finding = no_route_finding(observation, family, severity).with_all_evidence(answer).advise(
            Tool::Program,
            "Or choose the interface in the program: with IP_MULTICAST_IF (IPV6_MULTICAST_IF) to send, and by its index to join.",
        );
        finding.with(program, Finding::in_program).with(to, Finding::for_group)
    };
    let mut findings: Vec<_> = missing.into_iter().map(finding).collect();
    for family in [Family::V4, Family::V6] {
        let known = rejected.iter().find(|one| one.family == family);
        let may_send =
            || observation.program().is_some_and(|program| may_send_by_route(observation, program, family));
        if known.is_some() || may_send() {
            let routes = rejecting(family).into_iter();
            findings.extend(routes.map(|route| rejected_by_route(observation, route, known)));
        }
    }
    findings
}

/// Returns the finding about a route that rejects groups. Which group a program sends to that sends nothing is not known.
fn rejected_by_route(observation: &Observation, route: &TableRoute, known: Option<&Unrouted>) -> Finding {
    let family = Family::of(route.destination.address);
    let command = if family == Family::V4 { "ip route" } else { "ip -6 route" };
    let (prefix, severity) = (route.destination, known.map_or(Severity::Warning, |one| one.severity));
    let cause = format!(
        "A route of this machine rejects groups in {prefix}: {route}. Programs that choose no interface cannot send to these groups, and no counter shows it."
    );
    let finding = Finding::new(Id::NoRoute, severity, cause).evidence(EvidenceKind::Route, command, route);
    finding
        .with(observation.program().map(|program| &program.name), Finding::in_program)
        .with(known.and_then(|one| one.to), Finding::for_group)
        .with_all_evidence(known.and_then(|one| one.answer.clone()))
        .advise(Tool::Ip, format!("If the program should send to one of them, delete the route, also where it is made at boot: `{command} del {route}`. It may be there to keep groups out of a network."))
        .advise(Tool::Program, "Or choose the interface in the program, with IP_MULTICAST_IF (IPV6_MULTICAST_IF).")
}

/// Returns whether a program may be trying to send to groups by their route: it sends to none, and a socket has joined nothing and
/// chosen no interface.
pub(super) fn may_send_by_route(observation: &Observation, program: &Program, family: Family) -> bool {
    let follows_route = |socket: &ProgramSocket| {
        let groups = socket.options.as_ref().and_then(|options| options.groups.get(&family));
        let by = groups.and_then(|groups| groups.sends_by);
        // In IPv4, an address that the socket is bound to is the choice of its interface.
        let is_open = |local: SocketAddr| {
            Family::of(local.ip()) == family && (local.ip().is_unspecified() || local.is_ipv6())
        };
        socket.local.is_some_and(is_open)
            && socket.bound_interface.is_none()
            && matches!(by, None | Some(SendInterface::Route))
    };
    program.sockets.iter().all(ProgramSocket::never_joined)
        && program.sockets.iter().any(follows_route)
        && !observation.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow))
}

/// A family for whose groups there is no route that a program needs.
pub(super) struct Unrouted {
    pub(super) family: Family,
    pub(super) severity: Severity,
    /// The error that shows it.
    pub(super) answer: Option<Evidence>,
    pub(super) program: Option<String>,
    /// The group that a program of this machine may be trying to send to.
    pub(super) to: Option<SocketAddr>,
}

/// Returns the families for whose groups a route is missing that is needed, or may be.
pub(super) fn unrouted(observation: &Observation) -> Vec<Unrouted> {
    if let Some(trial) = observation.trial() {
        let refused = trial.failed_with(ErrorKind::NoRoute);
        let unrouted = refused.map(|failure| Unrouted {
            family: trial.group().family(),
            severity: Severity::Fault,
            answer: Some(Evidence::new(EvidenceKind::Answer, "join", &failure.text)),
            program: None,
            to: None,
        });
        return unrouted.or_else(|| unsent(observation, trial)).into_iter().collect();
    }
    if let Some(program) = observation.program() {
        let printed = printed(observation, program);
        if !printed.is_empty() {
            return printed;
        }
    }
    let is_concerned = |family| match observation.program() {
        Some(program) => is_silent_sender(observation, program, family),
        None => observation.is_about_machine(),
    };
    let missing = missing_routes(observation).filter(|family| is_concerned(*family));
    let unrouted = |family| {
        let answer = sends_without_route(observation, family);
        // Which program of a machine it is, and whether it sends to groups, is not known.
        let program = observation.program().filter(|_| answer.is_some()).map(|program| program.name.clone());
        let severity = if program.is_some() { Severity::Fault } else { Severity::Warning };
        Unrouted { family, severity, answer, program, to: None }
    };
    missing.map(unrouted).collect()
}

/// Returns that programs of this machine may be trying to send a group that is joined and silent.
fn unsent(observation: &Observation, trial: &TrialMembership) -> Option<Unrouted> {
    let family = missing_routes(observation).find(|family| *family == trial.group().family())?;
    let group = trial.group().addr();
    let is_seen = observation.wire.flows.iter().any(|flow| flow.key.group == group);
    let answer = sends_without_route(observation, family).filter(|_| !is_seen)?;
    let to = Some(trial.destination());
    Some(Unrouted { family, severity: Severity::Warning, answer: Some(answer), program: None, to })
}

/// Returns the count of what programs of this machine could not send for lack of a route while listening, if there were more than
/// the doctor has tried itself: it asks for each socket of a program, before and after.
fn sends_without_route(observation: &Observation, family: Family) -> Option<Evidence> {
    let asked = observation.program().map_or(0, |program| program.sockets.len() as u64 * 2);
    let rise = observation.rise(Counter::OutNoRoutes, family)?;
    (rise >= MIN_DATAGRAMS + asked)
        .then(|| observation.counter_change(Counter::OutNoRoutes, family))
        .flatten()
}

/// Judges a program that prints that a join found no interface, or sending no route.
fn printed(observation: &Observation, program: &Program) -> Vec<Unrouted> {
    let kinds = [PrintedErrorKind::NoRoute, PrintedErrorKind::NoDevice];
    let mut errors = kinds.into_iter().flat_map(|kind| program.failed_with(kind, &observation.wire));
    let Some(error) = errors.next() else { return Vec::new() };
    let missing = missing_routes(observation).map(|family| {
        let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
        let (answer, program) = (Some(answer), Some(program.name.clone()));
        Unrouted { family, severity: Severity::Fault, answer, program, to: None }
    });
    missing.collect()
}

/// Returns the families for whose groups there is no route, although an interface could carry them.
pub(crate) fn missing_routes(observation: &Observation) -> impl Iterator<Item = Family> {
    let routes = observation.after.group_routes.iter();
    let missing = routes.filter(|route| route.interface.is_none()).map(|route| route.family);
    missing.filter(|family| usable(observation, *family).is_some())
}

/// Returns whether a program may be trying to send to groups of a family: it has joined none, has a socket for the family
/// that needs a route to send, and sends to no group.
fn is_silent_sender(observation: &Observation, program: &Program, family: Family) -> bool {
    let is_open = |socket: &ProgramSocket| {
        let needs_route =
            socket.bound_interface.is_none() && !sending_sockets::needs_no_route(observation, socket);
        needs_route && socket.local.is_some_and(|local| Family::of(local.ip()) == family)
    };
    program.sockets.iter().any(is_open)
        && program.sockets.iter().all(|socket| socket.memberships.is_empty())
        && !observation.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow))
}

/// Returns an interface that could carry the groups of a family.
pub(crate) fn usable(observation: &Observation, family: Family) -> Option<&Link> {
    observation.after.links.iter().find(|link| link.is_of_the_host() && link.has_address(family))
}

/// Returns the finding about what is sent to a group by the route, which does not exist; `None` if it exists, or no interface could
/// carry the group.
pub(super) fn without_route_to_choose(observation: &Observation, to: SocketAddr) -> Option<Finding> {
    let family = missing_routes(observation).find(|family| *family == Family::of(to.ip()))?;
    let (link, group, port) = (usable(observation, family)?.name(), to.ip(), to.port());
    let named = match family {
        Family::V4 => format!("{group}%{link}:{port}"),
        Family::V6 => format!("[{group}%{link}]:{port}"),
    };
    let advice = format!("Or name the interface, which needs no route: `{named}`.");
    Some(no_route_finding(observation, family, Severity::Fault).advise(Tool::Program, advice))
}

fn no_route_finding(observation: &Observation, family: Family, severity: Severity) -> Finding {
    Finding::new(
        Id::NoRoute,
        severity,
        format!("There is no {family} route for groups, so programs that do not choose an interface can neither send nor join."),
    )
    .evidence(EvidenceKind::Route, remedies::group_route(family), "unreachable")
    .with_remedies(usable(observation, family).map(|link| remedies::route_groups(family, link)).unwrap_or_default())
}

/// The route for groups leads into a tunnel, and most tunnels do not carry multicast.
pub(super) const VPN_TAKES_DEFAULT: Cause = Cause::new(Check::Observation(vpn_takes_default), &[])
    .offering(|on| remedies::linux::route_groups(Family::V4, &on.link));

fn vpn_takes_default(observation: &Observation) -> Vec<Finding> {
    let by_default = observation
        .trial()
        .filter(|trial| trial.membership.interface == Some(InterfaceSelector::Default))
        .map(|trial| trial.group().family());
    let routes = observation.after.group_routes.iter().filter(|route| match by_default {
        Some(family) => route.family == family,
        None => observation.is_about_machine() || is_taken(observation, route),
    });
    let findings = routes.filter_map(|route| {
        let tunnel = observation.after.link(route.interface?).filter(|link| link.is_tunnel())?;
        let ordinary = |link: &&Link| {
            link.is_of_the_host() && link.interface.multicast && !link.is_tunnel() && link.has_address(route.family)
        };
        let other = observation.after.links.iter().find(ordinary)?;
        // Where something arrives although the route leads into the tunnel, it may be meant.
        let severity = if by_default.is_some() && !observation.received_anything() {
            Severity::Fault
        } else {
            Severity::Warning
        };
        let finding = Finding::new(
            Id::VpnTakesDefault,
            severity,
            format!(
                "{} groups leave through the tunnel {} unless a program chooses another interface, such as {}.",
                route.family, tunnel.name(), other.name()
            ),
        )
        .on_interface(tunnel.name())
        .evidence(EvidenceKind::Route, remedies::group_route(route.family), format!("dev {}", tunnel.name()))
        .evidence(
            EvidenceKind::Interface,
            tunnel.name(),
            tunnel.kind.as_deref().unwrap_or("point-to-point"),
        )
        .with_remedies(match observation.trial() {
            Some(trial) => remedies::route_group(trial.group().addr(), other, observation.after.has_routing_rules).into_iter().collect(),
            None => remedies::route_groups(route.family, other),
        })
        .advise(
            Tool::Program,
            format!("Or choose the interface {} in the program.", other.name()),
        );
        Some(finding)
    });
    findings.collect()
}

/// Returns whether what is examined leaves by the tunnel to which the default route of this machine leads. A route for groups is meant
/// for them.
fn is_taken(observation: &Observation, route: &Route) -> bool {
    let is_examined = |flow: &Flow| match observation.program() {
        Some(program) => program.sends(flow),
        None => observation.trial().is_some_and(|trial| trial.destination() == flow.destination()),
    };
    let mut flows = observation.wire.flows.iter();
    let flow = flows.find(|flow| {
        let key = &flow.key;
        key.outgoing
            && Some(key.interface) == route.interface
            && Family::of(key.group) == route.family
            && is_examined(flow)
    });
    let is_for_groups = |group: IpAddr| {
        let mut routes = observation.after.routing.routes.iter();
        routes.any(|route| route.destination.address.is_multicast() && route.destination.contains(group))
    };
    flow.is_some_and(|flow| !is_for_groups(flow.key.group))
}

/// The loopback interface has no route for IPv6 groups, so nothing can be sent to them there. A plain route
/// becomes one that rejects; only a route of type `local` works.
pub(super) const IPV6_LOOPBACK_ROUTE: Cause =
    Cause::new(Check::Observation(ipv6_loopback_route), &["RFC 4291 section 2.7"])
        .offering(|on| add_route(&on.link));

fn ipv6_loopback_route(observation: &Observation) -> Vec<Finding> {
    if observation.received_anything() {
        return Vec::new();
    }
    let on_loopback = observation.interests().into_iter().find_map(|interest| {
        let link = observation.link(interest.interface).filter(|link| link.interface.loopback)?;
        let silent = observation.arrivals(&interest).is_empty()
            && observation.wire.outgoing(interest.group.addr()).next().is_none();
        let lacks_route = observation.after.lacks_v6_group_route(link.name());
        (interest.group.addr().is_ipv6() && silent && lacks_route).then_some((interest, link))
    });
    let finding = on_loopback.map(|(interest, link)| {
        Finding::fault(
            Id::Ipv6LoopbackRoute,
            format!(
                "Nothing can be sent to {} on {}: it has no route for IPv6 groups.",
                interest.group,
                link.name()
            ),
        )
        .concerning(link.name(), interest.destination())
        .evidence(
            EvidenceKind::Route,
            "/proc/net/ipv6_route",
            format!("no route of type local for ff00::/8 on {}", link.name()),
        )
        .with_remedies(add_route(link))
    });
    finding.into_iter().collect()
}

fn add_route(link: &Link) -> Vec<Remedy> {
    let name = link.name();
    let scope = RemedyScope::new(format!("every IPv6 group that a program sends to on {name}"));
    let now = change::Route::v6("local", "ff00::/8", name, None).added();
    let now = Remedy::now_changing(Tool::Ip, Change::Route(now));
    remedies::with_networkd(
        now.with_scope(scope),
        link,
        "route",
        "[Route]\nDestination=ff00::/8\nType=local\n",
    )
}

/// IPv6 is disabled on the interface, or has no usable address, so groups cannot be joined or sent to. A new
/// address is usable only after duplicate address detection.
pub(super) const IPV6_NOT_READY: Cause =
    Cause::new(Check::Observation(ipv6_not_ready), &["RFC 4862 section 5.4"]).offering(|on| {
        enable(&on.link).into_iter().chain([remedies::linux::set_mtu(&on.link, 1280)]).collect()
    });

fn ipv6_not_ready(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let without_route = interests.iter().filter_map(|interest| without_route(observation, interest));
    without_route.chain(without_address(observation)).collect()
}

/// Judges an interface whose route for groups is gone: the system discards what arrives there. Scripts that flush the
/// table `local` delete it.
fn without_route(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link = observation.link(interest.interface)?;
    let lost = observation.lost_flows(interest);
    let is_concerned = interest.group.addr().is_ipv6()
        && observation.after.lacks_v6_group_route(link.name())
        && lost.iter().any(|lost| observation.kernel_verdict(lost, UNROUTED) != KernelVerdict::Refuted);
    is_concerned.then(|| {
        let (name, to) = (link.name(), interest.destination());
        let cause = format!(
            "{name} has no route for IPv6 groups, so the kernel discards the datagrams for {to} that arrive there."
        );
        without_group_route(cause, link)
            .for_group(to)
            .with_all_evidence(lost.first().map(|lost| observation.packets_of(lost.flow)))
    })
}

/// Returns the finding about an interface by which nothing can be sent to a group, because its route for groups is gone.
pub(super) fn without_route_to_send(group: IpAddr, link: &Link) -> Finding {
    let cause = format!(
        "{} has IPv6 addresses, but no route for IPv6 groups, so nothing can be sent to {group} by it.",
        link.name()
    );
    without_group_route(cause, link)
}

fn without_group_route(cause: String, link: &Link) -> Finding {
    Finding::fault(Id::Ipv6NotReady, cause)
        .on_interface(link.name())
        .evidence(
            EvidenceKind::Route,
            "/proc/net/ipv6_route",
            format!("no route for ff00::/8 on {}", link.name()),
        )
        .with_remedies(restore_group_route(link))
}

fn restore_group_route(link: &Link) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!("every IPv6 group on {}", link.name()));
    let route = change::Route::v6("multicast", "ff00::/8", link.name(), None).in_table_local().added();
    [
        Remedy::now_changing(Tool::Ip, Change::Route(route)).with_scope(scope),
        Remedy::advice(
            Tool::Network,
            "The kernel adds this route when the interface comes up: find the script that deletes it, such as one that flushes the table local.",
        ),
    ]
}

fn without_address(observation: &Observation) -> Vec<Finding> {
    if let Some(program) = observation.program() {
        let sending = refused_by_interface(observation, program);
        return disabled_under_program(observation).into_iter().chain(sending).collect();
    }
    if observation.is_about_machine() {
        return duplicates(observation);
    }
    let Some(trial) = observation.trial().filter(|trial| trial.group().addr().is_ipv6()) else {
        return Vec::new();
    };
    let refused = trial.failed_with(ErrorKind::FamilyUnavailable);
    let mut names: Vec<_> = refused.and_then(|failure| failure.interface.clone()).into_iter().collect();
    names.extend(
        trial.joined.iter().filter_map(|index| Some(observation.after.link(*index)?.name().to_owned())),
    );
    let failed =
        trial.failures.iter().filter_map(|failure| observation.after.link_named(failure.interface.as_ref()?));
    names.extend(failed.filter(|link| link.is_too_small_for_ipv6()).map(|link| link.name().to_owned()));
    names.sort();
    names.dedup();
    names
        .iter()
        .filter_map(|name| judge_ipv6_not_ready(observation, observation.after.link_named(name)?))
        .collect()
}

/// Judges the interfaces of a machine with an address that another host has. Whether a program needs it is not known.
fn duplicates(observation: &Observation) -> Vec<Finding> {
    let is_duplicate = |own: &InterfaceAddress| own.address.is_ipv6() && own.state == AddressState::Duplicate;
    let has_duplicate = |link: &&Link| link.interface.addresses.iter().any(is_duplicate);
    let links = observation.after.links.iter().filter(has_duplicate);
    let findings = links.filter_map(|link| judge_ipv6_not_ready(observation, link));
    findings.map(|finding| Finding { severity: Severity::Warning, ..finding }).collect()
}

/// Judges the interfaces on which a program has joined IPv6 groups, and IPv6 was disabled since.
fn disabled_under_program(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let joined = interests.iter().filter(|interest| interest.family() == Family::V6);
    let links: BTreeMap<_, _> = joined
        .filter_map(|interest| Some((interest.interface, observation.after.link(interest.interface)?)))
        .collect();
    let is_disabled = |link: &&Link| {
        let setting = interface_setting(Family::V6, link.name(), "disable_ipv6");
        observation.after.number(&setting) == Some(1)
    };
    links
        .into_values()
        .filter(is_disabled)
        .filter_map(|link| judge_ipv6_not_ready(observation, link))
        .collect()
}

/// Judges the interfaces by which sockets of a program have chosen to send, and the system refuses it.
fn refused_by_interface(observation: &Observation, program: &Program) -> Vec<Finding> {
    let mut findings: Vec<_> = program
        .sockets
        .iter()
        .filter(|socket| matches!(socket.send_answer, Some((to, SendAnswer::Refused { .. })) if to.is_ipv6()))
        .filter_map(|socket| {
            let options = socket.options.as_ref()?.groups.get(&Family::V6)?;
            let Some(SendInterface::Index(index)) = options.sends_by else { return None };
            let finding = judge_ipv6_not_ready(observation, observation.link(index)?)?;
            Some(finding.in_program(&socket.owner))
        })
        .collect();
    findings.dedup_by(|one, other| one.cause == other.cause);
    findings
}

pub(super) fn judge_ipv6_not_ready(observation: &Observation, link: &Link) -> Option<Finding> {
    if link.interface.loopback || !link.interface.up {
        return None;
    }
    let own = interface_setting(Family::V6, link.name(), "disable_ipv6");
    let address_in =
        |state| link.interface.addresses.iter().find(|own| own.address.is_ipv6() && own.state == state);
    let finding = |cause: String| Finding::fault(Id::Ipv6NotReady, cause).on_interface(link.name());
    if link.is_too_small_for_ipv6() {
        let (name, mtu) = (link.name(), link.interface.mtu);
        return Some(
            finding(format!("The MTU of {name} is {mtu} bytes, and IPv6 needs 1280, so {name} has no IPv6."))
                .evidence(EvidenceKind::Setting, format!("{name} mtu"), mtu)
                .with_remedies([remedies::linux::set_mtu(link, 1280)]),
        );
    }
    if observation.after.number(&own) == Some(1) {
        return Some(
            finding(format!("IPv6 is disabled on {}.", link.name()))
                .evidence(EvidenceKind::Setting, &own, 1)
                .with_remedies(enable(link)),
        );
    }
    if let Some(duplicate) = address_in(AddressState::Duplicate) {
        let address = duplicate.address;
        return Some(
            finding(format!("{address} on {} is a duplicate: another host has the same address, so it is not used.", link.name()))
                .evidence(EvidenceKind::Interface, link.name(), format!("{address} dadfailed"))
                .with_remedies([remedies::remove_address(address, duplicate.prefix, link.name())]).advise(Tool::Network, "Give each host its own address. Cloned virtual machines often have the same hardware address."),
        );
    }
    if let Some(tentative) =
        address_in(AddressState::Tentative).filter(|_| address_in(AddressState::Ready).is_none())
    {
        let address = tentative.address;
        return Some(
            finding(format!(
                "{address} on {} is not ready yet: duplicate address detection is still running.",
                link.name()
            ))
            .evidence(EvidenceKind::Interface, link.name(), format!("{address} tentative"))
            .advise(
                Tool::Program,
                "Wait one or two seconds after the interface comes up, or send only when an address is ready.",
            ),
        );
    }
    (!link.has_address(Family::V6)).then(|| {
        finding(format!("{} has no IPv6 address, not even a link-local one.", link.name()))
            .evidence(EvidenceKind::Interface, link.name(), "no IPv6 address")
            .with_remedies(create_address(observation, link))
    })
}

pub(super) fn enable(link: &Link) -> [Remedy; 2] {
    remedies::sysctl(&interface_setting(Family::V6, link.name(), "disable_ipv6"), 0, scope(link))
}

/// Returns the scope of the settings.
fn scope(link: &Link) -> RemedyScope {
    RemedyScope::new(format!("IPv6 on {}", link.name()))
        .warning(format!("{} becomes reachable over IPv6: its firewall must cover IPv6, too", link.name()))
}

/// Returns the remedies that make the system create a link-local address. They keep the other addresses and
/// routes of the interface: taking it down would disconnect everyone who uses it.
fn create_address(observation: &Observation, link: &Link) -> Vec<Remedy> {
    /// `IN6_ADDR_GEN_MODE_NONE`.
    const NONE: i64 = 1;
    let generation = interface_setting(Family::V6, link.name(), "addr_gen_mode");
    let Some(mode) = observation.after.number(&generation) else {
        return vec![Remedy::advice(
            Tool::Network,
            "Enable IPv6 on the interface, so that it gets a link-local address.",
        )];
    };
    // An address can be deleted again, whereas a setting that makes the system create one leaves it behind.
    let address = link.interface.hardware_address.map(link_local);
    let now = address.map(|address| {
        let interface = link.name().to_owned();
        let change = Change::Address { interface, address: format!("{address}/64"), is_there: true };
        Remedy::now_changing(Tool::Ip, change).with_scope(scope(link))
    });
    let [_, permanent] = remedies::sysctl(&generation, 0, scope(link));
    now.into_iter().chain((mode == NONE).then_some(permanent)).collect()
}

/// Returns the link-local address that follows from a hardware address (RFC 4291, appendix A).
fn link_local(address: mcast_sys::HardwareAddress) -> std::net::Ipv6Addr {
    let [a, b, c, d, e, f] = address.0.map(u16::from);
    let word = |high: u16, low: u16| high << 8 | low;
    std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f))
}

pub(super) const REVERSE_PATH_FILTER: Cause =
    Cause::new(Check::Interest(reverse_path_filter), &["RFC 3704 section 2", "ip-sysctl: rp_filter"])
        .at(Stage::Source)
        .predicted_by(Forecast::Way(filter_ahead))
        .offering(|on| loosen(on.name()).into_iter().chain(turn_off(on.name())).collect());

pub(super) const REVERSE_PATH_COUNTER: &str = "TcpExtIPReversePathFilter";

fn reverse_path_filter(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if !observation.wire.is_tapped(interest.interface) && !observation.received_anything() {
        return by_counter_alone(observation, interest);
    }
    let dropped = dropped(observation, interest);
    if dropped.is_empty() {
        return None;
    }
    let interface = observation.link_name(interest.interface);
    let sources: BTreeSet<_> = dropped.iter().map(|lost| lost.flow.key.source.ip()).collect();
    let sources = list(sources);
    let settings = settings(&interface);
    let mode = if is_strict(observation, &settings) { "strict" } else { "loose" };
    let (before, after) = observation.values(REVERSE_PATH_COUNTER)?;
    let finding = Finding::fault(
        Id::ReversePathFilter,
        format!("The reverse path filter of {interface} ({mode}) drops the datagrams from {sources}, because the route to {sources} does not use {interface}."),
    )
    .concerning(&interface, interest.destination())
    .from_sources(dropped.iter().map(|lost| lost.flow.key.source.ip()).collect::<BTreeSet<_>>())
    .explaining(dropped.iter().map(|lost| ExplainedFlow::from(&lost.status)))
    .change(EvidenceKind::Counter, format!("/proc/net/netstat {REVERSE_PATH_COUNTER}"), before, after)
    .with_all_evidence(filter_settings(observation, &interface))
    .with_remedies(loosen_or_turn_off(observation, &interface, dropped.iter().map(|lost| lost.flow.key.source.ip())));
    Some(finding)
}

/// Returns the finding about datagrams that do not get to the filter yet.
fn filter_ahead(ahead: &Ahead<'_>) -> Vec<Finding> {
    let Way::Arriving { meant, .. } = ahead.way else { return Vec::new() };
    let observation = ahead.observation;
    let (reached, _) = observation.hooks.at_input(&meant.key).unwrap_or_default();
    // The interface of a VLAN has a filter of its own, and a source that the system refuses has to change.
    let has_route = meant.key.vlan.is_none() && has_usable_source(observation, meant);
    if ahead.has(Id::ReversePathFilter) || reached > 0 || !has_route {
        return Vec::new();
    }
    let rise = observation.rise_of(REVERSE_PATH_COUNTER).unwrap_or_default();
    let found = of_flow(observation, meant);
    found.filter(|_| !ahead.is_only_last() || explains(rise, meant.datagrams)).into_iter().collect()
}

/// Returns the finding about a flow that the filter would drop.
fn of_flow(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let source = flow.key.source.ip();
    let interface = observation.link_name(flow.key.interface);
    let settings = settings(&interface);
    let strictest = settings.iter().filter_map(|name| observation.after.number(name)).max()?;
    let route = *observation.source_routes.get(&source)?;
    let is_dropped = match strictest {
        0 => false,
        1 => route != Some(flow.key.interface),
        _ => route.is_none(),
    };
    if !is_dropped || !source.is_ipv4() {
        return None;
    }
    let mode = if strictest == 1 { "strict" } else { "loose" };
    let route = route.map_or_else(|| "no route".to_owned(), |route| observation.link_name(route));
    let finding = Finding::fault(
        Id::ReversePathFilter,
        format!("The reverse path filter of {interface} ({mode}) would drop the datagrams from {source}, because the route to {source} does not use {interface}."),
    )
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Route, format!("ip route get {source}"), route)
    .with_all_evidence(filter_settings(observation, &interface))
    .with_remedies(loosen_or_turn_off(observation, &interface, [source]));
    Some(finding)
}

/// Returns whether the filter drops a flow that arrives, as its counter shows.
pub(super) fn drops(observation: &Observation, flow: &Flow) -> bool {
    let rise = observation.rise_of(REVERSE_PATH_COUNTER).unwrap_or_default();
    let lost = || {
        let interests = observation.interests();
        let mut lost = interests.iter().flat_map(|interest| dropped(observation, interest));
        lost.any(|lost| lost.flow.key == flow.key)
    };
    lost() || (explains(rise, flow.datagrams) && of_flow(observation, flow).is_some())
}

/// Returns the flows of an interest that the filter drops: those that are lost and whose route does not use their
/// interface. If the routing table explains none (policy routes), the counter decides. Where the kernel gives its
/// reasons, these decide.
pub(super) fn dropped<'a>(observation: &'a Observation, interest: &Interest<'a>) -> Vec<LostFlow<'a>> {
    let Some(rise) =
        observation.rise_of(REVERSE_PATH_COUNTER).filter(|rise| *rise > 0 && interest.family() == Family::V4)
    else {
        return Vec::new();
    };
    let mut lost = observation.lost_flows(interest);
    let verdict = |lost: &LostFlow<'_>| observation.kernel_verdict(lost, "IP_RPFILTER");
    // The counter is that of the whole machine; the kernel's reason belongs to one flow.
    let proven: Vec<_> = lost.iter().filter(|lost| verdict(lost) == KernelVerdict::Proven).cloned().collect();
    if !proven.is_empty() {
        return proven;
    }
    lost.retain(|lost| verdict(lost) == KernelVerdict::Unknown);
    let is_strict = is_strict(observation, &settings(&observation.link_name(interest.interface)));
    let is_routed_elsewhere = |lost: &&LostFlow<'_>| {
        let interface = lost.flow.key.interface;
        let route = observation.source_routes.get(&lost.flow.key.source.ip());
        // Loose mode drops only sources to which no route leads at all (RFC 3704, section 2.4).
        route.is_some_and(|route| route.is_none() || (is_strict && *route != Some(interface)))
    };
    let is_explained = |lost: &&LostFlow<'_>| explains(rise, lost.lost);
    let certain: Vec<_> = lost.iter().filter(is_explained).filter(is_routed_elsewhere).cloned().collect();
    if !certain.is_empty() {
        return certain;
    }
    let total: u64 = lost.iter().map(|lost| lost.lost).sum();
    // A source in the network of the interface has its route there, and passes even strict mode.
    let is_outside = |lost: &&LostFlow<'_>| {
        let link = observation.link(lost.flow.key.interface);
        link.is_some_and(|link| !link.is_next_to(lost.flow.key.source.ip()))
    };
    match explains(rise, total) {
        true => lost,
        false => lost.iter().filter(is_explained).filter(is_outside).cloned().collect(),
    }
}

fn is_strict(observation: &Observation, settings: &[String; 2]) -> bool {
    settings.iter().filter_map(|name| observation.after.number(name)).max() == Some(1)
}

/// Judges by the counter alone, without a capture: packets were dropped, and nothing was received.
fn by_counter_alone(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (before, after) = observation
        .values(REVERSE_PATH_COUNTER)
        .filter(|(before, after)| after > before && interest.family() == Family::V4)?;
    let interface = observation.link_name(interest.interface);
    let finding = Finding::warning(Id::ReversePathFilter, format!(
            "The reverse path filter dropped {} packets while nothing for {} was received. Only a capture can show their sources.",
            after - before,
            interest.destination()
        ))
    .for_group(interest.destination())
    .change(EvidenceKind::Counter, format!("/proc/net/netstat {REVERSE_PATH_COUNTER}"), before, after)
    .with_remedies(turn_off(&interface));
    Some(finding)
}

/// Returns the narrowest remedies: a loose filter on the one interface, if there is a route to every source.
pub(super) fn loosen_or_turn_off(
    observation: &Observation,
    interface: &str,
    sources: impl IntoIterator<Item = IpAddr>,
) -> [Remedy; 2] {
    let has_route = |source| matches!(observation.source_routes.get(&source), Some(Some(_)));
    let is_strict = is_strict(observation, &settings(interface));
    match is_strict && sources.into_iter().all(has_route) {
        true => loosen(interface),
        false => turn_off(interface),
    }
}

/// Returns the remedy that accepts every source to which there is a route. The larger of the two settings is in effect.
fn loosen(interface: &str) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!("every IPv4 packet that arrives on {interface}"));
    let warning = "packets with forged source addresses are no longer dropped there, unless there is no route to the address";
    let [_, own] = settings(interface);
    remedies::sysctl(&own, 2, scope.warning(warning))
}

fn turn_off(interface: &str) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!(
        "every IPv4 packet that arrives on {interface}, and on interfaces without a setting of their own"
    ));
    let warning =
        "packets with forged source addresses are no longer dropped there, unless a firewall does that";
    let [all, own] = settings(interface);
    remedies::sysctls(&[&all, &own], 0, scope.warning(warning))
}

pub(super) fn filter_settings(observation: &Observation, interface: &str) -> Vec<Evidence> {
    let evidence =
        |name: &String| Some(Evidence::new(EvidenceKind::Setting, name, observation.after.setting(name)?));
    settings(interface).iter().filter_map(evidence).collect()
}

/// Returns the two settings that apply. The larger value is in effect, so both must be changed.
fn settings(interface: &str) -> [String; 2] {
    ["all", interface].map(|name| interface_setting(Family::V4, name, "rp_filter"))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, kernel_drop, membership, with_counters};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn outcome(received: u64, rise: u64) -> usize {
        let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], received);
        REVERSE_PATH_FILTER.judge(&with_counters(observation, &[(REVERSE_PATH_COUNTER, rise)])).len()
    }

    #[test]
    fn filter_is_reported_only_if_its_drops_explain_the_loss() {
        assert_eq!((outcome(0, 10), outcome(10, 10), outcome(0, 0), outcome(0, 3)), (1, 0, 0, 0));
    }

    #[test]
    fn reason_of_the_kernel_outweighs_the_counter() {
        let outcome = |reason| {
            let mut observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
            observation.kernel_drops.drops = vec![kernel_drop(reason, "192.0.2.1:6000", TO, 10)];
            REVERSE_PATH_FILTER.judge(&with_counters(observation, &[(REVERSE_PATH_COUNTER, 10)])).len()
        };
        assert_eq!((outcome("IP_RPFILTER"), outcome("NETFILTER_DROP")), (1, 0));
    }

    #[test]
    fn missing_source_is_reported_and_not_the_received_one() {
        let flows = || ["10.9.0.1:6000", "192.0.2.1:6000"].map(|source| flow(ETH0, source, TO)).to_vec();
        let mut observation = membership(TO, flows(), 10);
        observation.trial_mut().received.pop();
        let findings = REVERSE_PATH_FILTER.judge(&with_counters(observation, &[(REVERSE_PATH_COUNTER, 10)]));
        assert_eq!(findings[0].subject.source().as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn link_local_address_is_that_of_the_kernel() {
        let address = mcast_sys::HardwareAddress([0x02, 0x42, 0xac, 0x11, 0x00, 0x02]);
        assert_eq!(link_local(address).to_string(), "fe80::42:acff:fe11:2");
    }

    #[test]
    fn remedies_do_not_change_unicast_routes() {
        let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
        let findings = REVERSE_PATH_FILTER.judge(&with_counters(observation, &[(REVERSE_PATH_COUNTER, 10)]));
        let tools: Vec<_> = findings[0].remedies.iter().map(|remedy| remedy.tool).collect();
        assert_eq!(tools, [crate::Tool::Sysctl; 2]);
    }

    #[test]
    fn strict_filter_is_loosened_on_the_one_interface_if_there_is_a_route_to_the_source() {
        let commands = |route: Option<mcast::InterfaceIndex>| {
            let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
            let mut observation = with_counters(observation, &[(REVERSE_PATH_COUNTER, 10)]);
            observation.after.settings.insert("net.ipv4.conf.all.rp_filter".into(), "1".into());
            observation.source_routes = [("192.0.2.1".parse().unwrap(), route)].into();
            let findings = REVERSE_PATH_FILTER.judge(&observation);
            findings[0].remedies.iter().filter_map(crate::Remedy::command).collect::<Vec<_>>()
        };
        assert_eq!(commands(Some(ETH1))[0], "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
        assert!(commands(None)[0].starts_with("sysctl -w net.ipv4.conf.all.rp_filter=0"));
    }

    #[test]
    fn one_command_changes_both_settings_without_a_capture() {
        let mut observation = with_counters(membership(TO, vec![], 0), &[(REVERSE_PATH_COUNTER, 10)]);
        observation.wire.taps.clear();
        let findings = REVERSE_PATH_FILTER.judge(&observation);
        let commands: Vec<_> = findings[0].remedies.iter().filter_map(crate::Remedy::command).collect();
        assert_eq!(commands[0], "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
        assert_eq!(commands.len(), 2, "{commands:?}");
    }
}
