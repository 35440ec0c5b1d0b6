//! The scope of a group.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::{Group, ParseError, Reference, WithReference};

/// How far datagrams to a group may travel.
///
/// In IPv6 the scope is a field of the address (RFC 4291 section 2.7, RFC 7346); in IPv4 it follows from the
/// range (RFC 2365, RFC 5771). Scopes are ordered from the narrowest to the widest; the unassigned and the
/// reserved ones come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// One interface of one host: `ff01::/16`. Datagrams never leave the host.
    InterfaceLocal,
    /// One link: `ff02::/16`, 224.0.0.0/24. Routers do not forward it.
    LinkLocal,
    /// A realm, defined by the link technology: `ff03::/16` (RFC 7346).
    RealmLocal,
    /// The smallest scope that must be administratively configured: `ff04::/16`.
    AdminLocal,
    /// The IPv4 local scope, 239.255.0.0/16: the smallest scope that an administrator can bound.
    Local,
    /// A site: `ff05::/16`.
    SiteLocal,
    /// Several sites of one organization: `ff08::/16`, 239.192.0.0/14.
    OrganizationLocal,
    /// Administratively scoped, without a defined extent: the rest of 239.0.0.0/8.
    Administrative,
    /// Global: `ff0e::/16`, and every IPv4 group outside 224.0.0.0/24 and 239.0.0.0/8.
    Global,
    /// An IPv6 scope that administrators may define: 6, 7, 9 to d.
    Unassigned(u8),
    /// An IPv6 scope that must not be used: 0 and f.
    Reserved(u8),
}

const V6_SCOPES: Reference = Reference::section(7346, "2");

impl Group {
    /// Returns the scope of the group.
    ///
    /// ```
    /// use mcast_group::{Group, Scope};
    /// assert_eq!("ff05::2".parse::<Group>()?.scope(), Scope::SiteLocal);
    /// assert_eq!("239.192.1.1".parse::<Group>()?.scope(), Scope::OrganizationLocal);
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub fn scope(self) -> Scope {
        self.scope_with_reference().value
    }

    pub(crate) fn scope_with_reference(self) -> WithReference<Scope> {
        match self.addr() {
            IpAddr::V4(address) => scope_v4(address),
            IpAddr::V6(address) => WithReference::new(scope_v6(address), V6_SCOPES),
        }
    }
}

fn scope_v4(address: Ipv4Addr) -> WithReference<Scope> {
    match address.octets() {
        [224, 0, 0, _] => WithReference::new(Scope::LinkLocal, Reference::section(5771, "4")),
        [239, 255, _, _] => WithReference::new(Scope::Local, Reference::section(2365, "6.1")),
        [239, 192..=195, _, _] => {
            WithReference::new(Scope::OrganizationLocal, Reference::section(2365, "6.2"))
        }
        [239, _, _, _] => WithReference::new(Scope::Administrative, Reference::section(2365, "6")),
        _ => WithReference::new(Scope::Global, Reference::section(2365, "8")),
    }
}

fn scope_v6(address: Ipv6Addr) -> Scope {
    match address.octets()[1] & 0x0f {
        1 => Scope::InterfaceLocal,
        2 => Scope::LinkLocal,
        3 => Scope::RealmLocal,
        4 => Scope::AdminLocal,
        5 => Scope::SiteLocal,
        8 => Scope::OrganizationLocal,
        0xe => Scope::Global,
        nibble @ (0 | 0xf) => Scope::Reserved(nibble),
        nibble => Scope::Unassigned(nibble),
    }
}

impl Scope {
    /// Returns the value of the scope field in an IPv6 address; `None` for scopes that IPv6 does not have.
    #[must_use]
    pub const fn nibble(self) -> Option<u8> {
        match self {
            Self::InterfaceLocal => Some(1),
            Self::LinkLocal => Some(2),
            Self::RealmLocal => Some(3),
            Self::AdminLocal => Some(4),
            Self::SiteLocal => Some(5),
            Self::OrganizationLocal => Some(8),
            Self::Global => Some(0xe),
            Self::Unassigned(nibble) | Self::Reserved(nibble) => Some(nibble),
            Self::Local | Self::Administrative => None,
        }
    }

