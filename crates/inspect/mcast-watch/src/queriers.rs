//! Queriers: which routers and switches send IGMP and MLD queries, how often, and which of them is elected; and routers, which
//! announce themselves by PIM and by multicast router advertisements, too.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::querier::QuerierSettings;
use mcast_packet::gmp::{Address, GmpMessage, Query, RouterDiscovery};
use mcast_packet::pim::{HelloOption, PimMessage};
use mcast_packet::{Packet, Transport};

use crate::clock::Time;
use crate::lru::Lru;
use crate::origin::PacketOrigin;

/// The group management protocol of a querier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IGMP, for IPv4.
    Igmp,
    /// MLD, for IPv6.
    Mld,
}

/// An IGMP or MLD query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedQuery {
    /// The address that it was sent from.
    pub source: IpAddr,
    /// Its protocol version.
    pub version: u8,
    /// The group that it asks about; `None` for all groups.
    pub group: Option<IpAddr>,
    /// The time that it gives hosts to respond; zero for IGMPv1.
    pub max_response_time: Duration,
    /// The query interval that it announces.
    pub interval: Option<Duration>,
    /// The robustness that it announces.
    pub robustness: Option<u8>,
}

/// A router or switch that sends IGMP or MLD queries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedQuerier {
    /// The interface on which its queries arrive.
    pub interface: InterfaceIndex,
    /// The VLAN that the query was tagged with.
    pub vlan: Option<u16>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address; 0.0.0.0 for a switch that sends queries without being a router.
    pub address: IpAddr,
    /// The version of its latest query.
    pub version: u8,
    /// Its latest general query, or its latest query if it has sent no general one.
    pub query: ObservedQuery,
    /// Its query interval: the one that it announces, otherwise the time between its latest two general
    /// queries.
    pub interval: Option<Duration>,
    /// The mean time between its general queries.
    pub mean_interval: Option<Duration>,
    /// The time that it gives hosts to respond.
    pub max_response_time: Duration,
    /// Number of queries received from it, general and group-specific.
    pub queries: u64,
    /// Whether the queries are sent by this machine.
    pub is_this_machine: bool,
    /// Time since its latest general query, or since its latest query if it has sent no general one.
    pub quiet: Duration,
    /// Time until other routers consider it gone, if it sends nothing more.
    pub expires: Duration,
    /// Whether it wins the querier election: it has the lowest address of all queriers, where 0.0.0.0 ranks
    /// last.
    pub elected: bool,
}

/// The queriers on the networks of this machine.
///
/// ```
/// use std::time::Duration;
///
/// use mcast_group::InterfaceIndex;
/// use mcast_packet::Packet;
/// use mcast_watch::{ObservedQuery, QuerierTable, Time};
///
/// let mut queriers = QuerierTable::new(64);
/// let frame = [0; 60]; // as captured
/// if let Some(query) = ObservedQuery::in_packet(&Packet::ethernet(&frame)) {
///     let interface = InterfaceIndex::new(2).ok_or("no index")?;
///     queriers.add(interface, query, Time::from_secs(1));
/// }
/// assert!(queriers.report(Time::from_secs(2)).is_empty());
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct QuerierTable {
    queriers: Lru<RouterKey, QuerierState>,
}

#[derive(Debug)]
struct QuerierState {
    last: Time,
    version: u8,
    /// The latest general query, or the latest query if there was no general one.
    query: ObservedQuery,
    queries: u64,
    /// The times of the first, the last but one and the last general query, and their number.
    first_general: Option<Time>,
    previous_general: Option<Time>,
    last_general: Option<Time>,
    generals: u32,
    outgoing: bool,
}

impl ObservedQuery {
    /// Returns the query in a packet that hosts accept: with a valid checksum, and for MLD with hop limit 1 and a
    /// link-local source (RFC 3810 section 5.1.14).
    #[must_use]
    pub fn in_packet(packet: &Packet<'_>) -> Option<Self> {
        let ip = packet.ip_layer()?;
        match packet.transport? {
            Transport::Igmp(control) if !control.checksum.is_invalid() => {
                Self::in_message(ip.source, &control.message)
            }
            Transport::Mld(control)
                if !control.checksum.is_invalid()
                    && ip.hop_limit == 1
                    && matches!(ip.source, IpAddr::V6(source) if source.is_unicast_link_local()) =>
            {
                Self::in_message(ip.source, &control.message)
            }
            _ => None,
        }
    }

    fn in_message<A: Address>(source: IpAddr, message: &GmpMessage<'_, A>) -> Option<Self> {
        match message {
            GmpMessage::Query(query) => Some(Self::new(source, query)),
            _ => None,
        }
    }

