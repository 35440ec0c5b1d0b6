//! The largest datagram that the path carries, found by probes (RFC 8899). Messages of ICMP are not believed.

use std::time::Duration;

use mcast_pace::ClockTime;

/// What every path has to carry: with headers of IPv6 and UDP, 1,248 bytes.
const BASE: u16 = 1_200;
/// The largest datagram: with headers of IPv4 and UDP, 1,500 bytes.
pub const MAX_DATAGRAM: u16 = 1_472;
/// The search ends when the rest is smaller.
const STEP: u16 = 16;
const TRIES: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(600);
/// The time between tests of the present size.
const VERIFY_INTERVAL: Duration = Duration::from_secs(10);
/// The time after which larger sizes are tried again.
const RAISE_INTERVAL: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct PathMtu {
    size: u16,
    ceiling: u16,
    /// The size that is being tried, and how often it was.
    probe: Option<(u16, u8)>,
    next: ClockTime,
    raise_at: ClockTime,
}

impl PathMtu {
    /// Creates the state of a new path.
    pub(crate) fn new(now: ClockTime) -> Self {
        Self { size: BASE, ceiling: MAX_DATAGRAM, probe: None, next: now, raise_at: now + RAISE_INTERVAL }
    }

    /// Returns the largest datagram to send.
    pub(crate) const fn size(&self) -> usize {
        self.size as usize
    }

    /// Returns the length of a probe to send, if one is due.
    pub(crate) fn poll(&mut self, now: ClockTime) -> Option<u16> {
        if now < self.next {
            return None;
        }
        if let Some((size, _)) = self.probe.take_if(|(_, tries)| *tries >= TRIES) {
            self.fail(size);
        }
        if now >= self.raise_at {
            (self.ceiling, self.raise_at) = (MAX_DATAGRAM, now + RAISE_INTERVAL);
        }
        let (size, tries) = match self.probe {
            Some((size, tries)) => (size, tries + 1),
            // The largest one first: on most paths it is the answer.
            None if self.ceiling == MAX_DATAGRAM && self.size < MAX_DATAGRAM => (MAX_DATAGRAM, 1),
            None if self.is_searching() => (self.size + (self.ceiling - self.size).div_ceil(2), 1),
            // Nothing is left to find, but a path may come to carry less.
            None if self.size > BASE => (self.size, 1),
            None => {
                self.next = self.raise_at;
                return None;
            }
        };
        self.probe = Some((size, tries));
        self.next = now + PROBE_INTERVAL;
        Some(size)
    }

    /// Handles that a probe of this length has arrived.
    pub(crate) fn confirm(&mut self, now: ClockTime, size: u16) {
        if self.probe.take_if(|(probed, _)| *probed == size).is_some() {
            self.size = self.size.max(size);
            self.next = if self.is_searching() { now } else { now + VERIFY_INTERVAL };
        }
    }

    /// Handles that the system refuses datagrams of the present length.
    pub(crate) fn shrink(&mut self, now: ClockTime) {
        let refused = self.probe.take().map_or(self.size, |(size, _)| size);
        self.fail(refused);
        self.next = now;
    }

    pub(crate) const fn deadline(&self) -> ClockTime {
        self.next
    }

    const fn is_searching(&self) -> bool {
        self.ceiling >= self.size + STEP
    }

    fn fail(&mut self, size: u16) {
        if size <= self.size {
            self.size = BASE;
        }
        self.ceiling = (size - 1).max(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for this time on a path that carries datagrams of this length; returns the latest size.
    fn run(mtu: &mut PathMtu, from: ClockTime, time: Duration, carries: u16) -> usize {
        let mut now = from;
        while now < from + time {
            if let Some(size) = mtu.poll(now)
                && size <= carries
            {
                mtu.confirm(now + Duration::from_millis(80), size);
            }
            now = now + Duration::from_millis(100);
        }
        mtu.size()
    }

    #[test]
    fn the_size_of_the_path_is_found_and_followed() {
        for carries in [1_200, 1_210, 1_252, 1_372, 1_424, 1_452, 1_472, 9_000] {
            let mut mtu = PathMtu::new(ClockTime::START);
            let found = run(&mut mtu, ClockTime::START, Duration::from_secs(30), carries);
            let best = usize::from(carries.min(MAX_DATAGRAM));
            assert!(found <= best && found + usize::from(STEP) > best, "{found} of {carries}");
        }
    }

    #[test]
    fn a_path_that_shrinks_without_a_word_is_noticed_and_one_that_grows_too() {
        let mut mtu = PathMtu::new(ClockTime::START);
        let seconds = Duration::from_secs;
        assert_eq!(run(&mut mtu, ClockTime::START + seconds(0), seconds(20), 1_472), 1_472);
        assert!(run(&mut mtu, ClockTime::START + seconds(20), seconds(13), 1_252) <= 1_252, "a black hole");
        assert!(run(&mut mtu, ClockTime::START + seconds(33), seconds(20), 1_252) > 1_236);
        assert_eq!(run(&mut mtu, ClockTime::START + seconds(53), seconds(620), 1_472), 1_472);
    }

    #[test]
    fn what_the_system_refuses_is_not_sent_again() {
        let mut mtu = PathMtu::new(ClockTime::START);
        assert_eq!(mtu.poll(ClockTime::START), Some(MAX_DATAGRAM));
        mtu.shrink(ClockTime::START);
        assert!(mtu.poll(ClockTime::START).is_some_and(|size| size < MAX_DATAGRAM));
        assert_eq!(mtu.size(), 1_200);
    }
}
