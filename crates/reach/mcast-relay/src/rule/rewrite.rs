//! Other groups and ports on the way out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_group::{AddrRange, Group, GroupRange};

use super::traffic::write_range;

/// The groups and ports that a rule sends to instead of those of arrival. Text form: `239.9.9.9:6000`, `239.9.9.9`,
/// `239.9.2.0/24:6000`, `:6000`, `broadcast:6000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The groups.
    pub target: RewriteTarget,
    /// The port; `None` keeps it.
    pub port: Option<u16>,
}

/// The groups that a rule sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteTarget {
    /// Those of arrival.
    Unchanged,
    /// One group for all, or one for each: the nth of the rule becomes the nth of the range.
    Groups(GroupRange),
    /// The broadcast address of IPv4.
    Broadcast,
}

impl Rewrite {
    /// Returns where a datagram to this address is sent. `range` is the one of the rule that it belongs to; `None` for
    /// broadcast.
    #[must_use]
    pub fn apply(&self, range: Option<&AddrRange>, destination: SocketAddr) -> SocketAddr {
        let port = self.port.unwrap_or_else(|| destination.port());
        let address = match self.target {
            RewriteTarget::Unchanged => destination.ip(),
            RewriteTarget::Broadcast => Ipv4Addr::BROADCAST.into(),
            RewriteTarget::Groups(groups) if groups.count() == 1 => groups.first.addr(),
            RewriteTarget::Groups(groups) => {
                let first = range.map_or_else(|| destination.ip(), |range| range.groups.first.addr());
                at_offset(groups, offset(first, destination.ip()))
            }
        };
        SocketAddr::new(address, port)
    }

    /// Returns the groups of the range that are sent to this group.
    #[must_use]
    pub fn origins(&self, range: &AddrRange, group: Group) -> Option<GroupRange> {
        match self.target {
            RewriteTarget::Unchanged => range.groups.contains(group).then(|| group.into()),
            RewriteTarget::Broadcast => None,
            RewriteTarget::Groups(groups) if !groups.contains(group) => None,
            RewriteTarget::Groups(groups) if groups.count() == 1 => Some(range.groups),
            RewriteTarget::Groups(groups) => {
                let offset = offset(groups.first.addr(), group.addr());
                Group::new(at_offset(range.groups, offset)).ok().map(GroupRange::from)
            }
        }
    }
}

/// Returns how far the address is behind the first one.
fn offset(first: IpAddr, address: IpAddr) -> u128 {
    bits(address).saturating_sub(bits(first))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Returns the group at this offset in the range, or the last one.
fn at_offset(groups: GroupRange, offset: u128) -> IpAddr {
    let bits = bits(groups.first.addr()).saturating_add(offset.min(groups.count() - 1));
    match (groups.first.addr(), u32::try_from(bits)) {
        (IpAddr::V4(_), Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        (IpAddr::V4(_), Err(_)) => groups.last.addr(),
        (IpAddr::V6(_), _) => Ipv6Addr::from_bits(bits).into(),
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.target, self.port) {
            (RewriteTarget::Groups(groups), Some(port)) => {
                return write_range(f, &AddrRange { groups, ports: port..=port });
            }
            (RewriteTarget::Groups(groups), None) => write!(f, "{}", groups.first)?,
            (RewriteTarget::Unchanged, _) => {}
            (RewriteTarget::Broadcast, _) => f.write_str("broadcast")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