    pub(crate) fn new<A: Address>(source: IpAddr, query: &Query<'_, A>) -> Self {
        Self {
            source,
            version: query.version(),
            group: query.group.map(Into::into),
            max_response_time: query.max_response_time,
            interval: query.interval(),
            robustness: query.robustness(),
        }
    }

    /// Returns the time that a general query gives hosts to respond. That of a group-specific query does not apply to
    /// general queries. The default is also the fixed time of IGMPv1 (RFC 1112), whose queries do not state one.
    fn general_response_time(&self) -> Duration {
        let stated = Some(self.max_response_time).filter(|time| self.group.is_none() && !time.is_zero());
        stated.unwrap_or_else(|| QuerierSettings::default().query_response_interval())
    }

    /// Returns the other querier present interval (RFC 3376 section 8.5).
    pub(crate) fn lifetime(&self) -> Duration {
        let response_time = Some(self.general_response_time());
        QuerierSettings::default().other_querier_present_interval(
            self.robustness,
            self.interval,
            response_time,
        )
    }

    /// Returns how long routers keep a membership that is not reported again (RFC 3376 section 8.4).
    pub(crate) fn membership_interval(&self) -> Duration {
        self.lifetime() + self.general_response_time() / 2
    }
}

impl QuerierTable {
    /// Creates an empty table for at most `capacity` queriers. Addresses can be forged: when the table is full,
    /// a new querier takes the place of one that sent a single query, if there is one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queriers: Lru::new(capacity) }
    }

    /// Adds a query that arrived on an interface, without a VLAN tag.
    pub fn add(&mut self, interface: InterfaceIndex, query: ObservedQuery, time: Time) {
        let source = query.source;
        self.observe(PacketOrigin { time, interface, vlan: None, source, outgoing: false }, query);
    }

    pub(crate) fn observe(&mut self, origin: PacketOrigin, query: ObservedQuery) {
        let (key, time) = (key(origin), origin.time);
        let (querier, _) = self.queriers.touch(key, || QuerierState {
            last: time,
            version: query.version,
            query: query.clone(),
            queries: 0,
            first_general: None,
            previous_general: None,
            last_general: None,
            generals: 0,
            outgoing: origin.outgoing,
        });
        querier.last = time;
        querier.version = query.version;
        querier.queries += 1;
        let is_established = querier.queries > 1;
        if query.group.is_none() {
            querier.first_general.get_or_insert(time);
            querier.previous_general = querier.last_general.replace(time);
            querier.generals = querier.generals.saturating_add(1);
            querier.query = query;
        }
        if is_established {
            self.queriers.prove(&key);
        }
    }

    /// Removes the queriers that other routers consider gone.
    pub fn remove_expired(&mut self, now: Time) {
        self.queriers.retain(|_, querier| now.since(querier.last) < querier.query.lifetime());
    }

    pub(crate) fn clear(&mut self) {
        self.queriers.clear();
    }

    /// Returns the queriers, sorted by interface and address. A querier that is gone and was not
    /// [removed](Self::remove_expired) has zero in [`ObservedQuerier::expires`].
    #[must_use]
    pub fn report(&self, now: Time) -> Vec<ObservedQuerier> {
        let mut queriers: Vec<_> =
            sorted(&self.queriers).map(|(key, state)| state.snapshot(key, now)).collect();
        for position in 0..queriers.len() {
            let this = &queriers[position];
            let segment = |querier: &ObservedQuerier| (querier.interface, querier.vlan, querier.protocol);
            let beaten = queriers
                .iter()
                .any(|other| segment(other) == segment(this) && other.election_rank() < this.election_rank());
            queriers[position].elected = !beaten;
        }
        queriers
    }
}

impl ObservedQuerier {
    /// Returns a key that sorts queriers by their success in the election. Queriers without a source address take no
    /// part and are last.
    #[must_use]
    pub fn election_rank(&self) -> impl Ord + use<> {
        (self.address.is_unspecified(), self.address)
    }
}

impl QuerierState {
    fn snapshot(&self, key: &RouterKey, now: Time) -> ObservedQuerier {
        let between = |later: Option<Time>, earlier: Option<Time>| Some(later?.since(earlier?));
        let measured = between(self.last_general, self.previous_general);
        let span = between(self.last_general, self.first_general);
        ObservedQuerier {
            interface: key.interface,
            vlan: key.vlan,
            protocol: if key.address.is_ipv4() { Protocol::Igmp } else { Protocol::Mld },
            address: key.address,
            version: self.version,
            query: self.query.clone(),
            interval: self.query.interval.filter(|_| self.generals > 0).or(measured),
            mean_interval: span.filter(|_| self.generals > 1).map(|span| span / (self.generals - 1)),
            max_response_time: self.query.general_response_time(),
            queries: self.queries,
            is_this_machine: self.outgoing,
            quiet: now.since(self.last_general.unwrap_or(self.last)),
            expires: self.query.lifetime().saturating_sub(now.since(self.last)),
            elected: false,
        }
    }
}

