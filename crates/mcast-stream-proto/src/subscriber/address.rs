//! The address of the publisher, and the proof of this subscriber's address to it.

use core::net::SocketAddr;

use crate::ClockTime;
use crate::wire::{AddressToken, Probe};

/// The address is proven again this often.
const PROBE_INTERVAL: u64 = 50_000_000_000;
/// An unanswered probe is repeated after this time, which doubles with each repetition.
const PROBE_AGAIN: u64 = 10_000_000;
const PROBE_DOUBLINGS: u32 = 9;
/// After this many unanswered probes a subscriber gives up confirming the end: its address is not proven.
const PROBES_WITHOUT_PROOF: u32 = 6;
/// The publisher's address stays valid for this time after its last heartbeat, which is more than two heartbeats.
pub(super) const ADDRESS_TIME: u64 = 2_500_000_000;
/// While heartbeats are frequent, another address replaces it sooner: after this time, if at least this number of
/// control datagrams came from elsewhere. Otherwise, flow control would stop the publisher, and then evict this
/// subscriber.
const FAILOVER_TIME: u64 = 500_000_000;
const FAILOVER_DATAGRAMS: u32 = 8;
/// Measured round trips are clamped to this range.
const MIN_ROUND_TRIP: u64 = 50_000;
const MAX_ROUND_TRIP: u64 = 10_000_000_000;

/// The address that the publisher sends from, and what it knows of this subscriber's address.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublisherAddress {
    address: Option<SocketAddr>,
    /// When a datagram last arrived from that address.
    heard_at: ClockTime,
    /// Control datagrams that have come from other addresses since, saturating.
    elsewhere: u32,
    /// The token that proves this subscriber's address to the publisher.
    token: AddressToken,
    probe_at: ClockTime,
    /// Probes sent since this publisher address is known, saturating.
    probes: u32,
    /// The smoothed round-trip time to the publisher; 0 until it is measured.
    round_trip: u64,
}

impl PublisherAddress {
    pub(super) const fn unknown(now: ClockTime) -> Self {
        Self {
            address: None,
            heard_at: now,
            elsewhere: 0,
            token: AddressToken::NONE,
            probe_at: ClockTime::NEVER,
            probes: 0,
            round_trip: 0,
        }
    }

    pub(super) const fn get(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the token for statuses and NAKs.
    pub(super) const fn token(&self) -> AddressToken {
        self.token
    }

    /// Returns whether this subscriber's address is proven: otherwise the publisher ignores its statuses and NAKs.
    pub(super) fn is_proven(&self) -> bool {
        self.token != AddressToken::NONE
    }

    /// Returns whether the publisher has answered none of many probes.
    pub(super) fn is_unprovable(&self) -> bool {
        !self.is_proven() && self.probes >= PROBES_WITHOUT_PROOF
    }

    /// Returns the smoothed round-trip time to the publisher; 0 until it is measured.
    pub(super) const fn round_trip(&self) -> u64 {
        self.round_trip
    }

    /// Returns when the next probe is due.
    pub(super) const fn probe_at(&self) -> ClockTime {
        self.probe_at
    }

    /// Notes a datagram of the publisher; returns whether it came from the known address.
    pub(super) fn note_heard(&mut self, now: ClockTime, from: SocketAddr) -> bool {
        let is_known = self.address == Some(from);
        match is_known {
            true => (self.heard_at, self.elsewhere) = (now, 0),
            false => self.elsewhere = self.elsewhere.saturating_add(1),
        }
        is_known
    }

    /// Returns whether another address may replace the known one, because that has been silent.
    pub(super) fn is_outdated(&self, now: ClockTime) -> bool {
        let time = if self.elsewhere >= FAILOVER_DATAGRAMS { FAILOVER_TIME } else { ADDRESS_TIME };
        now >= self.heard_at + time
    }

    /// Starts to prove this subscriber's address to a publisher at a new address.
    pub(super) const fn change(&mut self, now: ClockTime, to: SocketAddr) {
        (self.address, self.heard_at, self.elsewhere) = (Some(to), now, 0);
        (self.token, self.probe_at, self.probes) = (AddressToken::NONE, now, 0);
    }

    /// Notes that a probe was sent, and schedules the next one.
    pub(super) fn note_probe(&mut self, now: ClockTime) {
        self.probe_at = now + if self.is_proven() { PROBE_INTERVAL } else { PROBE_AGAIN << self.probes };
        self.probes = (self.probes + 1).min(PROBE_DOUBLINGS);
    }

    /// Takes the token of an echo, and measures the round trip. Returns whether the token is new.
    pub(super) fn note_echo(&mut self, now: ClockTime, echo: &Probe) -> bool {
        if echo.clock != 0 {
            let sample = now.since(ClockTime(echo.clock)).clamp(MIN_ROUND_TRIP, MAX_ROUND_TRIP);
            self.round_trip = match self.round_trip {
                0 => sample,
                known => known - known / 4 + sample / 4,
            };
        }
        let is_new = core::mem::replace(&mut self.token, echo.token) != echo.token;
        if is_new {
            self.probe_at = now + PROBE_INTERVAL;
        }
        is_new
    }
}
