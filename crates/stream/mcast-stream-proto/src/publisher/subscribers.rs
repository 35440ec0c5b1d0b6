//! Audience: the subscribers that are present, and for which of them the publisher waits.
//!
//! Input: what subscribers report, and what was sent. Output: the first datagram that must not be sent yet, and the first that
//! must not be overwritten; the subscribers to evict, and those that count as departed; the round-trip time of the group; and
//! which messages are acknowledged as required.
//!
//! Promises: no subscriber that reads delays the others for longer than the eviction time, nor do several that stopped
//! reading together; a subscriber that the publisher does not wait for never holds anything up; time in which the publisher did
//! not run counts against nobody; and the state of all is bounded, however many come and go.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::acknowledgements::{Acknowledgements, Names};
use super::audience::Audience;
use super::config::PublisherConfig;
use super::ending::Ending;
use super::flow::FlowState;
use super::members::{Departed, Departure, Member, Members, Role};
use super::ring::Ring;
use crate::ClockTime;
use crate::proof::{AddressProof, EchoLimit};
use crate::random::Random;
use crate::times::publisher::{LONGEST_ROUND_TRIP, MAX_SILENCE, MIN_ROUND_TRIP, RECENT};
use crate::wire::{MessageNumber, Sequence, SubscriberId};

/// Echoes to unproven addresses, at once and per second: as many subscribers as may be known may join together.
const UNPROVEN_ECHOES: (u64, u64) = (16_384, 4_096);
/// The number of eviction times for which a subscriber that returned from an eviction is on probation.
const PROBATION: u32 = 16;

/// The number of status intervals that must also pass: see [`RECENT`].
const RECENT_STATUSES: u32 = 3;

/// The subscribers, and what the publisher waits for.
pub(super) struct Subscribers {
    pub(super) members: Members,
    pub(super) flow: FlowState,
    pub(super) acknowledgements: Option<Acknowledgements>,
    pub(super) names: Names,
    pub(super) ending: Ending,
    pub(super) proof: AddressProof,
    pub(super) echo_limit: EchoLimit,
    /// That of the group.
    pub(super) round_trip: Duration,
    /// The sums over departed subscribers that are no longer remembered one by one.
    pub(super) forgotten: Audience,
    /// Whether a [`PublisherEvent::Superseded`](super::PublisherEvent::Superseded) was reported, and no subscriber has joined
    /// since.
    pub(super) is_superseded: bool,
}

impl Subscribers {
    pub(super) fn new(config: &PublisherConfig, now: ClockTime) -> Self {
        Self {
            members: Members::new(),
            flow: FlowState::new(),
            acknowledgements: Acknowledgements::of(config, now),
            names: Names::default(),
            ending: Ending::default(),
            proof: AddressProof::new(&mut Random::new(config.seed)),
            echo_limit: EchoLimit::new(UNPROVEN_ECHOES.0, UNPROVEN_ECHOES.1, now),
            round_trip: config.round_trip.clamp(MIN_ROUND_TRIP, LONGEST_ROUND_TRIP),
            forgotten: Audience::default(),
            is_superseded: false,
        }
    }

    /// Updates the group round-trip time: the longest of all subscribers, which rises at once and falls slowly.
    pub(super) fn measure_round_trip(&mut self) {
        let longest = self.members.iter().map(|(_, member)| member.round_trip).max().unwrap_or_default();
        if longest == Duration::ZERO {
            return;
        }
        let kept = self.round_trip - self.round_trip / 10 + longest / 10;
        self.round_trip = longest.max(kept.min(self.round_trip)).clamp(MIN_ROUND_TRIP, LONGEST_ROUND_TRIP);
    }

    /// Gives subscribers as much more time as this process did not run: what they sent meanwhile is not read yet.
    pub(super) fn extend_deadlines(&mut self, now: ClockTime, pause: Duration) {
        for (_, member) in self.members.iter_mut() {
            member.last_heard = (member.last_heard + pause).min(now);
            member.advanced.1 = (member.advanced.1 + pause).min(now);
        }
        self.flow.extend_deadlines(now, pause);
        self.acknowledgements.iter_mut().for_each(|known| known.extend_deadlines(pause));
        self.ending.extend_deadlines(now, pause);
    }

