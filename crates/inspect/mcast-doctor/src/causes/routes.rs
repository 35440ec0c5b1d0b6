//! Routes and addresses that sending and joining need, and that are missing or lead elsewhere.

use std::collections::BTreeMap;

use mcast::interface::AddressState;
use mcast::{ErrorKind, Family, InterfaceSelector};

use super::{Cause, Check};
use crate::depth::KernelVerdict;
use crate::observation::{Interest, Observation, Program, ProgramSocket};
use crate::outcome::PrintedErrorKind;
use crate::snapshot::{Link, interface_setting};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

/// There is no route for groups, so programs that do not choose an interface can neither send (`ENETUNREACH`)
/// nor join.
pub(super) const NO_ROUTE: Cause = Cause::new(Check::Observation(no_route), &["RFC 1112 section 6.1"])
    .offering(|on| remedies::linux::route_groups(Family::V4, &on.link));

fn no_route(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let refused = trial.failed_with(ErrorKind::NoRoute);
        let finding = refused.map(|failure| {
            no_route_finding(observation, trial.group().family(), Severity::Fault).evidence(
                EvidenceKind::Answer,
                "join",
                &failure.text,
            )
        });
        return finding.into_iter().collect();
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
    missing.map(|family| no_route_finding(observation, family, Severity::Warning)).collect()
}

/// Judges a program that prints that a join found no interface, or sending no route.
fn printed(observation: &Observation, program: &Program) -> Vec<Finding> {
    let kinds = [PrintedErrorKind::NoRoute, PrintedErrorKind::NoDevice];
    let mut errors = kinds.into_iter().flat_map(|kind| program.failed_with(kind, &observation.wire));
    let Some(error) = errors.next() else { return Vec::new() };
    let missing = missing_routes(observation).map(|family| {
        let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
        no_route_finding(observation, family, Severity::Fault).with_evidence(answer).in_program(&program.name)
    });
    missing.collect()
}

/// Returns the families for whose groups there is no route, although an interface could carry them.
pub(super) fn missing_routes(observation: &Observation) -> impl Iterator<Item = Family> {
    let routes = observation.after.group_routes.iter();
    let missing = routes.filter(|route| route.interface.is_none()).map(|route| route.family);
    missing.filter(|family| usable(observation, *family).is_some())
}

/// Returns whether a program may be trying to send to groups of a family: it has joined none, has a socket for the family
/// that is not bound to an interface, and sends to no group.
fn is_silent_sender(observation: &Observation, program: &Program, family: Family) -> bool {
    let is_open = |socket: &ProgramSocket| {
        socket.bound_interface.is_none() && socket.local.is_some_and(|local| Family::of(local.ip()) == family)
    };
    program.sockets.iter().any(is_open)
        && program.sockets.iter().all(|socket| socket.memberships.is_empty())
        && !observation.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow))
}

/// Returns an interface that could carry the groups of a family.
fn usable(observation: &Observation, family: Family) -> Option<&Link> {
    observation.after.links.iter().find(|link| link.is_of_the_host() && link.has_address(family))
}

