//! The address of a party that answers NAKs, the publisher or a repairer, and the proof of this subscriber's address to it.

use core::net::SocketAddr;
use core::time::Duration;

use crate::ClockTime;
use crate::times::subscriber::{
    ADDRESS_TIME, FAILOVER_TIME, MAX_ROUND_TRIP, MIN_ROUND_TRIP, OUTAGE, PLAUSIBLE_ROUND_TRIP, PROBE_AGAIN,
    PROBE_INTERVAL, UNEXPECTED_ECHO_INTERVAL,
};
use crate::wire::{AddressToken, Probe};

/// The time after which an unanswered probe is repeated doubles this often.
const PROBE_DOUBLINGS: u32 = 9;
/// After this many unanswered probes a subscriber gives up confirming the end: its address is not proven.
const PROBES_WITHOUT_PROOF: u32 = 6;
/// How many probes are remembered.
const REMEMBERED_PROBES: usize = 8;
/// Another address replaces the known one after [`FAILOVER_TIME`] if this number of control datagrams came from elsewhere.
const FAILOVER_DATAGRAMS: u32 = 8;

/// A sample above [`PLAUSIBLE_ROUND_TRIP`], and above this many times the known round trip, is confirmed by another probe.
const PLAUSIBLE_GROWTH: u32 = 4;

/// A measured round trip, when the probe that measured it was sent, and when its echo arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    probe: ClockTime,
    echo: ClockTime,
    round_trip: Duration,
}

/// The address that the publisher or a repairer sends from, and what it knows of this subscriber's address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    address: Option<SocketAddr>,
    /// When a datagram last arrived from that address.
    heard_at: ClockTime,
    /// Control datagrams that have come from other addresses since, saturating.
    elsewhere: u32,
    /// The token that proves this subscriber's address to it.
    token: AddressToken,
    probe_at: ClockTime,
    /// The clocks in the last probes, the latest first.
    last_probes: [ClockTime; REMEMBERED_PROBES],
    /// Probes sent since its address is known, saturating.
    probes: u32,
    /// The smoothed round-trip time to it; 0 until it is measured.
    round_trip: Duration,
    /// A sample that must be confirmed.
    doubtful: Option<Sample>,
}

impl Peer {
    pub(super) const fn unknown(now: ClockTime) -> Self {
        Self {
            address: None,
            heard_at: now,
            elsewhere: 0,
            token: AddressToken::NONE,
            probe_at: ClockTime::NEVER,
            last_probes: [ClockTime(0); REMEMBERED_PROBES],
            probes: 0,
            round_trip: Duration::ZERO,
            doubtful: None,
        }
    }

