//! Where no call waits for sockets of both kinds: for the receiver, and for the other every
//! millisecond.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

/// Waits until one of the two may have something, or the time is over.
pub(crate) fn wait(receiver: &mcast::Receiver, _: &UdpSocket, timeout: Duration) -> io::Result<()> {
    receiver.wait(Some(timeout.min(Duration::from_millis(1)))).map_err(io::Error::other)?;
    Ok(())
}
