use super::*;
use alloc::string::ToString;
use alloc::vec::Vec;

fn group(text: &str) -> Group {
    text.parse().unwrap()
}

fn names(text: &str) -> Vec<&'static str> {
    group(text).assignments().map(|assignment| assignment.name).collect()
}

#[test]
fn exact_range_relative_and_de_facto_names_are_found() {
    for (text, expected) in [
        ("224.0.0.251", &["mDNS"][..]),
        ("224.0.0.37", &["zeroconfaddr (renew 12/02)"]),
        ("224.0.0.68", &["zeroconfaddr (renew 12/02)"]),
        ("224.0.0.3", &[]),
        ("224.0.27.3", &["CME Market Data"]),
        ("239.255.255.250", &["SSDP", "WS-Discovery"]),
        ("239.195.255.254", &["MADCAP Protocol"]),
        ("239.255.254.250", &[]),
        ("239.255.0.1", &["DDS discovery (RTPS)", "Streaming ACN (universes 1 to 256)"]),
        ("239.1.2.3", &[]),
        ("225.0.0.1", &[]),
        ("232.1.2.3", &[]),
        ("ff02::1", &["All Nodes Address"]),
        ("ff05::fb", &["mDNSv6"]),
        ("ff0e::fb", &["mDNSv6"]),
        ("ff02::1:ff00:7", &["Solicited-Node Address"]),
        ("ff05::1:ff00:7", &[]),
        ("ff08::1:13ff", &["Service Location, Version 2"]),
        ("ff08::1:1400", &[]),
        ("ff15::fb", &[]),
        ("ff02::c", &["SSDP", "WS-Discovery"]),
        ("ff3e::4321:1234", &["ssmping"]),
        ("ff0e::db8:0:1", &["Documentation Addresses"]),
    ] {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn registered_and_de_facto_names_differ_in_standing() {
    let standings: Vec<RegistryStanding> =
        group("239.255.255.250").assignments().map(|assignment| assignment.standing).collect();
    assert_eq!(
        standings,
        [RegistryStanding::Relative { offset: 5, since: Some("2006-06-27") }, RegistryStanding::DeFacto]
    );
    assert!(group("224.0.0.251").assignments().all(|assignment| assignment.standing.is_registered()));
}

#[test]
fn assignments_have_ranges_references_and_ports() {
    let assignment = group("ff05::2:9").assignments().next().unwrap();
    assert_eq!(assignment.addresses.to_string(), "ff05::2:0-ff05::2:7ffd");
    assert_eq!(assignment.addresses.count(), 0x7ffe);
    let assignment = group("224.0.1.129").assignments().next().unwrap();
    assert_eq!(
        (assignment.ports, assignment.standing),
        (&[319, 320][..], RegistryStanding::Registered { since: Some("2007-02-02") })
    );
    let assignment = group("ff0e::101").assignments().next().unwrap();
    assert_eq!(assignment.references, [Reference::rfc(1119), Reference::rfc(5905)]);
}

#[test]
fn relative_offsets_count_down_from_the_last_address_of_the_scope() {
    assert_eq!(
        group("239.255.255.255").relative(),
        Some(Relative { top: group("239.255.255.255"), offset: 0 })
    );
    assert_eq!(
        group("239.195.255.0").relative(),
        Some(Relative { top: group("239.195.255.255"), offset: 255 })
    );
    assert_eq!(group("239.255.254.255").relative(), None);
    assert_eq!(group("239.192.255.255").relative(), None);
}

#[test]
fn tables_are_sorted_and_do_not_overlap() {
    fn check<T: Ord + Copy + core::fmt::Debug>(table: &[Row<T>]) {
        assert!(table.iter().all(|row| row.first <= row.last));
        assert!(table.is_sorted_by(|a, b| a.last < b.first));
    }
    check(table_v4::ADDRESSES);
    check(table_v4::RELATIVE);
    check(table_v6::FIXED);
    check(table_v6::ANY_SCOPE);
    assert!(table_v6::ANY_SCOPE.iter().all(|row| row.first & SCOPE_MASK == 0));
}

#[test]
fn every_row_is_found_by_its_first_and_last_address() {
    for row in table_v4::ADDRESSES {
        for bits in [row.first, row.last] {
            assert_eq!(v4(bits).name(), Some(row.name));
        }
    }
    for row in table_v6::FIXED {
        assert_eq!(v6(row.last).name(), Some(row.name));
    }
    for row in table_v6::ANY_SCOPE {
        let in_site_scope = v6(row.last | 5 << 112);
        assert!(in_site_scope.assignments().any(|assignment| assignment.name == row.name), "{}", row.name);
    }
}

#[test]
fn short_names_have_groups_and_ports() {
    let mdns = WellKnown::named("mDNS");
    assert_eq!(
        mdns.iter().map(|row| row.group).collect::<Vec<_>>(),
        [group("224.0.0.251"), group("ff02::fb")]
    );
    assert_eq!(mdns[0].ports, [5353]);
    assert!(WellKnown::named("mdn").is_empty());
    assert!(WellKnown::named("").is_empty());
    let ripng = WellKnown::find("ripng", None).unwrap();
    assert_eq!((ripng.group, ripng.ports), (group("ff02::9"), &[521][..]));
    assert_eq!(WellKnown::find("ripng", Some(crate::Family::V4)), None);
}

#[test]
fn short_names_are_sorted_and_each_has_a_multicast_group() {
    assert!(WellKnown::all().is_sorted_by_key(|row| (row.name, row.group)));
    for row in WellKnown::all() {
        assert!(row.group.addr().is_multicast(), "{}", row.name);
        assert_eq!(WellKnown::find(row.name, Some(row.group.family())), Some(row));
    }
}

#[test]
fn every_short_name_is_registered_or_de_facto() {
    for row in WellKnown::all() {
        assert!(row.group.name().is_some(), "{} ({}) is not in any table", row.name, row.group);
    }
}
