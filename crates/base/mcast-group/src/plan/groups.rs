//! Checks of groups, individually and against each other, and of redundant feeds, which should have no point of failure in
//! common.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{PlanCheck, PlanEntry, PlanFinding};
use crate::{
    AdviceSeverity, EthernetAddress, Group, GroupAddr, InterfaceSelector, Membership, SourceFilter, Statement,
};

/// Checks an entry's groups against the registries and RFCs. Reports each problem of a range once.
pub(super) fn check_each(entry: &PlanEntry, findings: &mut Vec<PlanFinding>) {
    let mut reported = BTreeSet::new();
    for membership in &entry.memberships {
        let group = membership.address.group;
        for advice in group.advice() {
            let Some(check) = judge(&advice.statement, advice.severity, entry, membership) else { continue };
            if reported.insert(check) {
                let message = format!("{group}: {}", advice.statement);
                let finding = PlanFinding::of(entry, check, message);
                findings.push(finding.with_reference(advice.reference.to_string()));
            }
        }
        if entry.hop_limit.is_some_and(|limit| limit > 1)
            && group.scope().stays_on_link()
            && !entry.by_name
            && reported.insert(PlanCheck::ScopeTooSmall)
        {
            let message = format!("{group} never leaves its network, but its TTL asks for more than 1 hop");
            findings.push(PlanFinding::of(entry, PlanCheck::ScopeTooSmall, message));
        }
    }
}

/// Returns the check that a statement fails; `None` if it does not concern a plan.
fn judge(
    statement: &Statement,
    severity: AdviceSeverity,
    entry: &PlanEntry,
    membership: &Membership,
) -> Option<PlanCheck> {
    Some(match statement {
        Statement::Reserved | Statement::ReservedScope(_) | Statement::SourceSpecificNotFree(_) => {
            PlanCheck::Reserved
        }
        Statement::Malformed(_) => PlanCheck::Malformed,
        Statement::Unassigned | Statement::LowGroupId(_) => PlanCheck::Unassigned,
        Statement::Documentation => PlanCheck::Documentation,
        Statement::RegisteredTo(_) if !entry.by_name => PlanCheck::Registered,
        Statement::InUseBy(_) if !entry.by_name => PlanCheck::InUse,
        Statement::BelongsToAutonomousSystem(_)
        | Statement::BelongsToNetwork(_)
        | Statement::BelongsToPrefix(_)
        | Statement::BelongsToInterface(_) => PlanCheck::NotYours,
        Statement::ReservedForExpansion => PlanCheck::Kept,
        Statement::RelativeAddress(_) if !entry.by_name => PlanCheck::ScopeTop,
        Statement::SharesControlAddress(_) => PlanCheck::MacAliasOfControl,
        Statement::NeedsSource if !matches!(membership.sources, SourceFilter::Include(_)) => {
            PlanCheck::SsmWithoutSource
        }
        // Other statements that advise against a group, including those added to the registry later.
        _ if severity == AdviceSeverity::Avoid && !entry.by_name && !is_ignored(statement) => {
            PlanCheck::Reserved
        }
        _ => return None,
    })
}

/// Returns whether [`judge`] ignores a statement.
const fn is_ignored(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::NeedsSource
            | Statement::RegisteredTo(_)
            | Statement::InUseBy(_)
            | Statement::RelativeAddress(_)
            | Statement::StaysInHost
            | Statement::NeverForwarded
            | Statement::NeedsHopLimit
            | Statement::ExpectsHopLimit(_)
            | Statement::AnySourceBetweenDomains
    )
}

/// Checks what later entries have in common with the first one of a group, a port or an Ethernet address.
pub(super) fn check_together(entries: &[PlanEntry], findings: &mut Vec<PlanFinding>) {
    let mut earlier = EarlierEntries::default();
    for entry in entries {
        // Each earlier entry is reported once, by its most severe conflict.
        let mut reported: BTreeSet<usize> = BTreeSet::new();
        let mut same_port = None;
        for membership in &entry.memberships {
            for (check, other) in earlier.conflicts(entries, entry, membership) {
                if check == PlanCheck::SharedPort {
                    same_port.get_or_insert((membership.address.port, other));
                } else if reported.insert(other)
                    && let Some(other) = entries.get(other)
                {
                    findings.push(conflict(check, entry, membership, other));
                }
            }
        }
        if let Some((port, other)) = same_port
            && reported.is_empty()
            && let Some(other) = entries.get(other)
        {
            findings.push(shared_port(entry, port, other));
        }
        earlier.add(entry);
    }
}

