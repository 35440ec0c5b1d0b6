//! What to mind about a group before using it.

use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use crate::{
    AdministrativeRange, Assignment, Cited, Family, Group, Kind, Malformation, Prefix, Reference, Relative,
    Scope, SourceSpecificRange,
};

/// One thing to mind about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub statement: Statement,
    /// Where it is written.
    pub reference: Reference,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity, self.statement, self.reference)
    }
}

/// How much a piece of advice matters, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Fine for some uses and not for others.
    Caution,
    /// Take another group.
    Avoid,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Caution => "caution",
            Self::Avoid => "avoid",
        })
    }
}

/// What there is to mind. `Display` writes a sentence without its full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// The group or its range is reserved.
    Reserved,
    /// The scope is reserved.
    ReservedScope(u8),
    /// Flags and fields contradict one another.
    Malformed(Malformation),
    /// IANA assigns the groups of the block, and has not assigned this one.
    Unassigned,
    /// A part of the source-specific range that is not free to use.
    SourceSpecificNotFree(SourceSpecificRange),
    /// Documents and examples only.
    Documentation,
    /// Registered.
    RegisteredTo(Assignment),
    /// In use although nobody registered it.
    InUseBy(Assignment),
    /// Only the holder of the autonomous system may assign it.
    BelongsToAutonomousSystem(u16),
    /// Only the holder of the IPv4 network may assign it.
    BelongsToNetwork(Ipv4Addr),
    /// Only the holder of the IPv6 prefix may assign it.
    BelongsToPrefix(Prefix),
    /// Only the node with the interface identifier may assign it.
    BelongsToInterface(u64),
    /// Kept until another scope is full.
    KeptForExpansion,
    /// In the top of the scope, where only IANA assigns.
    RelativeAddress(Relative),
    /// On Ethernet it looks like a control group.
    SharesControlAddress(Group),
    /// Receivers must name a source.
    NeedsSource,
    /// It never leaves the host.
    StaysInHost,
    /// No router forwards it.
    NeverForwarded,
    /// The identifier is from the part that IANA assigns.
    LowGroupId(u32),
    /// Any-source multicast between domains is deprecated.
    AnySourceBetweenDomains,
    /// The protocol of the group sends with this hop limit.
    ExpectsHopLimit(u8),
    /// It crosses no router with the default hop limit.
    NeedsHopLimit,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("it is reserved; nobody may use it"),
            Self::ReservedScope(0xf) => f.write_str("scope f is reserved; use scope e for global groups"),
            Self::ReservedScope(nibble) => {
                write!(f, "scope {nibble:x} is reserved; datagrams to it are dropped")
            }
            Self::Malformed(what) => write!(f, "the address contradicts itself: {what}"),
            Self::Unassigned => f.write_str("only IANA assigns groups here, and this one is not assigned"),
            Self::SourceSpecificNotFree(range) => {
                write!(f, "this part of the source-specific range is {range}")
            }
            Self::Documentation => f.write_str("for documents and examples; never to be sent to"),
            Self::RegisteredTo(assignment) => {
                write!(f, "registered for {}; use it for nothing else", assignment.name)
            }
            Self::InUseBy(assignment) => {
                write!(f, "{} uses it, though nobody registered it", assignment.name)
            }
            Self::BelongsToAutonomousSystem(number) => {
                write!(f, "only the holder of AS {number} may assign it")
            }
            Self::BelongsToNetwork(network) => write!(f, "only the holder of {network}/24 may assign it"),
            Self::BelongsToPrefix(prefix) => write!(f, "only the holder of {prefix} may assign it"),
            Self::BelongsToInterface(id) => {
                write!(f, "only the node with interface identifier {id:016x} may assign it")
            }
            Self::KeptForExpansion => {
                f.write_str("kept until the scopes in use are full; take 239.255.0.0/16 or 239.192.0.0/14")
            }
            Self::RelativeAddress(relative) => {
                write!(f, "only IANA assigns the top of a scope, and {relative} is there")
            }
            Self::SharesControlAddress(group) => {
                write!(f, "on Ethernet it looks like {group}, which switches send to every port")
            }
            Self::NeedsSource => {
                f.write_str("receivers join it together with a source; joined without one, routers ignore it")
            }
            Self::StaysInHost => f.write_str("it never leaves the host"),
            Self::NeverForwarded => {
                f.write_str("no router forwards it, whatever its hop limit; switches send it to every port")
            }
            Self::LowGroupId(id) => {
                write!(f, "identifier {id:x} is from the part that IANA assigns; choose one from 80000000 up")
            }
            Self::AnySourceBetweenDomains => f.write_str(
                "any-source multicast between domains is deprecated; source-specific groups do it",
            ),
            Self::ExpectsHopLimit(limit) => write!(f, "its protocol sends with hop limit {limit}"),
            Self::NeedsHopLimit => {
                f.write_str("with the default hop limit of 1 it stays on the link; raise it to cross routers")
            }
        }
    }
}

impl Group {
    /// What to mind about the group, the weightiest first.
    ///
    /// ```
    /// use mcast_group::{Group, Severity};
    /// let group: Group = "239.128.0.5".parse()?;
    /// let advice = group.advice();
    /// assert!(advice.iter().any(|advice| advice.to_string().contains("looks like 224.0.0.5")));
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
        advise_on_reach(self, &mut advice);
        advice.sort_by_key(|advice| core::cmp::Reverse(advice.severity));
        advice
    }
}

fn add(advice: &mut Vec<Advice>, severity: Severity, statement: Statement, reference: Reference) {
    advice.push(Advice { severity, statement, reference });
}

