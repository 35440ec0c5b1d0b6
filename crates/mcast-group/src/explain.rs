//! All that can be said about a group.

use alloc::vec::Vec;

use crate::{
    Advice, Assignment, Cited, EthernetAddress, Family, Flags, Group, IPV4_REGISTRY_DATE, IPV6_REGISTRY_DATE,
    Kind, Reference, Relative, Scope, WellKnown,
};

/// All that can be said about a group, each statement with the document that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The group.
    pub group: Group,
    /// How far it reaches.
    pub scope: Cited<Scope>,
    /// What sort of group it is.
    pub kind: Cited<Kind>,
    /// The flags of an IPv6 group.
    pub flags: Option<Cited<Flags>>,
    /// The offset in its scope, when it is in the top of one.
    pub relative: Option<Cited<Relative>>,
    /// The Ethernet address.
    pub ethernet: Cited<EthernetAddress>,
    /// How many groups have that Ethernet address: 32 for IPv4, 2^80 in every IPv6 scope.
    pub ethernet_sharing: u128,
    /// The 31 others for IPv4; none for IPv6, where they are too many.
    pub ethernet_aliases: Vec<Group>,
    /// The control group among them, which makes switches send this group to every port.
    pub control_alias: Option<Cited<Group>>,
    /// Its names, registered ones first.
    pub assignments: Vec<Assignment>,
    /// When the IANA registry was as the names have it: a date such as `2024-02-02`.
    pub registry_date: &'static str,
    /// Its short names, with ports.
    pub well_known: Vec<&'static WellKnown>,
    /// What to mind, the weightiest first.
    pub advice: Vec<Advice>,
}

impl Group {
    /// All that can be said about the group.
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
            scope: self.cited_scope(),
            kind: self.cited_kind(),
            flags: self.flags().map(|flags| Cited::new(flags, Reference::section(4291, "2.7"))),
            relative: self.relative().map(|relative| Cited::new(relative, Reference::section(2365, "9"))),
            ethernet: Cited::new(self.ethernet_address(), ethernet_reference(self)),
            ethernet_sharing: self.ethernet_sharing(),
            ethernet_aliases: self.ethernet_aliases().collect(),
            control_alias: self.control_alias().map(|alias| Cited::new(alias, Reference::rfc(4541))),
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
    fn an_explanation_gathers_everything() {
        let explanation = "239.255.255.250".parse::<Group>().unwrap().explain();
        assert_eq!(explanation.scope.to_string(), "local (RFC 2365 section 6.1)");
        assert_eq!(
            explanation.kind.to_string(),
            "administratively scoped, local scope (RFC 2365 section 6.1)"
        );
        assert_eq!(explanation.ethernet.to_string(), "01:00:5e:7f:ff:fa (RFC 1112 section 6.4)");
        assert_eq!(explanation.ethernet_aliases.len() as u128 + 1, explanation.ethernet_sharing);
        assert_eq!(explanation.relative.map(|found| found.value.offset), Some(5));
        assert_eq!(
            explanation.well_known.iter().map(|known| known.name).collect::<Vec<_>>(),
            ["ssdp", "ws-discovery"]
        );
        assert_eq!(explanation.assignments[0].ports, [1900]);
        assert_eq!(explanation.flags, None);
    }
}
