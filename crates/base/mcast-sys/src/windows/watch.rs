//! Reports interface changes through `NotifyIpInterfaceChange` and `NotifyUnicastIpAddressChange`,
//! whose callbacks raise a signal.

use std::ffi::c_void;
use std::net::IpAddr;
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{io, ptr};

use mcast_group::InterfaceIndex;
use windows_sys::Win32::Foundation::{HANDLE, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE, MIB_UNICASTIPADDRESS_ROW,
    MibDeleteInstance, NotifyIpInterfaceChange, NotifyUnicastIpAddressChange,
};
use windows_sys::Win32::Networking::WinSock::AF_UNSPEC;

use super::poller::Signal;
use super::{interface, route};
use crate::{Interface, Notice};

/// Watches this machine.
#[derive(Debug)]
pub struct InterfaceWatch {
    // The order matters: the registrations end before the data that their callbacks use is dropped.
    _interfaces: Registration,
    _addresses: Registration,
    notifications: Box<Notifications>,
}

/// The data that the callbacks write, on threads of Windows.
#[derive(Debug)]
struct Notifications {
    notice: Mutex<Notice>,
    signal: Signal,
}

impl InterfaceWatch {
    /// Starts watching.
    pub fn open() -> io::Result<Self> {
        let notifications = Box::new(Notifications { notice: Mutex::default(), signal: Signal::new()? });
        let context: *const c_void = ptr::from_ref::<Notifications>(&notifications).cast();
        let interfaces = Registration::new(|handle| {
            // SAFETY: the callback takes a `Notifications`, which the box keeps in place until
            // after the registration has ended; the handle is writable.
            unsafe { NotifyIpInterfaceChange(AF_UNSPEC, Some(interface_changed), context, false, handle) }
        })?;
        let addresses = Registration::new(|handle| {
            // SAFETY: as above.
            unsafe { NotifyUnicastIpAddressChange(AF_UNSPEC, Some(address_changed), context, false, handle) }
        })?;
        Ok(Self { _interfaces: interfaces, _addresses: addresses, notifications })
    }

    /// Waits until something may have changed; returns `None` on timeout.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Notice>> {
        if !self.notifications.signal.wait(timeout)? {
            return Ok(None);
        }
        // The signal is cleared first, so that later notifications raise it again.
        self.notifications.signal.take();
        let mut notice = self.notifications.notice.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(std::mem::take(&mut *notice)))
    }

    /// Returns all interfaces, ordered by index.
    pub fn list(&self) -> io::Result<Vec<Interface>> {
        interface::list()
    }

    /// Returns the interface that the routing table selects for an address; `None` without a route.
    pub fn interface_towards(&self, address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        route::interface_towards(address)
    }
}

impl AsSocket for InterfaceWatch {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.notifications.signal.as_socket()
    }
}

/// A registered callback. Dropping it waits for a running call.
#[derive(Debug)]
struct Registration(HANDLE);

// SAFETY: the handle is a number that any thread may use.
unsafe impl Send for Registration {}
// SAFETY: as above, and a shared reference gives no access to it.
unsafe impl Sync for Registration {}

impl Registration {
    fn new(register: impl FnOnce(*mut HANDLE) -> u32) -> io::Result<Self> {
        let mut handle = ptr::null_mut();
        match register(&raw mut handle) {
            NO_ERROR => Ok(Self(handle)),
            error => Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: the handle came from a registration, which ends here.
        unsafe { CancelMibChangeNotify2(self.0) };
    }
}

/// Reports a changed interface.
///
/// # Safety
/// `context` must point to a `Notifications`, and `row` must be null or valid for the call.
unsafe extern "system" fn interface_changed(
    context: *const c_void,
    row: *const MIB_IPINTERFACE_ROW,
    kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: guaranteed by the caller.
    let index = unsafe { row.as_ref() }.and_then(|row| InterfaceIndex::new(row.InterfaceIndex));
    // SAFETY: guaranteed by the caller.
    unsafe { record(context, index.filter(|_| kind == MibDeleteInstance)) };
}

/// Reports a changed address.
///
/// # Safety
/// As for [`interface_changed`].
unsafe extern "system" fn address_changed(
    context: *const c_void,
    _row: *const MIB_UNICASTIPADDRESS_ROW,
    _kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: guaranteed by the caller.
    unsafe { record(context, None) };
}

/// Records a change and raises the signal.
///
/// # Safety
/// `context` must point to a `Notifications`.
unsafe fn record(context: *const c_void, deleted: Option<InterfaceIndex>) {
    // SAFETY: guaranteed by the caller.
    let Some(notifications) = (unsafe { context.cast::<Notifications>().as_ref() }) else { return };
    let mut notice = notifications.notice.lock().unwrap_or_else(PoisonError::into_inner);
    notice.deleted.extend(deleted);
    drop(notice);
    // A callback cannot report that raising the signal failed; the next notification raises it.
    let _ = notifications.signal.raise();
}