fn advise_on_scope(group: Group, advice: &mut Vec<Advice>) {
    let Cited { value: scope, reference } = group.cited_scope();
    match scope {
        Scope::Reserved(nibble) => add(advice, Severity::Avoid, Statement::ReservedScope(nibble), reference),
        Scope::InterfaceLocal => add(advice, Severity::Note, Statement::StaysInHost, reference),
        Scope::LinkLocal => add(advice, Severity::Note, Statement::NeverForwarded, reference),
        _ => {}
    }
}

fn advise_on_kind(group: Group, advice: &mut Vec<Advice>) {
    let Cited { value: kind, reference } = group.cited_kind();
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
        Kind::Malformed(what) => return Some((Severity::Avoid, Statement::Malformed(what))),
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
        ) => Statement::KeptForExpansion,
        _ => return None,
    };
    Some((Severity::Caution, statement))
}

fn advise_on_source_specific(group: Group, range: SourceSpecificRange, advice: &mut Vec<Advice>) {
    let reference = Reference::section(4607, "1");
    let free = range == SourceSpecificRange::Host;
    // Some names are in use in IANA's part; what uses them is said under names.
    if !free && group.assignments().next().is_none() {
        add(advice, Severity::Avoid, Statement::SourceSpecificNotFree(range), reference);
    }
    add(advice, Severity::Caution, Statement::NeedsSource, reference);
}

/// Identifiers for dynamic use have the first bit set, so that they share no Ethernet address with
/// permanent groups.
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
    for known in group.well_known() {
        if let Some(limit) = known.hop_limit {
            add(advice, Severity::Note, Statement::ExpectsHopLimit(limit), known.reference);
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

fn advise_on_reach(group: Group, advice: &mut Vec<Advice>) {
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
        add(advice, Severity::Note, Statement::AnySourceBetweenDomains, Reference::section(8815, "3"));
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
    fn each_statement_is_made_where_it_holds() {
        for (group, expected) in [
            ("225.1.1.1", "avoid: it is reserved; nobody may use it (RFC 5771 section 3)"),
            ("224.0.0.0", "avoid: it is reserved; nobody may use it (RFC 1112)"),
            ("224.0.0.3", "avoid: only IANA assigns groups here"),
            ("224.0.0.251", "caution: registered for mDNS; use it for nothing else (RFC 6762)"),
            ("224.0.0.251", "note: its protocol sends with hop limit 255 (RFC 6762 section 11)"),
            ("224.0.0.251", "note: no router forwards it"),
            (
                "239.255.255.250",
                "caution: WS-Discovery uses it, though nobody registered it (OASIS WS-Discovery 1.1)",
            ),
            (
                "239.255.255.100",
                "avoid: only IANA assigns the top of a scope, and offset 155 below 239.255.255.255",
            ),
            (
                "239.128.0.9",
                "caution: on Ethernet it looks like 224.0.0.9, which switches send to every port (RFC 4541 section 2.1.2)",
            ),
            ("239.1.2.3", "caution: kept until the scopes in use are full"),
            (
                "239.255.3.2",
                "note: with the default hop limit of 1 it stays on the link; raise it to cross routers (RFC 1112 section 6.1)",
            ),
            ("232.1.2.3", "caution: receivers join it together with a source"),
            ("232.0.0.0", "avoid: this part of the source-specific range is reserved"),
            ("233.8.9.1", "caution: only the holder of AS 2057 may assign it (RFC 3180 section 2)"),
            ("233.8.9.1", "note: any-source multicast between domains is deprecated"),
            ("233.251.240.1", "avoid: for documents and examples"),
            ("233.252.0.1", "avoid: for documents and examples; never to be sent to (RFC 6676)"),
            ("234.198.51.100", "caution: only the holder of 198.51.100.0/24 may assign it"),
            ("ff01::1", "note: it never leaves the host"),
            ("ff00::5", "avoid: scope 0 is reserved"),
            ("ff1f::8000:1", "avoid: scope f is reserved; use scope e"),
            ("ff05::9999", "avoid: only IANA assigns groups here"),
            (
                "ff15::1",
                "note: identifier 1 is from the part that IANA assigns; choose one from 80000000 up (RFC 3307 section 4.3)",
            ),
            ("ff15::1", "caution: on Ethernet it looks like ff02::1"),
            ("ff2e::1", "avoid: the address contradicts itself: flag P without T"),
            ("ff3e::1", "avoid: this part of the source-specific range is not valid"),
            ("ff3e:20:2001:db9::8000:1", "caution: only the holder of 2001:db9::/32 may assign it"),
            ("ff7e:120:2001:db8::8000:1", "avoid: for documents and examples"),
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
    fn picked_groups_are_never_to_be_avoided() {
        use crate::{PickOptions, pick};
        for family in [Family::V4, Family::V6] {
            let options = PickOptions { family, ..PickOptions::default() };
            let group = pick("camera", options.default_scope(), &options).unwrap();
            let advice = group.advice();
            assert!(
                advice.iter().all(|advice| advice.severity == Severity::Note
                    || matches!(advice.statement, Statement::InUseBy(_))),
                "{group}: {advice:?}"
            );
        }
    }

    #[test]
    fn the_weightiest_comes_first() {
        let advice = "239.255.255.100".parse::<Group>().unwrap().advice();
        assert!(advice.is_sorted_by(|a, b| a.severity >= b.severity));
        assert_eq!(advice[0].severity, Severity::Avoid);
    }

    #[test]
    fn transient_advice_is_given_once() {
        for group in ["ff15::1", "ff3e:20:2001:db8::1", "ff7e:120:2001:db8::1", "ff32:ff::1"] {
            let count = advice(group).iter().filter(|line| line.contains("IANA assigns; choose")).count();
            assert_eq!(count, 1, "{group}");
        }
    }
}
