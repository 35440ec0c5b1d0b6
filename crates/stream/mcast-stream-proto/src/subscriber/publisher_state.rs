//! What is known of the publisher: its incarnations, its address, what its last heartbeat shows, and whether it is heard.
//!
//! *Input:* heartbeats and echoes that the filter has admitted. *Output:* times and sizes by which every layer paces what it
//! does. *Promise:* when another incarnation is followed, nothing of the former is left but measured round trips.

use core::net::SocketAddr;
use core::time::Duration;

use super::incarnations::{IncarnationIdentity, Incarnations};
use super::peer::Peer;
use crate::ClockTime;
use crate::random::SMALL_GROUP;
use crate::times::subscriber::{MAX_QUEUEING, MAX_ROUND_TRIP, MIN_ROUND_TRIP, PERIOD, URGENT_SPACING};
use crate::wire::{Flags, Header, Heartbeat, Incarnation, MessageNumber, Sequence};

/// The publisher, as its heartbeats show it.
#[derive(Debug)]
pub(super) struct PublisherState {
    pub(super) incarnations: Incarnations,
    pub(super) peer: Peer,
    pub(super) heartbeat: Heartbeat,
    pub(super) liveness: Liveness,
    /// Where the stream ends: one past the last datagram, and the number of messages.
    pub(super) end: Option<(Sequence, MessageNumber)>,
    transit: Transit,
}

impl PublisherState {
    /// Returns what is known of a publisher of which nothing has arrived since `now`.
    pub(super) fn unknown(now: ClockTime) -> Self {
        Self {
            incarnations: Incarnations::none(),
            peer: Peer::unknown(now),
            heartbeat: Heartbeat { round_trip: 1_000, ..Heartbeat::default() },
            liveness: Liveness::new(now),
            end: None,
            transit: Transit::default(),
        }
    }

    /// Follows another incarnation, by the first heartbeat of its publisher.
    pub(super) fn begin(
        &mut self,
        now: ClockTime,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
        from: SocketAddr,
    ) {
        let Self { incarnations, peer, .. } = self;
        incarnations.follow(identity);
        peer.change(now, from);
        (self.heartbeat, self.liveness, self.end) = (heartbeat, Liveness::new(now), None);
        self.transit = Transit::default();
        self.transit.note(now, heartbeat.clock);
    }

    /// Notes that a heartbeat has arrived, also an old one; returns whether the publisher was silent before.
    pub(super) fn record_heard(&mut self, now: ClockTime, from: SocketAddr, heartbeat: &Heartbeat) -> bool {
        // On another path the publisher has another address; the proven one is kept as long as it is active.
        if !self.peer.record_heard(now, from) && self.peer.is_outdated(now) {
            self.peer.change(now, from);
        }
        self.transit.note(now, heartbeat.clock);
        self.liveness.record_heard()
    }

    /// Takes a heartbeat; returns `false` if it is older than the last one: the position of a publisher never decreases.
    pub(super) fn take_heartbeat(&mut self, now: ClockTime, header: &Header, heartbeat: Heartbeat) -> bool {
        if heartbeat.next < self.heartbeat.next || heartbeat.oldest_retained < self.heartbeat.oldest_retained
        {
            return false;
        }
        self.heartbeat = heartbeat;
        self.liveness.record_heartbeat(now);
        self.incarnations.epoch = header.epoch;
        if header.flags.has(Flags::END_OF_STREAM) {
            self.peer.probe_at_the_end(now, self.end.is_none());
            self.end = Some((heartbeat.next, heartbeat.next_message));
        }
        true
    }

    /// This subscriber's own round-trip time, queueing included; the group's until it is measured.
    pub(super) fn round_trip(&self) -> Duration {
        match self.peer.round_trip() {
            Duration::ZERO => self.group_round_trip(),
            own => own + self.transit.queueing(),
        }
    }

    pub(super) fn group_round_trip(&self) -> Duration {
        Duration::from_micros(self.heartbeat.round_trip.into()).clamp(MIN_ROUND_TRIP, MAX_ROUND_TRIP)
    }

    pub(super) const fn has_other_subscribers(&self) -> bool {
        self.heartbeat.group_size > 1
    }

    /// Returns whether the group is so large that what each subscriber sends must be spared.
    pub(super) const fn is_large_group(&self) -> bool {
        self.heartbeat.group_size > SMALL_GROUP
    }

    pub(super) fn status_interval(&self) -> Duration {
        Duration::from_micros(self.heartbeat.status_interval.into())
    }

