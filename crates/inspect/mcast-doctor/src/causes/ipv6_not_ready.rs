//! IPv6 is disabled on the interface, or has no usable address, so groups cannot be joined or sent to. A new
//! address is usable only after duplicate address detection.

use std::collections::BTreeMap;

use mcast::interface::AddressState;
use mcast::{ErrorKind, Family};

use super::{Cause, Check};
use crate::kernel_drops::KernelVerdict;
use crate::observation::{Interest, Observation};
use crate::snapshot::{Link, interface_setting};
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4862 section 5.4"]).offering(|on| enable(&on.link).into());

fn check(observation: &Observation) -> Vec<Finding> {
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
    names.iter().filter_map(|name| judge(observation, observation.after.link_named(name)?)).collect()
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
    links.into_values().filter(is_disabled).filter_map(|link| judge(observation, link)).collect()
}

fn judge(observation: &Observation, link: &Link) -> Option<Finding> {
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
