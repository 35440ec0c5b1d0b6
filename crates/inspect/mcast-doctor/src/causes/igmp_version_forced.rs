//! An old version of IGMP or MLD is in use, which cannot report sources.

use super::{Cause, Check};
use std::net::IpAddr;

use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::wire::ControlMessage;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};
use mcast::{Group, SourceFilter};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 9776 section 7.2.1", "ip-sysctl: force_igmp_version"])
        .offering(|on| {
            choose_version("net.ipv4.conf.INTERFACE.force_igmp_version", "IGMP", on.name()).into()
        });

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> =
        observation.after.settings.keys().filter_map(|name| forced(observation, name)).collect();
    findings
        .extend(observation.after.settings.keys().filter_map(|name| forced_on_machine(observation, name)));
    if findings.is_empty() {
        findings.extend(by_querier(observation));
        findings.extend(in_file(observation));
    }
    findings
}

/// Judges the setting of systems that have one for all interfaces.
fn forced_on_machine(observation: &Observation, name: &str) -> Option<Finding> {
    let (remedy, v4) = match name {
        "net.inet.igmp.default_version" => (
            Remedy::now(Tool::Sysctl, [format!("{name}=3")])
                .with_scope(RemedyScope::new("every interface that joins its first group later")),
            true,
        ),
        "netsh.ipv4.mldversion" => {
            let scope = RemedyScope::new("every IPv4 membership of this host");
            let remedy =
                Remedy::now(Tool::Netsh, ["interface", "ipv4", "set", "global", "mldversion=version3"]);
            (remedy.with_scope(scope), true)
        }
        _ => return None,
    };
    let version = observation.after.number(name).filter(|version| (1..3).contains(version))?;
    let concerns = observation.is_about_machine()
        || observation.interests().iter().any(|interest| interest.group.addr().is_ipv4() == v4);
    concerns.then(|| {
        Finding::warning(
            Id::IgmpVersionForced,
            format!("This machine is set to IGMPv{version}, which cannot report the wanted sources to routers and switches."),
        )
        .evidence(EvidenceKind::Setting, name, version)
        .with_remedies([remedy])
    })
}

/// Judges the setting of an interface on which a group is or can be joined.
fn forced(observation: &Observation, name: &str) -> Option<Finding> {
    let (interface, v4) = match (name.strip_prefix("net.ipv4.conf."), name.strip_prefix("net.ipv6.conf.")) {
        (Some(rest), _) => (rest.strip_suffix(".force_igmp_version")?, true),
        (_, Some(rest)) => (rest.strip_suffix(".force_mld_version")?, false),
        _ => return None,
    };
    let (protocol, newest) = if v4 { ("IGMP", 3) } else { ("MLD", 2) };
    let version = observation.after.number(name).filter(|version| (1..newest).contains(version))?;
    let mut affected =
        observation.interests().into_iter().filter(|interest| interest.group.addr().is_ipv4() == v4);
    // "default" applies only to interfaces created later.
    let concerns = match interface {
        "default" => false,
        "all" => observation.is_about_machine() || affected.next().is_some(),
        name => {
            observation.is_about_machine()
                || affected.any(|interest| observation.link_name(interest.interface) == name)
        }
    };
    concerns.then(|| {
        Finding::warning(
            Id::IgmpVersionForced,
            format!("{protocol}v{version} is forced on {interface}, which cannot report the wanted sources to routers and switches."),
        )
        .on_interface(interface)
        .evidence(EvidenceKind::Setting, name, version)
        .with_remedies(choose_version(name, protocol, interface))
    })
}

fn choose_version(setting: &str, protocol: &str, interface: &str) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!("every {protocol} membership on {interface}"))
        .warning("old switches that understand only the forced version may stop forwarding");
    remedies::sysctl(setting, 0, scope)
}

