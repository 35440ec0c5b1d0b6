//! Announcements, and who forwards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::event::{RelayEvent, RelayOutput};
use crate::peers::{
    AnnouncedPair, AnnouncedState, Announcement, AnnouncementError, Authenticator, Candidacy, LIFETIME,
    PAIRS_PER_CHUNK, PeerChange, RelayId, UNICAST,
};
use crate::relay::Relay;
use crate::relay::rules::{Pair, PairState};
use crate::rule::LegId;

/// The longest time between announcements. Three of these are the lifetime of a relay.
const INTERVAL: Duration = Duration::from_millis(800);
/// Announcements are up to this much earlier, so that those of several relays do not stay together.
const JITTER: Duration = Duration::from_millis(80);
/// The shortest time between announcements, whatever happens.
const SHORTEST: Duration = Duration::from_millis(100);
/// The time that a relay waits for announcements of others before it forwards: two intervals, and the time of travel.
const LISTENING: Duration = Duration::from_millis(1_650);

/// When the relay announces itself, and with which numbers.
#[derive(Debug)]
pub(super) struct Announcer {
    seed: u64,
    count: u64,
    authenticators: Vec<Arc<dyn Authenticator>>,
    last: Option<ClockTime>,
    next: ClockTime,
    /// The latest nonces, each with its time.
    nonces: VecDeque<(ClockTime, u64)>,
}

impl Announcer {
    pub(super) const fn new(seed: u64, authenticators: Vec<Arc<dyn Authenticator>>) -> Self {
        Self { seed, count: 0, authenticators, last: None, next: ClockTime::START, nonces: VecDeque::new() }
    }

    /// Returns the announcement in a datagram, if it has the tag of one of the keys.
    fn parse(&self, bytes: &[u8]) -> Result<Announcement, AnnouncementError> {
        let parse = |key: &Arc<dyn Authenticator>| Announcement::parse(bytes, Some(&**key));
        match self.authenticators.split_first() {
            None => Announcement::parse(bytes, None),
            Some((first, others)) => {
                others.iter().fold(parse(first), |parsed, key| parsed.or_else(|_| parse(key)))
            }
        }
    }

    /// Returns the datagrams of an announcement: one for each key, because others may not have all of them.
    fn emit(&self, announcement: &Announcement) -> Vec<Vec<u8>> {
        match self.authenticators.is_empty() {
            true => vec![announcement.emit(None)],
            false => self.authenticators.iter().map(|key| announcement.emit(Some(&**key))).collect(),
        }
    }

    pub(super) const fn id(&self) -> RelayId {
        RelayId(mix(self.seed))
    }

    pub(super) fn is_due(&self, now: ClockTime) -> bool {
        now >= self.next
    }

    pub(super) const fn deadline(&self) -> ClockTime {
        self.next
    }

    /// Announces as soon as possible: others have to know something new.
    pub(super) fn schedule_soon(&mut self, now: ClockTime) {
        let earliest = self.last.map_or(now, |last| now.max(last + SHORTEST));
        self.next = self.next.min(earliest);
    }

    /// Starts a round of announcements; returns its nonce.
    fn start_round(&mut self, now: ClockTime) -> u64 {
        self.count += 1;
        let nonce = self.nonce();
        self.nonces.retain(|(time, _)| now - *time < LIFETIME);
        self.nonces.push_back((now, nonce));
        let jitter = Duration::from_micros(mix(self.seed ^ nonce) % JITTER.as_micros() as u64);
        (self.last, self.next) = (Some(now), now + INTERVAL - jitter);
        nonce
    }

    /// Returns a number that nobody without the key can predict, so that an announcement that contains it is new.
    fn nonce(&self) -> u64 {
        let numbers = [self.seed.to_be_bytes(), self.count.to_be_bytes()].concat();
        match self.authenticators.first() {
            None => mix(self.seed.wrapping_add(self.count)),
            Some(authenticator) => {
                let tag = authenticator.tag(&[b"nonce", numbers.as_slice()].concat());
                tag.first_chunk().copied().map_or(0, u64::from_be_bytes)
            }
        }
    }

    fn is_recent(&self, now: ClockTime, nonce: u64) -> bool {
        self.nonces.iter().any(|(time, known)| *known == nonce && now - *time < LIFETIME)
    }

