//! Routers: queriers, PIM neighbors, and multicast router advertisements.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::RouterDiscovery;
use mcast_packet::pim::{HelloOption, PimMessage};

use crate::clock::Time;
use crate::lru::Lru;
use crate::members::PacketOrigin;
use crate::queriers::QuerierTable;

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
        let PimMessage::Hello(options) = message else { return };
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
        self.queriers.remove_expired(now);
        self.neighbors
            .retain(|_, hello| hello.hold_time.is_none_or(|hold_time| now.since(hello.last) < hold_time));
        self.advertisements.retain(|_, state| now.since(state.last) < state.lifetime());
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

pub(crate) fn key(origin: PacketOrigin) -> RouterKey {
    RouterKey { interface: origin.interface, vlan: origin.vlan, address: origin.source }
}

pub(crate) fn sorted<V>(map: &Lru<RouterKey, V>) -> impl Iterator<Item = (&RouterKey, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter()
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
