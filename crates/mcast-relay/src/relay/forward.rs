//! From an arrival to its copies.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::Family;

use crate::arrival::Arrival;
use crate::event::{CopyPayload, RefusalReason, RelayEvent, RelayOutput};
use crate::guard::{ContentKey, GuardVerdict, LegSource, PendingRepeat};
use crate::mdns::{FilteredMessage, filter};
use crate::paths::{PathKey, PathPort, PathSide};
use crate::relay::rules::PairState;
use crate::relay::{PathId, Relay};
use crate::rule::DiscoveryProtocol;

impl Relay {
    /// Handles a datagram for a group or for all hosts. All outputs of earlier calls must have been taken.
    pub fn receive(&mut self, now: Duration, arrival: &Arrival<'_>) {
        // Taken out, so that the rules can be borrowed one by one.
        let Some(rules) = self.rules_on.get_mut(usize::from(arrival.leg.0)).map(std::mem::take) else {
            return;
        };
        for rule in rules.iter().copied() {
            let Some(state) = self.rules.get_mut(rule) else { continue };
            if !state.rule.traffic.includes(arrival.source.ip(), arrival.destination) {
                continue;
            }
            state.counts.arrived += 1;
            if let Err(reason) = self.receive_for(now, rule, arrival) {
                self.refuse(now, rule, reason);
            }
        }
        if let Some(place) = self.rules_on.get_mut(usize::from(arrival.leg.0)) {
            *place = rules;
        }
        while let Some(repeat) = self.guard.poll(now) {
            self.release(now, &repeat);
        }
    }

    /// Sends a datagram that the guard had held back.
    pub(super) fn release(&mut self, now: Duration, repeat: &PendingRepeat) {
        let arrival = repeat.arrival.as_arrival();
        // The rules may have changed in the meantime.
        let state = self.rules.get(repeat.rule);
        if state.is_some_and(|state| state.rule.traffic.includes(arrival.source.ip(), arrival.destination)) {
            let payload = CopyPayload::Other(arrival.payload.into());
            if let Err(reason) = self.forward(now, repeat.rule, repeat.key, &arrival, &payload) {
                self.refuse(now, repeat.rule, reason);
            }
        }
    }

    /// Handles that a path cannot be opened. `in_use`: because its port is in use; then another one is tried for the next
    /// datagram. Otherwise the pair pauses.
    pub fn path_failed(&mut self, now: Duration, path: PathId, in_use: bool) {
        match self.paths.close(path, in_use) {
            Some(PathKey::Forward { pair, .. }) if !in_use => self.fail(now, |key| *key == pair),
            Some(_) | None => {}
        }
    }

    /// Handles that a unicast target cannot be reached, for example because of an ICMP message.
    pub fn target_failed(&mut self, now: Duration, target: SocketAddr) {
        self.fail(now, |key| key.to == PathSide::Route(target));
    }

    fn fail(&mut self, now: Duration, is_meant: impl Fn(&crate::paths::PairKey) -> bool) {
        self.pairs.iter_mut().filter(|pair| is_meant(&pair.key)).for_each(|pair| pair.reachability.fail(now));
    }

    fn refuse(&mut self, now: Duration, rule: usize, reason: RefusalReason) {
        let event = self.rules.get_mut(rule).and_then(|state| state.counts.refuse(now, rule, reason));
        event.into_iter().for_each(|event| self.report(event));
    }

