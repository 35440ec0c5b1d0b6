//! Joining and leaving by the protocol-independent socket options of RFC 3678 section 5.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ptr;
use std::sync::{MutexGuard, PoisonError};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::SockAddr;
use windows_sys::Win32::Networking::WinSock::{
    GROUP_REQ, GROUP_SOURCE_REQ, IN_ADDR, IN_ADDR_0, IN6_ADDR, IN6_ADDR_0, IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP, IP_MREQ, IPPROTO_IP, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP,
    IPV6_MREQ, MCAST_BLOCK_SOURCE, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP, MCAST_UNBLOCK_SOURCE, SOCKADDR_STORAGE,
};

use super::interface;
use super::socket::{Socket, is_unknown_option};

impl Socket {
    /// Joins a group on an interface with this source filter.
    ///
    /// After an error, the group is not joined.
    pub fn join(&self, group: Group, interface: InterfaceIndex, filter: &SourceFilter) -> io::Result<()> {
        let result = match filter {
            SourceFilter::Include(sources) => {
                self.each_source(MCAST_JOIN_SOURCE_GROUP, group, interface, sources)
            }
            SourceFilter::Exclude(sources) => self
                .join_any_source(group, interface)
                .and_then(|()| self.each_source(MCAST_BLOCK_SOURCE, group, interface, sources)),
        };
        match result {
            Ok(()) => {
                self.joined().insert((group, interface), filter.clone());
                Ok(())
            }
            Err(error) => {
                // Leaving fails if nothing was joined yet, which is fine.
                let _ = self.leave(group, interface);
                Err(error)
            }
        }
    }

    /// Replaces the source filter of a joined group. This is atomic unless the filter mode changes,
    /// which takes two steps on Windows.
    pub fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let before = self.joined().get(&(group, interface)).cloned();
        let (more, fewer, from, to) = match (&before, filter) {
            (Some(SourceFilter::Include(from)), SourceFilter::Include(to)) => {
                (MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP, from, to)
            }
            (Some(SourceFilter::Exclude(from)), SourceFilter::Exclude(to)) => {
                (MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, from, to)
            }
            _ => {
                self.leave(group, interface)?;
                return self.join(group, interface, filter);
            }
        };
        self.each_source(more, group, interface, &(to - from))?;
        self.each_source(fewer, group, interface, &(from - to))?;
        self.joined().insert((group, interface), filter.clone());
        Ok(())
    }

    /// Leaves a group on an interface, for all sources.
    pub fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.joined().remove(&(group, interface));
        match self.group_request(MCAST_LEAVE_GROUP, group, interface) {
            Err(error) if is_unknown_option(&error) => {
                self.legacy_request(IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, group, interface)
            }
            result => result,
        }
    }

    /// Joins by index where supported (Windows Vista and later), otherwise (Wine) by the older
    /// option.
    fn join_any_source(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        match self.group_request(MCAST_JOIN_GROUP, group, interface) {
            Err(error) if is_unknown_option(&error) => {
                self.legacy_request(IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, group, interface)
            }
            result => result,
        }
    }

    fn group_request(&self, option: u32, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        let request = GROUP_REQ { gr_interface: interface.number(), gr_group: storage(group.addr()) };
        self.set(level(group.family()), option.cast_signed(), request)
    }

    /// Sets `option` for each of these sources. A source that the system cannot block (Wine) is
    /// filtered out by the receiver, so this is not an error.
    fn each_source(
        &self,
        option: u32,
        group: Group,
        interface: InterfaceIndex,
        sources: &BTreeSet<IpAddr>,
    ) -> io::Result<()> {
        sources.iter().try_for_each(|source| {
            let request = GROUP_SOURCE_REQ {
                gsr_interface: interface.number(),
                gsr_group: storage(group.addr()),
                gsr_source: storage(*source),
            };
            match self.set(level(group.family()), option.cast_signed(), request) {
                Err(error)
                    if is_unknown_option(&error)
                        && matches!(option, MCAST_BLOCK_SOURCE | MCAST_UNBLOCK_SOURCE) =>
                {
                    Ok(())
                }
                result => result,
            }
        })
    }

    /// Uses the older options, which take the interface's address for IPv4 and its index for IPv6.
    fn legacy_request(&self, v4: i32, v6: i32, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        match group.addr() {
            IpAddr::V4(group) => {
                let request =
                    IP_MREQ { imr_multiaddr: in_addr(group), imr_interface: in_addr(address_of(interface)?) };
                self.set(IPPROTO_IP, v4, request)
            }
            IpAddr::V6(group) => {
                let request = IPV6_MREQ {
                    ipv6mr_multiaddr: IN6_ADDR { u: IN6_ADDR_0 { Byte: group.octets() } },
                    ipv6mr_interface: interface.number(),
                };
                self.set(IPPROTO_IPV6, v6, request)
            }
        }
    }

    pub(super) fn joined(&self) -> MutexGuard<'_, HashMap<(Group, InterfaceIndex), SourceFilter>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the IPv4 address by which the older options identify an interface.
pub(super) fn address_of(interface: InterfaceIndex) -> io::Result<Ipv4Addr> {
    let interfaces = interface::list()?;
    let addresses = interfaces
        .iter()
        .filter(|each| each.index == interface)
        .flat_map(|each| each.addresses_of(Family::V4));
    addresses
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .next()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

pub(super) fn in_addr(address: Ipv4Addr) -> IN_ADDR {
    IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from_ne_bytes(address.octets()) } }
}

fn level(family: Family) -> i32 {
    match family {
        Family::V4 => IPPROTO_IP,
        Family::V6 => IPPROTO_IPV6,
    }
}

/// Converts an address for requests.
fn storage(address: IpAddr) -> SOCKADDR_STORAGE {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    let mut storage = SOCKADDR_STORAGE::default();
    // SAFETY: `SockAddr` holds `len` bytes, never more than a `SOCKADDR_STORAGE`.
    unsafe {
        ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    storage
}
