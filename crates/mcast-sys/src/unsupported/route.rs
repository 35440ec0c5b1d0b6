//! Routing table lookups are not supported.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

pub fn interface_towards(_address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
    super::unsupported()
}
