//! Advice on whether to use a group.

use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use crate::{
    AdministrativeRange, Assignment, Family, Group, GroupKind, Malformation, Prefix, Reference, Relative,
    Scope, SourceSpecificRange, WithReference,
};

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

/// A piece of advice on using a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The severity.
    pub severity: AdviceSeverity,
    /// The advice itself.
    pub statement: Statement,
    /// The document that states it.
    pub reference: Reference,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity, self.statement, self.reference)
    }
}

crate::named! {
    /// The severity of a piece of advice, in ascending order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum AdviceSeverity {
        /// Useful to know.
        Note = "note",
        /// Suitable for some uses only.
        Caution = "caution",
        /// Use another group.
        Avoid = "avoid",
    }
}

/// What to consider before using a group. `Display` writes a sentence without the final period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// The group or its range is reserved.
    Reserved,
    /// The scope is reserved.
    ReservedScope(u8),
    /// The flags and fields of the address are inconsistent.
    Malformed(Malformation),
    /// IANA assigns the groups of this block and has not assigned this one.
    Unassigned,
    /// The group is in a part of the source-specific range that is not free to use.
    SourceSpecificNotFree(SourceSpecificRange),
    /// The group is for documentation and examples only.
    Documentation,
    /// The group is registered.
    RegisteredTo(Assignment),
    /// The group is in use without being registered.
    InUseBy(Assignment),
    /// Only the holder of the autonomous system may assign it.
    BelongsToAutonomousSystem(u16),
    /// Only the holder of the IPv4 network may assign it.
    BelongsToNetwork(Ipv4Addr),
    /// Only the holder of the IPv6 prefix may assign it.
    BelongsToPrefix(Prefix),
    /// Only the node with the interface identifier may assign it.
    BelongsToInterface(u64),
    /// The range is reserved for the expansion of another scope, or unassigned.
    ReservedForExpansion,
    /// The group is among the relative addresses of a scope, which only IANA assigns.
    RelativeAddress(Relative),
    /// The group shares its Ethernet address with a control group.
    SharesControlAddress(Group),
    /// Receivers must join with a source.
    NeedsSource,
    /// Datagrams to the group never leave the host.
    StaysInHost,
    /// No router forwards the group.
    NeverForwarded,
    /// The group identifier is from the part that IANA assigns.
    LowGroupId(u32),
    /// Any-source multicast between domains is deprecated.
    AnySourceBetweenDomains,
    /// The protocol of the group uses this hop limit.
    ExpectsHopLimit(u8),
    /// Datagrams with the default hop limit do not cross routers.
    NeedsHopLimit,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("reserved; must not be used"),
            Self::ReservedScope(0xf) => f.write_str("scope f is reserved; use scope e for global groups"),
            Self::ReservedScope(nibble) => {
                write!(f, "scope {nibble:x} is reserved; datagrams to it are dropped")
            }
            Self::Malformed(malformation) => write!(f, "malformed address: {malformation}"),
            Self::Unassigned => {
                f.write_str("only IANA assigns groups in this block, and this one is not assigned")
            }
            Self::SourceSpecificNotFree(range) => {
                write!(f, "this part of the source-specific range is {range}")
            }
            Self::Documentation => {
                f.write_str("for documentation and examples; must not be used in a network")
            }
            Self::RegisteredTo(assignment) => {
                write!(f, "registered for {}; do not use it for anything else", assignment.name)
            }
            Self::InUseBy(assignment) => {
                write!(f, "used by {}, although not registered", assignment.name)
            }
            Self::BelongsToAutonomousSystem(number) => {
                write!(f, "only the holder of AS {number} may assign it")
            }
            Self::BelongsToNetwork(network) => write!(f, "only the holder of {network}/24 may assign it"),
            Self::BelongsToPrefix(prefix) => write!(f, "only the holder of {prefix} may assign it"),
            Self::BelongsToInterface(id) => {
                write!(f, "only the node with interface identifier {id:016x} may assign it")
            }
            Self::ReservedForExpansion => {
                f.write_str("reserved for future use; prefer 239.255.0.0/16 or 239.192.0.0/14")
            }
            Self::RelativeAddress(relative) => {
                write!(f, "only IANA assigns the last 256 addresses of a scope; this one is {relative}")
            }
            Self::SharesControlAddress(group) => {
                write!(f, "shares its Ethernet address with {group}, which switches flood to every port")
            }
            Self::NeedsSource => {
                f.write_str("source-specific: join it with a source; routers ignore a join without one")
            }
            Self::StaysInHost => f.write_str("never leaves the host"),
            Self::NeverForwarded => f.write_str(
                "never forwarded by routers, regardless of the hop limit; flooded to every port by switches",
            ),
            Self::LowGroupId(id) => {
                write!(
                    f,
                    "group identifier {id:x} is in the part that IANA assigns; choose one from 80000000 up"
                )
            }
            Self::AnySourceBetweenDomains => {
                f.write_str("any-source multicast between domains is deprecated; use a source-specific group")
            }
            Self::ExpectsHopLimit(limit) => write!(f, "its protocol uses hop limit {limit}"),
            Self::NeedsHopLimit => f.write_str(
                "datagrams with the default hop limit of 1 stay on the link; raise it to cross routers",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn advice(text: &str) -> Vec<String> {
        text.parse::<Group>().unwrap().advice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_statement_is_given_where_it_applies() {
        for (group, expected) in [
            ("225.1.1.1", "avoid: reserved; must not be used (RFC 5771 section 3)"),
            ("224.0.0.0", "avoid: reserved; must not be used (RFC 1112)"),
            ("224.0.0.3", "avoid: only IANA assigns groups in this block"),
            ("224.0.0.251", "caution: registered for mDNS; do not use it for anything else (RFC 6762)"),
            ("224.0.0.251", "note: its protocol uses hop limit 255 (RFC 6762 section 11)"),
            ("224.0.0.251", "note: never forwarded by routers"),
            (
                "239.255.255.250",
                "caution: used by WS-Discovery, although not registered (OASIS WS-Discovery 1.1)",
            ),
            (
                "239.255.255.100",
                "avoid: only IANA assigns the last 256 addresses of a scope; this one is offset 155 below 239.255.255.255",
            ),
            (
                "239.128.0.9",
                "caution: shares its Ethernet address with 224.0.0.9, which switches flood to every port (RFC 4541 section 2.1.2)",
            ),
            ("239.1.2.3", "note: reserved for future use; prefer 239.255.0.0/16 or 239.192.0.0/14"),
            (
                "239.255.3.2",
                "note: datagrams with the default hop limit of 1 stay on the link; raise it to cross routers (RFC 1112 section 6.1)",
            ),
            ("232.1.2.3", "caution: source-specific: join it with a source"),
            ("232.0.0.0", "avoid: this part of the source-specific range is reserved"),
            ("233.8.9.1", "caution: only the holder of AS 2057 may assign it (RFC 3180 section 3)"),
            ("233.8.9.1", "note: any-source multicast between domains is deprecated"),
            ("233.251.240.1", "avoid: for documentation and examples"),
            (
                "233.252.0.1",
                "avoid: for documentation and examples; must not be used in a network (RFC 6676)",
            ),
            ("234.198.51.100", "caution: only the holder of 198.51.100.0/24 may assign it"),
            ("ff01::1", "note: never leaves the host"),
            ("ff00::5", "avoid: scope 0 is reserved"),
            ("ff1f::8000:1", "avoid: scope f is reserved; use scope e"),
            ("ff05::9999", "avoid: only IANA assigns groups in this block"),
            (
                "ff15::1",
                "note: group identifier 1 is in the part that IANA assigns; choose one from 80000000 up (RFC 3307 section 4.3)",
            ),
            ("ff15::1", "caution: shares its Ethernet address with ff02::1"),
            ("ff2e::1", "avoid: malformed address: flag P without T"),
            ("ff3e::1", "avoid: this part of the source-specific range is not valid"),
            ("ff3e:20:2001:db9::8000:1", "caution: only the holder of 2001:db9::/32 may assign it"),
            ("ff7e:120:2001:db8::8000:1", "avoid: for documentation and examples"),
            (
                "ff32:ff:a00:27ff:fea1:33b4:8000:2",
                "caution: only the node with interface identifier 0a0027fffea133b4",
            ),
        ] {
            let advice = advice(group);
            assert!(advice.iter().any(|line| line.starts_with(expected)), "{group}: {advice:#?}");
        }
    }

    #[test]
    fn picked_groups_have_no_advice_to_avoid_them() {
        use crate::{PickOptions, pick};
        for family in [Family::V4, Family::V6] {
            let options = PickOptions { family, ..PickOptions::default() };
            let group = pick("camera", options.default_scope(), &options).unwrap();
            let advice = group.advice();
            assert!(
                advice.iter().all(|advice| advice.severity == AdviceSeverity::Note
                    || matches!(advice.statement, Statement::InUseBy(_))),
                "{group}: {advice:?}"
            );
        }
    }

    #[test]
    fn most_severe_advice_comes_first() {
        let advice = "239.255.255.100".parse::<Group>().unwrap().advice();
        assert!(advice.is_sorted_by(|a, b| a.severity >= b.severity));
        assert_eq!(advice[0].severity, AdviceSeverity::Avoid);
    }

    #[test]
    fn group_identifier_advice_is_given_once() {
        for group in ["ff15::1", "ff3e:20:2001:db8::1", "ff7e:120:2001:db8::1", "ff32:ff::1"] {
            let count = advice(group).iter().filter(|line| line.contains("IANA assigns; choose")).count();
            assert_eq!(count, 1, "{group}");
        }
    }
}
