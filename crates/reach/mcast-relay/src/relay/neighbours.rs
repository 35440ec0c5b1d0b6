//! What other routers and relays do beside this one: the kernel's multicast routing, and chains of relays.

use std::net::IpAddr;
use std::time::Duration;

use crate::event::RelayEvent;
use crate::relay::rules::PairState;
use crate::relay::{LegId, Relay};
use crate::{LegArrival, PathSide, RelayId};

/// Time between two events about the same neighbour.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// An address of a leg with the length of its prefix: the hosts of that subnet are on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits.
    pub prefix: u8,
}

impl Subnet {
    /// Returns whether the address is in it.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((own, width), (other, other_width)) = (bits(self.address), bits(other));
        let shift = 128 - u32::from(self.prefix.min(128));
        width == other_width && (own ^ other).checked_shr(shift).unwrap_or_default() == 0
    }
}

/// Something that is reported at most once per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Neighbour {
    Router { leg: LegId, home: LegId },
    Chain { relay: RelayId, leg: LegId },
}

impl Relay {
    /// Sets the subnets of a leg. A datagram that arrives on one leg from a host on the link of another one is a copy that
    /// a router has made. Without subnets, that is not noticed.
    pub fn set_subnets(&mut self, leg: LegId, subnets: &[Subnet]) {
        if let Some(state) = self.legs.get_mut(usize::from(leg.0)) {
            state.subnets = subnets.to_vec();
        }
    }

    /// Returns the leg on the link of which the source is, if the datagram is a copy that a router has made.
    pub(super) fn home_of_routed(&self, arrival: &LegArrival<'_>) -> Option<LegId> {
        let source = arrival.source.ip();
        let is_on_link = |leg: LegId| {
            let state = self.legs.get(usize::from(leg.0)).filter(|state| state.addresses.is_some());
            state.is_some_and(|state| state.subnets.iter().any(|subnet| subnet.contains(source)))
        };
        let legs = (0..self.legs.len()).filter_map(|number| u8::try_from(number).ok().map(LegId));
        let home = legs.into_iter().find(|leg| !self.share_segment(*leg, arrival.leg) && is_on_link(*leg))?;
        (!is_on_link(arrival.leg)).then_some(home)
    }

    /// Reports that a router makes copies beside this relay.
    pub(super) fn report_router(&mut self, now: Duration, arrival: &LegArrival<'_>, home: LegId) {
        if self.is_news(now, Neighbour::Router { leg: arrival.leg, home }) {
            let (leg, source, destination) = (arrival.leg, arrival.source.ip(), arrival.destination);
            self.report(RelayEvent::RouterFound { leg, home, source, destination });
        }
    }

    /// Reports that copies of a relay are not forwarded to a leg on which that relay is not.
    pub(super) fn report_chain(&mut self, now: Duration, relay: RelayId, rules: &[usize], leg: LegId) {
        let is_reached = |to: LegId| self.is_tunnel(to) || self.peers.is_on(relay, to);
        let pairs = rules.iter().flat_map(|rule| &self.pairs[self.rules[*rule].pairs.clone()]);
        let ends = pairs.filter(|pair| pair.key.from == leg && pair.state == PairState::Forwarding);
        let end = ends.map(|pair| pair.key.to).find(|to| matches!(to, PathSide::Leg(to) if !is_reached(*to)));
        if let Some(to) = end
            && self.is_news(now, Neighbour::Chain { relay, leg })
        {
            self.report(RelayEvent::ChainFound { relay, leg, to });
        }
    }

    fn is_news(&mut self, now: Duration, neighbour: Neighbour) -> bool {
        self.reported.retain(|_, reported| now < *reported + REPORT_INTERVAL);
        let is_news = !self.reported.contains_key(&neighbour);
        if is_news {
            self.reported.insert(neighbour, now);
        }
        is_news
    }
}
