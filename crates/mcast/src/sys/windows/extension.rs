//! `WSARecvMsg`, which Windows hands out at run time.

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Networking::WinSock::{
    LPFN_WSARECVMSG, SIO_GET_EXTENSION_FUNCTION_POINTER, SOCKET, WSAID_WSARECVMSG, WSAIoctl, WSAMSG,
};

use super::errors::last_socket_error;

/// Receives a message with what accompanies it; how many bytes it has.
///
/// # Safety
/// Every pointer of the message must be to memory that is live and as long as it says.
pub(super) unsafe fn receive_message(socket: SOCKET, message: &mut WSAMSG) -> io::Result<usize> {
    let Some(receive) = function(socket)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut length = 0;
    // SAFETY: as the caller guarantees; without an overlapped structure the call is done when it
    // returns.
    match unsafe { receive(socket, message, &raw mut length, ptr::null_mut(), None) } {
        0 => Ok(length as usize),
        _ => Err(last_socket_error()),
    }
}

/// Asked for once: all UDP sockets of Windows' own provider have the same.
fn function(socket: SOCKET) -> io::Result<LPFN_WSARECVMSG> {
    static FUNCTION: OnceLock<LPFN_WSARECVMSG> = OnceLock::new();

    if let Some(function) = FUNCTION.get() {
        return Ok(*function);
    }
    let id = WSAID_WSARECVMSG;
    let mut function: LPFN_WSARECVMSG = None;
    let mut returned = 0;
    // SAFETY: the identifier is read and the pointer written, each as long as is said. Null is
    // `None` of an optional function.
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
