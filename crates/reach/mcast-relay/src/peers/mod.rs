//! Other relays: their announcements, and which relay forwards.

mod announcement;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::rule::LegId;
#[cfg(feature = "seal")]
pub use announcement::AnnouncementKey;
pub(crate) use announcement::{AnnouncedPair, AnnouncedState, Announcement, PAIRS_PER_CHUNK, UNICAST};
pub use announcement::{AnnouncementError, Authenticator, PortBlock, RelayId};

/// A relay whose announcements are missing for this long is gone: three of the longest intervals.
pub(crate) const LIFETIME: Duration = Duration::from_millis(2_400);
/// Copies of a relay that is gone may still be under way, or its announcements lost. They are still not forwarded.
const EGRESS_MEMORY: Duration = Duration::from_secs(60);
/// The same for copies with the sources of other networks. Shorter, because meanwhile nothing of other networks is forwarded.
const KEPT_SOURCE_MEMORY: Duration = Duration::from_secs(10);
const MAX_PEERS: usize = 64;

/// Another relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its identifier.
    pub relay: RelayId,
    /// Its priority.
    pub priority: u8,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The legs on which it is received.
    pub legs: Vec<LegId>,
}

/// A relay and where it was received.
#[derive(Debug)]
struct Peer {
    priority: u8,
    addresses: Vec<IpAddr>,
    ports: PortBlock,
    last: ClockTime,
    legs: BTreeMap<LegId, PeerLeg>,
    /// Its pairs, by chunk.
    chunks: BTreeMap<u8, Vec<AnnouncedPair>>,
    /// The legs on which it sends copies with the sources of other networks, and when it last announced that.
    keeps_sources: BTreeMap<LegId, ClockTime>,
}

/// A leg on which a relay was received.
#[derive(Clone, Copy, Debug)]
struct PeerLeg {
    /// The leg that it sent from, by its own numbers.
    its_leg: u8,
    last: ClockTime,
}

impl PeerLeg {
    fn is_alive(&self, now: ClockTime) -> bool {
        now - self.last < LIFETIME
    }
}

/// A relay that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerChange {
    Appeared,
    Disappeared,
}

/// The pair that a relay wants to forward, and what it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidacy {
    pub(crate) relay: RelayId,
    pub(crate) priority: u8,
    pub(crate) digest: u64,
    /// `None` for a relay of AMT.
    pub(crate) from: Option<LegId>,
    /// `None` for a unicast target.
    pub(crate) to: Option<LegId>,
    pub(crate) is_forwarding: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<RelayId, Peer>,
    /// The latest nonce that each relay has sent on each leg, to be sent back to it.
    nonces: BTreeMap<(LegId, RelayId), (ClockTime, u64)>,
}

impl Peers {
    /// Remembers the nonce of an announcement.
    pub(crate) fn greet(&mut self, now: ClockTime, leg: LegId, announcement: &Announcement) {
        self.nonces.retain(|_, (last, _)| now - *last < LIFETIME);
        if self.nonces.len() < MAX_PEERS {
            self.nonces.insert((leg, announcement.relay), (now, announcement.nonce));
        }
    }