/// A router that sends PIM Hello messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PimNeighbor {
    /// The interface on which its Hello messages arrive.
    pub interface: InterfaceIndex,
    /// The VLAN that the hello was tagged with.
    pub vlan: Option<u16>,
    /// Its address.
    pub address: IpAddr,
    /// How long a Hello message remains valid; `None` means forever.
    pub hold_time: Option<Duration>,
    /// Its priority in the election of the designated router.
    pub dr_priority: Option<u32>,
    /// The random number that it chose when it started.
    pub generation_id: Option<u32>,
    /// Whether the Hello messages are sent by this machine.
    pub is_this_machine: bool,
    /// Time since its latest Hello message.
    pub quiet: Duration,
}

/// A router that sends multicast router advertisements (RFC 4286).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The interface on which its advertisements arrive.
    pub interface: InterfaceIndex,
    /// The VLAN that the advertisement was tagged with.
    pub vlan: Option<u16>,
    /// Its address.
    pub address: IpAddr,
    /// Its advertisement interval.
    pub interval: Duration,
    /// Whether the advertisements are sent by this machine.
    pub is_this_machine: bool,
    /// Time since its latest advertisement.
    pub quiet: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouterKey {
    pub(crate) interface: InterfaceIndex,
    pub(crate) vlan: Option<u16>,
    pub(crate) address: IpAddr,
}

#[derive(Clone, Copy, Debug)]
struct HelloState {
    last: Time,
    facts: HelloFacts,
    outgoing: bool,
}

/// What a PIM Hello message states.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HelloFacts {
    /// How long it remains valid; `None` means forever.
    pub(crate) hold_time: Option<Duration>,
    pub(crate) dr_priority: Option<u32>,
    pub(crate) generation_id: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct AdvertisementState {
    last: Time,
    interval: Duration,
    outgoing: bool,
}

/// All known routers.
#[derive(Debug)]
pub(crate) struct Routers {
    pub(crate) queriers: QuerierTable,
    neighbors: Lru<RouterKey, HelloState>,
    advertisements: Lru<RouterKey, AdvertisementState>,
}

impl Routers {
    pub(crate) fn new(capacity: usize) -> Self {
        let queriers = QuerierTable::new(capacity);
        Self { queriers, neighbors: Lru::new(capacity), advertisements: Lru::new(capacity) }
    }

    pub(crate) fn discovery(&mut self, origin: PacketOrigin, discovery: &RouterDiscovery) {
        let (key, time, outgoing) = (key(origin), origin.time, origin.outgoing);
        match discovery {
            RouterDiscovery::Advertisement { interval, .. } => {
                let state = AdvertisementState { last: time, interval: *interval, outgoing };
                *self.advertisements.touch(key, || state).0 = state;
            }
            RouterDiscovery::Termination => drop(self.advertisements.remove(&key)),
            RouterDiscovery::Solicitation => {}
        }
    }

    pub(crate) fn pim(&mut self, origin: PacketOrigin, message: &PimMessage<'_>) {
        let Some(facts) = HelloFacts::of(message) else { return };
        let hello = HelloState { last: origin.time, facts, outgoing: origin.outgoing };
        let key = key(origin);
        if facts.is_goodbye() {
            self.neighbors.remove(&key);
            return;
        }
        *self.neighbors.touch(key, || hello).0 = hello;
    }

    pub(crate) fn remove_expired(&mut self, now: Time) {
        self.queriers.remove_expired(now);
        self.neighbors.retain(|_, hello| {
            hello.facts.hold_time.is_none_or(|hold_time| now.since(hello.last) < hold_time)
        });
        self.advertisements.retain(|_, state| now.since(state.last) < advertisement_lifetime(state.interval));
    }

    pub(crate) fn clear(&mut self) {
        self.queriers.clear();
        self.neighbors.clear();
        self.advertisements.clear();
    }

    pub(crate) fn neighbors(&self, now: Time) -> Vec<PimNeighbor> {
        let neighbor = |(key, hello): (&RouterKey, &HelloState)| PimNeighbor {
            interface: key.interface,
            vlan: key.vlan,
            address: key.address,
            hold_time: hello.facts.hold_time,
            dr_priority: hello.facts.dr_priority,
            generation_id: hello.facts.generation_id,
            is_this_machine: hello.outgoing,
            quiet: now.since(hello.last),
        };
        sorted(&self.neighbors).map(neighbor).collect()
    }

