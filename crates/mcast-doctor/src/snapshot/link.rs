//! Interfaces, with everything that multicast depends on.

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
    /// The kind of virtual interface: `veth`, `bridge`, `tun`, `wireguard`; `None` for a physical device.
    pub(crate) kind: Option<String>,
    /// The interface below it (VLAN, macvlan) or its peer (veth), if that is in this namespace.
    pub(crate) lower: Option<u32>,
    /// Whether the interface below it, or its peer, is in another namespace.
    pub(crate) peer_elsewhere: bool,
    /// The bridge or bond that it is a port of.
    pub(crate) master: Option<u32>,
    pub(crate) statistics: Statistics,
    /// The multicast settings, if it is a bridge.
    pub(crate) bridge: Option<Bridge>,
    /// The port settings, if it is a port of a bridge or bond.
    pub(crate) port: Option<BridgePort>,
    /// Its queueing disciplines.
    pub(crate) queues: Vec<Queue>,
    /// The service that configures it at boot, if there is one.
    pub(crate) config_service: Option<ConfigService>,
}

/// The service that configures an interface at boot.
#[cfg_attr(
    not(any(test, target_os = "linux", target_os = "android")),
    expect(
        dead_code,
        reason = "these services exist only on Linux, but the remedies for it are tested on every system"
    )
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigService {
    /// systemd-networkd, with the name of the `.network` file.
    Networkd { file: String },
    /// NetworkManager, with the UUID of the connection.
    NetworkManager { connection: String },
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) state: AddressState,
}

/// Whether an address is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressState {
    Ready,
    Tentative,
    Duplicate,
}

/// The counters of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) received: u64,
    pub(crate) receive_dropped: u64,
    /// Frames of invalid length.
    pub(crate) receive_length_errors: u64,
    /// Frames dropped because the device's ring was full.
    pub(crate) receive_missed: u64,
}

/// The multicast settings of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) snooping: bool,
    pub(crate) table_limit: u32,
    pub(crate) table_entries: u32,
}

/// A port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgePort {
    /// Whether unregistered groups are flooded to it.
    pub(crate) floods_multicast: bool,
    pub(crate) fast_leave: bool,
    /// Whether it is a router port, which receives every group.
    pub(crate) leads_to_router: bool,
    /// The number of hosts learnt behind it.
    pub(crate) hosts: u32,
}

/// A queueing discipline (qdisc) of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) kind: String,
    pub(crate) dropped: u64,
}

impl Link {
    /// Returns whether the host receives groups on it: it is up, not the loopback, and not a port of a bridge.
    pub(crate) fn is_of_the_host(&self) -> bool {
        self.up && !self.loopback && self.master.is_none()
    }

    /// Returns whether it is a tunnel.
    pub(crate) fn is_tunnel(&self) -> bool {
        const TUNNELS: [&str; 10] =
            ["tun", "wireguard", "ppp", "ipip", "sit", "gre", "ip6gre", "vti", "xfrm", "ip6tnl"];
        self.point_to_point || self.kind.as_deref().is_some_and(|kind| TUNNELS.contains(&kind))
    }

    /// Returns whether it carries the same frames as `other` because one is on top of the other.
    pub(crate) fn is_on(&self, other: &Self) -> bool {
        self.lower == Some(other.index) || other.lower == Some(self.index)
    }

    pub(crate) fn has_address(&self, v4: bool) -> bool {
        self.addresses.iter().any(|own| own.address.is_ipv4() == v4)
    }

    /// Returns whether an address is in one of its subnets.
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
    /// Returns the number of frames received and not passed on.
    pub(crate) fn refused(&self) -> u64 {
        self.receive_dropped.saturating_add(self.receive_length_errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_in_the_subnet_is_next_to_the_interface() {
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
