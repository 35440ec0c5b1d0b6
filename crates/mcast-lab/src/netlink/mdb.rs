//! The group table of a snooping bridge (`RTM_GETMDB`), which `netlink-packet-route` does not support.

use std::{io, net::IpAddr};

use netlink_packet_core::{
    NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NlaBuffer, NlasIterator,
};

use super::Netlink;

const RTM_GETMDB: u16 = 86;
/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
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
        self.send_mdb_request()?;
        let mut entries = Vec::new();
        loop {
            let bytes = self.receive()?;
            let mut rest = &bytes[..];
            while let Some((kind, sequence, body, after)) = split_message(rest) {
                rest = after;
                match kind {
                    _ if sequence != self.sequence => {}
                    NLMSG_DONE => return Ok(entries),
                    NLMSG_ERROR => return Err(parse_error(body)),
                    _ => entries.extend(parse_entries(body)),
                }
            }
        }
    }

    fn send_mdb_request(&mut self) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(HEADER + PORT_MESSAGE);
        request.extend_from_slice(&((HEADER + PORT_MESSAGE) as u32).to_ne_bytes());
        request.extend_from_slice(&RTM_GETMDB.to_ne_bytes());
        request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&0_u32.to_ne_bytes());
        request.extend_from_slice(&[libc::AF_BRIDGE as u8, 0, 0, 0, 0, 0, 0, 0]);
        self.socket.send(&request, 0).map(drop)
    }
}

/// Returns the type, sequence number and body of the first message, and the bytes after it.
fn split_message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, sequence, body, after))
}

fn parse_error(body: &[u8]) -> io::Error {
    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(-code)
}

fn parse_entries(body: &[u8]) -> Vec<GroupEntry> {
    let databases = attributes(body.get(PORT_MESSAGE..).unwrap_or(&[]), MDBA_MDB);
    let groups = databases.into_iter().flat_map(|database| attributes(database, MDBA_MDB_ENTRY));
    let entries = groups.flat_map(|group| attributes(group, MDBA_MDB_ENTRY_INFO));
    entries.filter_map(parse_entry).collect()
}

/// Returns the values of all attributes of one kind.
fn attributes(bytes: &[u8], kind: u16) -> Vec<&[u8]> {
    let attributes = NlasIterator::new(bytes).map_while(Result::ok);
    attributes.filter(|attribute| attribute.kind() == kind).filter_map(value).collect()
}

fn value(attribute: NlaBuffer<&[u8]>) -> Option<&[u8]> {
    let end = NLA_HEADER_SIZE + attribute.value_length();
    attribute.into_inner().get(NLA_HEADER_SIZE..end)
}

fn parse_entry(bytes: &[u8]) -> Option<GroupEntry> {
    let bytes = bytes.first_chunk::<ENTRY>()?;
    let port = u32::from_ne_bytes(*bytes.first_chunk()?);
    let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
    let protocol = u16::from_be_bytes(*bytes.get(24..)?.first_chunk()?);
    let group = match i32::from(protocol) {
        libc::ETH_P_IP => IpAddr::from(*address.first_chunk::<4>()?),
        libc::ETH_P_IPV6 => IpAddr::from(address),
        _ => return None,
    };
    Some(GroupEntry { port, group })
}