/// Judges a querier of an older version, if a membership names sources.
fn by_querier(observation: &Observation) -> Option<Finding> {
    observation.interests().into_iter().find_map(|interest| {
        if !matches!(interest.sources, SourceFilter::Include(_)) {
            return None;
        }
        let (protocol, newest) = if interest.group.addr().is_ipv4() { ("IGMP", 3) } else { ("MLD", 2) };
        let interface = observation.link_name(interest.interface);
        let (version, evidence) = old_query(observation, &interest, newest)
            .or_else(|| old_version_in_use(observation, &interest))?;
        let finding = Finding::warning(
            Id::IgmpVersionForced,
            format!("The querier on {interface} uses {protocol}v{version}, so the sources of {} are not reported to it: the group is requested from all sources.", interest.group),
        )
        .on_interface(&interface)
        .for_group(interest.group)
        .with_evidence(evidence)
        .advise(Tool::Network, format!("Set the querier (a switch or router) to {protocol}v{newest}."));
        Some(finding)
    })
}

/// Judges a capture in which hosts report source-specific groups to a querier of an older version.
fn in_file(observation: &Observation) -> Option<Finding> {
    if !matches!(observation.target, ExaminationTarget::File) {
        return None;
    }
    let reports = observation.wire.control.iter().filter_map(|packet| match &packet.message {
        ControlMessage::Report { joined, .. } => Some((packet, joined)),
        _ => None,
    });
    let is_specific = |group: &&IpAddr| Group::new(**group).is_ok_and(Group::is_source_specific);
    reports.into_iter().find_map(|(packet, joined)| {
        let group = joined.iter().find(is_specific)?;
        let (protocol, newest) = if group.is_ipv4() { ("IGMP", 3) } else { ("MLD", 2) };
        let mut queries = observation.wire.queries(packet.interface, group.is_ipv4());
        let (querier, old) = queries.find_map(|query| match query.message {
            ControlMessage::Query { version, .. } if version < newest => Some((query.source, version)),
            _ => None,
        })?;
        let interface = observation.link_name(packet.interface);
        let text = format!("{protocol}v{old} query from {querier}; {} reports {group}", packet.source);
        let cause = format!(
            "The querier {querier} on {interface} uses {protocol}v{old}, so the sources of {group} are not reported to it: the group is requested from all sources, or not at all."
        );
        let finding = Finding::new(Id::IgmpVersionForced, Severity::Warning, cause)
            .on_interface(&interface)
            .from_source(querier)
            .with_evidence(Evidence::new(EvidenceKind::Packet, interface, text))
            .with_remedies([Remedy::advice(Tool::Network, format!("Set the querier (a switch or router) to {protocol}v{newest}."))]);
        Some(finding)
    })
}

/// Returns the version of a query that is older than the newest version, with the query as evidence.
fn old_query(observation: &Observation, interest: &Interest<'_>, newest: u8) -> Option<(u8, Evidence)> {
    let mut queries = observation.wire.queries(interest.interface, newest == 3);
    queries.find_map(|query| match query.message {
        ControlMessage::Query { version, .. } if version < newest => {
            let text = format!("{}v{version} query from {}", interest.protocol(), query.source);
            Some((version, Evidence::new(EvidenceKind::Packet, observation.link_name(query.interface), text)))
        }
        _ => None,
    })
}

/// Returns the IGMP version that the system has adopted from a querier.
fn old_version_in_use(observation: &Observation, interest: &Interest<'_>) -> Option<(u8, Evidence)> {
    let versions = &observation.after.igmp_versions;
    let version = *versions.get(&observation.link_name(interest.interface))?;
    let evidence = Evidence::new(EvidenceKind::Table, "/proc/net/igmp Querier", format!("V{version}"));
    (version < 3 && interest.group.addr().is_ipv4()).then_some((version, evidence))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::membership;
    use super::*;

    #[test]
    fn machine_wide_setting_of_other_systems_is_reported() {
        let with = |name: &str, version: &str| {
            let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
            observation.after.settings.insert(name.into(), version.into());
            check(&observation).len()
        };
        assert_eq!(
            (with("net.inet.igmp.default_version", "2"), with("net.inet.igmp.default_version", "3")),
            (1, 0)
        );
        assert_eq!((with("netsh.ipv4.mldversion", "2"), with("netsh.ipv4.mldversion", "3")), (1, 0));
    }
}
