//! Requests for interfaces, addresses, routes and bridges, over the client of `mcast-sys`.

mod address;
mod link;
mod mdb;
mod route;

use std::io;

use mcast_sys::netlink::{self, NetlinkProtocol, NetlinkReply};
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;

pub(crate) use link::{Bridge, VethEnd};
pub(crate) use route::Route;

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
