//! Which routers there are: who asks for members, who speaks PIM, who shows itself to switches.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::{Address, Query, RouterDiscovery};
use mcast_packet::pim::{self, HelloOption};

use crate::lru::Lru;
use crate::members::Heard;
use crate::time::Time;

/// The protocol that a querier speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IGMP, for IPv4.
    Igmp,
    /// MLD, for IPv6.
    Mld,
}

/// Who asks for members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Querier {
    /// The interface on which it was heard.
    pub interface: InterfaceIndex,
    /// The VLAN that the query was tagged with.
    pub vlan: Option<u16>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address; 0.0.0.0 for a switch that asks without being a router.
    pub address: IpAddr,
    /// The version of its latest query.
    pub version: u8,
    /// How often it asks: what it says itself, or else the time between its latest two general queries.
    pub interval: Option<Duration>,
    /// How long it lets hosts wait with their answer.
    pub max_response_time: Duration,
    /// How many queries it has sent, about all groups and about single ones.
    pub queries: u64,
    /// Whether it is this machine.
    pub is_this_machine: bool,
    /// How long ago it last asked about all groups, or at all if it never did.
    pub quiet: Duration,
    /// How long until other routers take it for gone, if it stays silent.
    pub expires: Duration,
    /// Whether it is the one that goes on asking: of several the one with the lowest address, but not
    /// 0.0.0.0 if there is another.
    pub elected: bool,
}

/// A router that says hello by PIM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PimNeighbor {
    /// The interface on which it was heard.
    pub interface: InterfaceIndex,
    /// The VLAN that the hello was tagged with.
    pub vlan: Option<u16>,
    /// Its address.
    pub address: IpAddr,
    /// For how long a hello holds; `None`: for ever.
    pub hold_time: Option<Duration>,
    /// What it offers in the election of the designated router.
    pub dr_priority: Option<u32>,
    /// The number that it made up when it started.
    pub generation_id: Option<u32>,
    /// Whether it is this machine.
    pub is_this_machine: bool,
    /// How long ago it last said hello.
    pub quiet: Duration,
}

/// A router that shows itself to switches (RFC 4286).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The interface on which it was heard.
    pub interface: InterfaceIndex,
    /// The VLAN that the advertisement was tagged with.
    pub vlan: Option<u16>,
    /// Its address.
    pub address: IpAddr,
    /// How often it shows itself.
    pub interval: Duration,
    /// Whether it is this machine.
    pub is_this_machine: bool,
    /// How long ago it last did.
    pub quiet: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    interface: InterfaceIndex,
    vlan: Option<u16>,
    address: IpAddr,
}

#[derive(Debug)]
struct QuerierState {
    last: Time,
    /// When it last asked about all groups.
    general: Option<Time>,
    told_interval: Option<Duration>,
    seen_interval: Option<Duration>,
    robustness: u8,
    max_response_time: Duration,
    version: u8,
    queries: u64,
    outgoing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hello {
    last: Time,
    hold_time: Option<Duration>,
    dr_priority: Option<u32>,
    generation_id: Option<u32>,
    outgoing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    last: Time,
    interval: Duration,
    outgoing: bool,
}

/// All routers.
#[derive(Debug)]
pub(crate) struct Routers {
    queriers: Lru<Key, QuerierState>,
    neighbors: Lru<Key, Hello>,
    shown: Lru<Key, Shown>,
}

impl Routers {
    pub(crate) fn new(capacity: usize) -> Self {
        let (queriers, neighbors, shown) = (Lru::new(capacity), Lru::new(capacity), Lru::new(capacity));
        Self { queriers, neighbors, shown }
    }

    pub(crate) fn query<A: Address>(&mut self, heard: Heard, query: &Query<'_, A>) {
        let (key, time, outgoing) = (key(heard), heard.time, heard.outgoing);
        let (querier, _) = self.queriers.touch(key, || QuerierState::new(time, outgoing));
        querier.last = time;
        querier.version = query.version();
        querier.queries += 1;
        if query.group.is_some() {
            return;
        }
        querier.max_response_time = match query.max_response_time {
            Duration::ZERO => QuerierState::FIRST_VERSION_RESPONSE_TIME,
            told => told,
        };
        let before = querier.general.replace(time);
        querier.seen_interval = before.map(|before| time.since(before)).or(querier.seen_interval);
        if let Some(told) = &query.source_query {
            querier.told_interval = Some(told.interval).filter(|interval| !interval.is_zero());
            querier.robustness = told.robustness;
        }
    }

    pub(crate) fn discovery(&mut self, heard: Heard, discovery: &RouterDiscovery) {
        let (key, time, outgoing) = (key(heard), heard.time, heard.outgoing);
        match discovery {
            RouterDiscovery::Advertisement { interval, .. } => {
                let shown = Shown { last: time, interval: *interval, outgoing };
                *self.shown.touch(key, || shown).0 = shown;
            }
            RouterDiscovery::Termination => drop(self.shown.remove(&key)),
            RouterDiscovery::Solicitation => {}
        }
    }

