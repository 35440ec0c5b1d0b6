//! The kernel's membership tables `/proc/net/igmp` and `/proc/net/igmp6`, which every kernel has.
//! (Netlink lists IPv4 memberships only since Linux 6.15, and without the number of users.)

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::{fs, io};

use mcast_group::{Group, InterfaceIndex};

use crate::Version;

/// A group joined on an interface, and its number of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The group.
    pub group: Group,
    /// The interface on which it is joined.
    pub interface: InterfaceIndex,
    /// The name of that interface.
    pub interface_name: String,
    /// The IGMP version; the IPv6 table has none.
    pub version: Option<Version>,
    /// The number of sockets that have joined it, plus the kernel itself.
    pub users: u32,
}

/// Returns all memberships of the calling thread's network namespace, without their holders.
pub fn table() -> io::Result<Vec<TableEntry>> {
    let (v4, v6) = (read("igmp")?, read("igmp6")?);
    // A table that changes while it is read can contain a line twice.
    let mut seen = BTreeSet::new();
    let entries = parse_v4(&v4).chain(parse_v6(&v6));
    Ok(entries.filter(|entry| seen.insert((entry.group, entry.interface))).collect())
}

/// Returns the groups that have more than one user on an interface: several sockets, or a socket and the kernel.
pub fn shared() -> io::Result<Vec<(InterfaceIndex, Group)>> {
    let shared = table()?.into_iter().filter(|entry| entry.users > 1);
    Ok(shared.map(|entry| (entry.interface, entry.group)).collect())
}

/// Reads a table; empty on a kernel without IPv6. A kernel without IGMP joins IPv4 groups, and does not list them.
fn read(name: &str) -> io::Result<String> {
    const WITHOUT_IGMP: &str =
        "the kernel was built without IGMP (CONFIG_IP_MULTICAST), and lists no IPv4 memberships";
    match fs::read(format!("/proc/thread-self/net/{name}")) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::exists("/proc/thread-self/net")? => {
            let without_igmp = || io::Error::new(io::ErrorKind::Unsupported, WITHOUT_IGMP);
            if name == "igmp" { Err(without_igmp()) } else { Ok(String::new()) }
        }
        Err(error) => Err(error),
    }
}

/// Parses the IPv4 table: a line per interface, followed by an indented line per group.
fn parse_v4(table: &str) -> impl Iterator<Item = TableEntry> {
    let mut interface = None;
    table.lines().filter_map(move |line| {
        if line.starts_with(char::is_whitespace) {
            let (index, name, version) = interface.clone()?;
            let mut words = line.split_ascii_whitespace();
            let group = group_v4(words.next()?)?;
            let users = words.next()?.parse().ok()?;
            return Some(TableEntry { group, interface: index, interface_name: name, version, users });
        }
        interface = interface_v4(line);
        None
    })
}

/// Parses `INDEX  NAME  :  COUNT  QUERIER`. The querier's version is the one in use.
fn interface_v4(line: &str) -> Option<(InterfaceIndex, String, Option<Version>)> {
    let mut words = line.split_ascii_whitespace();
    let index = InterfaceIndex::new(words.next()?.parse().ok()?)?;
    let name = words.next()?.trim_end_matches(':');
    let version = match words.last()? {
        "V1" => Some(Version::Igmp1),
        "V2" => Some(Version::Igmp2),
        "V3" => Some(Version::Igmp3),
        _ => None,
    };
    Some((index, name.to_owned(), version))
}

/// Parses an address as the kernel prints it: a number in host byte order whose memory is in
/// network byte order.
fn group_v4(word: &str) -> Option<Group> {
    let number = u32::from_str_radix(word, 16).ok().filter(|_| word.len() == 8)?;
    Group::new(Ipv4Addr::from(number.to_ne_bytes()).into()).ok()
}

/// Parses `INDEX  NAME  ADDRESS  USERS  FLAGS  TIMER`, with the address as 32 hexadecimal digits.
fn parse_v6(table: &str) -> impl Iterator<Item = TableEntry> {
    table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let interface = InterfaceIndex::new(words.next()?.parse().ok()?)?;
        let interface_name = words.next()?.to_owned();
        let address = words.next().filter(|word| word.len() == 32)?;
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        let users = words.next()?.parse().ok()?;
        let group = Group::new(address.into()).ok()?;
        Some(TableEntry { group, interface, interface_name, version: None, users })
    })
}

// The MLD version in use on an interface, as far as it can be determined.
//
// The kernel reports it in no table. The version can be forced by configuration. If no query was
// ever received, no MLDv1 query can have switched the interface to that version (RFC 3810 section
// 8.2.1). If queries were received, the version is unknown, because MLDv2 reports may be older
// than the last query.

