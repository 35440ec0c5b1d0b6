//! `WSARecvMsg`, whose address Windows returns at run time.

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Networking::WinSock::{
    LPFN_WSARECVMSG, SIO_GET_EXTENSION_FUNCTION_POINTER, SOCKET, WSAID_WSARECVMSG, WSAIoctl, WSAMSG,
};

use super::errors::last_socket_error;

/// Receives a datagram with its control messages; returns its length.
///
/// # Safety
/// Every pointer in the message must point to live memory of the given length.
pub(super) unsafe fn receive_message(socket: SOCKET, message: &mut WSAMSG) -> io::Result<usize> {
    let Some(receive) = function(socket)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut length = 0;
    // SAFETY: guaranteed by the caller. Without an overlapped structure, the call is complete when
    // it returns.
    match unsafe { receive(socket, message, &raw mut length, ptr::null_mut(), None) } {
        0 => Ok(length as usize),
        _ => Err(last_socket_error()),
    }
}

/// Returns the function, looked up once: it is the same for all UDP sockets of Windows' own
/// provider.
fn function(socket: SOCKET) -> io::Result<LPFN_WSARECVMSG> {
    static FUNCTION: OnceLock<LPFN_WSARECVMSG> = OnceLock::new();

    if let Some(function) = FUNCTION.get() {
        return Ok(*function);
    }
    let id = WSAID_WSARECVMSG;
    let mut function: LPFN_WSARECVMSG = None;
    let mut returned = 0;
    // SAFETY: the identifier is read and the pointer written, each with its size. A null pointer is
    // `None` of the optional function.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast::<c_void>(),
            size_of_val(&id) as u32,
            (&raw mut function).cast::<c_void>(),
            size_of::<LPFN_WSARECVMSG>() as u32,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    if result != 0 {
        return Err(last_socket_error());
    }
    Ok(*FUNCTION.get_or_init(|| function))
}
