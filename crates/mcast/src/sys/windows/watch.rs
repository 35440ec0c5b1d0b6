//! Tells that interfaces have changed: `NotifyIpInterfaceChange` and
//! `NotifyUnicastIpAddressChange`, whose callbacks raise a signal.

use std::ffi::c_void;
use std::io;
use std::net::IpAddr;
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcast_group::InterfaceIndex;
use windows_sys::Win32::Foundation::{HANDLE, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE, MIB_UNICASTIPADDRESS_ROW,
    MibDeleteInstance, NotifyIpInterfaceChange, NotifyUnicastIpAddressChange,
};
use windows_sys::Win32::Networking::WinSock::AF_UNSPEC;

use super::signal::Signal;
use super::{interface, route};
use crate::interface::{Interface, Notice};

/// Watches this machine.
pub(crate) struct Watch {
    // In this order: the registrations end before what their callbacks use goes away.
    _interfaces: Registration,
    _addresses: Registration,
    heard: Box<Heard>,
}

/// What the callbacks write, on threads of Windows.
struct Heard {
    notice: Mutex<Notice>,
    signal: Signal,
}

impl Watch {
    pub(crate) fn open() -> io::Result<Self> {
        let heard = Box::new(Heard { notice: Mutex::default(), signal: Signal::new()? });
        let context: *const c_void = ptr::from_ref::<Heard>(&heard).cast();
        let interfaces = Registration::new(|handle| {
            // SAFETY: the callback takes a `Heard`, which the box keeps in place until after the
            // registration has ended; the handle is a place to write to.
            unsafe { NotifyIpInterfaceChange(AF_UNSPEC, Some(interface_changed), context, false, handle) }
        })?;
        let addresses = Registration::new(|handle| {
            // SAFETY: as above.
            unsafe { NotifyUnicastIpAddressChange(AF_UNSPEC, Some(address_changed), context, false, handle) }
        })?;
        Ok(Self { _interfaces: interfaces, _addresses: addresses, heard })
    }

    /// Waits until something may have changed; `None` when the time is over.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Notice>> {
        if !self.heard.signal.wait(timeout)? {
            return Ok(None);
        }
        // Lowered first: what is heard from here on raises it again.
        self.heard.signal.take();
        let mut notice = self.heard.notice.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(std::mem::take(&mut *notice)))
    }

    pub(crate) fn list(&self) -> io::Result<Vec<Interface>> {
        interface::list()
    }

    pub(crate) fn interface_towards(&self, address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        route::interface_towards(address)
    }
}

impl AsSocket for Watch {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.heard.signal.as_socket()
    }
}

/// A registered callback; ending it waits for a call that is under way.
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
        // SAFETY: the handle came from a registration and ends here.
        unsafe { CancelMibChangeNotify2(self.0) };
    }
}

/// # Safety
/// `context` must point at a `Heard`, and `row` must be null or valid for the call.
unsafe extern "system" fn interface_changed(
    context: *const c_void,
    row: *const MIB_IPINTERFACE_ROW,
    kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: as the caller guarantees.
    let index = unsafe { row.as_ref() }.and_then(|row| InterfaceIndex::new(row.InterfaceIndex));
    // SAFETY: as the caller guarantees.
    unsafe { hear(context, index.filter(|_| kind == MibDeleteInstance)) };
}

/// # Safety
/// As for [`interface_changed`].
unsafe extern "system" fn address_changed(
    context: *const c_void,
    _row: *const MIB_UNICASTIPADDRESS_ROW,
    _kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: as the caller guarantees.
    unsafe { hear(context, None) };
}

/// # Safety
/// `context` must point at a `Heard`.
unsafe fn hear(context: *const c_void, deleted: Option<InterfaceIndex>) {
    // SAFETY: as the caller guarantees.
    let Some(heard) = (unsafe { context.cast::<Heard>().as_ref() }) else { return };
    let mut notice = heard.notice.lock().unwrap_or_else(PoisonError::into_inner);
    notice.deleted.extend(deleted);
    drop(notice);
    // A signal that cannot be raised cannot be reported from here either; the next one tells.
    let _ = heard.signal.raise();
}
