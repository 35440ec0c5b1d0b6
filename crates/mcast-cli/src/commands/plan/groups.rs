//! Checks of groups, individually and against each other.

use std::collections::{BTreeSet, HashMap, HashSet};

use mcast::group::{EthernetAddress, Severity as Concern, Statement};
use mcast::{Group, GroupAddr, Membership, SourceFilter};

use super::entry::Entry;
use super::finding::{Finding, Severity};

/// Checks an entry's groups against the registries and RFCs. Reports each problem of a range once.
pub(super) fn own(entry: &Entry, findings: &mut Vec<Finding>) {
    let mut reported = HashSet::new();
    for membership in &entry.memberships {
        let group = membership.address.group;
        for advice in group.advice() {
            let Some((severity, id)) = judge(&advice.statement, advice.severity, entry, membership) else {
                continue;
            };
            if reported.insert(id) {
                let message = format!("{group}: {}", advice.statement);
                let finding = Finding::new(&entry.place, severity, id, message);
                findings.push(finding.named(&entry.name).with_reference(advice.reference));
            }
        }
        if entry.hop_limit.is_some_and(|limit| limit > 1)
            && group.scope().stays_on_link()
            && !entry.is_by_name
            && reported.insert("scope-too-small")
        {
            let message = format!("{group} never leaves its network, but its TTL asks for more than 1 hop");
            let finding = Finding::new(&entry.place, Severity::Fault, "scope-too-small", message);
            findings.push(finding.named(&entry.name));
        }
    }
}

/// Returns the severity and id of a statement; `None` if it does not concern a plan.
fn judge(
    statement: &Statement,
    concern: Concern,
    entry: &Entry,
    membership: &Membership,
) -> Option<(Severity, &'static str)> {
    use Severity::{Fault, Warning};

    Some(match statement {
        Statement::Reserved | Statement::ReservedScope(_) => (Fault, "reserved"),
        Statement::Malformed(_) => (Fault, "malformed"),
        Statement::Unassigned | Statement::LowGroupId(_) => (Fault, "unassigned"),
        Statement::Documentation => (Fault, "documentation"),
        Statement::SourceSpecificNotFree(_) => (Fault, "reserved"),
        Statement::RegisteredTo(_) if !entry.is_by_name => (Warning, "registered"),
        Statement::InUseBy(_) if !entry.is_by_name => (Warning, "in-use"),
        Statement::BelongsToAutonomousSystem(_)
        | Statement::BelongsToNetwork(_)
        | Statement::BelongsToPrefix(_)
        | Statement::BelongsToInterface(_) => (Warning, "not-yours"),
        Statement::ReservedForExpansion => (Severity::Note, "kept"),
        Statement::RelativeAddress(_) if !entry.is_by_name => (Warning, "scope-top"),
        Statement::SharesControlAddress(_) => (Fault, "mac-alias-of-control"),
        Statement::NeedsSource if !matches!(membership.sources, SourceFilter::Include(_)) => {
            (Fault, "ssm-without-source")
        }
        // Other statements that advise against a group, including those added to the registry later.
        _ if concern == Concern::Avoid && !entry.is_by_name && !is_settled(statement) => (Fault, "reserved"),
        _ => return None,
    })
}

