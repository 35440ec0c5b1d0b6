//! Interfaces.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        BridgeMulticastRouterType, BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoKind,
        InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
        MacVlanMode, State,
    },
};

use super::{CREATE, Netlink};

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
