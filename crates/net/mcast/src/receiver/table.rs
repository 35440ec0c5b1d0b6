//! What is admitted: the table of memberships, against which every datagram is checked, and the filter of datagrams to this
//! host.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use mcast_group::{Group, GroupAddr, HostAddr, InterfaceIndex, InterfaceSelector, SourceFilter};
use mcast_sys::Received;
use mcast_sys::layout::BINDS_TO_BROADCAST;

use crate::error::Result;
use crate::interface::{self, Interface, find};

/// The admitted sources by group and interface.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The first group, which is the only one of a socket that is bound to it: comparing is faster than hashing.
    first: Option<(Group, Filters)>,
    /// All other groups.
    others: HashMap<Group, Filters, BuildHasherDefault<AddressHasher>>,
}

/// The interfaces of a group are few, so a list is fastest.
type Filters = Vec<(InterfaceIndex, SourceFilter)>;

impl Table {
    /// Returns whether a datagram to this group, on this interface, from this source is admitted.
    #[inline]
    pub(crate) fn admits(&self, group: Group, interface: InterfaceIndex, source: IpAddr) -> bool {
        self.of(group).iter().any(|(joined, filter)| *joined == interface && filter.admits(source))
    }

    /// Returns whether anything of this group is admitted on this interface.
    pub(crate) fn has(&self, group: Group, interface: InterfaceIndex) -> bool {
        self.find(group, interface).is_some()
    }

    pub(crate) fn find(&self, group: Group, interface: InterfaceIndex) -> Option<&SourceFilter> {
        self.of(group).iter().find(|(joined, _)| *joined == interface).map(|(_, filter)| filter)
    }

    /// Returns the filters of this group by interface.
    #[inline]
    pub(crate) fn of(&self, group: Group) -> &[(InterfaceIndex, SourceFilter)] {
        match &self.first {
            Some((first, filters)) if *first == group => filters,
            _ => self.others.get(&group).map_or(&[][..], Vec::as_slice),
        }
    }

    /// Returns whether nothing is admitted.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    /// Returns all filters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Group, InterfaceIndex, &SourceFilter)> + Clone + '_ {
        let first = self.first.iter().map(|(group, on)| (group, on));
        let groups = first.chain(&self.others);
        groups.flat_map(|(group, on)| on.iter().map(|(interface, filter)| (*group, *interface, filter)))
    }

    /// Inserts a filter; returns the one that it replaces.
    pub(crate) fn put(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> Option<SourceFilter> {
        let is_new = self.of(group).is_empty();
        let on = match &mut self.first {
            Some((first, on)) if *first == group => on,
            first @ None if is_new => &mut first.insert((group, Vec::new())).1,
            _ => self.others.entry(group).or_default(),
        };
        match on.iter_mut().find(|(joined, _)| *joined == interface) {
            Some((_, before)) => Some(std::mem::replace(before, filter.clone())),
            None => {
                on.push((interface, filter.clone()));
                None
            }
        }
    }

    /// Removes a filter; returns whether there was one.
    pub(crate) fn take(&mut self, group: Group, interface: InterfaceIndex) -> bool {
        let first = self.first.as_mut().filter(|(first, _)| *first == group).map(|(_, on)| on);
        let Some(on) = first.or_else(|| self.others.get_mut(&group)) else {
            return false;
        };
        let before = on.len();
        on.retain(|(joined, _)| *joined != interface);
        let taken = on.len() < before;
        if on.is_empty() && self.others.remove(&group).is_none() {
            self.first = None;
        }
        taken
    }
}

/// Hashes addresses by multiplication. Every datagram is looked up here. Senders cannot choose the
/// groups that are joined, so the protection of the standard hash against collisions is not needed.
#[derive(Debug, Default)]
pub(crate) struct AddressHasher(u64);