/// The version of each interface, determined once.
#[derive(Default)]
pub(super) struct Versions(RefCell<BTreeMap<String, Option<Version>>>);

impl Versions {
    pub(super) fn on(&self, interface: &str) -> Option<Version> {
        if let Some(version) = self.0.borrow().get(interface) {
            return *version;
        }
        let version = version_on(interface);
        self.0.borrow_mut().insert(interface.to_owned(), version);
        version
    }
}

fn version_on(interface: &str) -> Option<Version> {
    // A version forced for all interfaces takes precedence over one forced for a single interface.
    match forced("all").or_else(|| forced(interface)) {
        Some(version) => Some(version),
        None => version_by(&counters(interface)?),
    }
}

/// Derives the version from the interface's ICMPv6 counters.
fn version_by(counters: &str) -> Option<Version> {
    (counter(counters, "Icmp6InGroupMembQueries")? == 0).then_some(Version::Mld2)
}

fn forced(interface: &str) -> Option<Version> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/force_mld_version");
    match fs::read_to_string(path).ok()?.trim() {
        "1" => Some(Version::Mld1),
        "2" => Some(Version::Mld2),
        _ => None,
    }
}

fn counters(interface: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{interface}")).ok()
}

/// Finds a counter. Each line has a name and a value.
fn counter(counters: &str, name: &str) -> Option<u64> {
    counters.lines().find_map(|line| {
        let (found, value) = line.split_once(char::is_whitespace)?;
        (found == name).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(group: &str, interface: (u32, &str), version: Option<Version>, users: u32) -> TableEntry {
        let (group, index) = (group.parse().unwrap(), InterfaceIndex::new(interface.0).unwrap());
        TableEntry { group, interface: index, interface_name: interface.1.into(), version, users }
    }

    /// Formats a group as this machine's kernel prints it.
    fn printed(group: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(group))
    }

    #[test]
    fn the_table_for_ipv4_is_read_with_versions_and_users() {
        let (all, own) = (printed([224, 0, 0, 1]), printed([239, 1, 2, 3]));
        let table = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{all}     1 0:00000000\t\t0\n\
             12\ta-name-of-15-ch:     2      V2\n\t\t\t\t{own}    21 1:0000002A\t\t1\n\
             \t\t\t\t{all}     1 0:00000000\t\t0\n"
        );
        let long = (12, "a-name-of-15-ch");
        let expected = [
            entry("224.0.0.1", (1, "lo"), Some(Version::Igmp3), 1),
            entry("239.1.2.3", long, Some(Version::Igmp2), 21),
            entry("224.0.0.1", long, Some(Version::Igmp2), 1),
        ];
        assert_eq!(parse_v4(&table).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_table_for_ipv6_is_read() {
        let table = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                     4    eth0            ff150000000000000000000000001234    12 00000004 0\n";
        let expected = [entry("ff02::1", (1, "lo"), None, 1), entry("ff15::1234", (4, "eth0"), None, 12)];
        assert_eq!(parse_v6(table).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn unicast_addresses_and_groups_without_an_interface_are_skipped() {
        assert_eq!(parse_v6("4 eth0 20010db8000000000000000000000001 1 4 0\n").count(), 0);
        assert_eq!(parse_v4("\t\t\t\t010000E0 1 0:0 0\n").count(), 0, "a group without an interface");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(table in "[0-9A-Fa-f:\\s\\PC]{0,200}") {
            let lines = table.lines().count();
            prop_assert!(parse_v4(&table).count() <= lines);
            prop_assert!(parse_v6(&table).count() <= lines);
        }

        #[test]
        fn every_ipv4_group_is_read_as_it_was_printed(low in 0xe000_0000_u32..=0xefff_ffff, users: u32) {
            let address = Ipv4Addr::from(low);
            let table = format!("2\teth0      :     1      V3\n\t\t\t\t{} {users:5} 0:0\t\t0\n", printed(address.octets()));
            let read: Vec<_> = parse_v4(&table).collect();
            prop_assert_eq!(read, [entry(&address.to_string(), (2, "eth0"), Some(Version::Igmp3), users)]);
        }
    }

    #[test]
    fn the_version_is_known_only_if_no_query_was_received() {
        let version = |queries: u64| version_by(&format!("Icmp6InGroupMembQueries {queries}\n"));
        assert_eq!((version(0), version(9)), (Some(Version::Mld2), None));
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let counters = "ifIndex                         \t4\nIcmp6InGroupMembQueries         \t12\nIcmp6InGroupMembResponses       \t7\n";
        assert_eq!(counter(counters, "Icmp6InGroupMembQueries"), Some(12));
        assert_eq!(counter(counters, "Icmp6InGroup"), None);
        assert_eq!(counter("", "ifIndex"), None);
    }
}
