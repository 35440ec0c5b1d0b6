//! Waiting for a receiver and for the socket of the control datagrams.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

/// Waits until one of the two may have something, or the timeout has passed.
#[cfg(unix)]
pub(crate) fn wait(receiver: &mcast::Receiver, control: &UdpSocket, timeout: Duration) -> io::Result<()> {
    use std::os::fd::AsFd;

    mcast_sys::readable::wait_for_any(&[receiver.as_fd(), control.as_fd()], Some(timeout)).map(drop)
}

/// Waits for the receiver, at most a millisecond: no call of these systems waits for both kinds of sockets.
#[cfg(not(unix))]
pub(crate) fn wait(receiver: &mcast::Receiver, _: &UdpSocket, timeout: Duration) -> io::Result<()> {
    receiver.wait(Some(timeout.min(Duration::from_millis(1)))).map_err(io::Error::other)?;
    Ok(())
}
