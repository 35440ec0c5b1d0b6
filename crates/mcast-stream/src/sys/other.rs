//! Systems where no call waits for both kinds of sockets: waits for the receiver, and checks the other every
//! millisecond.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

/// Waits until one of the two may be readable, or the time is over.
pub(crate) fn wait(receiver: &mcast::Receiver, _: &UdpSocket, timeout: Duration) -> io::Result<()> {
    receiver.wait(Some(timeout.min(Duration::from_millis(1)))).map_err(io::Error::other)?;
    Ok(())
}
