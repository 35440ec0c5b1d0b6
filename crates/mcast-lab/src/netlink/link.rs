//! Interfaces: making, finding, changing and removing them.

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
    /// Up, with a carrier, and noticed as such by the protocols above.
    pub(crate) operational: bool,
    /// A port of a bridge that passes frames on.
    pub(crate) forwarding: bool,
}

/// One end of a pair of virtual interfaces.
#[derive(Debug)]
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a str,
    pub(crate) hardware_address: [u8; 6],
    pub(crate) namespace: BorrowedFd<'a>,
}

/// What a bridge is made with.
#[derive(Debug)]
pub(crate) struct Bridge<'a> {
    pub(crate) name: &'a str,
    pub(crate) hardware_address: [u8; 6],
    pub(crate) options: Vec<InfoBridge>,
}

impl Netlink {
    /// The interface of this name.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Link> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.query(RouteNetlinkMessage::GetLink(message))?;
        let found = answers.into_iter().find_map(described);
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// How many frames an interface was to send and dropped.
    pub(crate) fn dropped(&mut self, index: u32) -> io::Result<u64> {
        let answers = self.query(RouteNetlinkMessage::GetLink(of(index)))?;
        let messages = answers.into_iter().filter_map(|answer| match answer {
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

    /// Makes a pair of interfaces, the first end up and its peer down: veth cannot open a peer that has none
    /// itself yet. The first end becomes a port of `bridge` if that is given, and must
    /// then be in the namespace of this connection.
    pub(crate) fn add_veth(
        &mut self,
        end: &VethEnd<'_>,
        peer: &VethEnd<'_>,
        bridge: Option<u32>,
    ) -> io::Result<()> {
        let mut message = up(end.message());
        if let Some(bridge) = bridge {
            message.attributes.push(LinkAttribute::Controller(bridge));
        }
        let peer = InfoData::Veth(InfoVeth::Peer(peer.message()));
        message
            .attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]));
        self.change(RouteNetlinkMessage::NewLink(message), CREATE)
    }

    /// Makes a bridge, down.
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
        self.change(RouteNetlinkMessage::NewLink(message), CREATE)
    }

    /// Changes a bridge.
    pub(crate) fn set_bridge(&mut self, index: u32, options: Vec<InfoBridge>) -> io::Result<()> {
        let mut message = of(index);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(options)),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Makes a port of a bridge count as leading to a multicast router, for good.
    pub(crate) fn set_router_port(&mut self, index: u32) -> io::Result<()> {
        let router = InfoBridgePort::MulticastRouter(BridgeMulticastRouterType::Permanent);
        let mut message = of(index);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![router])),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Puts an interface under a bridge.
    pub(crate) fn set_controller(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        let mut message = of(index);
        message.attributes.push(LinkAttribute::Controller(bridge));
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Makes a second interface with a hardware address of its own on top of another one, up.
    pub(crate) fn add_macvlan(
        &mut self,
        name: &str,
        parent: u32,
        hardware_address: [u8; 6],
    ) -> io::Result<()> {
        let mode = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
        let mut message = up(LinkMessage::default());
        message.attributes.extend([
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(hardware_address.to_vec()),
            LinkAttribute::Link(parent),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]),
        ]);
        self.change(RouteNetlinkMessage::NewLink(message), CREATE)
    }

    pub(crate) fn set_link_up(&mut self, index: u32, is_up: bool) -> io::Result<()> {
        let mut message = up(of(index));
        if !is_up {
            message.header.flags = LinkFlags::empty();
        }
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn set_multicast(&mut self, index: u32, can: bool) -> io::Result<()> {
        let mut message = of(index);
        message.header.change_mask = LinkFlags::Multicast;
        message.header.flags = if can { LinkFlags::Multicast } else { LinkFlags::empty() };
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = of(index);
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn rename_link(&mut self, index: u32, name: &str) -> io::Result<()> {
        let mut message = of(index);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelLink(of(index)), 0)
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

fn of(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn described(message: RouteNetlinkMessage) -> Option<Link> {
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
