//! The group table of a snooping bridge (`RTM_GETMDB`), which `netlink-packet-route` does not support.

use std::{io, net::IpAddr};

use mcast_sys::netlink::{attributes, u32_at};

use super::Netlink;

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
