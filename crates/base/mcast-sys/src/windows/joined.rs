//! The groups joined on each interface, from `GetAdaptersAddresses`. Windows reports neither the
//! holders nor their number.

use std::io;

use mcast_group::Group;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_UNICAST, IP_ADAPTER_ADDRESSES_LH,
    IP_ADAPTER_MULTICAST_ADDRESS_XP,
};

use super::interface::{Adapters, interface, ip_address};
use crate::kernel_share::KernelShare;
pub use crate::pause::Notices;
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
