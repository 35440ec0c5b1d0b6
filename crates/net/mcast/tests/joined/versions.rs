//! The versions of IGMP and MLD in use.

use std::time::Duration;

use mcast::joined::{Memberships, Version};
use mcast_lab::{Lab, SwitchOptions};

use crate::host::{eventually, host_on_two_lans, survey};

fn version(memberships: &Memberships, group: &str, interface: &str) -> Option<Version> {
    let group = group.parse().unwrap();
    let mut holdings = memberships.holdings.iter();
    let found = holdings.find(|each| each.group == group && each.interface_name == interface);
    found.unwrap_or_else(|| panic!("{group} is not joined on {interface}")).version
}

#[test]
fn without_a_querier_the_version_is_the_latest() {
    let (_lab, host) = host_on_two_lans();
    let memberships = survey(&host);
    assert_eq!(version(&memberships, "224.0.0.1", "eth0"), Some(Version::Igmp3));
    assert_eq!(version(&memberships, "ff02::1", "eth0"), Some(Version::Mld2));
}

#[test]
fn a_forced_version_is_reported_for_its_interface() {
    let (_lab, host) = host_on_two_lans();
    host.sysctl("net/ipv4/conf/eth0/force_igmp_version", "2").unwrap();
    host.sysctl("net/ipv6/conf/eth0/force_mld_version", "1").unwrap();

    let memberships = survey(&host);

    assert_eq!(version(&memberships, "224.0.0.1", "eth0"), Some(Version::Igmp2));
    assert_eq!(version(&memberships, "ff02::1", "eth0"), Some(Version::Mld1));
    assert_eq!(version(&memberships, "224.0.0.1", "eth1"), Some(Version::Igmp3));
    assert_eq!(version(&memberships, "ff02::1", "eth1"), Some(Version::Mld2));

    host.sysctl("net/ipv4/conf/all/force_igmp_version", "1").unwrap();
    assert_eq!(version(&survey(&host), "224.0.0.1", "eth1"), Some(Version::Igmp1));
}

/// The kernel does not report the MLD version of a query.
#[test]
fn an_old_querier_shows_in_igmp_and_makes_mld_unknown() {
    let lab = Lab::new().unwrap();
    let options = SwitchOptions::managed()
        .igmp_version(2)
        .query_interval(Duration::from_secs(1))
        .query_response_interval(Duration::from_millis(500));
    let lan = lab.switch_with("lan", options).unwrap();
    let host = lab.host("host").unwrap();
    host.connect("eth0", &lan, &["10.0.0.1/24", "fd00::1/64"]).unwrap();

    eventually(&host, "IGMPv2", |memberships| {
        version(memberships, "224.0.0.1", "eth0") == Some(Version::Igmp2)
    });
    eventually(&host, "MLD unknown", |memberships| version(memberships, "ff02::1", "eth0").is_none());
}