    pub(crate) fn pim(&mut self, heard: Heard, message: &pim::Message<'_>) {
        let pim::Message::Hello(options) = message else { return };
        let mut hello = Hello {
            last: heard.time,
            hold_time: Some(Hello::DEFAULT_HOLD_TIME),
            dr_priority: None,
            generation_id: None,
            outgoing: heard.outgoing,
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
        let key = key(heard);
        if hello.hold_time == Some(Duration::ZERO) {
            self.neighbors.remove(&key);
            return;
        }
        *self.neighbors.touch(key, || hello).0 = hello;
    }

    pub(crate) fn forget_the_silent(&mut self, now: Time) {
        self.queriers.retain(|_, querier| now.since(querier.last) < querier.lifetime());
        self.neighbors
            .retain(|_, hello| hello.hold_time.is_none_or(|hold_time| now.since(hello.last) < hold_time));
        self.shown.retain(|_, shown| now.since(shown.last) < shown.lifetime());
    }

    pub(crate) fn clear(&mut self) {
        self.queriers.clear();
        self.neighbors.clear();
        self.shown.clear();
    }

    pub(crate) fn queriers(&self, now: Time) -> Vec<Querier> {
        let mut queriers: Vec<_> = sorted(&self.queriers).map(|(key, state)| state.told(key, now)).collect();
        for position in 0..queriers.len() {
            let this = &queriers[position];
            let rank = |querier: &Querier| (querier.address.is_unspecified(), querier.address);
            let place = |querier: &Querier| (querier.interface, querier.vlan, querier.protocol);
            let beaten = queriers.iter().any(|other| place(other) == place(this) && rank(other) < rank(this));
            queriers[position].elected = !beaten;
        }
        queriers
    }

    pub(crate) fn neighbors(&self, now: Time) -> Vec<PimNeighbor> {
        let told = |(key, hello): (&Key, &Hello)| PimNeighbor {
            interface: key.interface,
            vlan: key.vlan,
            address: key.address,
            hold_time: hello.hold_time,
            dr_priority: hello.dr_priority,
            generation_id: hello.generation_id,
            is_this_machine: hello.outgoing,
            quiet: now.since(hello.last),
        };
        sorted(&self.neighbors).map(told).collect()
    }

    pub(crate) fn advertisements(&self, now: Time) -> Vec<RouterAdvertisement> {
        let told = |(key, shown): (&Key, &Shown)| RouterAdvertisement {
            interface: key.interface,
            vlan: key.vlan,
            address: key.address,
            interval: shown.interval,
            is_this_machine: shown.outgoing,
            quiet: now.since(shown.last),
        };
        sorted(&self.shown).map(told).collect()
    }
}

fn key(heard: Heard) -> Key {
    Key { interface: heard.interface, vlan: heard.vlan, address: heard.source }
}

fn sorted<V>(map: &Lru<Key, V>) -> impl Iterator<Item = (&Key, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter()
}

impl QuerierState {
    /// What RFC 1112 fixes for IGMPv1, whose queries do not say it.
    const FIRST_VERSION_RESPONSE_TIME: Duration = Duration::from_secs(10);

    /// The defaults of RFC 3376 section 8.
    const DEFAULT_INTERVAL: Duration = Duration::from_secs(125);
    const DEFAULT_ROBUSTNESS: u8 = 2;

    const fn new(last: Time, outgoing: bool) -> Self {
        Self {
            last,
            general: None,
            told_interval: None,
            seen_interval: None,
            robustness: 0,
            max_response_time: Self::FIRST_VERSION_RESPONSE_TIME,
            version: 0,
            queries: 0,
            outgoing,
        }
    }

    /// The other querier present interval (RFC 3376 section 8.5).
    fn lifetime(&self) -> Duration {
        let robustness = match self.robustness {
            0 => Self::DEFAULT_ROBUSTNESS,
            told => told,
        };
        let interval = self.told_interval.unwrap_or(Self::DEFAULT_INTERVAL);
        interval * u32::from(robustness) + self.max_response_time / 2
    }

    fn told(&self, key: &Key, now: Time) -> Querier {
        let quiet = now.since(self.general.unwrap_or(self.last));
        Querier {
            interface: key.interface,
            vlan: key.vlan,
            protocol: if key.address.is_ipv4() { Protocol::Igmp } else { Protocol::Mld },
            address: key.address,
            version: self.version,
            interval: self.told_interval.or(self.seen_interval),
            max_response_time: self.max_response_time,
            queries: self.queries,
            is_this_machine: self.outgoing,
            quiet,
            expires: self.lifetime().saturating_sub(quiet),
            elected: false,
        }
    }
}

impl Hello {
    /// What holds without the option (RFC 7761 section 4.11).
    const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(105);
}

impl Shown {
    /// RFC 4286 section 4.3 has a neighbour dead after three intervals.
    fn lifetime(&self) -> Duration {
        self.interval.max(Duration::from_secs(1)) * 3
    }
}
