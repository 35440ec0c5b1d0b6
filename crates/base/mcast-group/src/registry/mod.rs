//! The names of groups: those registered with IANA, and those in use without being registered.
//!
//! `cargo xtask registry` generates the tables from the files in `registry/`; do not edit them.

mod table_de_facto;
mod table_names;
mod table_v4;
mod table_v6;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::{Family, Group, Reference};
use table_names::NAMES;

/// A name of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The name, as the registry gives it.
    pub name: &'static str,
    /// The addresses that the name covers, including the group.
    pub addresses: GroupRange,
    /// Whether the name is registered with IANA.
    pub standing: RegistryStanding,
    /// The references of the registry; for a de-facto name, the document that describes its use.
    pub references: &'static [Reference],
    /// The UDP ports used with the group, if known.
    pub ports: &'static [u16],
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.standing)
    }
}

/// Whether a name is registered or only in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegistryStanding {
    /// Registered with IANA.
    Registered {
        /// The registration date as the registry gives it, such as `2007-02-02` or `1998-03`.
        since: Option<&'static str>,
    },
    /// Registered with IANA as an offset from the top of every administrative scope (RFC 2365
    /// section 9).
    Relative {
        /// The distance from the last address of the scope.
        offset: u8,
        /// The registration date as the registry gives it.
        since: Option<&'static str>,
    },
    /// Not registered, but used by widespread software or devices.
    DeFacto,
}

impl RegistryStanding {
    /// Returns whether the name is registered with IANA, as an address or as an offset.
    #[must_use]
    pub const fn is_registered(self) -> bool {
        !matches!(self, Self::DeFacto)
    }
}

impl fmt::Display for RegistryStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { since: None } => f.write_str("registered"),
            Self::Registered { since: Some(date) } => write!(f, "registered {date}"),
            Self::Relative { offset, .. } => write!(f, "registered at offset {offset} of every scope"),
            Self::DeFacto => f.write_str("in use but not registered"),
        }
    }
}

/// A range of consecutive groups. `Display` writes a single address, or the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupRange {
    /// The first group.
    pub first: Group,
    /// The last group (inclusive).
    pub last: Group,
}

impl GroupRange {
    /// Returns the groups whose addresses have the same first `length` bits as this one.
    ///
    /// ```
    /// use mcast_group::GroupRange;
    ///
    /// let range = GroupRange::of_prefix("239.255.2.3".parse()?, 24);
    /// assert_eq!(range.to_string(), "239.255.2.0-239.255.2.255");
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub fn of_prefix(group: Group, length: u32) -> Self {
        let (width, lowest, highest) = match group.family() {
            Family::V4 => (32, 0xe000_0000, 0xefff_ffff),
            Family::V6 => (128, 0xff00 << 112, u128::MAX),
        };
        let rest = 1_u128.checked_shl(width - length.min(width)).map_or(u128::MAX, |count| count - 1);
        let end = |bits: u128| Group::from_bits(group.family(), bits.clamp(lowest, highest)).unwrap_or(group);
        Self { first: end(group.bits() & !rest), last: end(group.bits() | rest) }
    }

    /// Returns the groups of the range in ascending order: possibly very many.
    pub fn groups(self) -> impl Iterator<Item = Group> {
        let bits = self.first.bits()..=self.last.bits();
        bits.filter_map(move |bits| Group::from_bits(self.first.family(), bits))
    }

    /// Returns whether the group is in the range.
    #[must_use]
    pub fn contains(self, group: Group) -> bool {
        self.first <= group && group <= self.last
    }

    /// Returns the number of groups in the range.
    #[must_use]
    pub fn count(self) -> u128 {
        self.last.bits().saturating_sub(self.first.bits()).saturating_add(1)
    }
}

/// A single group.
impl From<Group> for GroupRange {
    fn from(group: Group) -> Self {
        Self { first: group, last: group }
    }
}

impl fmt::Display for GroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// An offset from the last address of an administrative scope. It has the same meaning in every scope
/// (RFC 2365 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relative {
    /// The last address of the scope, from which the offset counts down.
    pub top: Group,
    /// The distance of the group from that address.
    pub offset: u8,
}

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {} below {}", self.offset, self.top)
    }
}

impl Group {
    /// Returns the names of the group: first those registered with IANA, then those in use without
    /// registration.
    ///
    /// ```
    /// let group: mcast_group::Group = "224.0.1.129".parse()?;
    /// let names: Vec<_> = group.assignments().map(|assignment| assignment.name).collect();
    /// assert_eq!(names, ["PTP-primary"]);
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    pub fn assignments(self) -> impl Iterator<Item = Assignment> {
        let registered = match self.addr() {
            IpAddr::V4(address) => [registered_v4(address), self.relative_assignment()],
            IpAddr::V6(address) => registered_v6(address),
        };
        registered.into_iter().flatten().chain(self.de_facto_assignments())
    }