    /// Returns the hop limit (TTL) that senders conventionally use in this scope; `None` if there is no
    /// convention.
    ///
    /// The values are the thresholds of the MBone: 0 host, 1 link, 32 site, 64 region, 255 world. No RFC
    /// prescribes them, and routers bound a scope by address, not by hop limit (RFC 2365 section 3).
    #[must_use]
    pub const fn customary_hop_limit(self) -> Option<u8> {
        match self {
            Self::InterfaceLocal => Some(0),
            Self::LinkLocal => Some(1),
            Self::RealmLocal | Self::AdminLocal | Self::Local | Self::SiteLocal => Some(32),
            Self::OrganizationLocal => Some(64),
            Self::Global => Some(255),
            Self::Administrative | Self::Unassigned(_) | Self::Reserved(_) => None,
        }
    }

    /// Returns whether routers never forward the scope: interface-local and link-local.
    #[must_use]
    pub const fn stays_on_link(self) -> bool {
        matches!(self, Self::InterfaceLocal | Self::LinkLocal)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InterfaceLocal => "interface-local",
            Self::LinkLocal => "link-local",
            Self::RealmLocal => "realm-local",
            Self::AdminLocal => "admin-local",
            Self::Local => "local",
            Self::SiteLocal => "site-local",
            Self::OrganizationLocal => "organization-local",
            Self::Administrative => "administrative",
            Self::Global => "global",
            Self::Unassigned(nibble) => return write!(f, "unassigned-{nibble:x}"),
            Self::Reserved(nibble) => return write!(f, "reserved-{nibble:x}"),
        })
    }
}

impl FromStr for Scope {
    type Err = ParseError;

    /// Parses the names that `Display` writes, with or without `-local`: `link`, `site-local`, `global`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let name = text.strip_suffix("-local").unwrap_or(text);
        match name {
            "interface" => Ok(Self::InterfaceLocal),
            "link" => Ok(Self::LinkLocal),
            "realm" => Ok(Self::RealmLocal),
            "admin" => Ok(Self::AdminLocal),
            "local" => Ok(Self::Local),
            "site" => Ok(Self::SiteLocal),
            "organization" => Ok(Self::OrganizationLocal),
            "administrative" => Ok(Self::Administrative),
            "global" => Ok(Self::Global),
            _ => numbered_scope(name).ok_or_else(|| {
                ParseError::new(text, "is not a valid scope")
                    .with_remedy("interface, link, realm, admin, local (IPv4), site, organization or global")
            }),
        }
    }
}

fn numbered_scope(name: &str) -> Option<Scope> {
    let (kind, digit) = name.split_once('-')?;
    let nibble = u8::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
    match (kind, nibble) {
        ("reserved", 0 | 0xf) => Some(Scope::Reserved(nibble)),
        ("unassigned", 6 | 7 | 9..=0xd) => Some(Scope::Unassigned(nibble)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn scope(text: &str) -> Scope {
        text.parse::<Group>().unwrap().scope()
    }

    #[test]
    fn ipv4_scopes_follow_the_ranges() {
        for (group, expected) in [
            ("224.0.0.0", Scope::LinkLocal),
            ("224.0.0.255", Scope::LinkLocal),
            ("224.0.1.0", Scope::Global),
            ("238.255.255.255", Scope::Global),
            ("239.0.0.0", Scope::Administrative),
            ("239.191.255.255", Scope::Administrative),
            ("239.192.0.0", Scope::OrganizationLocal),
            ("239.195.255.255", Scope::OrganizationLocal),
            ("239.196.0.0", Scope::Administrative),
            ("239.254.255.255", Scope::Administrative),
            ("239.255.0.0", Scope::Local),
            ("239.255.255.255", Scope::Local),
        ] {
            assert_eq!(scope(group), expected, "{group}");
        }
    }

    #[test]
    fn ipv6_scopes_round_trip_through_text() {
        for nibble in 0..16u8 {
            let group =
                Group::new(IpAddr::V6(Ipv6Addr::new(0xff10 | u16::from(nibble), 0, 0, 0, 0, 0, 0, 1)));
            let scope = group.unwrap().scope();
            assert_eq!(scope.nibble(), Some(nibble));
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
    }

    #[test]
    fn short_names_are_accepted_and_invalid_ones_rejected() {
        assert_eq!("site".parse(), Ok(Scope::SiteLocal));
        assert_eq!("organization-local".parse(), Ok(Scope::OrganizationLocal));
        for text in ["", "-local", "reserved-7", "unassigned-1", "unassigned-0d", "galaxy"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