fn conflict(check: PlanCheck, entry: &PlanEntry, membership: &Membership, other: &PlanEntry) -> PlanFinding {
    let address = membership.address;
    let (group, name, line) = (address.group, &other.name, &other.line);
    let message = match check {
        PlanCheck::Overlap => {
            format!("{address} also belongs to \"{name}\" ({line}): receivers would receive both")
        }
        PlanCheck::SameGroup => format!(
            "{group} is also the group of \"{name}\" ({line}), on another port: members of one receive both"
        ),
        _ => format!(
            "{group} has the same Ethernet address, {}, as a group of \"{name}\" ({line}): network cards, and \
             switches that snoop by Ethernet address, cannot distinguish them",
            group.ethernet_address()
        ),
    };
    let finding = PlanFinding::of(entry, check, message);
    match check {
        PlanCheck::MacAlias => finding.with_reference("RFC 1112 section 6.4, RFC 2464 section 7".to_string()),
        _ => finding,
    }
}

fn shared_port(entry: &PlanEntry, port: u16, other: &PlanEntry) -> PlanFinding {
    let message = format!(
        "port {port} is also the port of \"{}\" ({}): on Linux, a program that does not bind to its group \
         may receive both",
        other.name, other.line
    );
    PlanFinding::of(entry, PlanCheck::SharedPort, message)
}

/// The groups, Ethernet addresses and ports of earlier entries, with the numbers of the entries.
#[derive(Default)]
struct EarlierEntries {
    entries: usize,
    /// With the index of the membership in its entry, because a range may have very many.
    groups: BTreeMap<Group, Vec<(usize, usize)>>,
    ethernet: BTreeMap<EthernetAddress, Vec<(Group, usize)>>,
    ports: BTreeMap<u16, usize>,
}

impl EarlierEntries {
    fn add(&mut self, entry: &PlanEntry) {
        let number = self.entries;
        self.entries += 1;
        let groups: BTreeSet<Group> = entry.memberships.iter().map(|each| each.address.group).collect();
        for group in groups {
            self.ethernet.entry(group.ethernet_address()).or_default().push((group, number));
        }
        for (index, membership) in entry.memberships.iter().enumerate() {
            self.groups.entry(membership.address.group).or_default().push((number, index));
            self.ports.entry(membership.address.port).or_insert(number);
        }
    }

    /// Returns the conflicts of a membership with earlier entries, the most severe first.
    fn conflicts(
        &self,
        entries: &[PlanEntry],
        entry: &PlanEntry,
        membership: &Membership,
    ) -> Vec<(PlanCheck, usize)> {
        let GroupAddr { group, port, .. } = membership.address;
        let is_pair = |number: usize| {
            entry.pair.is_some() && entries.get(number).is_some_and(|other| other.pair == entry.pair)
        };
        let mut conflicts = Vec::new();
        let same = self.groups.get(&group).into_iter().flatten();
        for (number, index) in same.copied().filter(|(number, _)| !is_pair(*number)) {
            let other = entries.get(number).and_then(|other| other.memberships.get(index));
            if let Some(other) = other.filter(|other| overlaps(other, membership)) {
                let is_same_port = other.address.port == port;
                let check = if is_same_port { PlanCheck::Overlap } else { PlanCheck::SameGroup };
                conflicts.push((check, number));
            }
        }
        conflicts.sort_by_key(|(check, _)| *check != PlanCheck::Overlap);
        let sharing = self.ethernet.get(&group.ethernet_address()).into_iter().flatten();
        let aliases = sharing.filter(|(other, number)| *other != group && !is_pair(*number));
        conflicts.extend(aliases.map(|(_, number)| (PlanCheck::MacAlias, *number)));
        if let Some(number) = self.ports.get(&port).copied().filter(|number| !is_pair(*number)) {
            conflicts.push((PlanCheck::SharedPort, number));
        }
        conflicts
    }
}

/// Returns whether two memberships can receive the same packets: for the same group, on the same interface if both
/// name one, and from a source that both admit.
fn overlaps(a: &Membership, b: &Membership) -> bool {
    if a.address.group != b.address.group {
        return false;
    }
    let same_interface = match (&a.interface, &b.interface) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    same_interface
        && match (&a.sources, &b.sources) {
            (SourceFilter::Include(a), SourceFilter::Include(b)) => !a.is_disjoint(b),
            (SourceFilter::Include(named), filter) | (filter, SourceFilter::Include(named)) => {
                named.iter().any(|source| filter.admits(*source))
            }
            _ => true,
        }
}

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
