//! What connecting an interface gives back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::InterfaceAddress;

/// An interface of a host, as it was when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The host that has it.
    pub host: String,
    /// Its name in the host.
    pub name: String,
    /// Its index in the host.
    pub index: u32,
    /// Its Ethernet address: locally administered, and the same whenever the lab is built the same way.
    pub hardware_address: [u8; 6],
    /// The addresses it was given. An IPv6 link-local address comes with every interface and is not listed.
    pub addresses: Vec<InterfaceAddress>,
}

impl Port {
    /// The first IPv4 address it was given.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// The first IPv6 address it was given.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|address| match address.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    /// The link-local address that the kernel makes from the hardware address (RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        link_local(self.hardware_address)
    }
}

pub(crate) fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