    /// Evicts a subscriber; returns its address, and the first datagram that it has not confirmed.
    pub(super) fn evict(&mut self, id: SubscriberId) -> Option<(SocketAddr, Sequence)> {
        let member = self.members.get_mut(id)?;
        member.role = Role::Evicted;
        let evicted = (member.address, member.progress.next);
        self.members.changed(id);
        self.flow.unblock();
        Some(evicted)
    }

    /// Removes a subscriber. Returns the departed one that is forgotten for it, if any.
    pub(super) fn depart(
        &mut self,
        id: SubscriberId,
        departure: Departure,
        next_message: MessageNumber,
    ) -> Option<Departed> {
        if let Some(member) = self.members.get_mut(id) {
            member.progress.acknowledgements.depart(next_message);
        }
        let forgotten = self.members.depart(id, departure)?;
        if let Some(acknowledgements) = &mut self.acknowledgements {
            acknowledgements.forget(&forgotten.progress.acknowledgements);
        }
        Some(forgotten)
    }

    /// Returns a subscriber that has been silent for longer than this. In a large group, each sends a status only rarely.
    pub(super) fn silent(&self, now: ClockTime, timeout: Duration) -> Option<SubscriberId> {
        let timeout = timeout.max(8 * self.members.status_interval());
        let is_silent = |member: &Member| now.since(member.last_heard) > timeout;
        self.members.iter().find(|(_, member)| is_silent(member)).map(|(id, _)| id)
    }

    /// Returns the subscribers that block the publisher and make no progress for the eviction time.
    ///
    /// Each is judged by its own room and its own last progress, so that the eviction times of several subscribers that
    /// stopped reading do not add up.
    pub(super) fn stalled(
        &self,
        now: ClockTime,
        ring: &Ring,
        verified: Option<Sequence>,
        eviction: Duration,
    ) -> Vec<SubscriberId> {
        let Some(since) = self.flow.blocked_since() else { return Vec::new() };
        // A subscriber that reads reports progress when a heartbeat requests it: allow time for that.
        if now.since(since) < eviction / 4 {
            return Vec::new();
        }
        let is_stalled = |member: &Member| {
            // It may block the publisher for a short time only while it is on probation.
            let is_on_probation = |at: ClockTime| now.since(at) < eviction.saturating_mul(PROBATION);
            let time = if member.returned.is_some_and(is_on_probation) { eviction / 8 } else { eviction };
            self.blocks(member, ring, verified)
                && now.since(member.advanced.1) >= time
                && now.since(since) >= time / 4
        };
        let awaited = self.members.iter().filter(|(_, member)| member.role == Role::Awaited);
        awaited.filter(|(_, member)| is_stalled(member)).map(|(id, _)| id).collect()
    }

    /// Returns whether a subscriber blocks the publisher: it has no room for the next datagram, or lacks one that the
    /// next would overwrite. A subscriber that has everything up to the last manifest that was sent is not to blame for
    /// what follows it: it can confirm that only with the next manifest, which another subscriber has no room for.
    fn blocks(&self, member: &Member, ring: &Ring, verified: Option<Sequence>) -> bool {
        let next = member.progress.next;
        let lacks = next < ring.sent && verified != Some(next);
        member.room_end() <= ring.sent || lacks && !ring.has_room(self.flow.room_needed(), next)
    }

    /// Returns for how long a subscriber that is silent counts as reached at the address that it has proven.
    pub(super) fn recent(&self) -> Duration {
        RECENT.max(RECENT_STATUSES * self.members.status_interval())
    }

    /// Returns for how long a subscriber may receive nothing although data is sent. What it loses in a longer time is not a loss
    /// of its link: it was stopped, cut off, or had no key.
    pub(super) fn longest_silence(&self) -> Duration {
        MAX_SILENCE + 4 * self.members.status_interval()
    }
}
