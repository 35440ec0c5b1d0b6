//! Network interfaces: listing, selecting and watching them.

mod change;
mod route;
mod select;
mod watch;

use mcast_group::InterfaceIndex;

use crate::error::{Error, Operation, Result};

pub use change::InterfaceChange;
#[doc(inline)]
pub use mcast_sys::{
    AddressState, Bridge, BridgeQuerier, HardwareAddress, Interface, InterfaceAddress, Warning,
};
pub use route::{default_interface, default_interface_of, interface_towards};
pub use select::find;
pub(crate) use select::select;
pub use watch::InterfaceWatcher;

/// Returns all interfaces of this machine, ordered by index; on Linux, those of the calling
/// thread's network namespace.
///
/// # Errors
/// If the system refuses to list them.
pub fn interfaces() -> Result<Vec<Interface>> {
    mcast_sys::interface::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// Returns all bridges of this machine; on Linux, those of the calling thread's network namespace.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, or the system's
/// error.
pub fn bridges() -> Result<Vec<Bridge>> {
    mcast_sys::bridge::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// Returns the queue disciplines for packets that leave by an interface, such as `fq` or `noqueue`:
/// one, or one per queue on a device with several queues.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, or the system's
/// error.
pub fn queue_disciplines(interface: InterfaceIndex) -> Result<Vec<String>> {
    mcast_sys::bridge::queue_disciplines(interface).map_err(|error| Error::os(Operation::Interfaces, error))
}

/// Interfaces for unit tests.
#[cfg(test)]
pub(crate) mod examples {
    use mcast_group::InterfaceIndex;

    use super::*;

    /// Returns an interface that is up, running and able to multicast, without addresses.
    pub(crate) fn interface(index: u32, name: &str) -> Interface {
        let mut interface = Interface::new(InterfaceIndex::new(index).unwrap(), name.into());
        (interface.up, interface.running, interface.multicast) = (true, true, true);
        interface.mtu = 1500;
        interface.hardware_address = Some(HardwareAddress([2, 0, 0, 0, 0, index as u8]));
        interface
    }

    pub(crate) fn loopback() -> Interface {
        changed(interface(1, "lo"), |lo| {
            (lo.multicast, lo.loopback, lo.hardware_address) = (false, true, None);
            lo.addresses = vec![address("127.0.0.1", 8), address("::1", 128)];
        })
    }

    /// Returns the interface with a change.
    pub(crate) fn changed(mut interface: Interface, change: impl FnOnce(&mut Interface)) -> Interface {
        change(&mut interface);
        interface
    }

    pub(crate) fn address(address: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress::new(address.parse().unwrap(), prefix)
    }
}
