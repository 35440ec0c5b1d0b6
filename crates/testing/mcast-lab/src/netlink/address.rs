//! Addresses of interfaces.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
};

use super::{CREATE, Netlink};
use crate::CidrAddress;

impl Netlink {
    /// Adds an address. IPv6 addresses are usable at once, without duplicate address detection (RFC 4862, section 5.4).
    pub(crate) fn add_address(&mut self, index: u32, address: &CidrAddress) -> io::Result<()> {
        let mut message = message(index, address);
        if address.address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        if let Some(broadcast) = address.broadcast() {
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        self.change(&RouteNetlinkMessage::NewAddress(message), CREATE)
    }

    pub(crate) fn remove_address(&mut self, index: u32, address: &CidrAddress) -> io::Result<()> {
        self.change(&RouteNetlinkMessage::DelAddress(message(index, address)), 0)
    }

    /// Returns the addresses of an interface, except tentative ones.
    pub(crate) fn addresses(&mut self, index: u32) -> io::Result<Vec<CidrAddress>> {
        let replies = self.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(replies.into_iter().filter_map(|reply| parse_address(reply, index)).collect())
    }
}

fn message(index: u32, address: &CidrAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match address.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = address.prefix_length;
    message.header.index = index;
    message
        .attributes
        .extend([AddressAttribute::Local(address.address), AddressAttribute::Address(address.address)]);
    message
}

fn parse_address(message: RouteNetlinkMessage, index: u32) -> Option<CidrAddress> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let is_tentative = message.header.flags.contains(AddressHeaderFlags::Tentative);
    if message.header.index != index || is_tentative {
        return None;
    }
    // IPv4 has its own address in Local and the peer's in Address; IPv6 mostly has Address only.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let address = local.or(address)?;
    Some(CidrAddress { address, prefix_length: message.header.prefix_len })
}
