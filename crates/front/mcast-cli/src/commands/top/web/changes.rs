//! What changed in the last hour.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::section::json;

/// The most that is kept, and for how long.
const MOST: usize = 1_000;
const KEPT: Duration = Duration::from_secs(3_600);
/// The most of one kind per update: what is flooded with announcements does not push everything else out.
const MOST_AT_ONCE: usize = 8;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangeEntry {
    /// Milliseconds since 1970.
    time: u64,
    /// What it is about: `stream`, `loss`, `member`, `service` or `finding`.
    kind: &'static str,
    /// `new`, `changed`, `gone`, or `more` for a number of further ones.
    event: &'static str,
    text: String,
}

/// The latest changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    entries: VecDeque<ChangeEntry>,
    /// How many of the latest were added since the last call of [`Self::write_new`].
    new: usize,
}

impl ChangeLog {
    /// Adds changes of one kind.
    pub(super) fn add(
        &mut self,
        now: SystemTime,
        kind: &'static str,
        event: &'static str,
        texts: impl IntoIterator<Item = String>,
    ) {
        let mut texts = texts.into_iter();
        for text in texts.by_ref().take(MOST_AT_ONCE) {
            self.push(ChangeEntry { time: milliseconds(now), kind, event, text });
        }
        let more = texts.count();
        if more > 0 {
            let text = format!("{more} more {event}");
            self.push(ChangeEntry { time: milliseconds(now), kind, event: "more", text });
        }
    }

    fn push(&mut self, entry: ChangeEntry) {
        if self.entries.len() == MOST {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.new = (self.new + 1).min(MOST);
    }

    /// Forgets what is older than an hour.
    pub(super) fn expire(&mut self, now: SystemTime) {
        let oldest = milliseconds(now.checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH));
        while self.entries.front().is_some_and(|entry| entry.time < oldest) {
            self.entries.pop_front();
        }
    }

    /// Writes all as JSON.
    pub(super) fn write(&self, out: &mut String) {
        out.push_str(&json(&self.entries));
    }

    /// Writes those that were not written by this method before.
    pub(super) fn write_new(&mut self, out: &mut String) {
        let first = self.entries.len().saturating_sub(std::mem::take(&mut self.new));
        out.push_str(&json(&self.entries.range(first..).collect::<Vec<_>>()));
    }
}

/// Returns a time as milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_one_line_and_old_changes_are_forgotten() {
        let (mut log, start) = (ChangeLog::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(10_000));
        log.add(start, "member", "gone", ["10.0.0.1".to_owned()]);
        log.add(start, "service", "new", (0..5_000).map(|number| format!("service {number}")));
        let mut text = String::new();
        log.write_new(&mut text);
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(entries.len(), 1 + MOST_AT_ONCE + 1);
        assert_eq!(entries[9]["text"], "4992 more new");
        text.clear();
        log.write_new(&mut text);
        assert_eq!(text, "[]");
        for second in 0..2_000 {
            log.add(start + Duration::from_secs(second), "stream", "new", ["x".to_owned()]);
        }
        assert_eq!(log.entries.len(), MOST);
        log.expire(start + Duration::from_secs(1_999 + 3_601));
        assert!(log.entries.is_empty());
    }
}
