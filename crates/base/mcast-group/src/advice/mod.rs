//! Advice on whether to use a group.

mod statement;

use alloc::vec::Vec;

use crate::{
    AdministrativeRange, Family, Group, GroupKind, Reference, Scope, SourceSpecificRange, WithReference,
};

pub use statement::{Advice, AdviceSeverity, Statement};

impl Group {
    /// Returns advice on using the group, the most severe first.
    ///
    /// ```
    /// use mcast_group::{Group, AdviceSeverity};
    /// let group: Group = "239.128.0.5".parse()?;
    /// let advice = group.advice();
    /// assert!(advice.iter().any(|advice| advice.to_string().contains("address with 224.0.0.5")));
    /// assert!(advice.iter().all(|advice| advice.severity < AdviceSeverity::Avoid));
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

fn add(advice: &mut Vec<Advice>, severity: AdviceSeverity, statement: Statement, reference: Reference) {
    advice.push(Advice { severity, statement, reference });
}

fn advise_on_scope(group: Group, advice: &mut Vec<Advice>) {
    let WithReference { value: scope, reference } = group.scope_with_reference();
    match scope {
        Scope::Reserved(nibble) => {
            add(advice, AdviceSeverity::Avoid, Statement::ReservedScope(nibble), reference);
        }
        Scope::InterfaceLocal => add(advice, AdviceSeverity::Note, Statement::StaysInHost, reference),
        Scope::LinkLocal => add(advice, AdviceSeverity::Note, Statement::NeverForwarded, reference),
        _ => {}
    }
}

fn advise_on_kind(group: Group, advice: &mut Vec<Advice>) {
    let WithReference { value: kind, reference } = group.kind_with_reference();
    if let GroupKind::SourceSpecific(range) = kind {
        return advise_on_source_specific(group, range, advice);
    }
    if let Some((severity, statement)) = statement_on(kind, group) {
        add(advice, severity, statement, reference);
    }
    if group.is_documentation() {
        add(advice, AdviceSeverity::Avoid, Statement::Documentation, Reference::rfc(6676));
    }
    advise_on_group_id(kind, advice);
}

fn statement_on(kind: GroupKind, group: Group) -> Option<(AdviceSeverity, Statement)> {
    let statement = match kind {
        GroupKind::Reserved => return Some((AdviceSeverity::Avoid, Statement::Reserved)),
        GroupKind::Malformed(malformation) => {
            return Some((AdviceSeverity::Avoid, Statement::Malformed(malformation)));
        }
        GroupKind::LocalNetworkControl
        | GroupKind::InternetworkControl
        | GroupKind::AdHoc(_)
        | GroupKind::Permanent => {
            return (!is_registered(group)).then_some((AdviceSeverity::Avoid, Statement::Unassigned));
        }
        GroupKind::Glop { autonomous_system } => Statement::BelongsToAutonomousSystem(autonomous_system),
        GroupKind::UnicastPrefixV4 { network } => Statement::BelongsToNetwork(network),
        GroupKind::UnicastPrefixV6 { prefix, .. } | GroupKind::EmbeddedRp { prefix, .. } => {
            Statement::BelongsToPrefix(prefix)
        }
        GroupKind::LinkScoped { interface_id, .. } => Statement::BelongsToInterface(interface_id),
        GroupKind::AdministrativelyScoped(
            AdministrativeRange::LocalExpansion
            | AdministrativeRange::OrganizationExpansion
            | AdministrativeRange::Unassigned,
        ) => return Some((AdviceSeverity::Note, Statement::ReservedForExpansion)),
        _ => return None,
    };
    Some((AdviceSeverity::Caution, statement))
}

fn advise_on_source_specific(group: Group, range: SourceSpecificRange, advice: &mut Vec<Advice>) {
    let reference = Reference::section(4607, "1");
    let free = range == SourceSpecificRange::Host;
    // Some groups of IANA's part are in use; `advise_on_names` reports their users.
    if !free && group.assignments().next().is_none() {
        add(advice, AdviceSeverity::Avoid, Statement::SourceSpecificNotFree(range), reference);
    }
    add(advice, AdviceSeverity::Caution, Statement::NeedsSource, reference);
}

/// Group identifiers for dynamic use have the highest bit set, so that they do not share an Ethernet address
/// with permanent groups.
fn advise_on_group_id(kind: GroupKind, advice: &mut Vec<Advice>) {
    let (GroupKind::Transient { group_id }
    | GroupKind::UnicastPrefixV6 { group_id, .. }
    | GroupKind::EmbeddedRp { group_id, .. }
    | GroupKind::LinkScoped { group_id, .. }) = kind
    else {
        return;
    };
    if group_id < 0x8000_0000 {
        add(advice, AdviceSeverity::Note, Statement::LowGroupId(group_id), Reference::section(3307, "4.3"));
    }
}

fn is_registered(group: Group) -> bool {
    group.assignments().any(|assignment| assignment.standing.is_registered())
}

fn advise_on_names(group: Group, advice: &mut Vec<Advice>) {
    for assignment in group.assignments() {
        let (severity, statement) = if !assignment.standing.is_registered() {
            (AdviceSeverity::Caution, Statement::InUseBy(assignment))
        } else if assignment.name.contains("Reserved") {
            (AdviceSeverity::Avoid, Statement::Reserved)
        } else {
            (AdviceSeverity::Caution, Statement::RegisteredTo(assignment))
        };
        let reference = assignment.references.first().copied().unwrap_or_else(|| registry(group));
        add(advice, severity, statement, reference);
    }
    if let (Some(relative), false) = (group.relative(), is_registered(group)) {
        let statement = Statement::RelativeAddress(relative);
        add(advice, AdviceSeverity::Avoid, statement, Reference::section(2365, "9"));
    }
    for well_known in group.well_known() {
        if let Some(limit) = well_known.hop_limit {
            add(advice, AdviceSeverity::Note, Statement::ExpectsHopLimit(limit), well_known.reference);
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
        add(advice, AdviceSeverity::Caution, statement, Reference::section(4541, section));
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
    add(advice, AdviceSeverity::Note, Statement::NeedsHopLimit, default);
    if scope == Scope::Global && !group.is_source_specific() && !group.is_documentation() {
        add(
            advice,
            AdviceSeverity::Note,
            Statement::AnySourceBetweenDomains,
            Reference::section(8815, "4.1"),
        );
    }
}

#[cfg(test)]
mod tests;
