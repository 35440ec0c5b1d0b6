//! Contestants that are no longer what was measured.

use super::figures::Row;
use super::results::Results;
use crate::contestants::messenger;

/// A contestant whose description has changed.
pub(super) struct Outdated<'r> {
    pub(super) name: &'r str,
    /// What it was when it was measured.
    pub(super) then: &'r str,
    pub(super) now: &'static str,
}

/// Returns the contestants for messages whose rows were measured with another description than they have now, each once.
pub(super) fn contestants(results: &Results) -> Vec<Outdated<'_>> {
    let mut found: Vec<Outdated<'_>> = Vec::new();
    for row in results.tables().flat_map(|figures| &figures.rows) {
        let (name, then) = (row.contestant(), row.what.as_str());
        let Some(now) = now(row).filter(|now| *now != then) else { continue };
        if !found.iter().any(|outdated| outdated.name == name) {
            found.push(Outdated { name, then, now });
        }
    }
    found
}

/// Returns whether a row was measured with another description than its contestant has now.
pub(super) fn is_outdated(row: &Row) -> bool {
    now(row).is_some_and(|now| now != row.what)
}

fn now(row: &Row) -> Option<&'static str> {
    messenger(row.contestant()).map(|messenger| messenger.what)
}
