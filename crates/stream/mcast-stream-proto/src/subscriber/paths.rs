//! The paths on which datagrams arrive: what arrived on each, and which one is silent.

use core::time::Duration;

use super::event::{PathStatistics, SubscriberEvent};
use crate::ClockTime;

/// The header has two bits for the path.
const MAX_PATHS: usize = 4;

#[derive(Debug)]
pub(super) struct Paths {
    all: [PathStatistics; MAX_PATHS],
    /// Repairs that arrived on each path, including copies.
    repairs: [u64; MAX_PATHS],
    used: usize,
}

impl Paths {
    /// Returns this many paths, which are active at `now`.
    pub(super) fn new(paths: u8, now: ClockTime) -> Self {
        let all = [PathStatistics { heard: now, ..PathStatistics::default() }; MAX_PATHS];
        Self { all, repairs: [0; MAX_PATHS], used: usize::from(paths).clamp(1, MAX_PATHS) }
    }

    pub(super) fn statistics(&self) -> &[PathStatistics] {
        &self.all[..self.used]
    }

    #[inline]
    pub(super) fn record_activity(&mut self, path: u8, now: ClockTime) -> Option<SubscriberEvent> {
        let path = usize::from(path).min(self.used - 1);
        self.all[path].heard = now;
        core::mem::take(&mut self.all[path].silent).then_some(SubscriberEvent::PathBack(path as u8))
    }

    #[inline]
    pub(super) fn received(&mut self, path: u8, first: bool) {
        let path = usize::from(path).min(self.used - 1);
        self.all[path].received += 1;
        self.all[path].first += u64::from(first);
    }

    /// Notes a repair, whether it is a copy or not.
    #[inline]
    pub(super) fn record_repair(&mut self, path: u8) {
        let path = usize::from(path).min(self.used - 1);
        self.repairs[path] += 1;
    }

    /// Returns the number of repairs on the path on which most arrived.
    pub(super) fn repairs(&self) -> u64 {
        self.repairs.iter().copied().max().unwrap_or(0)
    }

    /// When a path next becomes silent; never unless something arrives before.
    pub(super) fn next_silence_check(&self, silence: Duration) -> ClockTime {
        self.silent_from(silence).map(|(_, at)| at).min().unwrap_or(ClockTime::NEVER)
    }

    /// Returns an event for a path on which nothing arrived for this time while another one was active.
    pub(super) fn take_silent(&mut self, now: ClockTime, silence: Duration) -> Option<SubscriberEvent> {
        let (index, _) = self.silent_from(silence).find(|(_, at)| now >= *at)?;
        self.all[index].silent = true;
        Some(SubscriberEvent::PathSilent(index as u8))
    }

    /// Returns the paths that are silent from a known time on, because another one was active shortly before that time.
    /// It does not depend on the present time: a check that comes late must find the same, or it would be due forever.
    fn silent_from(&self, silence: Duration) -> impl Iterator<Item = (usize, ClockTime)> {
        let paths = self.statistics();
        let active_until = paths.iter().map(|path| path.heard).max().unwrap_or_default() + silence / 2;
        let at = move |path: &PathStatistics| path.heard + silence + Duration::from_nanos(1);
        let due = paths.iter().enumerate().filter(|(_, path)| !path.silent);
        due.map(move |(index, path)| (index, at(path))).filter(move |(_, at)| *at <= active_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_nanos(1_000);

    #[test]
    fn a_path_is_silent_once_while_another_is_active() {
        let mut paths = Paths::new(2, ClockTime(0));
        assert_eq!(paths.next_silence_check(SILENCE), ClockTime::NEVER, "both may be idle");
        paths.record_activity(1, ClockTime(600));
        let due = paths.next_silence_check(SILENCE);
        assert_eq!(due, ClockTime(1_001));
        assert_eq!(paths.take_silent(due - Duration::from_nanos(1), SILENCE), None);
        assert_eq!(
            paths.take_silent(due + Duration::from_nanos(5_000), SILENCE),
            Some(SubscriberEvent::PathSilent(0)),
            "late"
        );
        assert_eq!(
            (paths.take_silent(due, SILENCE), paths.next_silence_check(SILENCE)),
            (None, ClockTime::NEVER)
        );
        assert_eq!(paths.record_activity(0, ClockTime(7_000)), Some(SubscriberEvent::PathBack(0)));
    }

    /// A deadline that has passed and changes nothing would make a subscriber poll without a pause.
    #[test]
    fn no_check_is_due_after_a_check() {
        for active in (0..3_000).step_by(100) {
            let mut paths = Paths::new(3, ClockTime(0));
            paths.record_activity(1, ClockTime(active));
            for now in (0..6_000).step_by(50).map(ClockTime) {
                while paths.take_silent(now, SILENCE).is_some() {}
                assert!(paths.next_silence_check(SILENCE) > now, "active until {active}, at {now:?}");
            }
        }
    }
}