impl AddressHasher {
    /// 2^64 divided by the golden ratio, odd: it spreads neighbouring addresses.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Combines both halves of the product, since addresses may differ in any bit.
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(Self::FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for AddressHasher {
    /// Consecutive addresses differ in their last bytes, which therefore become the lowest bits.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_be_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[8 - rest.len()..].copy_from_slice(rest);
            self.mix(u64::from_be_bytes(last));
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    /// Receives lengths, and the discriminant of the address family.
    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.0 ^= number as u64;
    }

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.0 ^= number.cast_unsigned() as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The datagrams that a socket receives which is bound to an address of this host, or to a broadcast address.
#[derive(Clone, Debug)]
pub(crate) struct HostFilter {
    /// The destinations that are admitted; `None`: all but groups.
    destinations: Option<BTreeSet<IpAddr>>,
    /// The only interface that is admitted.
    interface: Option<InterfaceIndex>,
}

/// A socket to open.
#[derive(Clone, Debug)]
pub(crate) struct HostSocket {
    pub(crate) address: SocketAddr,
    /// Whether other programs may receive the same.
    pub(crate) is_broadcast: bool,
    pub(crate) filter: HostFilter,
}

impl HostFilter {
    /// Returns the destination of a datagram that is admitted.
    #[inline]
    pub(crate) fn destination(&self, received: &Received) -> Option<IpAddr> {
        received.destination.filter(|destination| self.admits(*destination, received.interface))
    }

    pub(crate) fn admits(&self, destination: IpAddr, interface: Option<InterfaceIndex>) -> bool {
        let is_admitted = match &self.destinations {
            Some(destinations) => destinations.contains(&destination),
            None => !destination.is_multicast(),
        };
        is_admitted && self.interface.is_none_or(|only| interface == Some(only))
    }
}

/// Returns the sockets that receive what is sent to an address of this host, or broadcasts to a port.
pub(crate) fn sockets_for(host: &HostAddr) -> Result<Vec<HostSocket>> {
    let on = match &host.interface {
        None | Some(InterfaceSelector::All | InterfaceSelector::Default) => None,
        Some(selector) => Some(find(selector)?),
    };
    let interface = on.as_ref().map(|on| on.index_for(host.family()));
    let socket = |address: IpAddr, destinations| HostSocket {
        address: scoped(SocketAddr::new(address, host.port), interface),
        is_broadcast: host.is_broadcast(),
        filter: HostFilter { destinations, interface },
    };
    let only = |address: IpAddr| Some(BTreeSet::from([address]));
    if host.addr().is_unspecified() {
        return Ok(vec![socket(host.addr(), None)]);
    }
    if !host.is_broadcast() {
        return Ok(vec![socket(host.addr(), only(host.addr()))]);
    }
    let all = broadcast_addresses(on)?;
    Ok(match BINDS_TO_BROADCAST {
        true => all.into_iter().map(|address| socket(address, only(address))).collect(),
        false => vec![socket(Ipv4Addr::UNSPECIFIED.into(), Some(all))],
    })
}

/// Adds the interface to an address that is only meaningful on one link.
fn scoped(address: SocketAddr, interface: Option<InterfaceIndex>) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            let scope = interface.map_or(0, InterfaceIndex::number);
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
        address => address,
    }
}

fn broadcast_addresses(on: Option<Interface>) -> Result<BTreeSet<IpAddr>> {
    let list = on.map_or_else(interface::list, |on| Ok(vec![on]))?;
    let subnets =
        list.iter().filter(|interface| !interface.loopback).flat_map(Interface::broadcast_addresses);
    Ok(std::iter::once(Ipv4Addr::BROADCAST).chain(subnets).map(IpAddr::V4).collect())
}

/// A group and port on one interface: the unit that the kernel joins.
pub(crate) type Key = (GroupAddr, InterfaceIndex);

/// A membership's number, unique within its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MembershipId(pub(crate) u64);

/// All requests of a receiver's memberships. Requests for the same group on the same interface are
/// merged: a source that either admits is admitted.
#[derive(Debug, Default)]
pub(crate) struct RequestedMemberships {
    by_key: BTreeMap<Key, BTreeMap<MembershipId, SourceFilter>>,
}

impl RequestedMemberships {
    /// Adds or replaces the request of a membership at this key.
    pub(crate) fn insert(&mut self, key: Key, membership: MembershipId, filter: SourceFilter) {
        self.by_key.entry(key).or_default().insert(membership, filter);
    }

    /// Removes the request of a membership at this key.
    pub(crate) fn remove(&mut self, key: Key, membership: MembershipId) {
        if let Some(requested) = self.by_key.get_mut(&key) {
            requested.remove(&membership);
            if requested.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// Returns the union of all requests at this key; `None` if there is none.
    pub(crate) fn effective(&self, key: Key) -> Option<SourceFilter> {
        let requested = self.by_key.get(&key)?;
        requested.values().cloned().reduce(|a, b| a.union(&b))
    }

    /// Returns the memberships that request this key.
    pub(crate) fn memberships(&self, key: Key) -> impl Iterator<Item = MembershipId> + '_ {
        self.by_key.get(&key).into_iter().flat_map(|requested| requested.keys().copied())
    }

    /// Returns all requested keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.by_key.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    fn group(text: &str) -> Group {
        text.parse().unwrap()
    }

