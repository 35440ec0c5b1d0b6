//! Requests for interfaces, addresses, routes and bridges, over the client of `mcast-sys`.

mod link;

use std::io;
use std::net::IpAddr;

use mcast_sys::netlink::{self, NetlinkProtocol, NetlinkReply, attributes, u32_at};
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::CidrAddress;
pub(crate) use link::{Bridge, VethEnd};

/// The flags to create an object, which fail if it exists.
pub(crate) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A connection to the kernel's `NETLINK_ROUTE` family, in the namespace where it was opened.
#[derive(Debug)]
pub(crate) struct Netlink(netlink::Netlink);

impl Netlink {
    /// Opens a connection in the namespace of the calling thread. It can be used from any thread.
    pub(crate) fn open() -> io::Result<Self> {
        netlink::Netlink::open(NetlinkProtocol::Route).map(Self)
    }

    /// Requests a change and waits for the acknowledgement.
    fn change(&mut self, message: &RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.0.request_one(message.message_type(), flags, &body(message)).map(drop)
    }

    /// Requests one object.
    fn query(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        parse(&self.0.request_one(message.message_type(), 0, &body(message))?)
    }

    /// Requests all objects of a kind.
    fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        parse(&self.0.dump(message.message_type(), &body(message))?)
    }
}

fn body(message: &RouteNetlinkMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn parse(replies: &[NetlinkReply]) -> io::Result<Vec<RouteNetlinkMessage>> {
    let parse = |reply: &NetlinkReply| {
        let mut header = NetlinkHeader::default();
        header.message_type = reply.kind;
        RouteNetlinkMessage::deserialize(&header, &reply.payload).map_err(io::Error::other)
    };
    replies.iter().map(parse).collect()
}

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

/// A route to add or to remove.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) destination: CidrAddress,
    pub(crate) interface: Option<u32>,
    pub(crate) gateway: Option<IpAddr>,
    /// Whether this is a route of type local, which makes the destination the host's own.
    pub(crate) local: bool,
}

impl Netlink {
    pub(crate) fn add_route(&mut self, route: &Route) -> io::Result<()> {
        self.change(&RouteNetlinkMessage::NewRoute(route.message()), CREATE)
    }

    pub(crate) fn remove_route(&mut self, route: &Route) -> io::Result<()> {
        self.change(&RouteNetlinkMessage::DelRoute(route.message()), 0)
    }
}

impl Route {
    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = self.header();
        if self.destination.prefix_length > 0 {
            message.attributes.push(RouteAttribute::Destination(self.destination.address.into()));
        }
        message.attributes.extend(self.interface.map(RouteAttribute::Oif));
        message.attributes.extend(self.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        message
    }

    fn header(&self) -> RouteHeader {
        RouteHeader {
            address_family: match self.destination.address {
                IpAddr::V4(_) => AddressFamily::Inet,
                IpAddr::V6(_) => AddressFamily::Inet6,
            },
            destination_prefix_length: self.destination.prefix_length,
            table: if self.local { libc::RT_TABLE_LOCAL } else { RouteHeader::RT_TABLE_MAIN },
            protocol: RouteProtocol::Static,
            scope: self.scope(),
            kind: if self.local { RouteType::Local } else { RouteType::Unicast },
            ..RouteHeader::default()
        }
    }

    fn scope(&self) -> RouteScope {
        match (self.local, self.gateway) {
            (true, _) => RouteScope::Host,
            (false, Some(_)) => RouteScope::Universe,
            (false, None) => RouteScope::Link,
        }
    }
}

const RTM_GETMDB: u16 = 86;
/// The length of `struct br_port_msg`: family, padding, index.
const PORT_MESSAGE: usize = 8;
const MDBA_MDB: u16 = 1;
const MDBA_MDB_ENTRY: u16 = 1;
const MDBA_MDB_ENTRY_INFO: u16 = 1;
/// The length of `struct br_mdb_entry`: index, state, flags, VLAN, address, protocol.
const ENTRY: usize = 28;

/// An entry of the group table: a port with members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupEntry {
    pub(crate) port: u32,
    pub(crate) group: IpAddr,
}

impl Netlink {
    /// Returns the entries of the group tables of all bridges in this namespace.
    pub(crate) fn groups(&mut self) -> io::Result<Vec<GroupEntry>> {
        let mut request = [0; PORT_MESSAGE];
        request[0] = libc::AF_BRIDGE as u8;
        let tables = self.0.dump(RTM_GETMDB, &request)?;
        Ok(tables.iter().flat_map(|table| parse_entries(&table.payload)).collect())
    }
}

fn parse_entries(table: &[u8]) -> Vec<GroupEntry> {
    let databases = all_of(MDBA_MDB, table.get(PORT_MESSAGE..).unwrap_or_default());
    let groups = databases.flat_map(|database| all_of(MDBA_MDB_ENTRY, database));
    let entries = groups.flat_map(|group| all_of(MDBA_MDB_ENTRY_INFO, group));
    entries.filter_map(parse_entry).collect()
}

/// Returns the values of all attributes of one kind.
fn all_of(kind: u16, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    attributes(bytes).filter(move |(each, _)| *each == kind).map(|(_, value)| value)
}

fn parse_entry(bytes: &[u8]) -> Option<GroupEntry> {
    let bytes = bytes.first_chunk::<ENTRY>()?;
    let port = u32_at(bytes, 0)?;
    let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
    let protocol = u16::from_be_bytes(*bytes.get(24..)?.first_chunk()?);
    let group = match i32::from(protocol) {
        libc::ETH_P_IP => IpAddr::from(*address.first_chunk::<4>()?),
        libc::ETH_P_IPV6 => IpAddr::from(address),
        _ => return None,
    };
    Some(GroupEntry { port, group })
}
