//! Routes.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::{CREATE, Netlink};
use crate::CidrAddress;

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