    fn receive_for(
        &mut self,
        now: Duration,
        rule: usize,
        arrival: &Arrival<'_>,
    ) -> Result<(), RefusalReason> {
        let protocol = self.rules[rule].rule.traffic.protocol;
        if self.is_own(arrival.source) {
            return Err(RefusalReason::OwnCopy);
        }
        if self.peers.sender_of(arrival.source).is_some() {
            return Err(RefusalReason::CopyOfPeer);
        }
        if let Err(reason) = self.can_send(rule, arrival) {
            if let Some(protocol) = protocol {
                self.guard.note(now, protocol, arrival);
            }
            return Err(reason);
        }
        let key = match self.guard.arrive(now, rule, protocol, arrival) {
            GuardVerdict::Pass(key) => key,
            GuardVerdict::Wait => return Ok(()),
            GuardVerdict::NoRoom => return Err(RefusalReason::TooManyRepeats),
            GuardVerdict::Repeat => return Err(RefusalReason::Repeat),
            GuardVerdict::Echo => return Err(RefusalReason::Echo),
            GuardVerdict::LoopFound => {
                let (leg, source) = (arrival.leg, arrival.source.ip());
                let (mac, destination) = (arrival.mac, arrival.destination);
                self.report(RelayEvent::LoopFound { leg, source, mac, destination });
                return Err(RefusalReason::Echo);
            }
        };
        // What another relay sends may be a name of this very segment.
        if protocol == Some(DiscoveryProtocol::Mdns) && !self.peers.has_address(arrival.source.ip()) {
            self.names.learn(now, arrival.leg, arrival.payload);
        }
        self.forward(now, rule, key, arrival, &CopyPayload::AsReceived)
    }

    /// Returns whether the relay forwards the rule from this leg at all.
    fn can_send(&self, rule: usize, arrival: &Arrival<'_>) -> Result<(), RefusalReason> {
        let from_here = |pair: &&super::Pair| pair.key.from == arrival.leg;
        let mut states =
            self.pairs[self.rules[rule].pairs.clone()].iter().filter(from_here).map(|pair| pair.state);
        if states.clone().any(|state| state == PairState::Forwarding) {
            return Ok(());
        }
        let is_down = states.all(|state| state == PairState::Down);
        Err(if is_down { RefusalReason::NoLeg } else { RefusalReason::Standby })
    }

    /// Sends the copies of a datagram. Returns an error if there are none.
    fn forward(
        &mut self,
        now: Duration,
        rule: usize,
        content: ContentKey,
        arrival: &Arrival<'_>,
        payload: &CopyPayload,
    ) -> Result<(), RefusalReason> {
        let (mut copies, mut refusal) = (0_u64, RefusalReason::NoLeg);
        let mut has_budget = None;
        for index in self.rules[rule].pairs.clone() {
            let pair = &self.pairs[index];
            if pair.key.from != arrival.leg || pair.state != PairState::Forwarding {
                continue;
            }
            let copy = self.prepare(now, index, arrival, payload).and_then(|copy| {
                let limits = &mut self.rules[rule].limits;
                let length = arrival.payload.len();
                match *has_budget.get_or_insert_with(|| limits.allow(now, arrival.source.ip(), length)) {
                    true => Ok(copy),
                    false => Err(RefusalReason::RateLimit),
                }
            });
            match copy.and_then(|copy| self.send(now, index, arrival, copy)) {
                Ok(()) => copies += 1,
                Err(reason) => refusal = reason,
            }
        }
        if copies == 0 {
            return Err(refusal);
        }
        self.guard.emit(now, content);
        let counts = &mut self.rules[rule].counts;
        counts.copies += copies;
        counts.bytes += copies * arrival.payload.len() as u64;
        Ok(())
    }

