//! Groups that fall silent because the network has forgotten that somebody receives them.
//!
//! A switch or an access node forgets a membership unless it is reported again, and hosts report again only when a querier asks
//! (RFC 3376 section 4). On networks without one, such as those of some providers, a stream ends some minutes after it
//! was joined. Joining the group again brings it back.

use std::time::Duration;

use mcast_group::GroupAddr;
use mcast_pace::ClockTime;

use crate::LegId;

/// The time without a datagram after which a group is joined again. Streams have no such pauses.
const FIRST: Duration = Duration::from_secs(3);
/// The longest time between two attempts: a sender that has ended costs one report per minute.
const LONGEST: Duration = Duration::from_secs(60);
/// A datagram within this time after the first attempt was brought by it.
const RESPONSE: Duration = Duration::from_millis(1_500);

/// A group that must be left and joined again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRejoin {
    /// The leg.
    pub leg: LegId,
    /// The group and port.
    pub address: GroupAddr,
}

/// A network that forgets memberships: a group has fallen silent twice after about the same time, and joining it again
/// brought it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLapse {
    /// The leg.
    pub leg: LegId,
    /// The group and port.
    pub address: GroupAddr,
    /// The time after which it fell silent.
    pub after: Duration,
    /// How often it is joined again from now on.
    pub every: Duration,
}

/// Decides when a group is joined again.
#[derive(Debug)]
pub(super) struct Silence {
    /// When the group was joined, or joined again.
    joined: ClockTime,
    /// When the last datagram arrived.
    last: Option<ClockTime>,
    /// The longest pause that ended before anything was done.
    longest_pause: Duration,
    /// When to join again if nothing arrives until then.
    next: ClockTime,
    attempts: u32,
    /// How long the group arrived after the first attempt of the present silence would have been due.
    held: Duration,
    /// How long it arrived before the network forgot it, last time.
    lapse: Option<Duration>,
    /// How often it is joined again, although it arrives.
    refresh: Option<Duration>,
}

impl Silence {
    pub(super) fn new(now: ClockTime) -> Self {
        Self {
            joined: now,
            last: None,
            longest_pause: Duration::ZERO,
            next: now + FIRST,
            attempts: 0,
            held: Duration::ZERO,
            lapse: None,
            refresh: None,
        }
    }

    /// Notes a datagram. Returns after which time the network forgets, and how often the group is joined again because of that,
    /// once this is known.
    pub(super) fn receive(&mut self, now: ClockTime) -> Option<(Duration, Duration)> {
        let pause = self.last.map(|last| now - last);
        let attempts = std::mem::take(&mut self.attempts);
        let found = match pause {
            Some(_) if attempts == 1 && now < self.joined + RESPONSE => self.learn(),
            Some(pause) => {
                self.longest_pause = self.longest_pause.max(pause);
                None
            }
            None => None,
        };
        self.last = Some(now);
        self.next = now + FIRST.max(3 * self.longest_pause).min(LONGEST);
        found
    }

    /// Returns whether the group must be joined again now.
    pub(super) fn is_due(&mut self, now: ClockTime) -> bool {
        if now < self.due_at() {
            return false;
        }
        if now >= self.next {
            self.held = self.last.map_or(Duration::ZERO, |last| last - self.joined);
            self.attempts += 1;
            let wait = FIRST.saturating_mul(1 << self.attempts.min(5));
            self.next = now + wait.min(LONGEST);
        }
        self.joined = now;
        true
    }

    /// Whether nothing has arrived for a while.
    pub(super) fn is_silent(&self, now: ClockTime) -> bool {
        self.last.is_none_or(|last| now >= last + FIRST)
    }

    /// Returns when to call [`Self::is_due`].
    pub(super) fn due_at(&self) -> ClockTime {
        self.refresh.map_or(self.next, |every| self.next.min(self.joined + every))
    }

    /// Notes that the first attempt has brought the group back. A pause of the sender may end at that moment by chance, but not twice
    /// after the same time.
    fn learn(&mut self) -> Option<(Duration, Duration)> {
        let held = self.held;
        let before = self.lapse.replace(held)?;
        let is_same = held.abs_diff(before) <= before / 4;
        let every = before.min(held) / 2;
        if !is_same || every < FIRST || self.refresh.is_some_and(|known| known <= every) {
            return None;
        }
        self.refresh = Some(every);
        Some((held, every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    /// A stream through a network that forgets a membership this long after it was reported; `None`: never.
    struct Network {
        forgets: Option<Duration>,
        reported: ClockTime,
        now: ClockTime,
        silence: Silence,
        rejoins: u32,
        learned: Vec<(Duration, Duration)>,
    }

    impl Network {
        fn new(forgets: Option<u64>) -> Self {
            let now = ClockTime::START + Duration::from_secs(9);
            let forgets = forgets.map(Duration::from_secs);
            let (silence, learned) = (Silence::new(now), Vec::new());
            Self { forgets, reported: now, now, silence, rejoins: 0, learned }
        }

        /// Passes time while the sender sends, or pauses. Returns the longest time without a datagram.
        fn pass(&mut self, seconds: u64, is_sending: bool) -> Duration {
            let (end, mut last, mut longest) =
                (self.now + Duration::from_secs(seconds), self.now, Duration::ZERO);
            while self.now < end {
                self.now = self.now + STEP;
                if self.silence.is_due(self.now) {
                    (self.reported, self.rejoins) = (self.now, self.rejoins + 1);
                }
                let is_member = self.forgets.is_none_or(|forgets| self.now < self.reported + forgets);
                if is_sending && is_member {
                    self.learned.extend(self.silence.receive(self.now));
                    last = self.now;
                }
                longest = longest.max(self.now - last);
            }
            longest
        }
    }

    #[test]
    fn a_stream_that_the_network_forgets_comes_back_after_some_seconds_and_then_does_not_pause() {
        let mut network = Network::new(Some(120));
        let longest = network.pass(260, true);
        assert!(longest <= FIRST + 3 * STEP, "{longest:?}");
        assert_eq!((network.rejoins, network.learned.len()), (2, 1));
        let longest = network.pass(3_600, true);
        assert!(longest <= 2 * STEP, "it is joined again before the network forgets: {longest:?}");
        assert_eq!(network.learned.len(), 1);
    }

    #[test]
    fn a_stream_that_arrives_is_not_joined_again() {
        let mut network = Network::new(None);
        network.pass(3_600, true);
        assert_eq!(network.rejoins, 0);
    }

    #[test]
    fn a_sender_that_has_ended_costs_a_report_per_minute() {
        let mut network = Network::new(None);
        network.pass(10, true);
        network.pass(600, false);
        assert!((8..=14).contains(&network.rejoins), "{}", network.rejoins);
        network.pass(10, true);
        assert_eq!(network.learned, []);
    }

    #[test]
    fn a_sender_with_pauses_is_not_taken_for_a_network_that_forgets() {
        let mut network = Network::new(None);
        for pause in [20, 9, 31, 20, 12, 20] {
            network.pass(40, true);
            network.pass(pause, false);
        }
        assert_eq!(network.learned, []);
        let before = network.rejoins;
        network.pass(10, true);
        network.pass(20, false);
        assert_eq!(network.rejoins, before, "pauses of this length are known");
    }
}
