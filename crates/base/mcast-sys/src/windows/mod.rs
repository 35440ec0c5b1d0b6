//! Windows.

mod abi;
pub mod console;
pub mod interface;
pub mod poller;
mod receive;
mod send;
pub mod socket;
pub mod watch;

pub use errors::{error_kind, is_gone};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}

mod errors {
    //! The meaning of Windows error numbers for multicast.

    use std::io;

    use windows_sys::Win32::Foundation::{
        ERROR_ACCESS_DENIED, ERROR_CALL_NOT_IMPLEMENTED, ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_SUPPORTED,
    };
    use windows_sys::Win32::Networking::WinSock::{
        WSAEACCES, WSAEADDRINUSE, WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT, WSAEHOSTUNREACH, WSAEINVAL, WSAEMFILE,
        WSAEMSGSIZE, WSAENETDOWN, WSAENETUNREACH, WSAENOBUFS, WSAENOPROTOOPT, WSAEOPNOTSUPP, WSAEPFNOSUPPORT,
        WSAEPROTONOSUPPORT, WSAGetLastError,
    };

    use crate::{ErrorKind, Operation};

    /// Returns the meaning of a system error of this operation.
    pub fn error_kind(operation: Operation, error: &io::Error) -> ErrorKind {
        let Some(number) = error.raw_os_error() else {
            return match error.kind() {
                io::ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Other,
            };
        };
        match number {
            WSAENETUNREACH | WSAEHOSTUNREACH => ErrorKind::NoRoute,
            WSAENETDOWN => ErrorKind::InterfaceDown,
            WSAEADDRNOTAVAIL => match operation {
                Operation::Leave => ErrorKind::NotJoined,
                Operation::Join => ErrorKind::NoSuchInterface,
                Operation::Send => ErrorKind::NoAddress,
                _ => ErrorKind::AddressNotAvailable,
            },
            // Windows reports "access denied" when binding to a port that another program uses
            // exclusively.
            WSAEACCES if operation == Operation::Open => ErrorKind::AddressInUse,
            WSAEADDRINUSE => ErrorKind::AddressInUse,
            WSAENOBUFS if operation == Operation::Send => ErrorKind::QueueFull,
            WSAENOBUFS | WSAEMFILE => ErrorKind::LimitReached,
            WSAEMSGSIZE => ErrorKind::TooLarge,
            WSAEACCES => ErrorKind::Permission,
            WSAEAFNOSUPPORT | WSAEPROTONOSUPPORT | WSAEPFNOSUPPORT => ErrorKind::FamilyUnavailable,
            WSAENOPROTOOPT | WSAEOPNOTSUPP => ErrorKind::Unsupported,
            _ => match number.cast_unsigned() {
                ERROR_ACCESS_DENIED => ErrorKind::Permission,
                ERROR_NOT_ENOUGH_MEMORY => ErrorKind::LimitReached,
                ERROR_NOT_SUPPORTED | ERROR_CALL_NOT_IMPLEMENTED => ErrorKind::Unsupported,
                _ => ErrorKind::Other,
            },
        }
    }

    /// Returns whether leaving failed because the interface, and the membership with it, is gone.
    pub fn is_gone(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(WSAEADDRNOTAVAIL | WSAEINVAL))
    }

    /// Returns the error of the calling thread's last socket call.
    pub(super) fn last_socket_error() -> io::Error {
        // SAFETY: the call only reads this thread's last error.
        io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
    }
}

pub mod layout {
    //! The distribution of groups over sockets on Windows.

    use mcast_group::Group;

    pub use crate::fallbacks::plain::layout::{
        BINDS_TO_BROADCAST, COUNTS_DROPS, FILTERS_BY_INTERFACE_V6, HOLDS_APART, held_above, implies_interface,
    };

    /// Windows cannot bind a socket to a group: one wildcard socket per port receives all groups that
    /// it joined itself.
    pub const BINDS_TO_GROUP: bool = false;

    /// Returns `false`: no socket is bound to a group.
    pub fn is_scoped(_group: Group) -> bool {
        false
    }
}

pub mod remedies {
    //! Commands suggested to users of this system.

    /// After reaching a limit of the system.
    pub const LIMIT: &str = "close sockets, or join fewer groups and sources on each";

