//! A netlink client for interfaces, addresses, routes and bridges.

mod address;
mod link;
mod mdb;
mod route;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub(crate) use link::{Bridge, VethEnd};
pub(crate) use route::Route;

/// The maximum size of the kernel's replies, with room to spare: the kernel caps the datagrams of a dump at 32 KiB.
const MAX_REPLY: usize = 64 * 1024;

/// The flags to create an object, which fail if it exists.
pub(crate) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A connection to the kernel's `NETLINK_ROUTE` family, in the namespace where it was opened.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a connection in the namespace of the calling thread. It can be used from any thread.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Requests a change and waits for the acknowledgement.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.receive_replies(|_| ())
    }

    /// Requests one object.
    fn query(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.collect(message, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// Requests all objects of a kind.
    fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.collect(message, NLM_F_REQUEST | NLM_F_DUMP)
    }

    fn collect(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, flags)?;
        let mut replies = Vec::new();
        self.receive_replies(|reply| replies.push(reply))?;
        Ok(replies)
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Receives the replies to the last request until the final one.
    fn receive_replies(&mut self, mut handle: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        loop {
            let bytes = self.receive()?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let message =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let length = (message.header.length as usize).next_multiple_of(4).min(rest.len());
                rest = &rest[length..];
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(reply) => handle(reply),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(MAX_REPLY);
        loop {
            match self.socket.recv(&mut bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| bytes),
            }
        }
    }
}
