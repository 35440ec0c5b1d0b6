//! An old version of IGMP or MLD is in force: it cannot say which sources are wanted.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};
use mcast::SourceFilter;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> = seen.after.settings.keys().filter_map(|name| forced(seen, name)).collect();
    if findings.is_empty() {
        findings.extend(by_querier(seen));
    }
    findings
}

/// By a setting, on an interface where something is joined or can be.
fn forced(seen: &Observation, name: &str) -> Option<Finding> {
    let (interface, v4) = match (name.strip_prefix("net.ipv4.conf."), name.strip_prefix("net.ipv6.conf.")) {
        (Some(rest), _) => (rest.strip_suffix(".force_igmp_version")?, true),
        (_, Some(rest)) => (rest.strip_suffix(".force_mld_version")?, false),
        _ => return None,
    };
    let (protocol, newest) = if v4 { ("IGMP", 3) } else { ("MLD", 2) };
    let version = seen.after.number(name).filter(|version| (1..newest).contains(version))?;
    let mut touched = seen.wanted().into_iter().filter(|wanted| wanted.group.addr().is_ipv4() == v4);
    // What "default" says holds for interfaces to come.
    let concerns = match interface {
        "default" => false,
        "all" => seen.is_about_machine() || touched.next().is_some(),
        name => seen.is_about_machine() || touched.any(|wanted| seen.link_name(wanted.interface) == name),
    };
    concerns.then(|| {
        Finding::new(
            Id::IgmpVersionForced,
            Severity::Warning,
            format!("{protocol}v{version} is forced on {interface}: it cannot tell routers and switches which sources are wanted."),
        )
        .on(interface)
        .because(Evidence::new(Sort::Setting, name, version))
        .remedied(remedies::sysctl(name, 0))
    })
}

/// By a querier of an older version, where a membership names sources.
fn by_querier(seen: &Observation) -> Option<Finding> {
    seen.wanted().into_iter().find_map(|wanted| {
        let names_sources = matches!(wanted.sources, SourceFilter::Include(_));
        let interface = seen.link_name(wanted.interface);
        let v4 = wanted.group.addr().is_ipv4();
        let version = *seen.after.igmp_versions.get(&interface).filter(|version| v4 && **version < 3)?;
        (names_sources).then(|| {
            Finding::new(
                Id::IgmpVersionForced,
                Severity::Warning,
                format!("A querier on {interface} speaks IGMPv{version}, so the sources of {} are not told to it: the group is asked for from everybody.", wanted.group),
            )
            .on(&interface)
            .of(wanted.group)
            .because(Evidence::new(Sort::Table, "/proc/net/igmp Querier", format!("V{version}")))
            .remedied([Remedy::advice(Tool::Network, "Set the querier (switch or router) to IGMPv3.")])
        })
    })
}
