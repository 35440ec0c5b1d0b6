//! Requests for interfaces, addresses, routes and bridges, over the client of `mcast-sys`, and waiting for their effect.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};
use std::{io, thread};

use mcast_sys::netlink::{self, NetlinkProtocol, NetlinkReply, attributes, u32_at};
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    BridgeMulticastRouterType, BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoMacVlan,
    InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
    State,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::{CidrAddress, LabError};

/// How long the kernel may take until a new interface carries traffic or a new querier is active. It takes a few
/// milliseconds, unless many namespaces are being created and removed at the same time.
pub(crate) const SETUP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_micros(200);
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

/// An interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) hardware_address: Vec<u8>,
    /// Whether its operational state is up: it has a carrier, and the protocols above have been notified.
    pub(crate) operational: bool,
    /// Whether it is a bridge port in forwarding state.
    pub(crate) forwarding: bool,
}

/// One end of a pair of virtual interfaces.
#[derive(Debug)]
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a str,
    pub(crate) hardware_address: [u8; 6],
    pub(crate) namespace: BorrowedFd<'a>,
}

/// A bridge to create.
#[derive(Debug)]
pub(crate) struct Bridge<'a> {
    pub(crate) name: &'a str,
    pub(crate) hardware_address: [u8; 6],
    pub(crate) options: Vec<InfoBridge>,
}

impl Netlink {
    /// Returns the interface of this name.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Link> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let replies = self.query(&RouteNetlinkMessage::GetLink(message))?;
        let link = replies.into_iter().find_map(parse_link);
        link.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Returns the interface with this hardware address, if there is one.
    pub(crate) fn link_of(&mut self, hardware_address: [u8; 6]) -> io::Result<Option<Link>> {
        let links = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(links.into_iter().filter_map(parse_link).find(|link| link.hardware_address == hardware_address))
    }

    /// Returns how many outgoing frames an interface has dropped.
    pub(crate) fn dropped(&mut self, index: u32) -> io::Result<u64> {
        let replies = self.query(&RouteNetlinkMessage::GetLink(message_for(index)))?;
        let messages = replies.into_iter().filter_map(|reply| match reply {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        });
        let mut attributes = messages.flat_map(|message| message.attributes);
        let dropped = attributes.find_map(|attribute| match attribute {
            LinkAttribute::Stats64(statistics) => Some(statistics.tx_dropped),
            _ => None,
        });
        Ok(dropped.unwrap_or(0))
    }

    /// Creates a pair of interfaces. The first end is up; its peer is down, because veth cannot bring up a peer before
    /// the pair is complete. If `bridge` is given, the first end becomes one of its ports, and must be in the
    /// namespace of this connection.
    pub(crate) fn add_veth(
        &mut self,
        end: &VethEnd<'_>,
        peer: &VethEnd<'_>,
        bridge: Option<u32>,
    ) -> io::Result<()> {
        let mut message = with_up_flag(end.message());
        if let Some(bridge) = bridge {
            message.attributes.push(LinkAttribute::Controller(bridge));
        }
        let peer = InfoData::Veth(InfoVeth::Peer(peer.message()));
        message
            .attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]));
        self.change(&RouteNetlinkMessage::NewLink(message), CREATE)
    }

    /// Creates a bridge, which is down at first.
    pub(crate) fn add_bridge(&mut self, bridge: Bridge<'_>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.extend([
            LinkAttribute::IfName(bridge.name.to_owned()),
            LinkAttribute::Address(bridge.hardware_address.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(bridge.options)),
            ]),
        ]);
        self.change(&RouteNetlinkMessage::NewLink(message), CREATE)
    }

    /// Changes attributes of a bridge.
    pub(crate) fn set_bridge(&mut self, index: u32, options: Vec<InfoBridge>) -> io::Result<()> {
        let mut message = message_for(index);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(options)),
        ]));
        self.change(&RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Marks a port of a bridge permanently as a multicast router port.
    pub(crate) fn set_router_port(&mut self, index: u32) -> io::Result<()> {
        let router = InfoBridgePort::MulticastRouter(BridgeMulticastRouterType::Permanent);
        let mut message = message_for(index);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![router])),
        ]));
        self.change(&RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Makes an interface a port of a bridge.
    pub(crate) fn set_controller(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        let mut message = message_for(index);
        message.attributes.push(LinkAttribute::Controller(bridge));
        self.change(&RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Creates a macvlan in bridge mode on top of another interface, and brings it up.
    pub(crate) fn add_macvlan(
        &mut self,
        name: &str,
        parent: u32,
        hardware_address: [u8; 6],
    ) -> io::Result<()> {
        let mode = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
        let mut message = with_up_flag(LinkMessage::default());
        message.attributes.extend([
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(hardware_address.to_vec()),
            LinkAttribute::Link(parent),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]),
        ]);
        self.change(&RouteNetlinkMessage::NewLink(message), CREATE)
    }

    pub(crate) fn set_link_up(&mut self, index: u32, is_up: bool) -> io::Result<()> {
        let mut message = with_up_flag(message_for(index));
        if !is_up {
            message.header.flags = LinkFlags::empty();
        }
        self.change(&RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn set_multicast(&mut self, index: u32, enabled: bool) -> io::Result<()> {
        let mut message = message_for(index);
        message.header.change_mask = LinkFlags::Multicast;
        message.header.flags = if enabled { LinkFlags::Multicast } else { LinkFlags::empty() };
        self.change(&RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = message_for(index);
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(&RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn rename_link(&mut self, index: u32, name: &str) -> io::Result<()> {
        let mut message = message_for(index);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.change(&RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Moves an interface to another namespace, where it gets this name and is down.
    pub(crate) fn move_link(&mut self, index: u32, name: &str, namespace: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = message_for(index);
        message
            .attributes
            .extend([LinkAttribute::IfName(name.to_owned()), LinkAttribute::NetNsFd(namespace.as_raw_fd())]);
        self.change(&RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.change(&RouteNetlinkMessage::DelLink(message_for(index)), 0)
    }
}

impl VethEnd<'_> {
    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.attributes.extend([
            LinkAttribute::IfName(self.name.to_owned()),
            LinkAttribute::Address(self.hardware_address.to_vec()),
            LinkAttribute::NetNsFd(self.namespace.as_raw_fd()),
        ]);
        message
    }
}

fn message_for(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn with_up_flag(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn parse_link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        hardware_address: Vec::new(),
        operational: false,
        forwarding: false,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(address) => link.hardware_address = address,
            LinkAttribute::OperState(state) => link.operational = state == State::Up,
            LinkAttribute::LinkInfo(info) => link.forwarding = info.iter().any(is_forwarding_port),
            _ => {}
        }
    }
    Some(link)
}

fn is_forwarding_port(info: &LinkInfo) -> bool {
    let LinkInfo::PortData(InfoPortData::BridgePort(attributes)) = info else { return false };
    attributes.contains(&InfoBridgePort::State(BridgePortState::Forwarding))
}

/// Waits until `condition` returns true, or returns the error of `timed_out` after `timeout`.
pub(crate) fn wait_until(
    timeout: Duration,
    mut condition: impl FnMut() -> Result<bool, LabError>,
    timed_out: impl FnOnce() -> LabError,
) -> Result<(), LabError> {
    let deadline = Instant::now() + timeout;
    while !condition()? {
        if Instant::now() > deadline {
            return Err(timed_out());
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