    /// The interval when the publisher waits for the status, or will soon.
    pub(super) fn urgent_interval(&self) -> Duration {
        self.heartbeat.group_size * URGENT_SPACING
    }

    /// Returns the incarnation that positions of messages have: that of the origin, if the publisher reads them from an
    /// engine.
    pub(super) fn content_incarnation(&self) -> Option<Incarnation> {
        self.incarnations.provenance.content_incarnation().or_else(|| self.incarnations.current())
    }

    /// Where a stream has ended that was delivered as far as `base`.
    pub(super) fn end_before(&self, base: Sequence) -> Option<(Sequence, MessageNumber)> {
        self.end.filter(|(end, _)| *end <= base)
    }
}

/// When the last heartbeat arrived, and whether the publisher counts as silent since.
#[derive(Debug)]
pub(super) struct Liveness {
    /// With the time for which this process did not run.
    heartbeat_at: ClockTime,
    heard_at: ClockTime,
    is_silent: bool,
}

impl Liveness {
    pub(super) const fn new(now: ClockTime) -> Self {
        Self { heartbeat_at: now, heard_at: now, is_silent: false }
    }

    /// Notes a heartbeat that says something new.
    pub(super) const fn record_heartbeat(&mut self, now: ClockTime) {
        (self.heartbeat_at, self.heard_at) = (now, now);
    }

    /// Returns when the last heartbeat arrived.
    pub(super) const fn heard_at(&self) -> ClockTime {
        self.heard_at
    }

    /// Notes a sign of life; returns whether the publisher was silent before.
    pub(super) const fn record_heard(&mut self) -> bool {
        core::mem::replace(&mut self.is_silent, false)
    }

    /// Notes that the publisher counts as silent from now on; returns whether it did not before.
    pub(super) const fn record_silence(&mut self) -> bool {
        !core::mem::replace(&mut self.is_silent, true)
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Gives the publisher as much more time as this process did not run, so that it does not count as silent before this
    /// time.
    pub(super) fn extend(&mut self, now: ClockTime, pause: Duration, silence: Duration, until: ClockTime) {
        self.heartbeat_at = (self.heartbeat_at + pause).max(until - silence).min(now);
    }

    /// Returns when the last heartbeat will have been this long ago.
    pub(super) fn after(&self, silence: Duration) -> ClockTime {
        self.heartbeat_at + silence
    }

    /// Returns the time since the last heartbeat.
    pub(super) const fn elapsed(&self, now: ClockTime) -> Duration {
        now.since(self.heartbeat_at)
    }
}

/// Transit times measured with two clocks, of which only differences are meaningful.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transit {
    /// The minimum of the previous period and of this one.
    least: Option<(i128, i128)>,
    began: ClockTime,
    queueing: Duration,
}

impl Transit {
    /// Notes a heartbeat that was sent at `sent` by the publisher's clock.
    pub(super) fn note(&mut self, now: ClockTime, sent: u64) {
        let time = i128::from(now.0) - i128::from(sent);
        let (before, current) = self.least.unwrap_or((time, time));
        let (before, current) = match now.since(self.began) >= PERIOD {
            true => {
                self.began = now;
                (current, time)
            }
            false => (before, current.min(time)),
        };
        self.least = Some((before, current));
        let waited = time - before.min(current);
        self.queueing = Duration::from_nanos(u64::try_from(waited).unwrap_or(0)).min(MAX_QUEUEING);
    }

    /// The queueing delay of the last heartbeat.
    pub(super) const fn queueing(&self) -> Duration {
        self.queueing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queueing_is_the_transit_time_above_the_minimum() {
        let mut transit = Transit::default();
        for (now, sent, queueing) in
            [(1_000, 900_000, 0), (2_000, 901_000, 0), (3_500, 902_000, 500), (4_000, 903_000, 0)]
        {
            transit.note(ClockTime(now), sent);
            assert_eq!(transit.queueing(), Duration::from_nanos(queueing));
        }
    }

    #[test]
    fn a_clock_step_is_forgotten_after_two_periods() {
        let mut transit = Transit::default();
        transit.note(ClockTime(0), 0);
        for second in 1..20_u64 {
            transit.note(ClockTime(second * 1_000_000_000 + 30_000_000_000), second * 1_000_000_000);
            assert!(transit.queueing() <= MAX_QUEUEING);
        }
        assert_eq!(transit.queueing(), Duration::ZERO);
    }
}
