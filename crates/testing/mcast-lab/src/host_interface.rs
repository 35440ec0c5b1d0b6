//! An interface of a host, as returned when it is connected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::CidrAddress;

/// An interface of a host, in its state right after it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// The name of the host.
    pub host: String,
    /// The name of the interface.
    pub name: String,
    /// The index of the interface in the host.
    pub index: u32,
    /// The Ethernet address: locally administered, and the same whenever the lab is built the same way.
    pub hardware_address: [u8; 6],
    /// The assigned addresses, without the IPv6 link-local address that every interface has.
    pub addresses: Vec<CidrAddress>,
}

impl HostInterface {
    /// Returns the first assigned IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Returns the first assigned IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|address| match address.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    /// Returns the link-local address that the kernel derives from the hardware address (RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        link_local(self.hardware_address)
    }
}

pub(crate) fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