    pub(crate) fn advertisements(&self, now: Time) -> Vec<RouterAdvertisement> {
        let advertisement = |(key, state): (&RouterKey, &AdvertisementState)| RouterAdvertisement {
            interface: key.interface,
            vlan: key.vlan,
            address: key.address,
            interval: state.interval,
            is_this_machine: state.outgoing,
            quiet: now.since(state.last),
        };
        sorted(&self.advertisements).map(advertisement).collect()
    }
}

pub(crate) fn key(origin: PacketOrigin) -> RouterKey {
    RouterKey { interface: origin.interface, vlan: origin.vlan, address: origin.source }
}

pub(crate) fn sorted<V>(map: &Lru<RouterKey, V>) -> impl Iterator<Item = (&RouterKey, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter()
}

impl HelloFacts {
    /// The hold time of a Hello message without that option (RFC 7761 section 4.11).
    const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(105);

    /// Returns what a message states; `None` if it is another message.
    pub(crate) fn of(message: &PimMessage<'_>) -> Option<Self> {
        let PimMessage::Hello(options) = message else { return None };
        let mut facts =
            Self { hold_time: Some(Self::DEFAULT_HOLD_TIME), dr_priority: None, generation_id: None };
        for option in options.iter() {
            match option {
                HelloOption::HoldTime(u16::MAX) => facts.hold_time = None,
                HelloOption::HoldTime(seconds) => facts.hold_time = Some(Duration::from_secs(seconds.into())),
                HelloOption::DrPriority(priority) => facts.dr_priority = Some(priority),
                HelloOption::GenerationId(id) => facts.generation_id = Some(id),
                _ => {}
            }
        }
        Some(facts)
    }

    /// Returns whether the router leaves.
    pub(crate) fn is_goodbye(&self) -> bool {
        self.hold_time == Some(Duration::ZERO)
    }
}

/// Returns the time after which a router with this interval between advertisements is considered gone: three intervals (RFC 4286
/// section 4.3).
pub(crate) fn advertisement_lifetime(interval: Duration) -> Duration {
    interval.max(Duration::from_secs(1)) * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general(source: [u8; 4], interval: Option<u64>) -> ObservedQuery {
        ObservedQuery {
            source: source.into(),
            version: 3,
            group: None,
            max_response_time: Duration::from_secs(10),
            interval: interval.map(Duration::from_secs),
            robustness: interval.map(|_| 3),
        }
    }

    fn interface() -> InterfaceIndex {
        InterfaceIndex::new(3).unwrap()
    }

    #[test]
    fn lowest_address_ranks_first_and_queriers_without_one_last() {
        let mut table = QuerierTable::new(64);
        for source in [[10, 0, 0, 9], [0, 0, 0, 0], [10, 0, 0, 2]] {
            table.add(interface(), general(source, None), Time::from_secs(0));
        }
        let mut queriers = table.report(Time::from_secs(0));
        queriers.sort_by_key(ObservedQuerier::election_rank);
        let sources: Vec<_> = queriers.iter().map(|querier| querier.address.to_string()).collect();
        assert_eq!(sources, ["10.0.0.2", "10.0.0.9", "0.0.0.0"]);
    }

    #[test]
    fn intervals_are_measured_and_silent_queriers_expire() {
        let mut table = QuerierTable::new(64);
        table.add(interface(), general([10, 0, 0, 2], Some(60)), Time::from_secs(0));
        let known = table.report(Time::from_secs(10)).remove(0);
        assert_eq!(known.mean_interval, None);
        assert_eq!(known.expires, Duration::from_secs(3 * 60 + 5 - 10));
        table.add(interface(), general([10, 0, 0, 2], None), Time::from_secs(62));
        let specific = ObservedQuery { group: Some([239, 1, 1, 1].into()), ..general([10, 0, 0, 2], None) };
        table.add(interface(), specific, Time::from_secs(70));
        let known = table.report(Time::from_secs(80)).remove(0);
        assert_eq!((known.queries, known.mean_interval), (3, Some(Duration::from_secs(62))));
        assert_eq!(known.expires, Duration::from_secs(255 - 10));
        assert_eq!(table.report(Time::from_secs(1_000))[0].expires, Duration::ZERO);
        table.remove_expired(Time::from_secs(1_000));
        assert!(table.report(Time::from_secs(1_000)).is_empty());
    }

    #[test]
    fn number_of_queriers_is_bounded() {
        let mut table = QuerierTable::new(64);
        for last in 0..=255 {
            table.add(interface(), general([10, 0, 0, last], None), Time::from_secs(0));
        }
        assert_eq!(table.report(Time::from_secs(0)).len(), 64);
    }
}
