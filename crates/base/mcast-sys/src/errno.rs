//! The meaning of Unix error numbers for multicast.

use std::io;

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
        libc::ENODEV | libc::ENXIO => ErrorKind::NoSuchInterface,
        libc::ENETUNREACH | libc::EHOSTUNREACH => ErrorKind::NoRoute,
        libc::ENETDOWN => ErrorKind::InterfaceDown,
        libc::EADDRNOTAVAIL => match operation {
            Operation::Leave => ErrorKind::NotJoined,
            Operation::Join => ErrorKind::NoSuchInterface,
            Operation::Send => ErrorKind::NoAddress,
            _ => ErrorKind::AddressNotAvailable,
        },
        libc::EADDRINUSE => ErrorKind::AddressInUse,
        libc::ENOBUFS if operation == Operation::Send => ErrorKind::QueueFull,
        libc::ENOBUFS | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ETOOMANYREFS => {
            ErrorKind::LimitReached
        }
        libc::EMSGSIZE => ErrorKind::TooLarge,
        libc::EACCES if operation == Operation::Send => crate::platform::DENIED_SEND,
        libc::EPERM | libc::EACCES => ErrorKind::Permission,
        libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPFNOSUPPORT => ErrorKind::FamilyUnavailable,
        libc::ENOPROTOOPT | libc::EOPNOTSUPP | libc::ENOSYS => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

/// Returns whether leaving failed because the interface, and the membership with it, is gone.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO))
}
