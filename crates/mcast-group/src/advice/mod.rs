//! Advice on whether to use a group.

mod statement;

use alloc::vec::Vec;

use crate::{AdministrativeRange, Family, Group, Kind, Reference, Scope, SourceSpecificRange, WithReference};

pub use statement::{Advice, Severity, Statement};

impl Group {
    /// Returns advice on using the group, the most severe first.
    ///
    /// ```
    /// use mcast_group::{Group, Severity};
    /// let group: Group = "239.128.0.5".parse()?;
    /// let advice = group.advice();
    /// assert!(advice.iter().any(|advice| advice.to_string().contains("address with 224.0.0.5")));
    /// assert!(advice.iter().all(|advice| advice.severity < Severity::Avoid));
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub fn advice(self) -> Vec<Advice> {
        let mut advice = Vec::new();
        advise_on_scope(self, &mut advice);
        advise_on_kind(self, &mut advice);
        advise_on_names(self, &mut advice);
        advise_on_ethernet(self, &mut advice);
        advise_on_routing(self, &mut advice);
        advice.sort_by_key(|advice| core::cmp::Reverse(advice.severity));
        advice
    }
}

fn add(advice: &mut Vec<Advice>, severity: Severity, statement: Statement, reference: Reference) {
    advice.push(Advice { severity, statement, reference });
}

fn advise_on_scope(group: Group, advice: &mut Vec<Advice>) {
    let WithReference { value: scope, reference } = group.scope_with_reference();
    match scope {
        Scope::Reserved(nibble) => add(advice, Severity::Avoid, Statement::ReservedScope(nibble), reference),
        Scope::InterfaceLocal => add(advice, Severity::Note, Statement::StaysInHost, reference),
        Scope::LinkLocal => add(advice, Severity::Note, Statement::NeverForwarded, reference),
        _ => {}
    }
}

fn advise_on_kind(group: Group, advice: &mut Vec<Advice>) {
    let WithReference { value: kind, reference } = group.kind_with_reference();
    if let Kind::SourceSpecific(range) = kind {
        return advise_on_source_specific(group, range, advice);
    }
    if let Some((severity, statement)) = statement_on(kind, group) {
        add(advice, severity, statement, reference);
    }
    if group.is_documentation() {
        add(advice, Severity::Avoid, Statement::Documentation, Reference::rfc(6676));
    }
    advise_on_group_id(kind, advice);
}

fn statement_on(kind: Kind, group: Group) -> Option<(Severity, Statement)> {
    let statement = match kind {
        Kind::Reserved => return Some((Severity::Avoid, Statement::Reserved)),
        Kind::Malformed(malformation) => {
            return Some((Severity::Avoid, Statement::Malformed(malformation)));
        }
        Kind::LocalNetworkControl | Kind::InternetworkControl | Kind::AdHoc(_) | Kind::Permanent => {
            return (!is_registered(group)).then_some((Severity::Avoid, Statement::Unassigned));
        }
        Kind::Glop { autonomous_system } => Statement::BelongsToAutonomousSystem(autonomous_system),
        Kind::UnicastPrefixV4 { network } => Statement::BelongsToNetwork(network),
        Kind::UnicastPrefixV6 { prefix, .. } | Kind::EmbeddedRp { prefix, .. } => {
            Statement::BelongsToPrefix(prefix)
        }
        Kind::LinkScoped { interface_id, .. } => Statement::BelongsToInterface(interface_id),
        Kind::AdministrativelyScoped(
            AdministrativeRange::LocalExpansion
            | AdministrativeRange::OrganizationExpansion
            | AdministrativeRange::Unassigned,
        ) => return Some((Severity::Note, Statement::ReservedForExpansion)),
        _ => return None,
    };
    Some((Severity::Caution, statement))
}

fn advise_on_source_specific(group: Group, range: SourceSpecificRange, advice: &mut Vec<Advice>) {
    let reference = Reference::section(4607, "1");
    let free = range == SourceSpecificRange::Host;
    // Some groups of IANA's part are in use; `advise_on_names` reports their users.
    if !free && group.assignments().next().is_none() {
        add(advice, Severity::Avoid, Statement::SourceSpecificNotFree(range), reference);
    }
    add(advice, Severity::Caution, Statement::NeedsSource, reference);
}

/// Group identifiers for dynamic use have the highest bit set, so that they do not share an Ethernet address
/// with permanent groups.
fn advise_on_group_id(kind: Kind, advice: &mut Vec<Advice>) {
    let (Kind::Transient { group_id }
    | Kind::UnicastPrefixV6 { group_id, .. }
    | Kind::EmbeddedRp { group_id, .. }
    | Kind::LinkScoped { group_id, .. }) = kind
    else {
        return;
    };
    if group_id < 0x8000_0000 {
        add(advice, Severity::Note, Statement::LowGroupId(group_id), Reference::section(3307, "4.3"));
    }
}

fn is_registered(group: Group) -> bool {
    group.assignments().any(|assignment| assignment.standing.is_registered())
}

fn advise_on_names(group: Group, advice: &mut Vec<Advice>) {
    for assignment in group.assignments() {
        let (severity, statement) = if !assignment.standing.is_registered() {
            (Severity::Caution, Statement::InUseBy(assignment))
        } else if assignment.name.contains("Reserved") {
            (Severity::Avoid, Statement::Reserved)
        } else {
            (Severity::Caution, Statement::RegisteredTo(assignment))
        };
        let reference = assignment.references.first().copied().unwrap_or_else(|| registry(group));
        add(advice, severity, statement, reference);
    }
    if let (Some(relative), false) = (group.relative(), is_registered(group)) {
        let statement = Statement::RelativeAddress(relative);
        add(advice, Severity::Avoid, statement, Reference::section(2365, "9"));
    }
    for well_known in group.well_known() {
        if let Some(limit) = well_known.hop_limit {
            add(advice, Severity::Note, Statement::ExpectsHopLimit(limit), well_known.reference);
        }
    }
}

const fn registry(group: Group) -> Reference {
    Reference::Document(match group.family() {
        Family::V4 => "IANA IPv4 Multicast Address Space Registry",
        Family::V6 => "IANA IPv6 Multicast Address Space Registry",
    })
}

fn advise_on_ethernet(group: Group, advice: &mut Vec<Advice>) {
    if let Some(control) = group.control_alias() {
        let section = if group.family() == Family::V4 { "2.1.2" } else { "3" };
        let statement = Statement::SharesControlAddress(control);
        add(advice, Severity::Caution, statement, Reference::section(4541, section));
    }
}

fn advise_on_routing(group: Group, advice: &mut Vec<Advice>) {
    let scope = group.scope();
    if scope.stays_on_link() || matches!(scope, Scope::Reserved(_)) {
        return;
    }
    let default = match group.family() {
        Family::V4 => Reference::section(1112, "6.1"),
        Family::V6 => Reference::section(3493, "5.2"),
    };
    add(advice, Severity::Note, Statement::NeedsHopLimit, default);
    if scope == Scope::Global && !group.is_source_specific() && !group.is_documentation() {
        add(advice, Severity::Note, Statement::AnySourceBetweenDomains, Reference::section(8815, "4.1"));
    }
}

#[cfg(test)]
mod tests;
