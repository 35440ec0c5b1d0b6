//! Which groups are joined on which interface, from `GetAdaptersAddresses`. Windows does not tell
//! by whom, nor how often.

use std::io;

use mcast_group::Group;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_UNICAST, IP_ADAPTER_ADDRESSES_LH,
    IP_ADAPTER_MULTICAST_ADDRESS_XP,
};

use super::interface::{Adapters, interface, ip_address};
use crate::joined::{Holding, KernelShare, Visibility};
pub(crate) use crate::sys::pause::Notices;

/// Every membership of this machine, in no order.
pub(crate) fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
    const WITHOUT: u32 = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_UNICAST | GAA_FLAG_SKIP_DNS_SERVER;

    let mut holdings = Vec::new();
    for adapter in Adapters::read(WITHOUT)?.iter() {
        // SAFETY: the adapter is of a list that is alive.
        unsafe { add_holdings(&mut holdings, adapter) };
    }
    let why = "Windows does not tell which process has joined a group";
    Ok((holdings, Visibility::NoProcesses { why }))
}

/// # Safety
/// The adapter must be part of a list that GetAdaptersAddresses wrote and that is still alive.
unsafe fn add_holdings(holdings: &mut Vec<Holding>, adapter: &IP_ADAPTER_ADDRESSES_LH) {
    // SAFETY: as the caller guarantees.
    let Some(interface) = (unsafe { interface(adapter) }) else { return };
    let mut next: *const IP_ADAPTER_MULTICAST_ADDRESS_XP = adapter.FirstMulticastAddress;
    // SAFETY: null or in the same list, as the caller guarantees.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: the entry's address is whole.
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
