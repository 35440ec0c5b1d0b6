//! Tables of the kernel, and numbers in them.

use std::io;

use mcast_sys::netlink::{Netlink, NetlinkProtocol, NetlinkReply};

/// Reads a consistent copy of a table in the calling thread's network namespace.
pub(super) fn dump(protocol: NetlinkProtocol, kind: u16, body: &[u8]) -> io::Result<Vec<NetlinkReply>> {
    Netlink::open(protocol)?.dump(kind, body)
}

pub(super) fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Reads a number in network byte order, which nftables uses.
pub(super) fn be32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn be64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}