    fn interface(number: u32) -> InterfaceIndex {
        InterfaceIndex::new(number).unwrap()
    }

    #[test]
    fn a_datagram_is_admitted_by_group_interface_and_source() {
        let only = SourceFilter::Include(["10.0.0.1".parse().unwrap()].into());
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut table = Table::default();

        assert_eq!(table.put(group("239.1.2.3"), interface(2), &only), None);
        assert!(table.admits(group("239.1.2.3"), interface(2), one));
        assert!(!table.admits(group("239.1.2.3"), interface(2), other));
        assert!(!table.admits(group("239.1.2.3"), interface(3), one));
        assert!(!table.admits(group("239.1.2.4"), interface(2), one));

        assert!(table.take(group("239.1.2.3"), interface(2)));
        assert!(!table.admits(group("239.1.2.3"), interface(2), one));
        assert!(table.is_empty());
    }

    #[test]
    fn groups_are_found_whichever_was_first() {
        let all = ["239.1.2.3", "239.1.2.4", "ff15::1"].map(group);
        let source = "10.0.0.1".parse().unwrap();
        for left in all {
            let mut table = Table::default();
            for (group, number) in all.iter().flat_map(|group| [(*group, 2), (*group, 3)]) {
                assert_eq!(table.put(group, interface(number), &SourceFilter::ANY), None);
            }
            assert!(table.put(left, interface(2), &SourceFilter::ANY).is_some());
            assert!(table.take(left, interface(2)) && !table.take(left, interface(2)));
            assert!(table.admits(left, interface(3), source) && !table.admits(left, interface(2), source));
            assert!(table.take(left, interface(3)));
            assert_eq!(table.put(group("239.9.9.9"), interface(2), &SourceFilter::ANY), None);
            assert_eq!(table.put(left, interface(2), &SourceFilter::ANY), None);
            let joined: Vec<_> = table.iter().map(|(group, ..)| group).collect();
            let distinct: HashSet<_> = joined.iter().collect();
            assert_eq!((joined.len(), distinct.len()), (6, 4), "after {left} was left");
            assert!(distinct.iter().all(|group| table.admits(**group, interface(2), source)));
        }
    }

    /// Counts the distinct low bits and the distinct tags of the hashes: what a table with some
    /// thousand slots uses.
    fn distinct_slots(groups: impl Iterator<Item = Group>) -> (usize, usize) {
        let hasher = BuildHasherDefault::<AddressHasher>::default();
        let hashes: Vec<u64> = groups.map(|group| hasher.hash_one(group)).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash % 4096).collect();
        let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        (low.len(), tags.len())
    }

    #[test]
    fn neighbouring_groups_spread_over_the_table() {
        // 4,096 random values in as many slots leave about 1,500 slots empty.
        let v4 = (0..4096_u32).map(|number| Group::new(IpAddr::V4((0xef01_0000 + number).into())).unwrap());
        let (low, tags) = distinct_slots(v4);
        assert!(low > 2300 && tags == 128, "{low}, {tags}");

        let first = "ff15::".parse::<std::net::Ipv6Addr>().unwrap().to_bits();
        let v6 = (0..4096_u128).map(|number| Group::new(IpAddr::V6((first + number).into())).unwrap());
        let (low, tags) = distinct_slots(v6);
        assert!(low > 2300 && tags == 128, "{low}, {tags}");

        let first = "ff15::".parse::<std::net::Ipv6Addr>().unwrap().to_bits();
        let high =
            (0..4096_u128).map(|number| Group::new(IpAddr::V6((first + (number << 64)).into())).unwrap());
        let (low, tags) = distinct_slots(high);
        assert!(low > 2300 && tags == 128, "{low}, {tags}");
    }

    fn key() -> Key {
        ("239.1.2.3:7000".parse().unwrap(), InterfaceIndex::new(2).unwrap())
    }

    fn only(source: &str) -> SourceFilter {
        SourceFilter::Include([source.parse().unwrap()].into())
    }

    #[test]
    fn two_memberships_admit_the_sources_of_either() {
        let mut requested = RequestedMemberships::default();
        requested.insert(key(), MembershipId(1), only("10.0.0.1"));
        requested.insert(key(), MembershipId(2), only("10.0.0.2"));
        assert_eq!(requested.effective(key()), Some(only("10.0.0.1").union(&only("10.0.0.2"))));

        requested.remove(key(), MembershipId(1));
        assert_eq!(requested.effective(key()), Some(only("10.0.0.2")));

        requested.remove(key(), MembershipId(2));
        assert_eq!(requested.effective(key()), None);
        assert_eq!(requested.keys().count(), 0);
    }
}
