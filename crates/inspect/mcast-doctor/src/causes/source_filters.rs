//! Memberships whose sources the network or the socket does not admit.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast::{ErrorKind, Group, SourceFilter};

use super::{Cause, Check, Placeholders, memberships};
use crate::fate::Stage;
use crate::finding::list;
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::wire::ControlMessage;
use crate::{Endpoint, Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

/// An old version of IGMP or MLD is in use, which cannot report sources.
pub(super) const IGMP_VERSION_FORCED: Cause = Cause::new(
    Check::Observation(igmp_version_forced),
    &["RFC 9776 section 7.2.1", "ip-sysctl: force_igmp_version"],
)
.offering(|on| choose_version("net.ipv4.conf.INTERFACE.force_igmp_version", "IGMP", on.name()).into());

fn igmp_version_forced(observation: &Observation) -> Vec<Finding> {
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
            format!(
                "This machine is set to IGMPv{version}, which cannot report sources to routers or switches."
            ),
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
            format!("{protocol}v{version} is forced on {interface}, which cannot report sources to routers and switches."),
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
        .concerning(&interface, interest.group)
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
            .evidence(EvidenceKind::Packet, interface, text)
            .advise(Tool::Network, format!("Set the querier (a switch or router) to {protocol}v{newest}."));
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

/// A group of the source-specific range was joined without a source. Routers ignore such a membership.
pub(super) const SSM_WITHOUT_SOURCE: Cause =
    Cause::new(Check::Observation(ssm_without_source), &["RFC 4607 section 4.3", "RFC 4604 section 2.2.1"])
        .without_loss();

fn ssm_without_source(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let refused = trial.failed_with(ErrorKind::SourceNeeded);
        let finding = refused.map(|failure| {
            ssm_without_source_finding(observation, trial.group(), Some(trial.port())).evidence(
                EvidenceKind::Answer,
                "join",
                &failure.text,
            )
        });
        return finding.into_iter().collect();
    }
    if matches!(observation.target, ExaminationTarget::File) {
        return in_capture(observation);
    }
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.address());
    let wrong = interests.iter().filter(|interest| {
        interest.group.is_source_specific() && matches!(interest.sources, SourceFilter::Exclude(_))
    });
    wrong
        .map(|interest| {
            let socket = interest.socket.map_or(0, |socket| socket.inode);
            ssm_without_source_finding(observation, interest.group, Some(interest.port))
                .evidence(
                    EvidenceKind::Socket,
                    format!("socket {socket}"),
                    format!("joined {} from any source", interest.group),
                )
                .in_program(observation.program().map_or("", |program| &program.name))
        })
        .collect()
}

/// Judges the reports of older versions in a capture, which cannot carry sources.
fn in_capture(observation: &Observation) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    let mut findings = Vec::new();
    for control in &observation.wire.control {
        let ControlMessage::Report { version, joined, .. } = &control.message else { continue };
        let newest = if control.source.is_ipv4() { 3 } else { 2 };
        for group in joined.iter().filter_map(|group| Group::new(*group).ok()) {
            if group.is_source_specific() && *version < newest && known.insert((group, control.source)) {
                let evidence = format!("{} reports {group} with version {version}", control.source);
                findings.push(
                    ssm_without_source_finding(observation, group, None)
                        .evidence(EvidenceKind::Packet, observation.link_name(control.interface), evidence)
                        .for_group(group),
                );
            }
        }
    }
    findings
}

fn ssm_without_source_finding(observation: &Observation, group: Group, port: Option<u16>) -> Finding {
    let sender = observation.wire.incoming(group.addr()).next().map(|flow| flow.key.source.ip());
    let packets = observation.wire.incoming(group.addr()).map(|flow| observation.packets_of(flow));
    Finding::fault(
        Id::SsmWithoutSource,
        format!("{group} is source-specific but was joined without a source: routers forward nothing for such a membership."),
    )
    .for_group(Endpoint { address: group.addr(), port })
    .with_all_evidence(packets)
    .with_remedies(sender.zip(port).map(|(sender, port)| {
        remedies::mcast::recv_from(&[sender], std::net::SocketAddr::new(group.addr(), port))
    }))
    .advise(Tool::Program, "Join with the address of the sender (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP), or use a group outside 232.0.0.0/8 and ff3x::/32.")
}

/// The membership names sources, and does not admit the one that sends.
pub(super) const SOURCE_NOT_ADMITTED: Cause =
    Cause::new(Check::Interest(source_not_admitted), &["RFC 9776 section 3.2"])
        .at(Stage::Membership)
        .offering(|on| {
            let any = mcast::SourceFilter::Include([].into());
            let admit = remedies::socket::admit(on.to.ip(), Placeholders::INDEX, Placeholders::SOURCE, &any);
            on.on_socket(admit.as_slice())
        });