/// Returns whether [`judge`] ignores a statement.
const fn is_settled(statement: &Statement) -> bool {
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
pub(super) fn together(entries: &[Entry], findings: &mut Vec<Finding>) {
    let mut earlier = EarlierEntries::default();
    for entry in entries {
        // Each earlier entry is reported once, by its most severe conflict.
        let mut reported: HashSet<usize> = HashSet::new();
        let mut same_port = None;
        for membership in &entry.memberships {
            for (id, other) in earlier.conflicts(entries, entry, membership) {
                if id == "shared-port" {
                    same_port.get_or_insert((membership.address.port, other));
                } else if reported.insert(other)
                    && let Some(other) = entries.get(other)
                {
                    findings.push(conflict(id, entry, membership, other));
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

fn conflict(id: &'static str, entry: &Entry, membership: &Membership, other: &Entry) -> Finding {
    let address = membership.address;
    let (group, name, place) = (address.group, &other.name, &other.place);
    let (severity, message) = match id {
        "overlap" => (
            Severity::Fault,
            format!("{address} also belongs to \"{name}\" ({place}): receivers would receive both"),
        ),
        "same-group" => (
            Severity::Warning,
            format!(
                "{group} is also the group of \"{name}\" ({place}), on another port: members of one receive \
                 both"
            ),
        ),
        _ => (
            Severity::Warning,
            format!(
                "{group} has the same Ethernet address, {}, as a group of \"{name}\" ({place}): network \
                 cards, and switches that snoop by Ethernet address, cannot tell them apart",
                group.ethernet_address()
            ),
        ),
    };
    let finding = Finding::new(&entry.place, severity, id, message).named(&entry.name);
    if id == "mac-alias" {
        finding.with_reference("RFC 1112 section 6.4, RFC 2464 section 7")
    } else {
        finding
    }
}

fn shared_port(entry: &Entry, port: u16, other: &Entry) -> Finding {
    let message = format!(
        "port {port} is also the port of \"{}\" ({}): on Linux, a program that does not bind to its group \
         may receive both",
        other.name, other.place
    );
    Finding::new(&entry.place, Severity::Note, "shared-port", message).named(&entry.name)
}

/// The groups, Ethernet addresses and ports of earlier entries, with the numbers of the entries.
#[derive(Default)]
struct EarlierEntries {
    entries: usize,
    /// With the index of the membership in its entry, because a range may have very many.
    groups: HashMap<Group, Vec<(usize, usize)>>,
    ethernet: HashMap<EthernetAddress, Vec<(Group, usize)>>,
    ports: HashMap<u16, usize>,
}

impl EarlierEntries {
    fn add(&mut self, entry: &Entry) {
        let number = self.entries;
        self.entries += 1;
        let groups: BTreeSet<Group> = entry.memberships.iter().map(|each| each.address.group).collect();
        for group in groups {
            self.ethernet.entry(group.ethernet_address()).or_default().push((group, number));
        }
        for (place, membership) in entry.memberships.iter().enumerate() {
            self.groups.entry(membership.address.group).or_default().push((number, place));
            self.ports.entry(membership.address.port).or_insert(number);
        }
    }

    /// Returns the conflicts of a membership with earlier entries, the most severe first.
    fn conflicts(
        &self,
        entries: &[Entry],
        entry: &Entry,
        membership: &Membership,
    ) -> Vec<(&'static str, usize)> {
        let GroupAddr { group, port, .. } = membership.address;
        let is_pair = |number: usize| {
            entry.pair.is_some() && entries.get(number).is_some_and(|other| other.pair == entry.pair)
        };
        let mut conflicts = Vec::new();
        let same = self.groups.get(&group).into_iter().flatten();
        for (number, place) in same.copied().filter(|(number, _)| !is_pair(*number)) {
            let other = entries.get(number).and_then(|other| other.memberships.get(place));
            if let Some(other) = other.filter(|other| overlaps(other, membership)) {
                conflicts.push((if other.address.port == port { "overlap" } else { "same-group" }, number));
            }
        }
        conflicts.sort_by_key(|(id, _)| *id != "overlap");
        let sharing = self.ethernet.get(&group.ethernet_address()).into_iter().flatten();
        let aliases = sharing.filter(|(other, number)| *other != group && !is_pair(*number));
        conflicts.extend(aliases.map(|(_, number)| ("mac-alias", *number)));
        if let Some(number) = self.ports.get(&port).copied().filter(|number| !is_pair(*number)) {
            conflicts.push(("shared-port", number));
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
