//! Checks that redundant feeds have no point of failure in common.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{PlanCheck, PlanEntry, PlanFinding};
use crate::{InterfaceSelector, Membership, SourceFilter};

pub(super) fn check(entries: &[PlanEntry], findings: &mut Vec<PlanFinding>) {
    let mut sets: BTreeMap<&str, Vec<&PlanEntry>> = BTreeMap::new();
    for entry in entries {
        if let Some(pair) = &entry.pair {
            sets.entry(pair).or_default().push(entry);
        }
    }
    for (pair, feeds) in sets {
        if let [alone] = feeds[..] {
            let message = format!("\"{}\" is the only feed of pair \"{pair}\"", alone.name);
            findings.push(PlanFinding::of(alone, PlanCheck::PairAlone, message));
        }
        for (number, feed) in feeds.iter().enumerate() {
            for other in feeds.iter().take(number) {
                compare(feed, other, findings);
            }
        }
    }
}

/// Reports what a feed has in common with an earlier one of its pair, so that one fault could affect both.
fn compare(feed: &PlanEntry, other: &PlanEntry, findings: &mut Vec<PlanFinding>) {
    let mut add = |check, what: &str| {
        let message =
            format!("it has {what} \"{}\" ({}), the other feed of its pair", other.name, other.line);
        findings.push(PlanFinding::of(feed, check, message));
    };
    let groups = |entry: &PlanEntry| -> BTreeSet<_> { all(entry, |each| each.address.group) };
    let ethernet = |entry: &PlanEntry| -> BTreeSet<_> {
        all(entry, |each| each.address.group.ethernet_address().octets())
    };
    if !groups(feed).is_disjoint(&groups(other)) {
        add(PlanCheck::PairSameGroup, "the same group as");
    } else if !ethernet(feed).is_disjoint(&ethernet(other)) {
        add(PlanCheck::PairAlias, "a group with the same Ethernet address as");
    }
    if !all(feed, |each| each.address.port).is_disjoint(&all(other, |each| each.address.port)) {
        add(PlanCheck::PairSamePort, "the same port as");
    }
    match (interfaces(feed), interfaces(other)) {
        (Some(own), Some(others)) if own.is_disjoint(&others) => {}
        (Some(_), Some(_)) => add(PlanCheck::PairSameInterface, "the same interface as"),
        // Without interfaces, as in a session description, they cannot be compared.
        _ => {}
    }
    if !sources(feed).is_disjoint(&sources(other)) {
        add(PlanCheck::PairSameSource, "the same source as");
    }
    if all(feed, |each| each.address.group.scope()) != all(other, |each| each.address.group.scope()) {
        add(PlanCheck::PairScopes, "a different scope than");
    }
}

fn all<T: Ord>(entry: &PlanEntry, of: impl Fn(&Membership) -> T) -> BTreeSet<T> {
    entry.memberships.iter().map(of).collect()
}

/// Returns the interfaces; `None` if a membership names none.
fn interfaces(entry: &PlanEntry) -> Option<BTreeSet<InterfaceSelector>> {
    entry.memberships.iter().map(|each| each.interface.clone()).collect()
}

fn sources(entry: &PlanEntry) -> BTreeSet<IpAddr> {
    let included = entry.memberships.iter().filter_map(|each| match &each.sources {
        SourceFilter::Include(sources) => Some(sources.iter().copied()),
        SourceFilter::Exclude(_) => None,
    });
    included.flatten().collect()
}