fn source_not_admitted(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.arrivals(interest);
    let refused: Vec<_> =
        flows.iter().filter(|flow| !interest.sources.admits(flow.key.source.ip())).collect();
    // If an admitted source sends as well, the filter works as intended.
    if interest.sources.is_any() || refused.is_empty() || refused.len() < flows.len() {
        return None;
    }
    // The program may have requested this source and been refused: see membership-limit.
    if interest.socket.is_some() && memberships::is_full_of_sources(observation, interest.sources) {
        return None;
    }
    let mut sources: Vec<_> = refused.iter().map(|flow| flow.key.source.ip()).collect();
    sources.sort_unstable();
    sources.dedup();
    let text = list(&sources);
    let interface = observation.link_name(interest.interface);
    let count: u64 = refused.iter().map(|flow| flow.datagrams).sum();
    let listed = list(interest.sources.sources());
    let mode = if interest.sources.admits([0, 0, 0, 0].into()) { "all but" } else { "only" };
    let to = interest.destination();
    let finding = Finding::fault(
        Id::SourceNotAdmitted,
        format!("{text} sends to {to}, but the membership admits {mode} {listed}."),
    )
    .concerning(&interface, to)
    .from_sources(sources.iter().copied())
    .evidence(EvidenceKind::Packet, &interface, format!("{count} datagrams from {text} to {to}"))
    .evidence(EvidenceKind::Table, "/proc/net/mcfilter", format!("{mode} {listed}"))
    .with_remedies(interest.socket.and_then(|socket| {
        let admit = |source: &std::net::IpAddr| {
            remedies::socket::admit(to.ip(), interest.interface, *source, interest.sources)
        };
        remedies::socket::change(socket, &sources.iter().filter_map(admit).collect::<Vec<_>>())
    }))
    .advise(Tool::Program, format!("Join with the source that actually sends: {text}@{to}."))
    .with_remedies([remedies::mcast::recv_from(&sources, to)]);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, control, joined_socket, membership, program, severities};

    #[test]
    fn machine_wide_setting_of_other_systems_is_reported() {
        let with = |name: &str, version: &str| {
            let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
            observation.after.settings.insert(name.into(), version.into());
            igmp_version_forced(&observation).len()
        };
        assert_eq!(
            (with("net.inet.igmp.default_version", "2"), with("net.inet.igmp.default_version", "3")),
            (1, 0)
        );
        assert_eq!((with("netsh.ipv4.mldversion", "2"), with("netsh.ipv4.mldversion", "3")), (1, 0));
    }

    /// Returns what a capture shows in which a host reports a group with this version.
    fn any_source_in_file(source: &str, group: &str, version: u8) -> Vec<Severity> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.target = ExaminationTarget::File;
        let (time, _) = observation.wire.span.unwrap();
        let joined = vec![group.parse().unwrap()];
        let report = ControlMessage::Report { version, joined, left: Vec::new(), sources: Vec::new() };
        observation.wire.control = vec![control(time, source, report.clone()), control(time, source, report)];
        severities(&SSM_WITHOUT_SOURCE, &observation)
    }

    #[test]
    fn capture_shows_reports_of_old_versions_for_source_specific_groups() {
        assert_eq!(any_source_in_file("10.9.0.2", "232.1.2.3", 2), [Severity::Fault], "once for each host");
        assert_eq!(any_source_in_file("10.9.0.2", "232.1.2.3", 3), []);
        assert_eq!(any_source_in_file("10.9.0.2", "239.1.2.3", 2), []);
        assert_eq!(any_source_in_file("fe80::2", "ff35::8000:1234", 1), [Severity::Fault]);
        assert_eq!(any_source_in_file("fe80::2", "ff35::8000:1234", 2), []);
    }

    #[test]
    fn program_that_joins_a_source_specific_group_needs_sources() {
        let outcome = |group: &str, sources: SourceFilter| {
            let mut socket = joined_socket(ETH0, sources);
            socket.memberships[0].address.group = group.parse().unwrap();
            severities(&SSM_WITHOUT_SOURCE, &program(vec![socket], Vec::new()))
        };
        let one = || SourceFilter::Include(["10.9.0.1".parse().unwrap()].into());
        assert_eq!(outcome("232.1.2.3", SourceFilter::ANY), [Severity::Fault]);
        assert_eq!((outcome("232.1.2.3", one()), outcome("239.1.2.3", SourceFilter::ANY)), (vec![], vec![]));
    }
}