    /// Handles an announcement of another relay. The caller has checked its tag, and with a key also that it answers to
    /// one of its own.
    pub(crate) fn receive(
        &mut self,
        now: ClockTime,
        leg: LegId,
        announcement: &Announcement,
    ) -> Option<PeerChange> {
        let id = announcement.relay;
        if announcement.goodbye {
            // Its copies may still be under way.
            let peer = self.peers.get_mut(&id)?;
            let was_alive = peer.legs.values().any(|leg| leg.is_alive(now));
            (peer.legs, peer.chunks) = (BTreeMap::new(), BTreeMap::new());
            return was_alive.then_some(PeerChange::Disappeared);
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&id) {
            self.remove_oldest();
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            priority: announcement.priority,
            addresses: Vec::new(),
            ports: announcement.ports,
            last: now,
            legs: BTreeMap::new(),
            chunks: BTreeMap::new(),
            keeps_sources: BTreeMap::new(),
        });
        let was_alive = peer.legs.values().any(|leg| leg.is_alive(now));
        (peer.priority, peer.ports, peer.last) = (announcement.priority, announcement.ports, now);
        peer.addresses.clone_from(&announcement.addresses);
        peer.legs.insert(leg, PeerLeg { its_leg: announcement.leg, last: now });
        if announcement.keeps_sources {
            peer.keeps_sources.insert(leg, now);
        }
        peer.chunks.retain(|chunk, _| *chunk < announcement.chunks);
        peer.chunks.insert(announcement.chunk, announcement.pairs.clone());
        (!was_alive).then_some(PeerChange::Appeared)
    }

    /// Returns the relay that sends its copies from this address.
    pub(crate) fn sender_of(&self, source: SocketAddr) -> Option<RelayId> {
        let sends = |peer: &Peer| peer.ports.contains(source.port()) && peer.addresses.contains(&source.ip());
        self.peers.iter().find(|(_, peer)| sends(peer)).map(|(id, _)| *id)
    }

    /// Returns the relay that sends copies with the sources of other networks on this leg.
    pub(crate) fn keeps_sources_on(&self, now: ClockTime, leg: LegId) -> Option<RelayId> {
        let is_recent = |last: &ClockTime| now - *last < KEPT_SOURCE_MEMORY;
        self.peers
            .iter()
            .find(|(_, peer)| peer.keeps_sources.get(&leg).is_some_and(is_recent))
            .map(|(id, _)| *id)
    }

    /// Returns whether the announcements of a relay arrive on this leg.
    pub(crate) fn is_on(&self, relay: RelayId, leg: LegId) -> bool {
        self.peers.get(&relay).is_some_and(|peer| peer.legs.contains_key(&leg))
    }

    /// Returns whether a relay has this address.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.peers.values().any(|peer| peer.addresses.contains(&address))
    }

    /// Returns the relays whose announcements arrive.
    pub(crate) fn statuses(&self, now: ClockTime) -> Vec<PeerStatus> {
        let status = |(id, peer): (&RelayId, &Peer)| PeerStatus {
            relay: *id,
            priority: peer.priority,
            addresses: peer.addresses.clone(),
            legs: peer.legs.iter().filter(|(_, leg)| leg.is_alive(now)).map(|(id, _)| *id).collect(),
        };
        self.peers.iter().map(status).filter(|peer| !peer.legs.is_empty()).collect()
    }

    /// Returns the relays received on a leg, each with its latest nonce.
    pub(crate) fn received_on(&self, now: ClockTime, leg: LegId) -> Vec<(RelayId, u64)> {
        let is_recent = |last: ClockTime| now - last < LIFETIME;
        let on_leg = self.nonces.range((leg, RelayId(0))..=(leg, RelayId(u64::MAX)));
        on_leg.filter(|(_, (last, _))| is_recent(*last)).map(|((_, id), (_, nonce))| (*id, *nonce)).collect()
    }

    /// Returns the relay in whose favour the candidate does not forward.
    ///
    /// A candidate that forwards gives way only to a better one that forwards, too, so that there is always one. One that
    /// does not forward leaves a forwarder of the same priority alone, whatever their ids: a change costs a gap.
    pub(crate) fn preferred_to(&self, now: ClockTime, candidate: &Candidacy) -> Option<RelayId> {
        let is_preferred = |(id, peer): &(&RelayId, &Peer)| {
            let Some(state) = peer.state_of(now, candidate) else { return false };
            let is_better = peer.priority > candidate.priority
                || (peer.priority == candidate.priority && **id < candidate.relay);
            match (candidate.is_forwarding, state == AnnouncedState::Forwarding) {
                (true, forwards) => forwards && is_better,
                (false, true) => peer.priority >= candidate.priority,
                (false, false) => is_better,
            }
        };
        // The forwarder is the one to name.
        let mut preferred: Vec<_> = self.peers.iter().filter(is_preferred).collect();
        preferred.sort_by_key(|(_, peer)| peer.state_of(now, candidate) != Some(AnnouncedState::Forwarding));
        preferred.first().map(|(id, _)| **id)
    }

    /// Forgets relays that are gone. Returns those whose announcements have just become too old.
    pub(crate) fn expire(&mut self, now: ClockTime) -> Vec<RelayId> {
        let mut gone = Vec::new();
        for (id, peer) in &mut self.peers {
            let had_legs = !peer.legs.is_empty();
            peer.legs.retain(|_, leg| leg.is_alive(now));
            if had_legs && peer.legs.is_empty() {
                gone.push(*id);
            }
        }
        self.peers.retain(|_, peer| now - peer.last < EGRESS_MEMORY);
        gone
    }

    /// Returns when the next announcement becomes too old.
    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        self.peers.values().flat_map(|peer| peer.legs.values()).map(|leg| leg.last + LIFETIME).min()
    }

    fn remove_oldest(&mut self) {
        let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.last).map(|(id, _)| *id);
        oldest.map(|id| self.peers.remove(&id));
    }
}

impl Peer {
    /// Returns what it does for the candidate's pair, if it is on both segments.
    fn state_of(&self, now: ClockTime, candidate: &Candidacy) -> Option<AnnouncedState> {
        let its_leg = |leg: LegId| Some(self.legs.get(&leg).filter(|leg| leg.is_alive(now))?.its_leg);
        let number = |leg: Option<LegId>| leg.map_or(Some(UNICAST), its_leg);
        let (from, to) = (number(candidate.from)?, number(candidate.to)?);
        if candidate.from.is_none() && !self.legs.values().any(|leg| leg.is_alive(now)) {
            return None;
        }
        let is_same =
            |pair: &&AnnouncedPair| (pair.digest, pair.from, pair.to) == (candidate.digest, from, to);
        self.chunks.values().flatten().find(is_same).map(|pair| pair.state)
    }
}