    /// Returns the name registered with IANA, otherwise the name under which the group is in use.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.assignments().next().map(|assignment| assignment.name)
    }

    /// Returns the name for the group and any port: its short name, otherwise [`Self::name`].
    #[must_use]
    pub fn usual_name(self) -> Option<&'static str> {
        self.well_known().map(|known| known.name).next().or_else(|| self.name())
    }

    /// Returns the name for the group and this UDP port. The first of these that exists is used: the short
    /// name of a protocol that uses the port, the name registered with IANA, a name in use without
    /// registration that uses the port or has no known ports.
    ///
    /// ```
    /// let group: mcast_group::Group = "239.255.0.1".parse()?;
    /// assert_eq!(group.name_at(5568), Some("sacn"));
    /// assert_eq!(group.name_at(7000), None);
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub fn name_at(self, port: u16) -> Option<&'static str> {
        let uses_port = |ports: &[u16]| ports.is_empty() || ports.contains(&port);
        let short_name = self.well_known().find(|row| uses_port(row.ports)).map(|row| row.name);
        short_name.or_else(|| {
            let matches =
                |assignment: &Assignment| assignment.standing.is_registered() || uses_port(assignment.ports);
            self.assignments().find(matches).map(|assignment| assignment.name)
        })
    }

    /// Returns the scope-relative offset of the group, if it is among the last 256 addresses of the local
    /// scope or the organization-local scope (RFC 2365 section 9).
    #[must_use]
    pub fn relative(self) -> Option<Relative> {
        let IpAddr::V4(address) = self.addr() else { return None };
        let [239, scope @ (255 | 195), 255, last] = address.octets() else { return None };
        let top = Self(IpAddr::V4(Ipv4Addr::new(239, scope, 255, 255)));
        Some(Relative { top, offset: 255 - last })
    }

    fn relative_assignment(self) -> Option<Assignment> {
        let Relative { offset, .. } = self.relative()?;
        let row = find(table_v4::RELATIVE, offset)?;
        let standing = RegistryStanding::Relative { offset, since: row.since() };
        Some(row.assignment(GroupRange { first: self, last: self }, standing))
    }

    fn de_facto_assignments(self) -> impl Iterator<Item = Assignment> {
        let any_scope = matches!(self.addr(), IpAddr::V6(_)).then(|| without_scope(self.bits()));
        let fixed = table_de_facto::FIXED.iter().filter(move |row| row.contains(self));
        let variable = table_de_facto::ANY_SCOPE
            .iter()
            .filter(move |row| any_scope.is_some_and(|bits| row.first <= bits && bits <= row.last));
        fixed.map(DeFactoRow::assignment).chain(variable.map(move |row| row.in_scope_of(self)))
    }
}

/// The date of the IPv4 registry in the tables, such as `2024-02-02`.
pub const IPV4_REGISTRY_DATE: &str = table_v4::AS_OF;
/// The date of the IPv6 registry in the tables, such as `2015-10`.
pub const IPV6_REGISTRY_DATE: &str = table_v6::AS_OF;

/// A row of a table of registered names. The tables are sorted by the first address, and rows do not overlap.
struct Row<T> {
    first: T,
    last: T,
    name: &'static str,
    references: &'static [Reference],
    since: &'static str,
}

const fn row<T: Copy>(
    first: T,
    last: T,
    name: &'static str,
    references: &'static [Reference],
    since: &'static str,
) -> Row<T> {
    Row { first, last, name, references, since }
}

const fn rfc(number: u16) -> Reference {
    Reference::rfc(number)
}

impl<T> Row<T> {
    const fn since(&self) -> Option<&'static str> {
        if self.since.is_empty() { None } else { Some(self.since) }
    }

    fn assignment(&self, addresses: GroupRange, standing: RegistryStanding) -> Assignment {
        let ports = ports(addresses);
        Assignment { name: self.name, addresses, standing, references: self.references, ports }
    }
}

/// A row of a table of de-facto names. The rows are in any order and may overlap.
struct DeFactoRow<T> {
    first: T,
    last: T,
    name: &'static str,
    ports: &'static [u16],
    reference: &'static [Reference],
}

impl DeFactoRow<Group> {
    fn contains(&self, group: Group) -> bool {
        GroupRange { first: self.first, last: self.last }.contains(group)
    }

    const fn assignment(&self) -> Assignment {
        Assignment {
            name: self.name,
            addresses: GroupRange { first: self.first, last: self.last },
            standing: RegistryStanding::DeFacto,
            references: self.reference,
            ports: self.ports,
        }
    }
}

impl DeFactoRow<u128> {
    fn in_scope_of(&self, group: Group) -> Assignment {
        Assignment {
            name: self.name,
            addresses: range_in_scope_of(self.first, self.last, group),
            standing: RegistryStanding::DeFacto,
            references: self.reference,
            ports: self.ports,
        }
    }
}

