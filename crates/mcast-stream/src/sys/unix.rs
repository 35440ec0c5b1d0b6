//! Waiting by descriptors.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

/// Waits until one of the two may have something, or the timeout has passed.
pub(crate) fn wait(receiver: &mcast::Receiver, control: &UdpSocket, timeout: Duration) -> io::Result<()> {
    mcast_sys::readable::wait_for_any(&[receiver.as_fd(), control.as_fd()], Some(timeout)).map(drop)
}
