//! An interface, with what multicast depends on.

use std::net::IpAddr;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) running: bool,
    pub(crate) multicast: bool,
    pub(crate) loopback: bool,
    pub(crate) point_to_point: bool,
    pub(crate) wireless: bool,
    pub(crate) mtu: u32,
    pub(crate) addresses: Vec<Address>,
    /// What makes it: `veth`, `bridge`, `tun`, `wireguard`; none of a device.
    pub(crate) kind: Option<String>,
    /// The interface below it (VLANs, macvlans), or the other end (veth), if that is in this namespace.
    pub(crate) lower: Option<u32>,
    /// Whether what it lies on, or its other end, is in another namespace.
    pub(crate) peer_elsewhere: bool,
    /// The bridge or bond that it is a port of.
    pub(crate) master: Option<u32>,
    pub(crate) statistics: Statistics,
    /// What it is as a bridge.
    pub(crate) bridge: Option<Bridge>,
    /// What it is as a port of one.
    pub(crate) port: Option<BridgePort>,
    /// The queues to it.
    pub(crate) queues: Vec<Queue>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) state: AddressState,
}

/// Whether an address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressState {
    Ready,
    Tentative,
    Duplicate,
}

/// What the device counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) received: u64,
    pub(crate) receive_dropped: u64,
    /// Frames that were too long or too short.
    pub(crate) receive_length_errors: u64,
    /// Frames that the device had no room for.
    pub(crate) receive_missed: u64,
}

/// A bridge's way with multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) snooping: bool,
    /// Whether it is a querier itself.
    pub(crate) querier: bool,
    /// The querier that it knows of, itself included, of any family.
    pub(crate) querier_known: bool,
    pub(crate) table_limit: u32,
    pub(crate) table_entries: u32,
}

/// A port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgePort {
    /// Whether it gets groups that nobody has asked for.
    pub(crate) floods_multicast: bool,
    pub(crate) fast_leave: bool,
    /// Whether it gets every group, as multicast routers do.
    pub(crate) leads_to_router: bool,
    /// The hosts that have been seen behind it.
    pub(crate) hosts: u32,
}

/// A queue to an interface (qdisc).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) kind: String,
    pub(crate) dropped: u64,
}

impl Link {
    /// Whether it is one that groups come in by: up, no loopback, and no port of a bridge.
    pub(crate) fn is_of_the_host(&self) -> bool {
        self.up && !self.loopback && self.master.is_none()
    }

    /// Whether it leads into a tunnel.
    pub(crate) fn is_tunnel(&self) -> bool {
        const TUNNELS: [&str; 10] =
            ["tun", "wireguard", "ppp", "ipip", "sit", "gre", "ip6gre", "vti", "xfrm", "ip6tnl"];
        self.point_to_point || self.kind.as_deref().is_some_and(|kind| TUNNELS.contains(&kind))
    }

    /// Whether it and another one carry the same frames: one lies on the other.
    pub(crate) fn is_on(&self, other: &Self) -> bool {
        self.lower == Some(other.index) || other.lower == Some(self.index)
    }

    pub(crate) fn has_address(&self, v4: bool) -> bool {
        self.addresses.iter().any(|own| own.address.is_ipv4() == v4)
    }

    /// Whether an address is of one of its own networks.
    pub(crate) fn is_next_to(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.has_in_network(address))
    }
}

impl Address {
    fn has_in_network(&self, other: IpAddr) -> bool {
        let bits = |address| match address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let mask = !u128::MAX.checked_shr(self.prefix.into()).unwrap_or_default();
        self.address.is_ipv4() == other.is_ipv4() && (bits(self.address) ^ bits(other)) & mask == 0
    }
}

impl Statistics {
    /// Frames that came and were not handed on.
    pub(crate) fn refused(&self) -> u64 {
        self.receive_dropped.saturating_add(self.receive_length_errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_next_to_an_interface_of_its_network() {
        let with = |address: &str, prefix| Link {
            addresses: vec![Address {
                address: address.parse().unwrap(),
                prefix,
                state: AddressState::Ready,
            }],
            ..Link::default()
        };
        let is_next_to = |link: &Link, other: &str| link.is_next_to(other.parse().unwrap());
        let v4 = with("10.9.0.2", 24);
        assert!(is_next_to(&v4, "10.9.0.255") && !is_next_to(&v4, "10.9.1.2") && !is_next_to(&v4, "::"));
        let v6 = with("fe80::1", 64);
        assert!(is_next_to(&v6, "fe80::2:0:0:1") && !is_next_to(&v6, "fd00::1"));
        assert!(is_next_to(&with("10.9.0.2", 0), "192.0.2.1") && !is_next_to(&with("::1", 128), "::2"));
    }
}
