//! The same stream on several paths: which path delivers the first copy, and which is silent.

use super::event::{PathStatistics, SubscriberEvent};

/// The header has two bits for the path.
const MAX_PATHS: usize = 4;

#[derive(Debug)]
pub(super) struct Paths {
    all: [PathStatistics; MAX_PATHS],
    used: usize,
}

impl Paths {
    pub(super) fn new(paths: u8) -> Self {
        Self { all: [PathStatistics::default(); MAX_PATHS], used: usize::from(paths).clamp(1, MAX_PATHS) }
    }

    pub(super) fn statistics(&self) -> &[PathStatistics] {
        &self.all[..self.used]
    }

    /// Takes all paths as active at `now`.
    pub(super) fn begin(&mut self, now: u64) {
        for path in &mut self.all {
            path.heard = now;
        }
    }

    #[inline]
    pub(super) fn note_activity(&mut self, path: u8, now: u64) -> Option<SubscriberEvent> {
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

    /// When a path may next become silent.
    pub(super) fn next_silence_check(&self, silence: u64) -> u64 {
        let heard = self.statistics().iter().map(|path| path.heard).max().unwrap_or(0);
        let could = |path: &&PathStatistics| !path.silent && path.heard.saturating_add(silence / 2) <= heard;
        let at = self.statistics().iter().filter(could).map(|path| path.heard.saturating_add(silence + 1));
        at.min().unwrap_or(u64::MAX)
    }

    /// Returns an event for a path on which nothing arrived for `silence` nanoseconds while another one was active.
    pub(super) fn take_silent(&mut self, now: u64, silence: u64) -> Option<SubscriberEvent> {
        let heard = self.statistics().iter().map(|path| path.heard).max().unwrap_or(0);
        if now.saturating_sub(heard) > silence / 2 {
            return None;
        }
        let is_silent = |path: &PathStatistics| !path.silent && now.saturating_sub(path.heard) > silence;
        let index = self.statistics().iter().position(is_silent)?;
        self.all[index].silent = true;
        Some(SubscriberEvent::PathSilent(index as u8))
    }
}
