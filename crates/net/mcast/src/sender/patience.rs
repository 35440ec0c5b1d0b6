//! Sending while the system is busy.

use std::io;

use mcast_sys::SendRequest;
use mcast_sys::poller::wait_writable;
use mcast_sys::socket::Socket;

/// Sends a datagram, waiting while the socket's buffer is full. Calls `on_report` for errors that hosts have reported
/// about earlier datagrams.
pub(crate) fn send_patiently(
    socket: &Socket,
    transmit: &SendRequest<'_>,
    on_report: impl Fn(),
) -> io::Result<()> {
    loop {
        match socket.send(transmit) {
            Err(error) if is_busy(&error) => wait(socket)?,
            // An error about an earlier datagram; this one has not been sent yet.
            Err(_) if socket.forget_errors() => on_report(),
            result => return result,
        }
    }
}

pub(super) fn wait(socket: &Socket) -> io::Result<()> {
    socket.forget_errors();
    match wait_writable(socket, None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
