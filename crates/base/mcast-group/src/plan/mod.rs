//! Plans: lists of named memberships, and what is wrong with them.

mod entry;
mod finding;
mod groups;
mod pairs;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Reverse;

pub use entry::PlanEntry;
pub use finding::{PlanCheck, PlanFinding, PlanLine, PlanSeverity};

/// A plan of the groups in a network: named memberships, and the pairs that carry the same data redundantly.
///
/// [`check`](Self::check) compares each group with the registries and RFCs, all entries with each other, and the feeds
/// of each pair, which should have no point of failure in common.
///
/// ```
/// use mcast_group::{AddressPlan, PlanCheck};
///
/// let mut plan = AddressPlan::default();
/// plan.add("groups.txt", "\
/// prices-a  10.0.0.7@232.1.2.3%eth1:5000  pair=prices
/// prices-b  10.9.0.7@232.9.2.3%eth2:5000  pair=prices
/// ");
/// let findings = plan.check();
/// assert_eq!(findings[0].check, PlanCheck::PairSamePort);
/// assert_eq!(findings[0].line.to_string(), "groups.txt:2");
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressPlan {
    entries: Vec<PlanEntry>,
    unreadable: Vec<PlanFinding>,
}

impl AddressPlan {
    /// Returns the entries in the order in which they were added.
    #[must_use]
    pub fn entries(&self) -> &[PlanEntry] {
        &self.entries
    }

    /// Returns the findings by file and line, without those that the lines allow.
    #[must_use]
    pub fn check(&self) -> Vec<PlanFinding> {
        let mut findings = self.unreadable.clone();
        let entries = &self.entries;
        check_allowances(entries, &mut findings);
        check_names(entries, &mut findings);
        entries.iter().for_each(|entry| groups::check_each(entry, &mut findings));
        groups::check_together(entries, &mut findings);
        pairs::check(entries, &mut findings);
        findings.retain(|finding| !is_allowed(entries, finding));
        let files: Vec<&str> = entries.iter().map(|entry| entry.line.file.as_str()).collect();
        let rank = |finding: &PlanFinding| files.iter().position(|file| *file == finding.line.file);
        findings.sort_by_key(|finding| {
            (rank(finding).unwrap_or(usize::MAX), finding.line.number, Reverse(finding.severity()))
        });
        findings
    }
}

fn is_allowed(entries: &[PlanEntry], finding: &PlanFinding) -> bool {
    let entry = entries.iter().find(|entry| entry.line == finding.line);
    entry.is_some_and(|entry| entry.allowed.contains(&finding.check))
}

fn check_allowances(entries: &[PlanEntry], findings: &mut Vec<PlanFinding>) {
    for entry in entries {
        let messages = entry.unknown_ids.iter().map(|id| format!("there is no finding \"{id}\" to allow"));
        findings.extend(messages.map(|message| PlanFinding::of(entry, PlanCheck::Unreadable, message)));
    }
}

fn check_names(entries: &[PlanEntry], findings: &mut Vec<PlanFinding>) {
    let mut first = BTreeMap::new();
    for entry in entries {
        match first.get(&entry.name) {
            None => drop(first.insert(&entry.name, &entry.line)),
            Some(line) => {
                let message = format!("the name \"{}\" is already used ({line})", entry.name);
                findings.push(PlanFinding::of(entry, PlanCheck::NameTwice, message));
            }
        }
    }
}