    /// Returns the copy of a datagram for a pair.
    fn prepare(
        &mut self,
        now: Duration,
        index: usize,
        arrival: &Arrival<'_>,
        payload: &CopyPayload,
    ) -> Result<Copy, RefusalReason> {
        let pair = &self.pairs[index];
        if !pair.reachability.is_open(now) {
            return Err(RefusalReason::Unreachable);
        }
        let rule = &self.rules[pair.rule].rule;
        let PathSide::Leg(to) = pair.key.to else {
            let PathSide::Route(target) = pair.key.to else { return Err(RefusalReason::NoLeg) };
            return Ok(Copy { destination: target, hop_limit: None, payload: payload.clone() });
        };
        let hop_limit = match (rule.hop_limit, rule.traffic.protocol) {
            (Some(hop_limit), _) => hop_limit,
            (None, Some(protocol)) => protocol.hop_limit(),
            (None, None) if arrival.hop_limit > 1 => arrival.hop_limit - 1,
            (None, None) => return Err(RefusalReason::HopLimit),
        };
        let destination = rewritten(rule, arrival.destination);
        let family = Family::of(destination.ip());
        let has_family =
            |addresses: &[IpAddr]| addresses.iter().any(|address| Family::of(*address) == family);
        if !self.addresses(to).is_some_and(has_family) {
            return Err(RefusalReason::NoLeg);
        }
        if !self.is_wanted(now, index, to, destination) {
            return Err(RefusalReason::NotWanted);
        }
        let rule = &self.rules[self.pairs[index].rule].rule;
        if rule.traffic.protocol != Some(DiscoveryProtocol::Mdns) {
            return Ok(Copy { destination, hop_limit: Some(hop_limit), payload: payload.clone() });
        }
        let clear_unicast = Some(arrival.source.port()) == DiscoveryProtocol::Mdns.source_port();
        let is_claimed = |name: mcast_packet::payload::Name<'_>| self.names.is_claimed(now, to, name);
        let payload = match filter(arrival.payload, &rule.services, clear_unicast, is_claimed) {
            FilteredMessage::Nothing => return Err(RefusalReason::Filtered),
            FilteredMessage::Whole => payload.clone(),
            FilteredMessage::Part(part) => {
                let source = LegSource { leg: arrival.leg, address: arrival.source.ip() };
                let of_request = (!clear_unicast).then_some(source.address);
                self.guard.remember(now, destination, &part, of_request, source);
                CopyPayload::Other(part.into())
            }
        };
        Ok(Copy { destination, hop_limit: Some(hop_limit), payload })
    }

    fn send(
        &mut self,
        now: Duration,
        index: usize,
        arrival: &Arrival<'_>,
        copy: Copy,
    ) -> Result<(), RefusalReason> {
        let pair = &self.pairs[index];
        let protocol = self.rules[pair.rule].rule.traffic.protocol;
        // A request from another port is answered to that port, so it needs a path of its own.
        let shared =
            protocol.and_then(DiscoveryProtocol::source_port).filter(|port| *port == arrival.source.port());
        let sender = shared.is_none().then_some(arrival.source);
        let family = Family::of(copy.destination.ip());
        let (key, side) = (PathKey::Forward { pair: pair.key, family, sender }, pair.key.to);
        let path = self.path(now, key, side, family, shared.map(PathPort::Shared))?;
        let Copy { destination, hop_limit, payload } = copy;
        self.outputs.push_back(RelayOutput::Send { path, destination, hop_limit, payload });
        Ok(())
    }

    /// Returns the path for a key, opening it if necessary.
    pub(super) fn path(
        &mut self,
        now: Duration,
        key: PathKey,
        side: PathSide,
        family: Family,
        port: Option<PathPort>,
    ) -> Result<PathId, RefusalReason> {
        if let Some(path) = self.paths.touch(now, key) {
            return Ok(path);
        }
        let (path, port, closed) =
            self.paths.open(now, key, port).map_err(|_| RefusalReason::TooManyPaths)?;
        self.outputs.extend(closed.map(RelayOutput::ClosePath));
        self.outputs.push_back(RelayOutput::OpenPath { path, side, family, port });
        Ok(path)
    }
}

/// A datagram to send.
struct Copy {
    destination: SocketAddr,
    hop_limit: Option<u8>,
    payload: CopyPayload,
}

/// Returns where the rule sends a datagram to this address.
fn rewritten(rule: &crate::rule::Rule, destination: SocketAddr) -> SocketAddr {
    let Some(rewrite) = &rule.rewrite else {
        // A broadcast to one network is a broadcast to all hosts on another one.
        let is_multicast = destination.ip().is_multicast();
        let all_hosts = SocketAddr::new(std::net::Ipv4Addr::BROADCAST.into(), destination.port());
        return if is_multicast { destination } else { all_hosts };
    };
    let address = mcast_group::GroupAddr::try_from(destination).ok();
    let mut ranges = rule.traffic.ranges().iter();
    let range = address.and_then(|address| ranges.find(|range| range.contains(address)));
    rewrite.apply(range, destination)
}
