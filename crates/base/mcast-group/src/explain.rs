//! Everything known about a group, with references.

use alloc::vec::Vec;

use crate::{
    Advice, Assignment, EthernetAddress, Family, Group, GroupFlags, GroupKind, IPV4_REGISTRY_DATE,
    IPV6_REGISTRY_DATE, Reference, Relative, Scope, WellKnown, WithReference,
};

/// Everything known about a group, each fact with the document that states it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The group.
    pub group: Group,
    /// The scope.
    pub scope: WithReference<Scope>,
    /// The kind of group.
    pub kind: WithReference<GroupKind>,
    /// The flags; `None` for IPv4.
    pub flags: Option<WithReference<GroupFlags>>,
    /// The scope-relative offset, if the group is among the last 256 addresses of a scope that has them.
    pub relative: Option<WithReference<Relative>>,
    /// The Ethernet address.
    pub ethernet: WithReference<EthernetAddress>,
    /// The number of groups with that Ethernet address: 32 for IPv4, 2^80 in every IPv6 scope.
    pub ethernet_sharing: u128,
    /// The 31 other groups with that Ethernet address for IPv4; empty for IPv6, where there are too many.
    pub ethernet_aliases: Vec<Group>,
    /// The control group that shares the Ethernet address, which makes switches flood this group to every
    /// port.
    pub control_alias: Option<WithReference<Group>>,
    /// The names of the group, registered ones first.
    pub assignments: Vec<Assignment>,
    /// The date of the IANA registry that the names come from, such as `2024-02-02`.
    pub registry_date: &'static str,
    /// The short names of the group, with ports.
    pub well_known: Vec<&'static WellKnown>,
    /// Advice on using the group, the most severe first.
    pub advice: Vec<Advice>,
}

impl Group {
    /// Returns everything known about the group.
    ///
    /// ```
    /// let explanation = "ff7e:140:2001:db8:beef:feed::1".parse::<mcast_group::Group>()?.explain();
    /// assert_eq!(
    ///     explanation.kind.to_string(),
    ///     "embedded rendezvous point 2001:db8:beef:feed::1 (RFC 3956 section 4)",
    /// );
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub fn explain(self) -> Explanation {
        Explanation {
            group: self,
            scope: self.scope_with_reference(),
            kind: self.kind_with_reference(),
            flags: self.flags().map(|flags| WithReference::new(flags, Reference::section(4291, "2.7"))),
            relative: self
                .relative()
                .map(|relative| WithReference::new(relative, Reference::section(2365, "9"))),
            ethernet: WithReference::new(self.ethernet_address(), ethernet_reference(self)),
            ethernet_sharing: self.ethernet_sharing(),
            ethernet_aliases: self.ethernet_aliases().collect(),
            control_alias: self.control_alias().map(|alias| WithReference::new(alias, Reference::rfc(4541))),
            assignments: self.assignments().collect(),
            registry_date: registry_date(self.family()),
            well_known: self.well_known().collect(),
            advice: self.advice(),
        }
    }
}

const fn registry_date(family: Family) -> &'static str {
    match family {
        Family::V4 => IPV4_REGISTRY_DATE,
        Family::V6 => IPV6_REGISTRY_DATE,
    }
}

const fn ethernet_reference(group: Group) -> Reference {
    match group.family() {
        Family::V4 => Reference::section(1112, "6.4"),
        Family::V6 => Reference::section(2464, "7"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn explanation_contains_every_known_fact() {
        let explanation = "239.255.255.250".parse::<Group>().unwrap().explain();
        assert_eq!(explanation.scope.to_string(), "local (RFC 2365 section 6.1)");
        assert_eq!(
            explanation.kind.to_string(),
            "administratively scoped, local scope (RFC 2365 section 6.1)"
        );
        assert_eq!(explanation.ethernet.to_string(), "01:00:5e:7f:ff:fa (RFC 1112 section 6.4)");
        assert_eq!(explanation.ethernet_aliases.len() as u128 + 1, explanation.ethernet_sharing);
        assert_eq!(explanation.relative.map(|relative| relative.value.offset), Some(5));
        assert_eq!(
            explanation.well_known.iter().map(|known| known.name).collect::<Vec<_>>(),
            ["ssdp", "ws-discovery"]
        );
        assert_eq!(explanation.assignments[0].ports, [1900]);
        assert_eq!(explanation.flags, None);
    }
}
