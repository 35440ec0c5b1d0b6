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