    /// Returns whether the announcement is not an old one that somebody sends again. This needs a key: without one,
    /// anybody can make one.
    fn is_new(&self, now: ClockTime, announcement: &Announcement) -> bool {
        let is_answer = |(relay, nonce): &(RelayId, u64)| *relay == self.id() && self.is_recent(now, *nonce);
        self.authenticators.is_empty() || announcement.received.iter().any(is_answer)
    }
}

/// Scrambles a number (the finalizer of SplitMix64).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Relay {
    /// Replaces what authenticates announcements, as in [`RelayConfig::authenticators`](crate::RelayConfig). A relay with
    /// which it still shares one is not interrupted.
    pub fn set_authenticators(&mut self, now: ClockTime, authenticators: Vec<Arc<dyn Authenticator>>) {
        self.announcer.authenticators = authenticators;
        self.announcer.schedule_soon(now);
    }

    /// Handles a datagram to the group of announcements.
    ///
    /// # Errors
    /// Returns an error if it is not a valid announcement.
    pub fn handle_announcement(
        &mut self,
        now: ClockTime,
        leg: LegId,
        bytes: &[u8],
    ) -> Result<(), AnnouncementError> {
        let announcement = self.announcer.parse(bytes)?;
        self.notice_pause(now);
        if !self.is_up(leg) {
            return Ok(());
        }
        if announcement.relay == self.id {
            self.receive_own(now, leg, &announcement);
            return Ok(());
        }
        // In any case: the next announcement returns this nonce, by which the other relay recognizes that as new.
        self.peers.greet(now, leg, &announcement);
        if !self.announcer.is_new(now, &announcement) {
            // It has not received an announcement of this one yet.
            self.announcer.schedule_soon(now);
            return Ok(());
        }
        let relay = announcement.relay;
        match self.peers.receive(now, leg, &announcement) {
            Some(PeerChange::Appeared) => {
                self.report(RelayEvent::PeerAppeared { relay, leg });
                self.announcer.schedule_soon(now);
            }
            Some(PeerChange::Disappeared) => self.report(RelayEvent::PeerDisappeared { relay }),
            None => {}
        }
        self.elect(now);
        Ok(())
    }

    /// Handles an announcement of this relay that has arrived on a leg: if it was sent on another one, both legs are on
    /// the same segment.
    fn receive_own(&mut self, now: ClockTime, leg: LegId, announcement: &Announcement) {
        let other = LegId(announcement.leg);
        if other == leg || !self.is_up(other) || !self.announcer.is_recent(now, announcement.nonce) {
            return;
        }
        let (one, other) = (leg.min(other), leg.max(other));
        if self.same_segment.insert((one, other), now + LIFETIME).is_none() {
            self.report(RelayEvent::SameSegment { one, other });
            self.elect(now);
        }
    }

    /// Announces this relay on all legs.
    pub(super) fn announce(&mut self, now: ClockTime, goodbye: bool) {
        let nonce = self.announcer.start_round(now);
        let pairs: Vec<_> = self.pairs.iter().filter_map(|pair| self.announced(pair)).collect();
        let chunks: Vec<_> = match pairs.is_empty() {
            true => vec![&[][..]],
            false => pairs.chunks(PAIRS_PER_CHUNK).take(usize::from(u8::MAX)).collect(),
        };
        let addresses: Vec<_> = self.legs.iter().filter_map(|leg| leg.addresses.clone()).flatten().collect();
        let legs: Vec<_> = self.legs().map(|(leg, _)| leg).filter(|leg| self.announces_on(*leg)).collect();
        for leg in legs {
            for (pairs, chunk) in chunks.iter().zip(0..) {
                let announcement = Announcement {
                    goodbye,
                    keeps_sources: self.keeps_sources_to(leg),
                    priority: self.priority,
                    leg: leg.0,
                    relay: self.id,
                    nonce,
                    ports: self.ports,
                    chunk,
                    chunks: chunks.len() as u8,
                    addresses: addresses.clone(),
                    received: self.peers.received_on(now, leg),
                    pairs: pairs.to_vec(),
                };
                for bytes in self.announcer.emit(&announcement) {
                    self.outputs.push_back(RelayOutput::Announce { leg, bytes: bytes.into() });
                }
            }
        }
    }

    /// Returns whether there is something to announce on a leg: HTTP clients are served beside other relays.
    fn announces_on(&self, leg: LegId) -> bool {
        let Some(state) = self.legs.get(usize::from(leg.0)).filter(|state| state.addresses.is_some()) else {
            return false;
        };
        let mut rules = self.rules.iter().map(|state| &state.rule);
        let mut here = rules.by_ref().filter(|rule| rule.legs().any(|known| *known == state.leg)).peekable();
        here.peek().is_none() || !here.all(crate::Rule::is_http_only)
    }

    /// Decides for each pair whether this relay forwards.
    pub(super) fn elect(&mut self, now: ClockTime) {
        let (mut pairs, mut has_changed) = (std::mem::take(&mut self.pairs), false);
        for pair in &mut pairs {
            let state = self.next_state(now, pair);
            if state == pair.state {
                continue;
            }
            let (rule, from, to) = (pair.rule, pair.key.from, pair.key.to);
            match state {
                PairState::Forwarding => self.report(RelayEvent::Forwarding { rule, from, to }),
                PairState::Standby(relay) => self.report(RelayEvent::StandingBy { rule, from, to, relay }),
                PairState::Down | PairState::Listening { .. } => {}
            }
            pair.state = state;
            has_changed = true;
        }
        self.pairs = pairs;
        if has_changed {
            // Until the others receive the change, two relays may forward, or none.
            self.announcer.schedule_soon(now);
            self.update_joins(now);
        }
    }

    /// Listens as after a start if the relay did not run for as long as its announcements are valid: another one may forward
    /// by now, and what its sockets have kept is old.
    pub(super) fn notice_pause(&mut self, now: ClockTime) {
        if now - self.announcer.deadline() <= LIFETIME {
            return;
        }
        self.announcer.next = now;
        let running = self.pairs.iter_mut().filter(|pair| pair.state != PairState::Down);
        running.for_each(|pair| pair.state = PairState::Listening { until: now + LISTENING });
    }

    /// Returns when a pair stops listening.
    pub(super) fn listening_until(&self) -> Option<ClockTime> {
        let until = |pair: &Pair| match pair.state {
            PairState::Listening { until } => Some(until),
            PairState::Down | PairState::Standby(_) | PairState::Forwarding => None,
        };
        self.pairs.iter().filter_map(until).min()
    }

    fn next_state(&self, now: ClockTime, pair: &Pair) -> PairState {
        let (from, to) = (pair.key.from, pair.key.to_leg());
        let can_forward =
            self.is_up(from) && to.is_none_or(|to| self.is_up(to) && !self.share_segment(from, to));
        match pair.state {
            _ if !can_forward => return PairState::Down,
            // Another relay may have taken over while the leg was down. Both would forward until they have heard each other.
            PairState::Down => return PairState::Listening { until: now + LISTENING },
            PairState::Listening { until } if now < until => return pair.state,
            PairState::Listening { .. } | PairState::Standby(_) | PairState::Forwarding => {}
        }
        let candidate = Candidacy {
            relay: self.id,
            priority: self.priority,
            digest: pair.key.digest,
            from: self.segment(from),
            to,
            is_forwarding: pair.state == PairState::Forwarding,
        };
        self.peers.preferred_to(now, &candidate).map_or(PairState::Forwarding, PairState::Standby)
    }

    /// Returns what is announced about a pair. A relay of AMT and a unicast target are on no segment.
    fn announced(&self, pair: &Pair) -> Option<AnnouncedPair> {
        let state = match pair.state {
            PairState::Down => return None,
            PairState::Listening { .. } => AnnouncedState::Listening,
            PairState::Standby(_) => AnnouncedState::Standby,
            PairState::Forwarding => AnnouncedState::Forwarding,
        };
        let number = |leg: Option<LegId>| leg.map_or(UNICAST, |leg| leg.0);
        let (from, to) = (number(self.segment(pair.key.from)), number(pair.key.to_leg()));
        Some(AnnouncedPair { digest: pair.key.digest, from, to, state })
    }

    /// Returns the leg if it is on a segment; `None` for a relay of AMT.
    fn segment(&self, leg: LegId) -> Option<LegId> {
        let state = self.legs.get(usize::from(leg.0))?;
        state.leg.amt_relay().is_none().then_some(leg)
    }
}
