//! The kernel's membership tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::snapshot::JoinedGroup;

/// Parses `/proc/net/igmp`: a line per interface, followed by an indented line per group.
pub(in super::super) fn parse_v4(table: &str) -> Vec<JoinedGroup> {
    let mut interface = None;
    let group = |line: &str, interface: Option<u32>| {
        let word = line.split_ascii_whitespace().next().filter(|word| word.len() == 8)?;
        let group = Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
        Some(JoinedGroup { group: group.into(), interface: interface? })
    };
    let mut all = Vec::new();
    for line in table.lines() {
        if line.starts_with(char::is_whitespace) {
            all.extend(group(line, interface));
        } else {
            interface = line.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
        }
    }
    all
}

/// Parses `/proc/net/igmp6`: `INDEX NAME GROUP USERS FLAGS TIMER`.
pub(in super::super) fn parse_v6(table: &str) -> Vec<JoinedGroup> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let interface = words.next()?.parse().ok()?;
        let group = words.nth(1).filter(|word| word.len() == 32)?;
        Some(JoinedGroup {
            group: IpAddr::from(Ipv6Addr::from(u128::from_str_radix(group, 16).ok()?)),
            interface,
        })
    };
    table.lines().filter_map(entry).collect()
}

/// Returns the IGMP version in use on each interface, from `/proc/net/igmp`.
pub(in super::super) fn querier_versions(table: &str) -> BTreeMap<String, u8> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.nth(1)?.trim_end_matches(':').to_owned();
        let version = words.last()?.strip_prefix('V')?.parse().ok()?;
        Some((name, version))
    };
    table.lines().filter(|line| !line.starts_with(char::is_whitespace)).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn groups_and_versions_are_parsed() {
        let group = format!("{:08X}", u32::from_ne_bytes([239, 1, 2, 3]));
        let table = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             2\teth0      :     2      V2\n\t\t\t\t{group}     1 0:00000000\t\t1\n"
        );
        let expected = JoinedGroup { group: "239.1.2.3".parse().unwrap(), interface: 2 };
        assert_eq!(parse_v4(&table), [expected]);
        assert_eq!(querier_versions(&table), BTreeMap::from([("eth0".to_owned(), 2)]));
        let v6 = "4    eth0            ff150000000000000000000000001234    12 00000004 0\n";
        assert_eq!(parse_v6(v6), [JoinedGroup { group: "ff15::1234".parse().unwrap(), interface: 4 }]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[0-9A-FaV:\\s\\PC]{0,200}") {
            let _ = (parse_v4(&table), parse_v6(&table), querier_versions(&table));
        }
    }
}