    pub(super) const fn get(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the token for statuses and NAKs.
    pub(super) const fn token(&self) -> AddressToken {
        self.token
    }

    /// Returns whether this subscriber's address is proven: otherwise its statuses and NAKs are ignored.
    pub(super) fn is_proven(&self) -> bool {
        self.token != AddressToken::NONE
    }

    /// Returns whether none of many probes was answered.
    pub(super) fn is_unprovable(&self) -> bool {
        !self.is_proven() && self.probes >= PROBES_WITHOUT_PROOF
    }

    /// Returns the smoothed round-trip time to it; 0 until it is measured.
    pub(super) const fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Returns when the next probe is due.
    pub(super) const fn probe_at(&self) -> ClockTime {
        self.probe_at
    }

    /// Notes a datagram of the publisher; returns whether it came from the known address.
    pub(super) fn record_heard(&mut self, now: ClockTime, from: SocketAddr) -> bool {
        let is_known = self.address == Some(from);
        match is_known {
            true => {
                if !self.is_proven() && now >= self.heard_at + OUTAGE {
                    (self.probe_at, self.probes) = (now, 0);
                }
                (self.heard_at, self.elsewhere) = (now, 0);
            }
            false => self.elsewhere = self.elsewhere.saturating_add(1),
        }
        is_known
    }

    /// Returns whether another address may replace the known one, because that has been silent.
    pub(super) fn is_outdated(&self, now: ClockTime) -> bool {
        let time = if self.elsewhere >= FAILOVER_DATAGRAMS { FAILOVER_TIME } else { ADDRESS_TIME };
        now >= self.heard_at + time
    }

    /// Starts to prove this subscriber's address to a party at a new address.
    pub(super) const fn change(&mut self, now: ClockTime, to: SocketAddr) {
        (self.address, self.heard_at, self.elsewhere) = (Some(to), now, 0);
        (self.token, self.probe_at, self.probes) = (AddressToken::NONE, now, 0);
    }

    /// Repeats unanswered probes at the end of the stream, because the publisher waits only for those that it knows of: as
    /// soon as at first when the end becomes known, and a few times per second for as long as the publisher repeats it.
    pub(super) fn probe_at_the_end(&mut self, now: ClockTime, is_news: bool) {
        if self.is_proven() || self.address.is_none() {
            return;
        }
        if is_news {
            (self.probe_at, self.probes) = (now, 0);
        }
        self.probe_at = self.probe_at.min((self.last_probes[0] + UNEXPECTED_ECHO_INTERVAL).max(now));
    }

    /// Notes that a probe was sent, and schedules the next one.
    pub(super) fn record_probe(&mut self, now: ClockTime) {
        let is_undoubted = self.is_proven() && self.doubtful.is_none();
        self.probe_at = now + if is_undoubted { PROBE_INTERVAL } else { (1 << self.probes) * PROBE_AGAIN };
        self.last_probes.rotate_right(1);
        self.last_probes[0] = now;
        self.probes = (self.probes + 1).min(PROBE_DOUBLINGS);
    }

    /// Returns whether an echo answers one of the last probes, whose clock only their receiver has seen. Any other one, such
    /// as that which answers a datagram with an outdated token, causes a probe, and nothing else.
    pub(super) fn is_expected(&mut self, now: ClockTime, echo: &Probe) -> bool {
        let is_answer = echo.clock != 0 && self.last_probes.contains(&ClockTime(echo.clock));
        if !is_answer {
            self.probe_at = self.probe_at.min((self.last_probes[0] + UNEXPECTED_ECHO_INTERVAL).max(now));
        }
        is_answer
    }

    /// Takes the token of an echo, and measures the round trip. Returns whether the token is new.
    pub(super) fn record_echo(&mut self, now: ClockTime, echo: &Probe) -> bool {
        let is_new = core::mem::replace(&mut self.token, echo.token) != echo.token;
        if is_new {
            self.probe_at = now + PROBE_INTERVAL;
        }
        if echo.clock != 0 {
            let round_trip = now.since(ClockTime(echo.clock)).clamp(MIN_ROUND_TRIP, MAX_ROUND_TRIP);
            self.record_sample(now, Sample { probe: ClockTime(echo.clock), echo: now, round_trip });
        }
        is_new
    }

    /// Adds a sample to the round-trip time. Of a doubtful one and the next, the shorter counts.
    fn record_sample(&mut self, now: ClockTime, sample: Sample) {
        let smoothed = |known: Duration, sample: Duration| known - known / 4 + sample / 4;
        let is_implausible =
            |sample, known| sample > PLAUSIBLE_ROUND_TRIP && sample > PLAUSIBLE_GROWTH * known;
        match (self.doubtful, self.round_trip) {
            // The process may have been suspended, or its clock set, after several probes: only a later one confirms the sample.
            (Some(doubtful), _) if sample.probe < doubtful.echo => {}
            (Some(doubtful), known) => {
                self.doubtful = None;
                self.probe_at = now + PROBE_INTERVAL;
                let round_trip = doubtful.round_trip.min(sample.round_trip);
                let is_other = known == doubtful.round_trip || is_implausible(round_trip, known);
                self.round_trip = if is_other { round_trip } else { smoothed(known, round_trip) };
            }
            (None, known) if is_implausible(sample.round_trip, known) => {
                if known == Duration::ZERO {
                    self.round_trip = sample.round_trip;
                }
                (self.doubtful, self.probes, self.probe_at) = (Some(sample), 0, now);
            }
            (None, Duration::ZERO) => self.round_trip = sample.round_trip,
            (None, known) => self.round_trip = smoothed(known, sample.round_trip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SubscriberId;

    /// Sends a probe, and returns the round trip after its echo.
    fn measure(publisher: &mut Peer, at: u64, milliseconds: u64) -> u64 {
        let sent = ClockTime(at);
        publisher.record_probe(sent);
        let echo = Probe { clock: sent.0, token: AddressToken(7), subscriber: SubscriberId(1) };
        publisher.record_echo(sent + Duration::from_millis(milliseconds), &echo);
        publisher.round_trip().as_millis() as u64
    }

    /// Handles the echo of the probe that was sent at one time, which arrives at another.
    fn echo(peer: &mut Peer, sent: ClockTime, arrives: ClockTime) {
        let echo = Probe { clock: sent.0, token: AddressToken(7), subscriber: SubscriberId(1) };
        peer.record_echo(arrives, &echo);
    }

    const START: ClockTime = ClockTime(1);
    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_round_trip_in_which_the_process_was_suspended_does_not_count() {
        for first in [1, 20_000] {
            let mut publisher = Peer::unknown(START);
            measure(&mut publisher, START.0, first);
            let second = START + Duration::from_secs(20);
            measure(&mut publisher, second.0, 1);
            let third = second + MILLISECOND;
            measure(&mut publisher, third.0, 20_000);
            let now = third + Duration::from_secs(20);
            assert!(publisher.probe_at() <= now, "it is not measured again");
            echo(&mut publisher, third, now + MILLISECOND);
            assert_eq!(measure(&mut publisher, now.0, 1), 1, "first {first} ms");
        }
    }

    #[test]
    fn a_publisher_that_is_heard_again_is_probed_as_at_first() {
        let from = SocketAddr::from(([10, 0, 0, 1], 7000));
        let mut peer = Peer::unknown(ClockTime(0));
        peer.change(ClockTime(0), from);
        while peer.probe_at() < ClockTime(0) + Duration::from_millis(1300) {
            peer.record_probe(peer.probe_at());
        }
        let again = ClockTime(0) + Duration::from_millis(1600);
        assert_eq!(peer.probe_at(), ClockTime(0) + Duration::from_millis(2550));
        assert!(peer.record_heard(again, from));
        assert_eq!(peer.probe_at(), again);
        peer.record_probe(again);
        assert_eq!(peer.probe_at(), again + PROBE_AGAIN);
        assert!(peer.record_heard(again + Duration::from_millis(5), from));
        assert_eq!(peer.probe_at(), again + PROBE_AGAIN, "nothing was missing in between");
    }

    #[test]
    fn several_probes_before_the_process_was_suspended_do_not_confirm_each_other() {
        let mut publisher = Peer::unknown(START);
        let probes = [START, START + 10 * MILLISECOND];
        probes.iter().for_each(|sent| publisher.record_probe(*sent));
        let now = START + Duration::from_secs(5);
        probes.iter().for_each(|sent| echo(&mut publisher, *sent, now));
        assert!(publisher.probe_at() <= now, "it is not measured again");
        assert_eq!(measure(&mut publisher, now.0, 1), 1);
    }

    #[test]
    fn a_round_trip_that_has_grown_counts_once_it_is_confirmed() {
        let mut publisher = Peer::unknown(START);
        let at = |seconds| (START + Duration::from_secs(seconds)).0;
        assert_eq!(measure(&mut publisher, at(0), 1), 1);
        assert_eq!(measure(&mut publisher, at(10), 2_000), 1);
        assert_eq!(measure(&mut publisher, at(20), 2_400), 2_000);
        assert_eq!(measure(&mut publisher, at(30), 4_000), 2_500);
    }
}