fn no_route_finding(observation: &Observation, family: Family, severity: Severity) -> Finding {
    let v4 = family == Family::V4;
    Finding::new(
        Id::NoRoute,
        severity,
        format!("There is no {family} route for groups, so programs that do not choose an interface can neither send nor join."),
    )
    .evidence(EvidenceKind::Route, if v4 { remedies::ROUTE_V4 } else { remedies::ROUTE_V6 }, "unreachable")
    .with_remedies(usable(observation, family).map(|link| remedies::route_groups(family, link)).unwrap_or_default())
    .advise(Tool::Program, "Or choose the interface in the program: with IP_MULTICAST_IF (IPV6_MULTICAST_IF) to send, and by its index to join.")
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
        None => observation.is_about_machine(),
    });
    let findings = routes.filter_map(|route| {
        let tunnel = observation.after.link(route.interface?).filter(|link| link.is_tunnel())?;
        let v4 = route.family == Family::V4;
        let ordinary = |link: &&Link| {
            link.is_of_the_host() && link.interface.multicast && !link.is_tunnel() && link.has_address(route.family)
        };
        let other = observation.after.links.iter().find(ordinary)?;
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
        .evidence(
            EvidenceKind::Route,
            if v4 { "ip route get 239.255.255.1" } else { "ip -6 route get ff15::1" },
            format!("dev {}", tunnel.name()),
        )
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
        .on_interface(link.name())
        .for_group(interest.destination())
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
    let now = Remedy::now(Tool::Ip, ["-6", "route", "add", "local", "ff00::/8", "dev", name]);
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
    Cause::new(Check::Observation(ipv6_not_ready), &["RFC 4862 section 5.4"])
        .offering(|on| enable(&on.link).into());

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
        && lost
            .iter()
            .any(|lost| observation.kernel_verdict(lost, "IP_INNOROUTES") != KernelVerdict::Refuted);
    let scope = RemedyScope::new(format!("every IPv6 group on {}", link.name()));
    is_concerned.then(|| {
        Finding::fault(
            Id::Ipv6NotReady,
            format!("{} has no route for IPv6 groups, so the system discards what arrives there for {}.", link.name(), interest.destination()),
        )
        .on_interface(link.name())
        .for_group(interest.destination())
        .evidence(EvidenceKind::Route, "/proc/net/ipv6_route", format!("no route for ff00::/8 on {}", link.name()))
        .with_all_evidence(lost.first().map(|lost| observation.packets_of(lost.flow)))
        .with_remedies([
            Remedy::now(Tool::Ip, ["-6", "route", "add", "multicast", "ff00::/8", "dev", link.name(), "table", "local"]).with_scope(scope),
            Remedy::advice(Tool::Network, "The kernel adds this route when the interface comes up: find the script that deletes it, such as one that flushes the table local."),
        ])
    })
}

fn without_address(observation: &Observation) -> Vec<Finding> {
    if observation.program().is_some() {
        return disabled_under_program(observation);
    }
    let Some(trial) = observation.trial().filter(|trial| trial.group().addr().is_ipv6()) else {
        return Vec::new();
    };
    let refused = trial.failed_with(ErrorKind::FamilyUnavailable);
    let mut names: Vec<_> = refused.and_then(|failure| failure.interface.clone()).into_iter().collect();
    names.extend(
        trial.joined.iter().filter_map(|index| Some(observation.after.link(*index)?.name().to_owned())),
    );
    names.sort();
    names.dedup();
    names
        .iter()
        .filter_map(|name| judge_ipv6_not_ready(observation, observation.after.link_named(name)?))
        .collect()
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

fn judge_ipv6_not_ready(observation: &Observation, link: &Link) -> Option<Finding> {
    if link.interface.loopback || !link.interface.up {
        return None;
    }
    let own = interface_setting(Family::V6, link.name(), "disable_ipv6");
    let address_in =
        |state| link.interface.addresses.iter().find(|own| own.address.is_ipv6() && own.state == state);
    let finding = |cause: String| Finding::fault(Id::Ipv6NotReady, cause).on_interface(link.name());
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

fn enable(link: &Link) -> [Remedy; 2] {
    remedies::sysctl(&interface_setting(Family::V6, link.name(), "disable_ipv6"), 0, scope(link))
}

/// Returns the scope of the settings.
fn scope(link: &Link) -> RemedyScope {
    RemedyScope::new(format!("IPv6 on {}", link.name()))
        .warning(format!("{} becomes reachable by IPv6: its firewall must cover IPv6 too", link.name()))
}

/// Returns the remedies that make the system create a link-local address. They keep the other addresses and
/// routes of the interface: taking it down would disconnect everyone who uses it.
fn create_address(observation: &Observation, link: &Link) -> Vec<Remedy> {
    /// `IN6_ADDR_GEN_MODE_NONE`.
    const NONE: i64 = 1;
    let setting = |key| interface_setting(Family::V6, link.name(), key);
    let generation = setting("addr_gen_mode");
    match observation.after.number(&generation) {
        Some(NONE) => remedies::sysctl(&generation, 0, scope(link)).into(),
        Some(_) => {
            let disable = setting("disable_ipv6");
            vec![
                Remedy::now(Tool::Sysctl, ["-w", &format!("{disable}=1")])
                    .then(["-w", &format!("{disable}=0")])
                    .with_scope(scope(link)),
            ]
        }
        None => vec![Remedy::advice(
            Tool::Network,
            "Enable IPv6 on the interface, so that it gets a link-local address.",
        )],
    }
}
