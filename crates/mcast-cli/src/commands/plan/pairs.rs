//! Checks that redundant feeds have no point of failure in common.

use std::collections::{BTreeMap, BTreeSet};

use mcast::{InterfaceSelector, SourceFilter};

use super::entry::Entry;
use super::finding::{Finding, Severity};

pub(super) fn check(entries: &[Entry], findings: &mut Vec<Finding>) {
    let mut sets: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        if let Some(pair) = &entry.pair {
            sets.entry(pair).or_default().push(entry);
        }
    }
    for (pair, feeds) in sets {
        if let [alone] = feeds[..] {
            let message = format!("\"{}\" is the only feed of pair \"{pair}\"", alone.name);
            findings
                .push(Finding::new(&alone.place, Severity::Fault, "pair-alone", message).named(&alone.name));
        }
        for (number, feed) in feeds.iter().enumerate() {
            for other in feeds.iter().take(number) {
                compare(feed, other, findings);
            }
        }
    }
}

/// Reports what a feed has in common with an earlier one of its pair, so that one fault could affect both.
fn compare(feed: &Entry, other: &Entry, findings: &mut Vec<Finding>) {
    let mut add = |severity, id, what: &str| {
        let message =
            format!("it has {what} \"{}\" ({}), the other feed of its pair", other.name, other.place);
        findings.push(Finding::new(&feed.place, severity, id, message).named(&feed.name));
    };
    let groups = |entry: &Entry| -> BTreeSet<_> { all(entry, |each| each.address.group) };
    let ethernet =
        |entry: &Entry| -> BTreeSet<_> { all(entry, |each| each.address.group.ethernet_address().octets()) };
    if !groups(feed).is_disjoint(&groups(other)) {
        add(Severity::Fault, "pair-same-group", "the same group as");
    } else if !ethernet(feed).is_disjoint(&ethernet(other)) {
        add(Severity::Fault, "pair-alias", "a group with the same Ethernet address as");
    }
    if !all(feed, |each| each.address.port).is_disjoint(&all(other, |each| each.address.port)) {
        add(Severity::Warning, "pair-same-port", "the same port as");
    }
    match (interfaces(feed), interfaces(other)) {
        (Some(own), Some(others)) if own.is_disjoint(&others) => {}
        (Some(_), Some(_)) => add(Severity::Warning, "pair-same-interface", "the same interface as"),
        // Without interfaces, as in a session description, they cannot be compared.
        _ => {}
    }
    if !sources(feed).is_disjoint(&sources(other)) {
        add(Severity::Warning, "pair-same-source", "the same source as");
    }
    if all(feed, |each| each.address.group.scope()) != all(other, |each| each.address.group.scope()) {
        add(Severity::Warning, "pair-scopes", "a different scope than");
    }
}

fn all<T: Ord>(entry: &Entry, of: impl Fn(&mcast::Membership) -> T) -> BTreeSet<T> {
    entry.memberships.iter().map(of).collect()
}

/// Returns the interfaces; `None` if a membership names none.
fn interfaces(entry: &Entry) -> Option<BTreeSet<InterfaceSelector>> {
    entry.memberships.iter().map(|each| each.interface.clone()).collect()
}

fn sources(entry: &Entry) -> BTreeSet<std::net::IpAddr> {
    let included = entry.memberships.iter().filter_map(|each| match &each.sources {
        SourceFilter::Include(sources) => Some(sources.iter().copied()),
        SourceFilter::Exclude(_) => None,
    });
    included.flatten().collect()
}