    /// To add a route to groups.
    pub const ROUTE: &str = "`netsh interface ipv4 add route 224.0.0.0/4 \"INTERFACE\"` (IPv6: `netsh interface ipv6 add route ff00::/8 \"INTERFACE\"`)";

    /// To see what rejects.
    pub const ROUTES: &str =
        "`netsh interface ipv4 show route` lists the routes (IPv6: `netsh interface ipv6 show route`)";

    /// To bring an interface up.
    pub fn up(interface: &str) -> String {
        format!("`netsh interface set interface \"{interface}\" enabled`")
    }

    /// To add an address to an interface.
    pub fn address(interface: &str) -> String {
        format!("`netsh interface ipv4 add address \"{interface}\" ADDRESS MASK`")
    }

    /// To enable IPv6 on an interface.
    pub fn ipv6(interface: &str) -> String {
        format!("`Enable-NetAdapterBinding -Name \"{interface}\" -ComponentID ms_tcpip6` in PowerShell")
    }
}

pub mod route {
    //! The interface that the routing table selects, from `GetBestInterfaceEx`.

    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use mcast_group::InterfaceIndex;
    use socket2::SockAddr;
    use windows_sys::Win32::Foundation::{
        ERROR_HOST_UNREACHABLE, ERROR_NETWORK_UNREACHABLE, ERROR_NOT_FOUND, ERROR_SUCCESS,
    };
    use windows_sys::Win32::NetworkManagement::IpHelper::GetBestInterfaceEx;

    /// Returns the interface by which datagrams to the address leave unless a socket option names
    /// another; `None` if there is no route. For multicast it is the interface with the lowest metric,
    /// even if that is down.
    pub fn interface_towards(address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        let address = SockAddr::from(SocketAddr::new(address, 0));
        let mut index = 0;
        // SAFETY: the address is complete and matches its family, and `index` is writable.
        match unsafe { GetBestInterfaceEx(address.as_ptr().cast(), &raw mut index) } {
            ERROR_SUCCESS => Ok(InterfaceIndex::new(index)),
            ERROR_HOST_UNREACHABLE | ERROR_NETWORK_UNREACHABLE | ERROR_NOT_FOUND => Ok(None),
            error => Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
}

pub mod joined {
    //! The groups joined on each interface, from `GetAdaptersAddresses`. Windows reports neither the
    //! holders nor their number.

    use std::io;

    use mcast_group::Group;
    use windows_sys::Win32::NetworkManagement::IpHelper::{
        GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_UNICAST, IP_ADAPTER_ADDRESSES_LH,
        IP_ADAPTER_MULTICAST_ADDRESS_XP,
    };

    use super::interface::{Adapters, interface, ip_address};
    pub use crate::fallbacks::plain::{Notices, shared};
    use crate::kernel_share::KernelShare;
    use crate::{Holding, Visibility};

    /// Returns every membership of this machine, in no particular order.
    pub fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
        const WITHOUT: u32 = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_UNICAST | GAA_FLAG_SKIP_DNS_SERVER;

        let mut holdings = Vec::new();
        for adapter in Adapters::read(WITHOUT)?.iter() {
            // SAFETY: the adapter belongs to a live list.
            unsafe { add_holdings(&mut holdings, adapter) };
        }
        let why = "Windows does not report which process has joined a group";
        Ok((holdings, Visibility::NoProcesses { why }))
    }

    /// Adds the memberships of an adapter.
    ///
    /// # Safety
    /// The adapter must be part of a live list that GetAdaptersAddresses wrote.
    unsafe fn add_holdings(holdings: &mut Vec<Holding>, adapter: &IP_ADAPTER_ADDRESSES_LH) {
        // SAFETY: guaranteed by the caller.
        let Some(interface) = (unsafe { interface(adapter) }) else { return };
        let mut next: *const IP_ADAPTER_MULTICAST_ADDRESS_XP = adapter.FirstMulticastAddress;
        // SAFETY: null or in the same list, as the caller guarantees.
        while let Some(entry) = unsafe { next.as_ref() } {
            // SAFETY: the entry's address is complete.
            let address = unsafe { ip_address(&entry.Address) };
            next = entry.Next;
            let Some(group) = address.and_then(|address| Group::new(address).ok()) else { continue };
            holdings.extend(KernelShare::attribute(group, None).map(|holder| Holding {
                group,
                interface: interface.index_for(group.family()),
                interface_name: interface.name.clone(),
                version: None,
                holder,
            }));
        }
    }
}
