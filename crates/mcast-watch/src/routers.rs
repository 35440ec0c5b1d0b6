//! Routers: IGMP and MLD queriers, PIM neighbors, and multicast router advertisements.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::{Address, Query, RouterDiscovery};
use mcast_packet::pim::{self, HelloOption};

use crate::lru::Lru;
use crate::members::PacketOrigin;
use crate::time::Time;

/// The group management protocol of a querier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IGMP, for IPv4.
    Igmp,
    /// MLD, for IPv6.
    Mld,
}

/// A router or switch that sends IGMP or MLD queries.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Its query interval: the one that it announces, otherwise the time between its latest two general
    /// queries.
    pub interval: Option<Duration>,
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
struct RouterKey {
    interface: InterfaceIndex,
    vlan: Option<u16>,
    address: IpAddr,
}

#[derive(Debug)]
struct QuerierState {
    last: Time,
    /// Time of its latest general query.
    general: Option<Time>,
    announced_interval: Option<Duration>,
    measured_interval: Option<Duration>,
    robustness: u8,
    max_response_time: Duration,
    version: u8,
    queries: u64,
    outgoing: bool,
}

#[derive(Clone, Copy, Debug)]
struct HelloState {
    last: Time,
    hold_time: Option<Duration>,
    dr_priority: Option<u32>,
    generation_id: Option<u32>,
    outgoing: bool,
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
    queriers: Lru<RouterKey, QuerierState>,
    neighbors: Lru<RouterKey, HelloState>,
    advertisements: Lru<RouterKey, AdvertisementState>,
}

impl Routers {
    pub(crate) fn new(capacity: usize) -> Self {
        let (queriers, neighbors, advertisements) =
            (Lru::new(capacity), Lru::new(capacity), Lru::new(capacity));
        Self { queriers, neighbors, advertisements }
    }

