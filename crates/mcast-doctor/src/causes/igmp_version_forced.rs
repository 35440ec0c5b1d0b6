//! An old version of IGMP or MLD is in force: it cannot say which sources are wanted.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};
use mcast::SourceFilter;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> = seen.after.settings.keys().filter_map(|name| forced(seen, name)).collect();
    findings.extend(seen.after.settings.keys().filter_map(|name| elsewhere(seen, name)));
    if findings.is_empty() {
        findings.extend(by_querier(seen));
    }
    findings
}

/// On systems that have one setting for all interfaces.
fn elsewhere(seen: &Observation, name: &str) -> Option<Finding> {
    let (remedy, v4) = match name {
        "net.inet.igmp.default_version" => (Remedy::now(Tool::Sysctl, format!("sysctl {name}=3")), true),
        "netsh.ipv4.mldversion" => {
            (Remedy::now(Tool::Netsh, "netsh interface ipv4 set global mldversion=version3"), true)
        }
        _ => return None,
    };
    let version = seen.after.number(name).filter(|version| (1..3).contains(version))?;
    let concerns =
        seen.is_about_machine() || seen.wanted().iter().any(|wanted| wanted.group.addr().is_ipv4() == v4);
    concerns.then(|| {
        Finding::new(
            Id::IgmpVersionForced,
            Severity::Warning,
            format!("IGMPv{version} is set on this machine: it cannot tell routers and switches which sources are wanted."),
        )
        .because(Evidence::new(Sort::Setting, name, version))
        .remedied([remedy])
    })
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

#[cfg(test)]
mod tests {
    use super::super::invent::membership;
    use super::*;

    #[test]
    fn other_systems_have_a_setting_for_all_interfaces() {
        let with = |name: &str, version: &str| {
            let mut seen = membership("239.1.2.3:5000", Vec::new(), 0);
            seen.after.settings.insert(name.into(), version.into());
            check(&seen).len()
        };
        assert_eq!(
            (with("net.inet.igmp.default_version", "2"), with("net.inet.igmp.default_version", "3")),
            (1, 0)
        );
        assert_eq!((with("netsh.ipv4.mldversion", "2"), with("netsh.ipv4.mldversion", "3")), (1, 0));
    }
}