const fn v4(bits: u32) -> Group {
    Group(IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

const fn v6(bits: u128) -> Group {
    Group(IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

/// The bits of an IPv6 group that hold the scope.
const SCOPE_MASK: u128 = 0xf << 112;

const fn without_scope(bits: u128) -> u128 {
    bits & !SCOPE_MASK
}

fn range_in_scope_of(first: u128, last: u128, group: Group) -> GroupRange {
    let scope = group.bits() & SCOPE_MASK;
    GroupRange { first: v6(first | scope), last: v6(last | scope) }
}

fn find<T: Ord + Copy>(table: &[Row<T>], key: T) -> Option<&Row<T>> {
    let end = table.partition_point(|row| row.first <= key);
    table[..end].last().filter(|row| key <= row.last)
}

fn registered_v4(address: Ipv4Addr) -> Option<Assignment> {
    let row = find(table_v4::ADDRESSES, address.to_bits())?;
    let range = GroupRange { first: v4(row.first), last: v4(row.last) };
    Some(row.assignment(range, RegistryStanding::Registered { since: row.since() }))
}

/// Returns the name registered for exactly this scope, then the one registered for every scope, unless both
/// are the same.
fn registered_v6(address: Ipv6Addr) -> [Option<Assignment>; 2] {
    let bits = address.to_bits();
    let fixed = find(table_v6::FIXED, bits);
    let any_scope = find(table_v6::ANY_SCOPE, without_scope(bits))
        .filter(|variable| fixed.is_none_or(|fixed| fixed.name != variable.name));
    [
        fixed.map(|row| {
            let range = GroupRange { first: v6(row.first), last: v6(row.last) };
            row.assignment(range, RegistryStanding::Registered { since: row.since() })
        }),
        any_scope.map(|row| {
            let range = range_in_scope_of(row.first, row.last, v6(bits));
            row.assignment(range, RegistryStanding::Registered { since: row.since() })
        }),
    ]
}

/// When a protocol sends to its group while it runs. Silence for less time means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendInterval {
    /// At least once in this time, with the protocol's default settings.
    Every(Duration),
    /// When a program asks for something, or when something changes. Nothing is sent otherwise.
    WhenAsked,
}

/// Returns an interval in seconds, for the table.
const fn every(seconds: u64) -> Option<SendInterval> {
    Some(SendInterval::Every(Duration::from_secs(seconds)))
}

/// A group that has a short name, with the ports that its protocol uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// The short name, in lower case: `mdns`, `ssdp`, `ptp`.
    pub name: &'static str,
    /// The group. A name has at most one per family.
    pub group: Group,
    /// The UDP ports; empty if the protocol does not run over UDP.
    pub ports: &'static [u16],
    /// The number of the IP protocol, if the protocol does not run over UDP: 112 for VRRP.
    pub protocol: Option<u8>,
    /// The hop limit that the protocol requires of senders, if it requires one.
    pub hop_limit: Option<u8>,
    /// When the protocol sends to the group; `None` if that is not known.
    pub interval: Option<SendInterval>,
    /// The document that defines the group, the ports, the hop limit and the interval.
    pub reference: Reference,
}

impl WellKnown {
    /// Returns all of them, sorted by name, IPv4 before IPv6.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        NAMES
    }

    /// Returns the groups with this name: one, or one per family. Empty if the name is unknown. Case is
    /// ignored.
    #[must_use]
    pub fn named(name: &str) -> &'static [Self] {
        let name = name.to_ascii_lowercase();
        let first = NAMES.partition_point(|row| row.name < name.as_str());
        let count = NAMES[first..].iter().take_while(|row| row.name == name).count();
        &NAMES[first..first + count]
    }

    /// Returns the group with this name in the family. Without a family, the IPv4 group is preferred.
    #[must_use]
    pub fn find(name: &str, family: Option<Family>) -> Option<&'static Self> {
        let mut named = Self::named(name).iter();
        match family {
            None => named.next(),
            Some(family) => named.find(|row| row.group.family() == family),
        }
    }
}

impl Group {
    /// Returns the short names of the group, with the ports of their protocols.
    pub fn well_known(self) -> impl Iterator<Item = &'static WellKnown> {
        NAMES.iter().filter(move |row| row.group == self)
    }
}

/// Returns the ports of the first short name, if the range is a single group.
fn ports(range: GroupRange) -> &'static [u16] {
    if range.first != range.last {
        return &[];
    }
    range.first.well_known().next().map_or(&[], |row| row.ports)
}

#[cfg(test)]
mod tests {
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
            assert!(
                in_site_scope.assignments().any(|assignment| assignment.name == row.name),
                "{}",
                row.name
            );
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
}