    pub(crate) fn query<A: Address>(&mut self, origin: PacketOrigin, query: &Query<'_, A>) {
        let (key, time, outgoing) = (key(origin), origin.time, origin.outgoing);
        let (querier, _) = self.queriers.touch(key, || QuerierState::new(time, outgoing));
        querier.last = time;
        querier.version = query.version();
        querier.queries += 1;
        if query.group.is_some() {
            return;
        }
        querier.max_response_time = match query.max_response_time {
            Duration::ZERO => QuerierState::V1_RESPONSE_TIME,
            announced => announced,
        };
        let before = querier.general.replace(time);
        querier.measured_interval = before.map(|before| time.since(before)).or(querier.measured_interval);
        if let Some(source_query) = &query.source_query {
            querier.announced_interval = Some(source_query.interval).filter(|interval| !interval.is_zero());
            querier.robustness = source_query.robustness;
        }
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

    pub(crate) fn pim(&mut self, origin: PacketOrigin, message: &pim::Message<'_>) {
        let pim::Message::Hello(options) = message else { return };
        let mut hello = HelloState {
            last: origin.time,
            hold_time: Some(HelloState::DEFAULT_HOLD_TIME),
            dr_priority: None,
            generation_id: None,
            outgoing: origin.outgoing,
        };
        for option in options.iter() {
            match option {
                HelloOption::HoldTime(u16::MAX) => hello.hold_time = None,
                HelloOption::HoldTime(seconds) => hello.hold_time = Some(Duration::from_secs(seconds.into())),
                HelloOption::DrPriority(priority) => hello.dr_priority = Some(priority),
                HelloOption::GenerationId(id) => hello.generation_id = Some(id),
                _ => {}
            }
        }
        let key = key(origin);
        if hello.hold_time == Some(Duration::ZERO) {
            self.neighbors.remove(&key);
            return;
        }
        *self.neighbors.touch(key, || hello).0 = hello;
    }

    pub(crate) fn remove_expired(&mut self, now: Time) {
        self.queriers.retain(|_, querier| now.since(querier.last) < querier.lifetime());
        self.neighbors
            .retain(|_, hello| hello.hold_time.is_none_or(|hold_time| now.since(hello.last) < hold_time));
        self.advertisements.retain(|_, state| now.since(state.last) < state.lifetime());
    }

    pub(crate) fn clear(&mut self) {
        self.queriers.clear();
        self.neighbors.clear();
        self.advertisements.clear();
    }

    pub(crate) fn queriers(&self, now: Time) -> Vec<ObservedQuerier> {
        let mut queriers: Vec<_> =
            sorted(&self.queriers).map(|(key, state)| state.snapshot(key, now)).collect();
        for position in 0..queriers.len() {
            let this = &queriers[position];
            let rank = |querier: &ObservedQuerier| (querier.address.is_unspecified(), querier.address);
            let segment = |querier: &ObservedQuerier| (querier.interface, querier.vlan, querier.protocol);
            let beaten =
                queriers.iter().any(|other| segment(other) == segment(this) && rank(other) < rank(this));
            queriers[position].elected = !beaten;
        }
        queriers
    }

    pub(crate) fn neighbors(&self, now: Time) -> Vec<PimNeighbor> {
        let neighbor = |(key, hello): (&RouterKey, &HelloState)| PimNeighbor {
            interface: key.interface,
            vlan: key.vlan,
            address: key.address,
            hold_time: hello.hold_time,
            dr_priority: hello.dr_priority,
            generation_id: hello.generation_id,
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

fn key(origin: PacketOrigin) -> RouterKey {
    RouterKey { interface: origin.interface, vlan: origin.vlan, address: origin.source }
}

fn sorted<V>(map: &Lru<RouterKey, V>) -> impl Iterator<Item = (&RouterKey, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter()
}

impl QuerierState {
    /// The fixed response time of IGMPv1 (RFC 1112), whose queries do not state one.
    const V1_RESPONSE_TIME: Duration = Duration::from_secs(10);

    /// The defaults of RFC 3376 section 8.
    const DEFAULT_INTERVAL: Duration = Duration::from_secs(125);
    const DEFAULT_ROBUSTNESS: u8 = 2;

    const fn new(last: Time, outgoing: bool) -> Self {
        Self {
            last,
            general: None,
            announced_interval: None,
            measured_interval: None,
            robustness: 0,
            max_response_time: Self::V1_RESPONSE_TIME,
            version: 0,
            queries: 0,
            outgoing,
        }
    }

    /// Returns the other querier present interval (RFC 3376 section 8.5).
    fn lifetime(&self) -> Duration {
        let robustness = match self.robustness {
            0 => Self::DEFAULT_ROBUSTNESS,
            announced => announced,
        };
        let interval = self.announced_interval.unwrap_or(Self::DEFAULT_INTERVAL);
        interval * u32::from(robustness) + self.max_response_time / 2
    }

    fn snapshot(&self, key: &RouterKey, now: Time) -> ObservedQuerier {
        let quiet = now.since(self.general.unwrap_or(self.last));
        ObservedQuerier {
            interface: key.interface,
            vlan: key.vlan,
            protocol: if key.address.is_ipv4() { Protocol::Igmp } else { Protocol::Mld },
            address: key.address,
            version: self.version,
            interval: self.announced_interval.or(self.measured_interval),
            max_response_time: self.max_response_time,
            queries: self.queries,
            is_this_machine: self.outgoing,
            quiet,
            expires: self.lifetime().saturating_sub(quiet),
            elected: false,
        }
    }
}

impl HelloState {
    /// The hold time of a Hello message without that option (RFC 7761 section 4.11).
    const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(105);
}

impl AdvertisementState {
    /// Returns the time after which the router is considered gone: three intervals (RFC 4286 section 4.3).
    fn lifetime(&self) -> Duration {
        self.interval.max(Duration::from_secs(1)) * 3
    }
}
